"""One small Spark job with a real driver and a real executor, both on our backend, inside one container.

    warm_up.py DIR record   both JVMs write their class data archive into DIR when they end
    warm_up.py DIR check    runs again with the archives and fails unless both JVMs map them

The gateway's side is a few lines here, so that the driver's HTTP classes are archived too.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).parent
PORT = 7078
DEADLINE = 900
"""Seconds; a machine that builds two images and runs tests besides took 300."""
QUIET = ["-Xlog:disable", "-Xlog:all=error:stderr"]
"""The JVM warns of every class that it cannot archive, thousands of them."""

MIN_SHARED = 5000
"""Classes that come out of an archive when it is mapped; the JVM's own archive alone gives some 1300."""


class Gateway(BaseHTTPRequestHandler):
    """Says yes to everything."""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = json.dumps({"state": "running", "wanted": 1, "executors": []}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_PUT = do_POST = do_DELETE = answer

    def log_message(self, *_words: object) -> None:
        """Nobody reads it."""


def executor(to: Path, work: Path, host: str, java: str) -> subprocess.Popen[bytes]:
    """The entrypoint that every executor of a course has, with `java` options on top."""
    variables = {
        "OCCAM_SPARK_DIR": str(to), "OCCAM_EXECUTOR_ARGS": str(work / "executor.args"),
        "OCCAM_JAVA_OPTS": " ".join([*QUIET, java]),
        "OCCAM_DRIVER_HOST": host, "OCCAM_DRIVER_PORT": str(PORT), "OCCAM_APP_ID": "app-warm-up",
        "OCCAM_EXECUTOR_ID": "0", "OCCAM_CORES": "1", "OCCAM_MEMORY": str(1 << 30),
        # With a GPU, so that the classes that read Spark's resources file are archived too.
        "OCCAM_GPUS": "1", "DOCKER_RESOURCE_OCCAM_GPU_NONE": "GPU-none",
    }  # fmt: skip
    return subprocess.Popen([HERE / "bin" / "occam-executor"], env=os.environ | variables)


def driver(to: Path, work: Path, java: list[str]) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
    """A driver's JVM as the notebook starts it, and the environment that pyspark finds it by."""
    told = work / "told"
    archive = to / "driver.jsa"
    mapped = [f"-XX:SharedArchiveFile={archive}"] if archive.exists() else []
    submit = ["org.apache.spark.deploy.SparkSubmit", "--properties-file", str(work / "spark.conf"), "pyspark-shell"]
    jvm = subprocess.Popen(
        ["java", f"@{to}/java.args", *mapped, *QUIET, *java, "-Xmx1g", *submit],
        stdin=subprocess.PIPE, env=os.environ | {"_PYSPARK_DRIVER_CONN_INFO_PATH": str(told)},
    )  # fmt: skip
    end = time.monotonic() + DEADLINE
    while not told.exists():
        if jvm.poll() is not None or time.monotonic() > end:
            raise SystemExit("the driver's JVM did not start")
        time.sleep(0.05)
    said = told.read_bytes()
    token = said[8 : 8 + int.from_bytes(said[4:8], "big")].decode()
    return jvm, {"PYSPARK_GATEWAY_PORT": str(int.from_bytes(said[:4], "big")), "PYSPARK_GATEWAY_SECRET": token}


def job() -> None:
    """What a first lab touches: SQL, a join, Arrow to and from pandas, a Python function, an MLlib model."""
    import pandas as pd
    from pyspark.ml.classification import GBTClassifier
    from pyspark.ml.evaluation import BinaryClassificationEvaluator
    from pyspark.ml.feature import VectorAssembler
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as F

    spark = SparkSession.builder.getOrCreate()
    table = spark.createDataFrame(pd.DataFrame({"a": range(400), "b": [i % 7 for i in range(400)]})).repartition(2)
    with tempfile.TemporaryDirectory() as folder:
        spark.range(7).withColumnRenamed("id", "b").write.parquet(f"{folder}/b")
        other = spark.read.parquet(f"{folder}/b").cache()
        other.count()
    joined = table.join(other, "b").withColumn("label", (F.col("a") % 2).cast("double")).cache()
    joined.groupBy("b").agg(F.avg("a"), F.count("*")).orderBy("b").toPandas()
    spark.sparkContext.parallelize(range(8), 2).map(lambda n: n * n).sum()
    ready = VectorAssembler(inputCols=["a", "b"], outputCol="features").transform(joined)
    model = GBTClassifier(maxIter=2, maxDepth=2).fit(ready)
    BinaryClassificationEvaluator().evaluate(model.transform(ready))
    spark.stop()


def shared_classes(log: Path) -> int:
    return sum("source: shared objects file" in line for line in log.read_text(errors="replace").splitlines())


def main(to: Path, recording: bool) -> None:
    work = Path(tempfile.mkdtemp(prefix="warm-up-"))
    host = socket.gethostbyname(socket.gethostname())
    web = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    words = {
        "spark.authenticate": "true", "spark.authenticate.secret": secrets.token_hex(32),
        "spark.network.crypto.enabled": "true", "spark.network.crypto.cipher": "AES/GCM/NoPadding",
    }  # fmt: skip
    (work / "executor.args").write_text("".join(f"-D{key}={value}\n" for key, value in words.items()))
    words |= {
        "spark.master": "spark+occam://warm-up", "spark.app.name": "warm-up", "spark.occam.app.id": "app-warm-up",
        "spark.occam.url": f"http://127.0.0.1:{web.server_port}", "spark.occam.cluster": "users/u/clusters/c",
        "spark.driver.host": host, "spark.driver.port": str(PORT), "spark.executor.instances": "1",
        "spark.decommission.enabled": "true", "spark.sql.shuffle.partitions": "2", "spark.ui.port": "4041",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
    }  # fmt: skip
    (work / "spark.conf").write_text("".join(f"{key} {value}\n" for key, value in words.items()))

    def options(role: str) -> str:
        return f"-XX:ArchiveClassesAtExit={to}/{role}.jsa" if recording else f"-Xlog:class+load:file={work}/{role}.log"

    started = time.monotonic()
    worker = executor(to, work, host, options("executor"))
    jvm, found = driver(to, work, [options("driver")])
    # A run that hangs would hang the image's build with it.
    watch = threading.Timer(DEADLINE, lambda: (jvm.kill(), worker.kill(), os._exit(1)))
    watch.start()
    try:
        os.environ.update(found)
        job()
        jvm.stdin.close()
        if jvm.wait() or worker.wait():
            raise SystemExit("the small run failed")
    finally:
        watch.cancel()
        jvm.kill()
        worker.kill()
    print(f"{'recorded' if recording else 'checked'} in {time.monotonic() - started:.1f} s")
    for role in ("driver", "executor"):
        if recording and not (to / f"{role}.jsa").stat().st_size:
            raise SystemExit(f"{role}: no archive was written")
        if not recording and (count := shared_classes(work / f"{role}.log")) < MIN_SHARED:
            raise SystemExit(f"{role}: only {count} classes come from the archive")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "record")
