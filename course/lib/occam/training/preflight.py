"""What is checked before anything starts. Pure: from numbers, in well under a second.

Spark alone would try for ten minutes to start a barrier stage that has too few slots (SPARK-24819).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from occam import show
from occam.errors import NotEnough, Refused
from occam.training.forms import Form
from occam.training.task import DIFFER, differences
from occam.wish import count

MIB = 1 << 20
LIBRARIES = 450 * MIB
"""Memory that a rank's two Python processes have before there is a network: measured, with TensorFlow 2.21."""
ARRAYS = 512 * MIB
"""The most that the notebook sends to the ranks itself."""
COPIES = 4
"""Of the trainable weights, besides the optimizer's variables: weights, gradients, their vector, its sum."""

OVER = "pip uninstall what you installed over the image's, and restart the kernel"
"""What mends libraries that differ."""


@dataclass(frozen=True)
class Workers:
    """The cluster: `executors` are registered, each of `cores` tasks and `memory` bytes, `heap` of them the JVM's."""

    name: str
    executors: int
    cores: int
    memory: int
    heap: int
    gpus: float = 0
    adaptive: tuple[int, int] | None = None

    @property
    def slots(self) -> int:
        return self.executors * max(self.cores, 1)


@dataclass(frozen=True)
class Size:
    """A network: numbers of values in its weights and in its optimizer's variables."""

    weights: int
    optimizer: int


def alike(notebook: Mapping[str, str], image: Mapping[str, str]) -> None:
    """The notebook's libraries are the image's, which workers have; they look themselves, too. Raises Refused."""
    if wrong := differences(image, notebook):
        raise Refused(f"{DIFFER}: {wrong}", OVER)


def workers_of(cluster: Workers, wanted: int | None, *, gpu: bool) -> int:
    """How many ranks train; one for each executor when nothing is said. Raises Refused, NotEnough."""
    if cluster.adaptive:
        low, high = cluster.adaptive
        raise Refused(
            f"the cluster {cluster.name!r} is adaptive (between {low} and {high} workers), and all ranks of a training"
            " must run at the same time",
            f"spark.stop(), then occam.spark(workers={high})",
        )
    workers = cluster.executors if wanted is None else count("workers", wanted)
    if workers > cluster.slots or not workers:
        has = f"{show.plural(cluster.executors, 'worker')} of {show.plural(cluster.cores, 'core')}"
        raise NotEnough(
            f"{workers or 1} ranks need as many cores at the same time, and the cluster {cluster.name!r} has {has}",
            f"workers={cluster.slots}, or spark.cluster.scale({-(-max(workers, 1) // max(cluster.cores, 1))})",
        )
    if gpu and not cluster.gpus:
        raise Refused(f"the workers of the cluster {cluster.name!r} have no GPU", "occam.spark(gpu=1), or gpu=False")
    if gpu and workers > cluster.executors * cluster.gpus:
        most = int(cluster.executors * cluster.gpus)
        raise NotEnough(
            f"{workers} ranks need a GPU each, and the cluster {cluster.name!r} has {most}", f"workers={most}"
        )
    return workers


def batch(size: object, workers: int) -> int:
    """The global batch, which all ranks share equally. Raises Refused with the nearest sizes that would do."""
    number = count("batch_size", size)
    if number % workers:
        below, above = number // workers * workers, -(-number // workers) * workers
        near = f"{below} or {above}" if below else f"{above}"
        raise Refused(
            f"batch_size={number} cannot be shared equally by {workers} workers: it is the size of one step's batch of"
            " all workers together",
            f"batch_size={near}",
        )
    return number


def epochs(number: object) -> int:
    return count("epochs", number)


def shape(form: Form, wanted: Sequence[int | None]) -> Form:
    """x's rows in the shape that the network takes (None: any number there). Raises Refused when they do not fit."""
    known = [one for one in wanted if one is not None]
    if len(form.shape) == len(wanted) and all(b in (None, a) for a, b in zip(form.shape, wanted, strict=True)):
        return form
    if len(known) == len(wanted) and Form("int8", tuple(known)).values == form.values:
        return Form(form.kind, tuple(known))
    takes = " x ".join("?" if one is None else str(one) for one in wanted)
    raise Refused(
        f"a row of the data has {show.plural(form.values, 'feature')}, and the network takes {takes}",
        "change the network's Input, or say which columns: features=[…]",
    )


def memory(cluster: Workers, size: Size, row: int, share: int, ranks: int) -> None:
    """Raises NotEnough when a worker surely is too small: `share` rows of `row` bytes at a time, besides the network.

    What layers hold between the forward and the backward pass is not counted, so that a pass is no promise.
    """
    here = -(-ranks // max(cluster.executors, 1))
    needed = here * (LIBRARIES + 4 * (COPIES * size.weights + size.optimizer) + 3 * share * row)
    has = cluster.memory - cluster.heap
    if cluster.memory and needed > has:
        more = -(-(needed + max(needed, 480 * MIB)) >> 30)
        raise NotEnough(
            f"a rank needs {show.size(needed)} at least, and a worker has {show.size(has)} besides its JVM",
            f'spark.stop(), then occam.spark(memory="{more}G"); or a smaller network, or a smaller batch_size',
        )


def room(cluster: Workers, ranks: int) -> int:
    """Bytes of rows that all ranks together can keep in memory, beside their networks; a guess on the safe side."""
    if not cluster.memory:
        return ranks * ARRAYS
    here = -(-ranks // max(cluster.executors, 1))
    return max(0, cluster.memory - cluster.heap - here * LIBRARIES) // 2 // here * ranks


def arrays(amount: int) -> None:
    """Raises Refused when arrays are too large to be sent from the notebook."""
    if amount > ARRAYS:
        raise Refused(
            f"the arrays have {show.size(amount)}, and the notebook sends at most {show.size(ARRAYS)} to the workers",
            "write them to Parquet, and give its path",
        )


def rows(number: int, workers: int, what: str = "data") -> int:
    """Raises Refused when there is less than a row for each rank."""
    if not number:
        raise Refused(f"the {what} has no rows", "look at what makes it: a filter, or a split, that leaves nothing")
    if number < workers:
        raise Refused(
            f"the {what} has {show.plural(number, 'row')} for {show.plural(workers, 'worker')}", f"workers={number}"
        )
    return number


def class_weights(given: object, *, rows_weighted: bool) -> dict[int, float]:
    """A weight for each class. Raises Refused."""
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(one, Integral) for one in given):
        raise Refused("class_weight is a weight for each class, by its number", "class_weight={0: 1.0, 1: 5.0}")
    if given and rows_weighted:
        raise Refused("rows have weights, and so have classes: Keras takes one of both", "leave one away")
    return {int(one): float(weight) for one, weight in given.items()}


def patience(retries: object, timeout: float) -> int:
    """How often it may begin again, and seconds in which nothing moves. Raises Refused."""
    if not timeout > 0:
        raise Refused(f"timeout must be more than 0 seconds, not {timeout!r}")
    return count("retries", retries, least=0)


def seed(number: object) -> int:
    """What NumPy takes as well. Raises Refused."""
    found = count("seed", number, least=0, fix="any one will do, as seed=1")
    if found >= 1 << 32:
        raise Refused(f"seed must be less than 2**32, not {found}", "any one will do, as seed=1")
    return found


def sums(names: Sequence[str], before: Sequence[Any], once: Sequence[Any], twice: Sequence[Any]) -> None:
    """A metric's states after no row, a row, and that row again; raises Refused for one that does not add up."""
    import numpy as np

    for name, *seen in zip(names, before, once, twice, strict=True):
        none, one, two = (np.asarray(state, np.float64) for state in seen)
        with np.errstate(invalid="ignore"):
            adds_up = np.allclose(one - none, two - one, rtol=1e-3, equal_nan=True)
        if not adds_up:
            raise Refused(
                f"the state {name!r} of a metric is no sum over rows, and ranks add up the states of theirs",
                "leave it out of compile; of result.model.predict(…) it can be computed afterwards",
            )
