"""`occam.train`: synchronous data parallelism for a Keras model on the workers of this notebook's Spark cluster."""

from __future__ import annotations

import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from occam import held, lookout
from occam.errors import Refused
from occam.held import Held
from occam.training import preflight, source, task
from occam.training.bar import Bar
from occam.training.columns import Names
from occam.training.forms import TRAIN, row_bytes
from occam.training.plan import Plan
from occam.training.preflight import Workers
from occam.training.result import Result
from occam.wish import size


def train(
    build_model: Callable[[], Any],
    data: Any,
    epochs: int = 10,
    batch_size: int = 1024,
    workers: int | None = None,
    validation: Any = None,
    callbacks: Iterable[Any] = (),
    gpu: bool = False,
    seed: int = 1,
    *,
    features: Names = None,
    label: Names = "label",
    weight: str | None = None,
    class_weight: Mapping[int, float] | None = None,
    shuffle: bool = True,
    retries: int = 1,
    timeout: float = 300,
) -> Result:
    """Train what `build_model()` returns, a compiled Keras model, on `workers` ranks; the trained model and its curves.

    data, validation  a Spark DataFrame, the path of Parquet files, or arrays (x, y) or (x, y, weights)
    batch_size        rows of one step of all ranks together; each has an equal share of them
    workers           ranks; as many as the cluster has workers when left away
    callbacks         Keras' own, called here between epochs; those that want to be called in every batch are refused
    gpu               each rank has a GPU of its worker
    features, label   columns; features: all others when left away. One row of them is reshaped to the model's Input
    weight            column of the rows' weights; class_weight: weights by class, as Keras has them
    shuffle           mix the rows once and the batches in each epoch, by `seed`; else all stay in order
    retries           how often it may begin again, after the last whole epoch, when a worker is lost
    timeout           seconds in which nothing moves, after which it fails

    The loss curve is that of one process with the same batch_size. Raises Refused and NotEnough before anything is
    started, TrainingFailed after that. Interrupting the cell ends the ranks.
    """
    began = time.monotonic()
    one = _cluster(data)
    cluster = _workers(one)
    ranks = preflight.workers_of(cluster, workers, gpu=gpu)
    batch_size, epochs = preflight.batch(batch_size, ranks), preflight.epochs(epochs)
    retries, seed = preflight.patience(retries, timeout), preflight.seed(seed)
    weighted = bool(weight) or (isinstance(data, (tuple, list)) and len(data) > 2)
    classes = preflight.class_weights(class_weight, rows_weighted=weighted)
    versions = task.versions()
    preflight.alike(versions, task.versions(sysconfig.get_path("purelib")))
    spark = one.session
    with ExitStack() as stack:
        stack.enter_context(_without_job_lines())
        rows = source.of(data, validation, spark, (features, label, weight))
        from occam.training import between, conduct, dialects, network  # and with them TensorFlow

        with dialects.seeded(seed):
            model = network.built(build_model)
            taken = between.checked(callbacks, model)
            if (wanted := network.wanted_shape(model)) is not None:
                rows.forms["x"] = preflight.shape(rows.forms["x"], wanted)
            values = network.rehearse(model, rows.forms)
        preflight.memory(cluster, values, row_bytes(rows.forms), batch_size // ranks, ranks)
        # What is above needs no job of Spark's, but for one that looks at a row of arrays or vectors.
        rows = rows.reach(spark, source.Room(ranks, preflight.room(cluster, ranks)))
        stack.callback(rows.close)
        layouts = rows.arrange(batch_size, ranks, seed if shuffle else None)
        plan = Plan(
            ("", 0), b"", network.pickled(build_model), rows.forms, layouts, rows.from_spark, seed, shuffle,
            versions, cluster.cores, gpu, classes, rows.names, rows.listings,
        )  # fmt: skip
        calls = between.Between(model, taken, epochs, layouts[TRAIN].batches)
        slots = lambda: _workers(one).slots  # noqa: E731
        return conduct.Training(spark, plan, rows, calls, Bar(epochs, ranks), slots, began).run(
            epochs, retries, timeout
        )


@contextmanager
def _without_job_lines() -> Iterator[None]:
    """Spark's count of tasks says nothing of a training, whose tasks all run until its end."""
    looking = lookout.begin()
    shown, looking.progress = looking.progress, False
    try:
        yield
    finally:
        looking.progress = shown


def _cluster(data: object) -> Held:
    """The cluster that the data is on, or else the current one. Raises Refused."""
    session = getattr(data, "sparkSession", None)
    one = held.current() if session is None else getattr(session, "_held", None)
    if one is None and session is None:
        raise Refused("there is no Spark cluster to train on", "start one: spark = occam.spark(workers=2)")
    if one is None:
        raise Refused(
            "the data is not on a cluster of this notebook", "the course's own cluster does not train: occam.spark()"
        )
    return one


def _workers(one: Held) -> Workers:
    """What the cluster has now, by what its driver knows."""
    conf = one.session.sparkContext.getConf()
    cores = int(conf.get("spark.executor.cores", "1")) // int(conf.get("spark.task.cpus", "1"))
    heap = size(conf.get("spark.executor.memory", "")) or 0
    gpus = float(conf.get("spark.executor.resource.gpu.amount", "0"))
    return Workers(one.wish.name, one.registered(), cores, one.wish.memory, heap, gpus, one.wish.adaptive)
