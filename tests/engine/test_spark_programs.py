"""Spark's own example programs, and jobs that use all there is, on our scheduler backend.

One driver for all of them, with two executors that have addresses of their own: one beside the driver, one in another
container. What they compute is compared with what plain Python computes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from occamctl import wait

from . import spark_stage
from .spark_stage import PATH, Stage

pytestmark = pytest.mark.engine

OTHER = 100
"""Number of the executor that has a container to itself."""
GIB = 1 << 30

# The examples name their data as seen from Spark's folder; the pip package lacks these two files of it.
FOLDER = """
mkdir -p /tmp/work/examples/src/main/resources && cd /tmp/work && ln -s $SPARK_HOME/data .
printf '%s\\n' '{"name":"Michael"}' '{"name":"Andy", "age":30}' '{"name":"Justin", "age":19}' \
  > examples/src/main/resources/people.json
seq 20 -1 1 > numbers.txt
printf '%s\\n' 'Michael, 29' 'Andy, 30' 'Justin, 19' > examples/src/main/resources/people.txt
"""

SETUP = """
import contextlib, io, os, runpy, socket, subprocess, sys, time
from pathlib import Path
from pyspark import SparkContext
from pyspark.sql import SparkSession

home = Path(os.environ["SPARK_HOME"])

def program(name, *arguments):
    # A program stops Spark at its end; the next one wants it.
    stop, SparkSession.stop = type(spark).stop, lambda _: None
    type(spark).stop, argv, sys.argv = SparkSession.stop, sys.argv, [name, *arguments]
    told = io.StringIO()
    try:
        with contextlib.redirect_stdout(told):
            runpy.run_path(str(home / "examples/src/main/python" / name), run_name="__main__")
    finally:
        type(spark).stop, sys.argv = stop, argv
        spark.catalog.clearCache()
    return told.getvalue()

here = socket.gethostname()

# Whether nobody in this container asked so before.
def first(name):
    try:
        return os.close(os.open(f"/tmp/{name}", os.O_CREAT | os.O_EXCL)) is None
    except FileExistsError:
        return False

# Sums of a job of 16 tasks, each of which may meet trouble.
def count(trouble):
    def task(n):
        time.sleep(0.3)
        trouble()
        return n % 3, n
    return sorted(sc.parallelize(range(16), 16).map(task).reduceByKey(lambda a, b: a + b, 2).collect())
"""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with spark_stage.built() as (engine, image), spark_stage.stage(engine, image) as there:
        conf = {"spark.speculation": True, "spark.speculation.quantile": 0.5, "spark.speculation.interval": "100ms"}
        # Without a parallelism of its own the transitive closure doubles its tasks with every round.
        conf |= {"spark.speculation.minTaskRuntime": "2s", "spark.default.parallelism": 2}
        there.shell(FOLDER)
        there.start_kernel("/tmp/work", workers=1, conf=conf)
        with there.executor(OTHER, 2 * GIB) as other:
            engine.exec(other, ["bash", "-c", FOLDER], user="1000")
            registered = lambda: there.cell("said = spark._held.registered()")  # noqa: E731
            wait.until(registered, (2).__eq__, "the other executor", seconds=60)
            there.cell(SETUP)
            yield there


PROGRAMS = {
    "pi.py 4": r"Pi is roughly 3\.1",
    "wordcount.py examples/src/main/resources/people.txt": r"Andy,: 1\n",
    "sort.py numbers.txt": r"\A1\n2\n3\n[\s\S]*\n20\n\Z",
    "kmeans.py data/mllib/kmeans_data.txt 2 0.1": r"Final centers: .*0\.1.*9\.1",
    "als.py 20 30 4 2 2": r"Iteration 1:\n\nRMSE: 0\.",
    "transitive_closure.py 2": r"TC has \d{4} edges",
    "pagerank.py data/mllib/pagerank_data.txt 3": r"1 has rank: 2\.4832",
    "ml/logistic_regression_with_elastic_net.py": r"Multinomial intercepts: \[",
    "ml/random_forest_classifier_example.py": r"Test Error = 0(\.\d+)?\s",
    "ml/pipeline_example.py": r"\(6, spark hadoop spark\) --> prob=\[0\.13412.*prediction=1\.0",
    "ml/kmeans_example.py": r"Silhouette with squared euclidean distance = 0\.99",
    "sql/basic.py": r"\| *19\| Justin\|[\s\S]*Name: Justin",
    "sql/arrow.py": r"Running Pandas to/from conversion example[\s\S]*mean",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_sparks_own_programs(program: str, stage: Stage) -> None:
    said = stage.cell(f"said = program(*{program.split()!r})")
    assert re.search(PROGRAMS[program], said), said[-1500:]


def test_one_job_with_all_that_spark_has(stage: Stage) -> None:
    """Shuffle, broadcast, cache, accumulator, a function of Python by rows and one by columns."""
    said = stage.cell("""
        import pandas as pd
        from pyspark.sql import functions as F
        from pyspark.sql.functions import pandas_udf
        from pyspark import StorageLevel

        numbers = list(range(20_000))
        names = sc.broadcast({n: f"group {n}" for n in range(7)})
        seen = sc.accumulator(0)

        def tag(n):
            seen.add(1)
            return names.value[n % 7], n

        rows = sc.parallelize(numbers, 8).map(tag).persist(StorageLevel.MEMORY_ONLY)
        sums = dict(rows.reduceByKey(lambda a, b: a + b, 4).collect())
        computed = seen.value
        again = rows.count()
        table = rows.toDF(["name", "n"])
        plus_one = F.udf(lambda n: n + 1, "long")
        half = pandas_udf(lambda column: column / 2, "double")
        other = spark.createDataFrame(pd.DataFrame({"name": [f"group {n}" for n in range(7)], "weight": range(7)}))
        joined = table.join(F.broadcast(other), "name").groupBy("weight").agg(
            F.sum(plus_one("n")).alias("n"), F.sum(half("n")).alias("half"))
        found = sorted(tuple(row) for row in joined.collect())
        kept = {one.id(): one.numCachedPartitions() for one in sc._jsc.sc().getRDDStorageInfo()}  # of programs too
        cached = kept.get(rows.id())
        hosts = set(sc.parallelize(range(8), 8).map(lambda _: (time.sleep(0.2), socket.gethostname())[1]).collect())
        said = {"sums": sums, "again": again, "computed": computed, "seen": seen.value}
        said |= {"found": found, "cached": cached, "hosts": len(hosts)}
        rows.unpersist(blocking=True)
    """)
    groups = [range(k, 20_000, 7) for k in range(7)]
    assert said["sums"] == {f"group {k}": sum(group) for k, group in enumerate(groups)}
    assert said["again"] == 20_000
    assert said["computed"] >= 20_000  # more where a copy of a slow task finished too
    assert said["seen"] == said["computed"], "what was cached was not computed again"
    assert said["cached"] == 8
    assert said["found"] == [[k, sum(group) + len(group), sum(group) / 2] for k, group in enumerate(groups)]
    assert said["hosts"] == 2


def test_a_barrier_stage_runs_its_tasks_together(stage: Stage) -> None:
    said = stage.cell("""
        def together(_):
            from pyspark import BarrierTaskContext
            context = BarrierTaskContext.get()
            everyone = context.allGather(str(context.partitionId()))
            context.barrier()
            return [(sorted(everyone), len({one.address.split(":")[0] for one in context.getTaskInfos()}))]
        said = sc.parallelize(range(2), 2).barrier().mapPartitions(together).collect()
    """)
    assert said == [[["0", "1"], 2]] * 2


def test_a_task_that_hangs_is_overtaken_by_a_copy(stage: Stage) -> None:
    said = stage.cell("""
        def late(n):
            from pyspark import TaskContext
            if n == 5 and TaskContext.get().attemptNumber() == 0:
                time.sleep(120)
            return n * n
        began = time.time()
        said = [sc.parallelize(range(6), 6).map(late).sum(), time.time() - began]
    """)
    total, seconds = said
    assert total == sum(n * n for n in range(6))
    assert seconds < 60


COUNTED = [[k, sum(range(k, 16, 3))] for k in range(3)]


def newest(stage: Stage) -> int:
    """The number of the last executor that was started beside the driver, once it is there."""
    registered = lambda: stage.cell("said = spark._held.registered()")  # noqa: E731
    wait.until(registered, (2).__eq__, "both executors", seconds=60)
    return max(int(one["id"]) for one in stage.ask("GET", PATH)["executors"])


def test_a_killed_executor_changes_no_result_and_another_takes_its_place(stage: Stage) -> None:
    victim = newest(stage)
    said = stage.cell(f"""
        def trouble():
            if socket.gethostname() == here and first("killed"):
                subprocess.run(["pkill", "-9", "-f", "executor-i[d] {victim} "], check=True)
                time.sleep(60)
        said = count(trouble)
    """)
    assert said == COUNTED
    assert newest(stage) == victim + 1
    assert stage.executor_log(victim).splitlines()[-1].endswith(": ended by signal KILL (exit 137)")
    log = stage.cell("said = spark._held.driver.log.read_text()").splitlines()
    told = [line for line in log if f"executor {victim} is lost: " in line]
    assert len(told) == 1, "the driver's log says it once"
    assert told[0].endswith("ended by signal KILL (exit 137)")


def test_an_executor_whose_heap_is_too_small_says_so(stage: Stage) -> None:
    victim = newest(stage)
    said = stage.cell("""
        def trouble():
            if socket.gethostname() == here and first("heap"):
                return bytes(600 << 20)
        # Shuffled data goes from Python to the JVM in one piece.
        big = sc.parallelize(range(8), 8).map(lambda n: (n, (time.sleep(0.5), trouble())[1]))
        said = sorted(big.partitionBy(2).keys().collect())
    """)
    assert said == list(range(8))
    assert newest(stage) == victim + 1
    assert stage.executor_log(victim).splitlines()[-1].endswith(": the JVM's heap (512m) was too small (exit 52)")


def test_an_executor_that_its_container_kills_names_the_limit(stage: Stage) -> None:
    with stage.executor(OTHER + 1, 700 << 20) as small:
        registered = lambda: stage.cell("said = spark._held.registered()")  # noqa: E731
        wait.until(registered, (3).__eq__, "the small executor", seconds=60)
        said = stage.cell(f"""
            small = {small[:12]!r}
            def trouble():
                if socket.gethostname() != small or not first("memory"):
                    return
                # The kernel ends the process that it would miss least: let it be the JVM.
                jvm = Path(f"/proc/{{os.getppid()}}/stat").read_text().rpartition(")")[2].split()[1]
                Path(f"/proc/{{jvm}}/oom_score_adj").write_text("1000")
                filled = []
                while Path(f"/proc/{{jvm}}").exists() and len(filled) < 100:
                    filled.append(b"x" * (10 << 20))  # at once, or another worker's copy of the task ends this one
                time.sleep(60)
            said = count(trouble)
        """)
        assert said == COUNTED
        wait.until(lambda: stage.state(small), "exited".__eq__, "the small executor's end", seconds=30)
        code, last = stage.ended(small)
    assert code == 137
    assert last.endswith(": out of memory: the container has 700M (exit 137)")


def shuffle(stage: Stage, mebibytes: int, seconds: int) -> tuple[int, float]:
    """Shuffle so much that does not compress; bytes that were really written, and seconds."""
    said = stage.cell(
        f"""
        from pyspark.sql import functions as F
        hashes = [F.unhex(F.sha2(F.concat_ws(" ", F.col("id"), F.lit(n)), 512)) for n in range(16)]
        table = spark.range(0, {mebibytes * 1024}, 1, 16).select("id", F.concat(*hashes).alias("text"))
        check = F.sum(F.crc32("text"))
        before = table.select(check).first()[0]
        sc.setJobGroup("shuffle", "")
        began = time.time()
        after = table.repartition(16, "id").select(check).first()[0]
        took = time.time() - began
        sc.setLocalProperty("spark.jobGroup.id", None)
        store = sc._jsc.sc().statusStore()
        jobs = sc.statusTracker().getJobIdsForGroup("shuffle")
        stages = {{one for job in jobs for one in sc.statusTracker().getJobInfo(job).stageIds}}
        written = sum(store.lastStageAttempt(one).shuffleWriteBytes() for one in stages)
        said = [before, after, written, took]
        """,
        seconds=seconds,
    )
    before, after, written, took = said
    assert before == after
    return written, took


def test_200_megabytes_of_shuffled_data_arrive_as_they_were(stage: Stage) -> None:
    written, _ = shuffle(stage, 200, 120)
    assert written > 200 << 20


@pytest.mark.soak
def test_two_gigabytes_of_shuffled_data_arrive_as_they_were(stage: Stage) -> None:
    written, took = shuffle(stage, 2048, 1200)
    print(f"{written / GIB:.2f} GiB in {took:.0f} s")
    assert written > 2 * GIB
