"""Spark on our own scheduler backend: real drivers and real executors in one container of the notebook image.

The gateway is a stand-in (stand_in_gateway.py) that records what it is asked and starts executors as processes, by the
same entrypoint that their containers have.
"""

from __future__ import annotations

import json
import re

import pytest
import requests

from occamctl import wait
from occamctl.actions.forward import at_port
from occamctl.engine.relay import relay
from occamctl.spark import settings

from .spark_stage import PATH, PORT, SECONDS, USER, Stage

pytestmark = pytest.mark.engine


def test_a_session_from_the_first_cell_to_stop(stage: Stage) -> None:
    said = stage.python("""
        spark = occam.spark(workers=2)
        said = {"text": repr(spark), "html": spark._repr_html_(), "hosts": spark.cluster.hosts}
        said["sum"] = spark.range(1000).selectExpr("sum(id)").first()[0]
        said["python"] = spark.sparkContext.parallelize(range(8), 4).map(lambda n: n * n).sum()
        said["flights"] = occam.data.flights().count()
        seen = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ"
        running = subprocess.run(seen, shell=True, capture_output=True).stdout
        folder = spark._held.driver.private
        conf = dict(line.split(" ", 1) for line in (folder / "spark.conf").read_text().splitlines())
        said["shown"] = conf["spark.authenticate.secret"].encode() in running
        said["modes"] = [oct(file.stat().st_mode & 0o777) for file in (folder, folder / "spark.conf", folder / "token")]
        said["same"] = occam.spark(workers=2) is spark
        listening = subprocess.run(["cat", "/proc/net/tcp", "/proc/net/tcp6"], capture_output=True, text=True).stdout
        port = f"{int(conf['spark.ui.port']):04X} "
        said["page"] = [line.split()[1] for line in listening.splitlines() if port in line and line.split()[3] == "0A"]
        said["link"] = f"/user/anna.rossi@unito.it/proxy/{conf['spark.ui.port']}/jobs/" in repr(spark)
        import http.client
        page = http.client.HTTPConnection("127.0.0.1", int(conf["spark.ui.port"]), timeout=10)
        page.request("GET", "/")
        said["redirect"] = page.getresponse().headers["Location"] == spark._held.link
        spark.stop()
        said["after"] = [repr(spark), folder.exists(), len(occam.clusters())]
    """)
    assert said["hosts"] == ["node1", "node2"]
    assert "workers: 2, 1 core and 1 GB each; hosts: node1, node2" in said["text"]
    assert "Open the Spark UI" in said["html"]
    assert (said["sum"], said["python"], said["flights"]) == (499500, 140, 336776)
    assert said["shown"] is False
    assert said["modes"] == ["0o700", "0o400", "0o400"]
    assert said["same"] is True
    assert len(said["page"]) == 1
    assert said["page"][0].split(":")[0].endswith("0100007F"), "Spark's page answers on the loopback only"
    assert said["link"] is True
    assert said["redirect"] is True, "what Spark's page redirects to goes through the hub"
    assert said["after"] == ["<Spark session, stopped>", False, 0]
    asked = stage.ask("GET", "/requests")
    assert {one["token"] for one in asked} == {"token the-students-token", "token the-clusters-token"}
    by_driver = {one["path"] for one in asked if one["token"] == "token the-clusters-token"}
    assert by_driver == {PATH, f"{PATH}/lease"}, "the driver has a token for its own cluster"
    assert max(one["registered"] for one in stage.requests("PUT", f"{PATH}/lease")) == 2
    wait.until(stage.javas, (0).__eq__, "JVMs after stop", seconds=30)
    ends = stage.shell("tail -qn1 /tmp/executor-lab-*.log").splitlines()
    assert len(ends) == 2
    assert all(line.endswith("(exit 0)") for line in ends), ends


def test_scaling_keeps_the_session_and_its_data(stage: Stage) -> None:
    said = stage.python("""
        spark = occam.spark(workers=1)
        kept = spark.range(100000).cache()
        said = [kept.count()]
        said.append(occam.spark(workers=2) is spark)
        said.append([spark._held.registered(), kept.count()])
        occam.spark(workers=1)
        said.append([spark._held.registered(), kept.count()])
        try:
            occam.spark(workers=1, memory="2G")
        except occam.Refused as refused:
            said.append(refused.what)
    """)
    assert said == [100000, True, [2, 100000], [1, 100000], "the cluster 'lab' runs with other sizes or settings"]


def test_a_killed_kernel_gives_its_workers_back(stage: Stage) -> None:
    stage.shell("""
        export OCCAM_DRIVER_HOST=$(hostname -i)
        python -uc 'import occam, time; occam.spark(workers=1); print(1); time.sleep(99)' > /tmp/out & kernel=$!
        for _ in $(seq 200); do [ -s /tmp/out ] && break; sleep 0.5; done
        kill -9 $kernel
    """)
    wait.until(lambda: stage.requests("DELETE", PATH), bool, "the cluster's release", seconds=20)
    wait.until(stage.javas, (0).__eq__, "JVMs after the kernel's end", seconds=30)


def test_a_refusal_is_one_line_and_leaves_nothing(stage: Stage) -> None:
    error = {
        "what": "9 workers are over the quota of 4; 4 would do",
        "where": "anna",
        "fix": "ask for 4",
        "exit_code": 4,
    }
    stage.ask("PUT", "/answer", json.dumps({"status": 409, "error": error}))
    said = stage.python("""
        try:
            occam.spark(workers=9)
        except occam.NotEnough as refused:
            said = refused._render_traceback_()
    """)
    assert said == ["NotEnough: 9 workers are over the quota of 4; 4 would do\n  → ask for 4"]
    assert stage.javas() == 0
    stage.ask("PUT", "/answer", "{}")
    assert stage.python("said = occam.spark(workers=1)._held.registered()") == 1


def test_a_driver_that_does_not_start_says_why_and_leaves_nothing(stage: Stage) -> None:
    said = stage.python("""
        from pathlib import Path
        occam.spark  # the library is loaded
        occam.driver.IMAGE = Path("/nowhere")
        try:
            occam.spark(workers=1)
        except occam.NotStarted as failure:
            said = [failure.what.splitlines(), [str(left) for left in Path("/dev/shm").glob("occam-*")]]
    """)
    words, left = said
    assert words[0] == "Spark's driver did not start:"
    assert "/nowhere/java.args" in words[-1]
    assert left == []
    assert len(stage.requests("DELETE", PATH)) == 1


def test_an_interrupted_start_leaves_nothing(stage: Stage) -> None:
    stage.python("""
        import _thread, threading
        threading.Timer(2, _thread.interrupt_main).start()
        try:
            occam.spark(workers=1)
        except KeyboardInterrupt:
            said = "interrupted"
        assert said == "interrupted" and not occam.clusters()
    """)
    wait.until(stage.javas, (0).__eq__, "JVMs after the interrupt", seconds=20)


def test_a_cluster_that_was_taken_away_ends_the_session(stage: Stage) -> None:
    said = stage.python("""
        spark = occam.spark(workers=1)
        occam.gateway.here().ask("DELETE", "clusters/lab")
        end = time.time() + 60
        while spark._held.alive and time.time() < end:
            time.sleep(0.2)
        said = [spark._held.alive, occam.current()]
        said.append(occam.spark(workers=1).range(3).count())
    """)
    assert said == [False, None, 3]


def test_the_magic_gives_spark_and_sc(stage: Stage) -> None:
    cells = [
        "%load_ext occam",
        "%sc",
        "%sc two",
        "%sc 1",
        "found = %sc",
        'print("found it", found is sc, repr(sc) == repr(spark))',
        "print(sc.parallelize([1, 2]).sum(), spark.sparkContext is sc)",
    ]
    typed = " ".join(f"'{line}'" for line in [*cells, "%sc", "%sc stop"])
    said = stage.shell(f"""
        export OCCAM_DRIVER_HOST=$(hostname -i) IPYTHONDIR=/tmp/ipython
        printf '%s\\n' {typed} | ipython --simple-prompt --colors=NoColor 2>&1
    """)
    assert "No Spark here yet" in said
    assert "Refused: %sc does not know 'two'" in said
    assert "Traceback" not in said
    assert "3 True" in said
    assert "found it True True" in said
    assert "on cluster lab; workers: 1, 1 core" in said


def test_an_executor_without_the_clusters_secret_is_refused(stage: Stage) -> None:
    said = stage.python(f"""
        spark, another = occam.spark(workers=1), occam.spark(workers=1, name="another")
        def conf(session):
            lines = (session._held.driver.private / "spark.conf").read_text().splitlines()
            return dict(line.split(" ", 1) for line in lines)
        def java(words):
            wire = ("spark.authenticate", "spark.network")
            return "".join(f"-D{{key}}={{value}}\\n" for key, value in words.items() if key.startswith(wire))
        words = conf(spark)
        arguments = {{
            "none": "-Dspark.authenticate=false\\n",
            "made-up": {settings.executor_args("another-secret-0123456789")!r},
            "anothers": java(conf(another)),
            "own": java(words),
        }}
        said = {{}}
        for number, (case, text) in enumerate(arguments.items(), 100):
            open(f"/tmp/{{case}}", "w").write(text)
            env = os.environ | dict(
                OCCAM_EXECUTOR_ARGS=f"/tmp/{{case}}", OCCAM_EXECUTOR_ID=str(number), OCCAM_CORES="1",
                OCCAM_MEMORY=str(1 << 30), OCCAM_APP_ID=words["spark.occam.app.id"],
                OCCAM_DRIVER_PORT=words["spark.driver.port"])
            other = subprocess.Popen(["occam-executor"], env=env, stderr=subprocess.PIPE, text=True)
            end = time.time() + 60
            while other.poll() is None and spark._held.registered() < 2 and time.time() < end:
                time.sleep(0.2)
            said[case] = [other.poll(), spark._held.registered()]
    """)
    assert said == {"none": [1, 1], "made-up": [1, 1], "anothers": [1, 1], "own": [None, 2]}


def test_the_notebooks_driver_maps_its_archive(stage: Stage) -> None:
    said = stage.python("""
        log = "-Xlog:class+load:file=/tmp/classes"
        spark = occam.spark(workers=1, conf={"spark.driver.extraJavaOptions": log})
        spark.range(10).count()
        lines = open("/tmp/classes").read().splitlines()
        said = [sum("shared objects file" in line for line in lines), len(lines)]
    """)
    shared, loaded = said
    assert shared > 10_000, f"{shared} of {loaded} classes come from an archive"


def test_driver_and_executor_map_their_archives_and_share_them(stage: Stage) -> None:
    """What the kernel says is in their memory: the archive's file, and little of it changed by one process alone."""
    said = stage.python("""
        import re
        spark = occam.spark(workers=1)
        spark.range(10).count()
        said = {}
        for pid in subprocess.run(["pgrep", "-x", "java"], capture_output=True, text=True).stdout.split():
            role = "executor" if b"OccamExecutorBackend" in open(f"/proc/{pid}/cmdline", "rb").read() else "driver"
            maps = re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", open(f"/proc/{pid}/smaps").read())
            for one in (one for one in maps if f"/{role}.jsa" in one.partition("\\n")[0]):
                for what, kib in re.findall(r"(Rss|Private_Dirty): +([0-9]+) kB", one):
                    said.setdefault(role, {}).setdefault(what, 0)
                    said[role][what] += int(kib)
    """)
    assert set(said) == {"driver", "executor"}
    for role, kib in said.items():
        assert kib["Rss"] > 20_000, (role, kib)
        assert kib["Private_Dirty"] < kib["Rss"] / 2, (role, kib)


def test_workers_take_pyspark_as_it_is_installed(stage: Stage) -> None:
    """And not from Spark's zip of its sources, which each of them would compile."""
    said = stage.python("""
        spark = occam.spark(workers=1)
        def where(_):
            import py4j, pyspark
            return pyspark.__file__, py4j.__file__
        said = spark.sparkContext.parallelize([1], 1).map(where).first()
    """)
    assert [one.partition("site-packages")[2] for one in said] == ["/pyspark/__init__.py", "/py4j/__init__.py"]


EXECUTOR = (
    "OCCAM_DRIVER_HOST=127.0.0.1 OCCAM_DRIVER_PORT=9 OCCAM_EXECUTOR_ID=1 OCCAM_APP_ID=app-1 OCCAM_CORES=1 "
    "OCCAM_MEMORY=1073741824 "
)


def test_an_executor_without_a_driver_gives_up_and_says_so(stage: Stage) -> None:
    said = stage.shell(f"{EXECUTOR} OCCAM_DRIVER_WAIT=1 occam-executor 2>&1; echo $?").splitlines()
    assert said[-1] == "69"
    assert said[-2] == "occam-executor: executor 1 of app-1: no driver at 127.0.0.1:9 (exit 69)"


def test_an_executor_that_still_waits_ends_at_once_when_told(stage: Stage) -> None:
    script = f"{EXECUTOR} occam-executor 2>&1 & sleep 1; kill -PWR $!; wait $!; echo $?"
    assert stage.shell(script, seconds=15).splitlines()[-1] == "0"


def test_a_notebooks_page_comes_whole_through_a_relay(stage: Stage) -> None:
    """Its links hold the hub's path, which nobody serves at this end; they must lead to pages all the same."""
    begin = """
import occam, time
spark = occam.spark(workers=1)
spark.range(10).count()
print(spark._held.link, flush=True)
time.sleep(300)
"""
    stage.shell(f"OCCAM_DRIVER_HOST=$(hostname -i) nohup python -c '{begin}' > /tmp/link 2>/dev/null &")
    link = wait.until(
        lambda: stage.shell("grep ^/user /tmp/link || true"), bool, "a session with a page", seconds=SECONDS, every=1
    )
    port = int(link.split("/")[4])
    with (
        relay(stage.engine, stage.container, port, user="1000") as carrying,
        at_port(0, carrying) as url,
        requests.Session() as browser,
    ):
        jobs = browser.get(url, timeout=20)
        assert jobs.url == url.rstrip("/") + link
        linked = {one for one in re.findall(r'(?:src|href)="(/[^"]+)"', jobs.text) if "proxy" in one}
        assert len(linked) > 15
        assert {browser.get(url.rstrip("/") + one, timeout=20).status_code for one in linked} == {200}
    assert carrying.over.wait(10)
    left = lambda: stage.shell("pgrep -fc 'The far end of a rela[y]' || true")  # noqa: E731
    wait.until(left, "0".__eq__, "the far end to end with the near one", seconds=10)


@pytest.mark.soak
def test_an_executor_gives_up_a_driver_that_fell_silent(stage: Stage) -> None:
    """A driver that is stopped is, for the executor, one whose network is gone: connections stay, nothing comes."""
    stage.start_kernel(workers=1)
    stage.shell("kill -STOP $(pgrep -f deploy.SparkSubmi[t])")
    wait.until(stage.javas, (1).__eq__, "the executor's end", seconds=180)
    last = lambda: stage.executor_log(1).splitlines()[-1]  # noqa: E731
    why = "the driver no longer answered its heartbeats (exit 56)"
    wait.until(last, lambda line: line.endswith(why), "its last words", seconds=15)


def test_a_connect_server_runs_on_the_same_backend(stage: Stage) -> None:
    wish = {"name": "lab", "workers": 1, "driver_host": stage.shell("hostname -i"), "driver_port": settings.DRIVER_PORT}
    made = stage.ask("POST", PATH.removesuffix("/lab"), json.dumps(wish))
    driver = settings.Driver("connect", f"http://127.0.0.1:{PORT}", USER, "lab", made["app_id"], 4 << 30)
    conf = settings.conf_file(settings.driver_conf(driver, workers=1, cores=1, memory=1 << 30), made["secret"])
    stage.shell(f"""
        umask 077
        echo '{conf}' > /tmp/driver.conf
        OCCAM_DRIVER_CONF=/tmp/driver.conf nohup occam-driver > /tmp/driver.log 2>&1 &
    """)
    probe = "echo > /dev/tcp/$(hostname -i)/15002"
    there = lambda: stage.engine.exec(stage.container, ["bash", "-c", probe], user="1000", seconds=5)[0]  # noqa: E731
    wait.until(there, (0).__eq__, "Spark Connect", seconds=120)
    said = stage.python("""
        import socket
        from pyspark.sql import SparkSession
        spark = SparkSession.builder.remote(f"sc://{socket.gethostbyname(socket.gethostname())}:15002").getOrCreate()
        said = [spark.range(100).count()]
        try:
            socket.create_connection(("127.0.0.1", 15002), timeout=2)
        except OSError as error:
            said.append("only on its network")
    """)
    assert said == [100, "only on its network"]
    stage.shell("pkill -TERM -f SparkConnectServer")
    wait.until(stage.javas, (0).__eq__, "JVMs after the server's end", seconds=60)
    assert stage.requests("DELETE", PATH) == [], "a Connect server that restarts keeps its cluster"
    assert stage.shell("tail -n1 /tmp/executor-lab-1.log").endswith("(exit 0)")
