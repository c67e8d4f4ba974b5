"""One MLlib job of about a minute on a student's cluster, and on stock Spark without anything between.

ours  four workers of a course on pretend hosts, the driver in the student's notebook
bare  stock Spark's master, four workers and a driver as plain processes in one container without limits on one of the
      hosts: the same image, heaps and cores, its own class path and JVM options, no network and no encryption between

Both clusters are there before, and stay; the job runs on them in turns. It makes a table of 20 columns of random
numbers, caches it, fits gradient-boosted trees and counts what they get right, which must be the same everywhere.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import stock
from on_hosts import DEFINE, OURS, WORKERS, Stage, run, stage, took
from side_by_side import Line

ROUNDS = 3
_ROWS = 600_000
_DEFINE = """
def _job(spark, rows):
    from pyspark.ml.classification import GBTClassifier
    from pyspark.ml.feature import VectorAssembler
    from pyspark.sql import functions as F
    began = time.time()
    names = [f"x{number}" for number in range(20)]
    table = spark.range(0, rows, 1, 4).select(*[F.rand(number).alias(name) for number, name in enumerate(names)])
    table = table.withColumn("label", (F.expr("x0 + x1 * x2 - x3 * x4") > 0.5).cast("double"))
    ready = VectorAssembler(inputCols=names, outputCol="features").transform(table).select("features", "label").cache()
    model = GBTClassifier(maxIter=30, maxDepth=5, seed=1).fit(ready)
    right = model.transform(ready).where("prediction = label").count()
    ready.unpersist()
    return time.time() - began, right
"""
_JOB = f'print("TOOK", *_job(spark, {_ROWS}))'
_BARE = """
_on_all(spark.sparkContext, {workers})
import os
for number in range(99):
    while not os.path.exists(f"/tmp/go-{{number}}"):
        time.sleep(0.1)
    took = _job(spark, {rows})
    open(f"/tmp/part-{{number}}", "w").write(" ".join(map(str, took)))
    os.rename(f"/tmp/part-{{number}}", f"/tmp/took-{{number}}")
"""


def measure() -> list[Line]:
    seconds: dict[str, list[float]] = {"ours": [], "bare": []}
    with stage() as on, on.student.kernel() as kernel, _bare(on) as bare:
        run(kernel, DEFINE + _DEFINE + OURS.format(workers=WORKERS))
        results = set()
        for number in range(ROUNDS + 1):  # in the first one the JVMs are still compiling; it does not count
            for name, (took_, right) in (("ours", took(run(kernel, _JOB))[0]), ("bare", bare(number))):
                seconds[name] += [took_][: bool(number)]
                results.add(right)
        run(kernel, "spark.stop()")
    if len(results) != 1:
        raise SystemExit(f"the job does not give the same everywhere: {results}")
    ours, peer = statistics.median(seconds["ours"]), statistics.median(seconds["bare"])
    what = "an MLlib job on a ready cluster, to bare standalone processes"
    return [Line(what, ours / peer, 1 / 0.97, detail=f"{ours:.1f} s to {peer:.1f} s")]


@contextmanager
def _bare(on: Stage) -> Iterator[Callable[[int], list[float]]]:
    """Stock Spark's processes and a driver beside them; what is yielded runs the job number n there."""
    begin = ["docker", "run", "--rm", "-d", "--name", "bare", "--user", "1000", on.image, "bash", "-c"]
    on.on_host(*begin, stock.PROCESSES.format(workers=WORKERS))
    program = DEFINE + _DEFINE + stock.DRIVER.format(master="127.0.0.1", workers=WORKERS)
    program += _BARE.format(workers=WORKERS, rows=_ROWS)
    keep = "cat > /tmp/driver.py; nohup python /tmp/driver.py > /tmp/driver.log 2>&1 &"
    on.on_host("docker", "exec", "-i", "bare", "bash", "-c", keep, stdin=program)

    def job(number: int) -> list[float]:
        wait = f"touch /tmp/go-{number}; until [ -e /tmp/took-{number} ]; do pgrep -f driver.p[y] >/dev/null || "
        wait += f"{{ tail -n 20 /tmp/driver.log >&2; exit 1; }}; sleep 0.2; done; cat /tmp/took-{number}"
        said = on.on_host("docker", "exec", "bare", "bash", "-c", wait, seconds=600)
        return [float(one) for one in said.split()]

    try:
        yield job
    finally:
        on.on_host("docker", "rm", "-f", "bare")
