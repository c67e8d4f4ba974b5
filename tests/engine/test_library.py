"""The student's library with real Spark: kernels that restart, two clusters, the queue, libraries, what cells show."""

from __future__ import annotations

import json
import re

import pytest

from occamctl import wait

from .spark_stage import PATH, Stage

pytestmark = pytest.mark.engine

AS_A_KERNEL = 'from occam import kernel\nkernel.ident = lambda: "k1"\n'


def nothing_is_left(stage: Stage) -> None:
    wait.until(stage.javas, (0).__eq__, "JVMs", seconds=40)
    left = lambda: stage.shell("pgrep -f [k]eeper.py; ls /dev/shm; true")  # noqa: E731
    wait.until(left, "".__eq__, "keepers and their folders", seconds=10)
    assert stage.ask("GET", "/users/anna/clusters") == []


def test_a_restarted_kernel_finds_its_cluster_and_cells_show_what_happens(stage: Stage) -> None:
    said = stage.python("""
        import sys
        from notebook_kernel import Notebook
        book = Notebook()
        start = "import time; began = time.time(); import occam; spark = occam.spark(); "
        start += "print('took', time.time() - began)"
        said = {"cold": book.run(start)}
        slow = "_ = spark.sparkContext.parallelize(range(6), 6).map(lambda n: (time.sleep(1), n)[1]).sum()"
        said["progress"] = book.run(slow)
        slower = "spark.sparkContext.parallelize(range(40), 40).map(lambda n: time.sleep(1)).count()"
        said["interrupt"] = book.run(slower, interrupt_at="of 40 tasks")
        active = "len(spark.sparkContext.statusTracker().getActiveJobsIds())"
        said["after"] = book.run(f"print({active}, spark.range(3).count())")
        notice = "import json, urllib.request as web; where = 'http://127.0.0.1:9900/notice';"
        notice += "told = json.dumps({'name': 'lab', 'text': '2 workers were taken back'}).encode();"
        notice += "_ = web.urlopen(web.Request(where, method='PUT', data=told)); time.sleep(6)"
        book.run("occam.progress(False)")
        said["off"] = book.run(slow)
        said["notice"] = book.run(notice)
        book.run("spark.range(9).createOrReplaceTempView('mine'); kept = spark.range(9).cache(); kept.count()")
        book.restart()
        said["warm"] = book.run(start)
        kept = "spark.sparkContext._jsc.getPersistentRDDs().size()"
        said["clean"] = book.run(f"print(len(spark.catalog.listTables()), {kept})")
        book.restart(now=True)
        said["killed"] = book.run(start)
        book.run("%load_ext occam")
        said["magic"] = book.run("%sc")
        said["works"] = book.run("print(spark.range(100).count(), repr(spark))")
        said["told"] = book.run("time.sleep(5)")
        book.shut_down()
    """)
    assert any("0 of 6 tasks" in str(one) for one in said["progress"]), said["progress"]
    assert any("sum, line 1" in str(one) for one in said["progress"])
    assert said["off"] == []
    assert [one for one in said["interrupt"] if one[:1] == ["error"]] == [["error", "KeyboardInterrupt", ""]], said[
        "interrupt"
    ]
    assert not [one for one in said["interrupt"] if "Traceback" in str(one)], "py4j's own log of it"
    assert "0 3\n" in said["after"], "an interrupted cell leaves no job behind"
    assert len([one for one in said["notice"] if "Cluster lab: 2 workers were taken back" in one]) == 1
    took = {
        key: float(re.search(r"took ([\d.]+)", " ".join(map(str, said[key])))[1]) for key in ("cold", "warm", "killed")
    }
    print("seconds to a session:", took)
    assert any("as before the restart" in str(one) for one in said["warm"]), said["warm"]
    assert any("as before the restart" in str(one) for one in said["killed"])
    assert min(took["warm"], took["killed"]) < 0.3 * took["cold"], took
    assert said["clean"] == ["0 0\n"]
    assert "on cluster lab</b>" in said["magic"][0], said["magic"]
    assert any("100 <Spark 4.3.0 on cluster lab; workers: 2" in one for one in said["works"]), said["works"]
    assert said["told"] == [], "a notice is told once, restart or not"
    assert len(stage.requests("POST", "/clusters")) == 1
    nothing_is_left(stage)


def test_a_kernel_that_does_not_come_back_loses_its_cluster_after_its_grace(stage: Stage) -> None:
    stage.ask("PUT", "/settings", json.dumps({"grace": "3s"}))
    stage.shell(f"""
        export OCCAM_DRIVER_HOST=$(hostname -i)
        python -c '{AS_A_KERNEL}
import occam, os
occam.spark(workers=1)
os.kill(os.getpid(), 9)' || true
        sleep 1
        pgrep -f [k]eeper.py
    """)
    wait.until(lambda: stage.requests("DELETE", PATH), bool, "the cluster's release", seconds=30)
    nothing_is_left(stage)


def test_one_kernel_with_two_clusters(stage: Stage) -> None:
    said = stage.python("""
        import pandas, urllib.request
        from occam import cells
        from pyspark.sql import functions as F
        first = occam.spark(workers=1)
        table = first.range(100).withColumn("x", F.col("id") * 2)
        plus = F.udf(lambda n: n + 1, "long")
        table.select(plus("x")).count()
        second = occam.spark(workers=1, name="second")
        other, said = second.range(50), {}
        seen = first.sparkContext.accumulator(0)
        more = first.sparkContext.broadcast(10)
        said["of the first"] = [
            table.count(), len(table.collect()), list(table.toPandas().shape), table.filter("x > 10").count(),
            table.filter(table.x > 10).select(F.abs(table.x)).count(),
            first.createDataFrame(pandas.DataFrame({"n": [1, 2]})).count(),
            first.sparkContext.parallelize(range(4), 2).map(lambda n: n + more.value).sum(),
        ]
        first.sparkContext.parallelize(range(7), 2).foreach(lambda _: seen.add(1))
        said["seen"] = seen.value
        anew = F.udf(lambda n: n + 2, "long")
        said["of the second"] = [other.select((F.col("id") + 1).alias("y")).count(), other.select(anew("id")).count()]
        for name, wrong in {"column": lambda: table.select(F.col("id") + 1), "join": lambda: table.join(other, "id"),
                            "function": lambda: other.select(plus("id"))}.items():
            try:
                wrong()
            except occam.Refused as refused:
                said[name] = [refused.what[:60], refused.fix[:40]]
        try:
            first.sql("select nonsense from nowhere")
        except Exception as error:
            said["mistake"] = [type(error).__name__, "nowhere" in str(error)]
            said["whose"] = [cells._whose(error, False)[0].wish.name]
        for session in (first, second):
            try:
                session.sparkContext.parallelize([0], 1).map(lambda n: 1 / n).count()
            except Exception as error:
                said["whose"].append(cells._whose(error, False)[0].wish.name)
        said["any"] = [one.wish.name for one in cells._whose(ConnectionError("Connection refused"), True)]
        said["again"] = [occam.spark(name="lab") is first, table.select(F.col("id") + 1).count(), other.count()]
        pages = [f"http://127.0.0.1:{one._held.ui}/api/v1/applications" for one in (first, second)]
        said["pages"] = [json.loads(urllib.request.urlopen(page, timeout=60).read())[0]["name"] for page in pages]
        said["links"] = len({one.ui for one in occam.clusters() if one.ui.startswith("/user/")})
        first.stop()
        said["left"] = [occam.current() is second, other.select(F.col("id")).count(), repr(first)]
        second.sparkContext.stop()
        said["end"] = [occam.current(), len(occam.clusters())]
        try:
            occam.stop("a b")
        except occam.Refused as refused:
            said["stop"] = refused.what
    """)
    assert said["of the first"] == [100, 100, [100, 2], 94, 94, 2, 46]
    assert said["seen"] == 7
    assert said["of the second"] == [50, 50]
    mixed = "this mixes what was made on the clusters"
    assert said["column"][0].startswith(mixed)
    assert said["join"][0].startswith(mixed)
    assert said["function"][0].startswith(mixed)
    assert said["column"][1] == "occam.spark(name='lab') makes that one c"
    assert said["mistake"] == ["AnalysisException", True]
    assert said["whose"] == ["lab", "lab", "second"], "an error is explained by the cluster that it comes from"
    assert said["any"] == ["lab", "second"]
    assert said["again"] == [True, 100, 50]
    assert said["pages"] == ["lab", "second"]
    assert said["links"] == 2
    assert said["left"] == [True, 50, "<Spark session, stopped>"]
    assert said["end"] == [None, 0]
    assert said["stop"] == "no cluster a%20b"
    nothing_is_left(stage)


JAR = """
mkdir -p /tmp/jar/out && cd /tmp/jar
echo 'package lab; import org.apache.spark.sql.api.java.UDF1' > P.scala
echo 'class Plus extends UDF1[Long, Long] { def call(n: Long): Long = n + 1 }' >> P.scala
java -XX:TieredStopAtLevel=1 -cp "$SPARK_HOME/jars/*" scala.tools.nsc.Main -usejavacp -d out P.scala
python -c 'import shutil; shutil.make_archive("plus", "zip", "out")'; mv plus.zip plus.jar
"""


def test_an_adaptive_cluster_with_a_library_of_the_students(stage: Stage) -> None:
    stage.shell(JAR)
    said = stage.python("""
        from occam import explain
        from pyspark.sql.types import LongType
        spark = occam.spark(adaptive=(1, 2), jars=["/tmp/jar/plus.jar"])
        spark.udf.registerJavaFunction("plus", "lab.Plus", LongType())
        said = {"sum": spark.range(10, numPartitions=2).selectExpr("sum(plus(id))").first()[0]}
        said["text"] = repr(spark.cluster)
        try:
            spark.sparkContext.parallelize([1], 1).barrier().mapPartitions(lambda part: part).collect()
        except Exception as error:
            said["barrier"] = explain.why(str(error), None)
        for name, ask in {"scale": lambda: spark.cluster.scale(2), "again": lambda: occam.spark(workers=2)}.items():
            try:
                ask()
            except occam.Refused as refused:
                said[name] = refused.what
        said["adapted"] = list(spark.cluster.adapt(1, 3).adaptive)
        slow = lambda n: (time.sleep(1), n)[1]
        said["jobs"] = spark.sparkContext.parallelize(range(24), 24).map(slow).sum()
        said["bounds"] = [list(occam.spark(adaptive=(2, 3)).cluster.adaptive), occam.spark() is spark]
        def seen():
            there = spark.sparkContext._jsc.sc().executorAllocationManager().get()
            fields = [there.getClass().getDeclaredField(f"{one}NumExecutors") for one in ("min", "max")]
            [one.setAccessible(True) for one in fields]
            return [one.getInt(there) for one in fields]
        said["before"] = seen()
        occam.gateway.here().ask("PUT", "clusters/lab/adaptive", {"min": 0, "max": 1})  # somebody, from outside
        end = time.time() + 30
        while spark._held.wish.adaptive != (0, 1) and time.time() < end:
            time.sleep(0.2)
        said["outside"] = [seen(), list(spark._held.wish.adaptive)]
        occam.gateway.here().ask("PUT", "clusters/lab/adaptive", {"min": 1, "max": 1})
        occam.spark(adaptive=(0, 1))  # at once, while what is known here says that it is so already
        said["inside"] = [seen(), list(spark.cluster.adaptive)]
        spark.stop()
        none = occam.spark(adaptive=(0, 1))
        said["none"] = [none._held.registered(), none.range(3).count()]
        none.stop()
        fixed = occam.spark(workers=1)
        try:
            fixed.cluster.adapt(1, 2)
        except occam.Refused as refused:
            said["fixed"] = refused.what
    """)
    assert said["sum"] == 55
    assert "adaptive: between 1 and 2 workers" in said["text"]
    assert "barrier stages (distributed training) need a fixed one" in said["barrier"]
    assert said["scale"] == said["again"] == "the cluster 'lab' is adaptive: Spark chooses between 1 and 2 workers"
    assert said["adapted"] == [1, 3]
    assert said["jobs"] == 276
    totals = [one["total"] for one in stage.requests("PUT", f"{PATH}/executors")]
    assert 3 in totals, "the new bound is the running Spark's"
    assert said["bounds"] == [[2, 3], True]
    assert said["before"] == [2, 3]
    assert said["outside"] == [[0, 1], [0, 1]], "the running Spark goes by what was set from outside"
    assert said["inside"] == [[0, 1], [0, 1]]
    assert said["none"] == [0, 3], "its first worker comes with the first job"
    assert "is fixed" in said["fixed"]


def test_the_queue_the_quota_logs_and_a_worker_that_ran_out_of_memory(stage: Stage) -> None:
    stage.ask("PUT", "/settings", json.dumps({"room": 0}))
    said = stage.python("""
        import _thread, threading, urllib.request
        from occam import cells
        said = {}
        try:
            occam.spark(workers=2)
        except occam.NotEnough as refused:
            said["at once"] = str(refused)
        try:
            occam.spark(workers=2, wait=3)
        except occam.NotEnough as refused:
            said["too long"] = str(refused)
        threading.Timer(3, _thread.interrupt_main).start()
        try:
            occam.spark(workers=2, wait="5m")
        except KeyboardInterrupt:
            said["interrupted"] = True
        room = lambda: occam.gateway._open(urllib.request.Request(
            "http://127.0.0.1:9900/settings", data=b'{"room": 9}', method="PUT")).read()
        threading.Timer(3, room).start()
        spark = occam.spark(workers=1, wait="1m", conf={"spark.task.maxFailures": 1})
        mine = occam.quota()
        said["quota"] = [repr(mine), mine["workers"]["limit"], "free now" in mine._repr_html_()]
        said["log"] = str(spark.cluster.logs(1, tail=3))
        said["all"] = str(spark.cluster.logs(tail=3))
        said["scaled"] = spark.cluster.scale(2).workers
        try:
            spark.range(1).selectExpr("length(repeat('x', cast(id as int) + 2000000000))").collect()
        except Exception as error:
            end = time.time() + 20
            while not [one for one in spark.cluster.executors if one.state == "lost"] and time.time() < end:
                time.sleep(0.2)
            lost = [[one.id, one.state, one.message] for one in spark.cluster.executors]
            said["memory"] = [cells._why(error), str(error)[:1500], lost]
    """)
    full = "the hosts are full; the group phd holds the rest"
    assert said["at once"] == f"{full}\n  → ask for 1 worker"
    assert said["too long"] == f"there was no room within 3 s: {full}\n  → ask for less, or wait longer"
    assert said["interrupted"] is True
    asked = stage.requests("POST", "/clusters")
    assert [one["wait"] for one in asked if "wait" in one][:2] == [3, 3]
    assert any(one.get("ticket") == "t1" and one["wait"] == 300 for one in asked)
    assert len(stage.requests("DELETE", "/queue/t1")) == 2, "who gives up or is interrupted leaves the queue"
    assert said["quota"][0].splitlines() == [
        "workers: you hold 1, you may hold 4, sure to be yours 1, free now 8",
        "cpus: you hold 1, you may hold no limit",
        "memory: you hold 1 GB, you may hold 8 GB",
    ]
    assert said["quota"][1:] == [4, True]
    assert "registered with driver" in said["log"]
    assert all(line.startswith("1: ") for line in said["all"].splitlines())
    assert said["scaled"] == 2
    needed = r"Worker \d on node\d needed more memory than it has \(1 GB, for 1 task at a time\)"
    assert re.match(needed, said["memory"][0]), said["memory"]
    assert "occam.spark(memory='2G')" in said["memory"][0]
    nothing_is_left(stage)


def test_an_interrupt_at_any_stage_leaves_nothing(stage: Stage) -> None:
    stage.ask("PUT", "/settings", json.dumps({"slow": 3}))
    said = stage.python("""
        import _thread, threading
        from occam import driver, jvms, watch
        def interrupted():
            try:
                occam.spark(workers=1)
            except KeyboardInterrupt:
                return True
        threading.Timer(1, _thread.interrupt_main).start()  # before the gateway has answered
        began = time.time()
        said = [interrupted(), time.time() - began < 2.5]
        end = time.time() + 20
        while not [one for one in [occam.clusters()] if not one] and time.time() < end:
            time.sleep(0.2)
        time.sleep(3)
        said.append(len(occam.clusters()))
        def raise_after(place, name):
            there = getattr(place, name)
            def then(*args, **more):
                there(*args, **more)
                setattr(place, name, there)
                raise KeyboardInterrupt
            setattr(place, name, then)
        stages = (driver.kept, "start"), (driver, "_read"), (jvms, "new_session"), (watch.Watch, "wait_for")
        for place, name in stages:
            raise_after(place, name)
            said.append([interrupted(), len(occam.clusters()), occam.current()])
    """)
    assert said == [True, True, 0, *[[True, 0, None]] * 4]
    nothing_is_left(stage)


def test_a_new_cluster_that_is_not_whole_in_time_is_given_back(stage: Stage) -> None:
    stage.ask("PUT", "/settings", json.dumps({"missing": 1}))
    said = stage.python("""
        try:
            occam.spark(workers=2, timeout=15)
        except occam.NotStarted as failure:
            said = [failure.what.splitlines(), occam.current(), len(occam.clusters())]
    """)
    words, *left = said
    assert words[0] == "1 of 2 workers within 15 s"
    assert any("registered with driver" in line for line in words[1:]), words
    assert left == [None, 0]
    nothing_is_left(stage)


def test_tasks_see_the_gpu_that_spark_gave_them_and_no_other(stage: Stage) -> None:
    said = stage.python("""
        def seen(_):
            from pyspark import TaskContext
            time.sleep(1)  # so that all slots are used at the same time
            given = TaskContext.get().resources().get("gpu")
            return (given.addresses if given else []), os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpid()

        def run(**asked):
            spark = occam.spark(workers=1, cores=2, name="gpus", **asked)
            tasks = [spark.sparkContext.parallelize(range(2), 2).map(seen).collect() for _ in range(2)]
            spark.stop()
            return tasks

        said = {"shared": run(gpu=1), "each": run(gpu=2), "none": run()}
    """)
    assert [(given, shown) for wave in said["shared"] for given, shown, _ in wave] == [(["GPU-1-0"], "GPU-1-0")] * 4
    for wave in said["each"]:
        assert sorted((given, shown) for given, shown, _ in wave) == [
            (["GPU-1-0"], "GPU-1-0"),
            (["GPU-1-1"], "GPU-1-1"),
        ]
    processes = [process for wave in said["each"] for _, _, process in wave]
    assert len(set(processes)) == 4, "CUDA would show a process that is used again what it showed the task before"
    assert [(given, shown) for wave in said["none"] for given, shown, _ in wave] == [([], "")] * 4
    asked = stage.requests("POST", "/clusters")[-3:]
    assert [one.get("gpu") for one in asked] == [1, 2, None]
    nothing_is_left(stage)


def test_scaling_is_one_call_and_a_plot(stage: Stage) -> None:
    said = stage.python("""
        spark = occam.spark(workers=1)
        nap = lambda spark: spark.sparkContext.parallelize(range(4), 4).map(lambda _: time.sleep(1)).count()
        told = occam.scaling(nap, workers=[1, 2], repeat=2)
        back = spark.cluster.status().workers
        import keras, numpy
        x = numpy.random.default_rng(0).normal(size=(512, 8)).astype("float32")
        def network():
            model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
            model.compile("sgd", "mse")
            return model
        ranks = []
        def train(spark):
            ranks.append(occam.train(network, (x, x[:, 0]), epochs=1, batch_size=64).workers)
        trained = occam.scaling(train, workers=[1, 2], repeat=1)
        said = [told.table(), told.serial, repr(told), told._repr_html_(), back, ranks, len(trained.points)]
        spark.stop()
    """)
    table, serial, text, html, back, ranks, trained = said
    assert [row["workers"] for row in table] == [1, 2]
    assert table[1]["speed-up"] > 1.5, table  # four naps of a second, one or two at a time
    assert 0 <= serial < 0.5
    assert text.splitlines()[0].split() == ["workers", "seconds", "fastest", "slowest", "speed-up", "efficiency"]
    assert "data:image/png;base64," in html
    assert back == 1, "the cluster is as large as before"
    assert (ranks, trained) == ([2, 2, 1], 2), "a training has as many ranks as the cluster has workers"
    nothing_is_left(stage)


def test_the_higgs_table_synthetic_and_as_files(stage: Stage) -> None:
    said = stage.python("""
        import numpy, pathlib
        from occam.higgs import columns, events
        spark = occam.spark(workers=2)
        table = occam.data.higgs(rows=40_000, seed=3)
        rows = table.toPandas()
        blocks = [events.block(3, number) for number in range(3)]
        by_hand = {name: numpy.concatenate([one[name] for one in blocks])[:40_000] for name in columns.COLUMNS}
        said = {"columns": list(rows) == list(columns.COLUMNS), "rows": len(rows)}
        said["same"] = all((rows[name].to_numpy() == by_hand[name]).all() for name in columns.COLUMNS)
        said["named"] = table.select("label").schema["label"].metadata
        said["parts"] = occam.data.higgs().rdd.getNumPartitions()
        table.repartition(4).write.parquet("file:///tmp/sets/higgs")
        occam.data.SETS = pathlib.Path("/tmp/sets")
        first, again, other = (occam.data.higgs(numpy.int64(25_000), seed).toPandas() for seed in (1, 1, 2))
        said["real"] = [len(first), bool((first == again).all(None)), bool((first == other).all(None))]
        said["all"] = [occam.data.higgs().count(), dict(occam.data.higgs(1).schema["label"].metadata)]
        sizes = lambda rows: occam.data.higgs(rows).rdd.mapPartitions(lambda part: [sum(1 for _ in part)]).collect()
        said["sizes"] = {rows: sizes(rows) for rows in (1, 3, 9_999, 25_001)}
        said["refused"] = []
        for asked in ({"rows": 40_001}, {"rows": 0}, {"seed": -1}):
            try:
                occam.data.higgs(**asked)
            except occam.Refused as refused:
                said["refused"].append(refused.what)
        spark.stop()
    """)
    assert (said["columns"], said["rows"], said["same"]) == (True, 40_000, True)
    assert "synthetic" in said["named"]["comment"]
    assert said["parts"] >= 4
    assert said["real"] == [25_000, True, False]
    assert said["all"] == [40_000, {}]
    assert [len(sizes) for sizes in said["sizes"].values()] == [1, 3, 4, 4], "work for both workers"
    for rows, sizes in said["sizes"].items():
        assert (sum(sizes), max(sizes) - min(sizes) <= 1) == (int(rows), True)
    wrong = ["rows=40,001: the set has 40,000", "rows must be a whole number", "seed must be a whole number"]
    assert [what[: len(start)] for what, start in zip(said["refused"], wrong, strict=True)] == wrong
