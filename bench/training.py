"""`occam.train` on two workers of a student's cluster, beside other ways to train the same network on the same two.

ours  occam.train, from a Parquet file, and from arrays of the notebook
hand  a loop over Keras 3 written by hand under MultiWorkerMirroredStrategy (mwms.py)
fit   `tf_keras`' fit under it (mwms.py)
spark-tensorflow-distributor 1.0, if it runs

Each rank of a peer is a process that a barrier task starts in the very executors that ours has: the same container,
core and memory, one thread each. All train in turns; a figure is the ratio of medians of the time of a step, those of a
training's first epoch left out, in which graphs are made. The time to the first step is ours from the call, and a
peer's from the start of its processes, whose Spark job is not counted.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from on_hosts import Stage, run, stage
from side_by_side import Line

ROUNDS = 3
DISTRIBUTOR = "spark-tensorflow-distributor==1.0.0"
BATCH, STEPS, EPOCHS = 512, 40, 10
"""Rows of one rank in a step."""
SMALL, LARGE = 256, 1024
"""Width of the network: 73 thousand parameters, and 1.1 million."""
_PEER = Path(__file__).with_name("mwms.py").read_text()
_DEFINE = """
import json, os, time
import keras, numpy as np, pyarrow as pa, pyarrow.parquet as pq
import occam
_batch, _steps, _epochs = {batch}, {steps}, {epochs}
_x = np.random.default_rng(1).normal(size=(2 * _batch * _steps, 28)).astype("float32")
_y = (_x[:, 0] + _x[:, 1] ** 2 > 1).astype("int32")
_path = "/tmp/bench.parquet"
_columns = {{**{{f"f{{number}}": _x[:, number] for number in range(28)}}, "label": _y}}
pq.write_table(pa.table(_columns), _path, row_group_size=_batch * _steps)
_bytes = open(_path, "rb").read()
# A Python worker that is used again has the distributor's TensorFlow in it, whose threads go on.
spark = occam.spark(workers=2, memory="2G", conf={{"spark.python.worker.reuse": "false"}})

def _put(path, file):
    # Where the workers have it too, as the data of a course.
    def work(_):
        import pyarrow
        with open(path, "wb") as there:
            there.write(file)
        yield pyarrow.RecordBatch.from_pydict({{"done": [1]}})
    spark.range(0, 2, 1, 2).mapInArrow(work, "done bigint", barrier=True).collect()
_put(_path, _bytes)

def _network(width):
    def build():
        import keras
        layers = [keras.layers.Dense(width, activation="relu"), keras.layers.Dense(width, activation="relu")]
        model = keras.Sequential([keras.Input((28,)), *layers, keras.layers.Dense(1, activation="sigmoid")])
        model.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy")
        return model
    return build

def _ours(width, data, workers=2):
    done = occam.train(_network(width), data, epochs=_epochs, batch_size=workers * _batch, workers=workers)
    steps = done.rows / (workers * _batch)
    return {{"ms": [1000 * one / steps for one in done.seconds], "first": done.until_first}}

def _peer(how, width):
    # In a process of its own, which a barrier task starts.
    program, file, numbers = _program, _bytes, (width, _batch, _steps, _epochs)
    def rank(_):
        import json, os, pyarrow, socket, subprocess, sys, tempfile, time
        from pyspark import BarrierTaskContext
        task = BarrierTaskContext.get()
        number = task.partitionId()
        host = task.getTaskInfos()[number].address.rpartition(":")[0]
        with socket.create_server((host, 0)) as free:
            port = free.getsockname()[1]
        peers = list(task.allGather(f"{{host}}:{{port}}"))
        who = {{"cluster": {{"worker": peers}}, "task": {{"type": "worker", "index": number}}}}
        there = os.environ | {{"TF_CPP_MIN_LOG_LEVEL": "3", "TF_CONFIG": json.dumps(who)}}
        with tempfile.NamedTemporaryFile() as kept:
            kept.write(file)
            kept.flush()
            task.barrier()
            began = time.time()
            command = [sys.executable, "-c", program, how, kept.name, *map(str, numbers)]
            ran = subprocess.run(command, env=there, capture_output=True, text=True, timeout=280)
        if ran.returncode:
            raise RuntimeError(ran.stderr[-1500:])
        said = json.loads(ran.stdout.splitlines()[-1])
        said["first"] -= began
        yield pyarrow.RecordBatch.from_pydict({{"said": [json.dumps(said)]}})
    ranks = spark.range(0, 2, 1, 2).mapInArrow(rank, "said string", barrier=True).collect()
    told = [json.loads(one["said"]) for one in ranks]
    first = max(one["first"] for one in told)
    return {{"ms": [max(both) for both in zip(*(one["ms"] for one in told))], "first": first}}

def _distributor(how, width):
    # As its users have it, in Spark's Python worker; or why it does not run.
    if not _distributors:
        return {{"why": "the package cannot be had here"}}
    program, file, numbers = _program, _bytes, (width, _batch, _steps, _epochs)
    def train():
        import tempfile
        from tensorflow.python.eager import context
        context._reset_context()  # as the runner does it before a strategy of its own
        names = {{"__name__": "peer"}}
        exec(program, names)
        with tempfile.NamedTemporaryFile() as kept:
            kept.write(file)
            kept.flush()
            return names["main"](how, kept.name, *numbers)
    names = {{"__name__": "__main__"}}  # so that its functions go to the workers by value
    exec(_distributors, names)
    try:
        runner = names["MirroredStrategyRunner"](num_slots=2, use_gpu=False, use_custom_strategy=True)
        return json.loads(runner.run(train))
    except Exception as error:
        lines = [line for line in str(error).splitlines() if "Error" in line]
        return {{"why": (lines or [str(error)])[-1].strip()[:300]}}
"""
_SAY = """
print("SAID", json.dumps({{{arms}}}))
"""
ARMS = {
    "hand": "_peer('hand', {small})",
    "parquet": "_ours({small}, _path)",
    "arrays": "_ours({small}, (_x, _y))",
    "fit": "_peer('fit', {small})",
    "large hand": "_peer('hand', {large})",
    "large": "_ours({large}, (_x, _y))",
    "large alone": "_ours({large}, (_x[: len(_x) // 2], _y[: len(_x) // 2]), workers=1)",
    "distributor": "_distributor('hand', {small})",
}
"""In this order, so that what is compared stands side by side."""


def measure() -> list[Line]:
    with stage() as on:
        return compared(list(_rounds(on)))


def cells() -> tuple[str, str]:
    """What defines the arms in a kernel, and what runs each once."""
    define = f"_program, _distributors = {_PEER!r}, {_distributors()!r}\n" + _DEFINE.format(
        batch=BATCH, steps=STEPS, epochs=EPOCHS
    )
    arms = ", ".join(f"{name!r}: {call.format(small=SMALL, large=LARGE)}" for name, call in ARMS.items())
    return define, _SAY.format(arms=arms)


def _distributors() -> str:
    """The source of spark-tensorflow-distributor, which is one file; "" when it cannot be had."""
    with tempfile.TemporaryDirectory() as folder:
        get = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, DISTRIBUTOR]
        if subprocess.run(get, capture_output=True, check=False).returncode:
            return ""
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            return wheel.read("spark_tensorflow_distributor/mirrored_strategy_runner.py").decode()


def _rounds(on: Stage) -> Iterator[dict[str, Any]]:
    define, turn = cells()
    with on.student.kernel() as kernel:
        run(kernel, define)
        for number in range(ROUNDS + 1):  # the first one compiles JVMs' code and fills caches, and does not count
            said = run(kernel, turn).rpartition("SAID ")[2]
            if number:
                yield json.loads(said)
        run(kernel, "spark.stop()")


def compared(rounds: list[dict[str, Any]]) -> list[Line]:
    def step(name: str) -> float:
        return statistics.median(statistics.median(one[name]["ms"][1:]) for one in rounds)

    def first(name: str) -> float:
        return statistics.median(one[name]["first"] for one in rounds)

    def line(what: str, ours: str, peer: str, limit: float) -> Line:
        return Line(what, step(ours) / step(peer), limit, detail=f"{step(ours):.1f} ms to {step(peer):.1f} ms a step")

    two, one = step("large"), step("large alone")
    why = [one["distributor"]["why"] for one in rounds if "why" in one["distributor"]]
    beside = "a step, to spark-tensorflow-distributor 1.0"
    last = Line(beside, 0, 1, skipped=why[0]) if why else line(beside, "arrays", "distributor", 1)
    begun = f"{first('parquet'):.1f} s to {first('hand'):.1f} s"
    return [
        line("a step of a small network, to the best loop by hand", "arrays", "hand", 1 / 0.97),
        line("a step of 1.1 million parameters, to the best loop by hand", "large", "large hand", 1 / 0.97),
        line("a step of a small network, to tf_keras fit", "arrays", "fit", 0.5),
        line("a step on rows from Parquet, to one on arrays", "parquet", "arrays", 1 / 0.9),
        Line("two workers on two cores, to twice one", two / one, 1 / 0.65, detail=f"{two:.1f} ms to {one:.1f} ms"),
        Line("from the call to the first step, to raw processes", first("parquet") / first("hand"), 1.5, detail=begun),
        last,
    ]
