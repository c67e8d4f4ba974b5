"""What is checked before anything starts. Pure: from numbers, in well under a second.

Spark alone would try for ten minutes to start a barrier stage that has too few slots (SPARK-24819).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from occam import show
from occam.errors import NotEnough, Refused
from occam.training.forms import Form
from occam.wish import count

MIB = 1 << 20
LIBRARIES = 450 * MIB
"""Memory that a rank's two Python processes have before there is a network: measured, with TensorFlow 2.21."""
ARRAYS = 512 * MIB
"""The most that the notebook sends to the ranks itself."""
COPIES = 4
"""Of the trainable weights, besides the optimizer's variables: weights, gradients, their vector, its sum."""


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


def arrays(amount: int) -> None:
    """Raises Refused when arrays are too large to be sent from the notebook."""
    if amount > ARRAYS:
        raise Refused(
            f"the arrays have {show.size(amount)}, and the notebook sends at most {show.size(ARRAYS)} to the workers",
            "write them to Parquet, and give its path",
        )


def rows(number: int, workers: int, what: str = "data") -> int:
    """Raises Refused when there is less than a row for each rank."""
    if number < workers:
        raise Refused(f"the {what} has {show.plural(number, 'row')} for {show.plural(workers, 'worker')}")
    return number


_BATCH_HOOKS = tuple(
    f"on_{what}batch_{when}" for what in ("", "train_", "test_", "predict_") for when in ("begin", "end")
)
BETWEEN_EPOCHS = ("ModelCheckpoint", "TensorBoard", "TerminateOnNaN")
"""Keras' own that have such hooks and serve without them, with their usual settings."""


def callbacks(given: Iterable[Any], base: type) -> list[Any]:
    """Those that can be called between epochs, of Keras' class `base`. Raises Refused for the others, with why."""
    taken = list(given)
    for one in taken:
        name = type(one).__name__
        if not isinstance(one, base):
            raise Refused(f"{one!r} is no callback of Keras", "callbacks are objects of keras.callbacks.Callback")
        if name in BETWEEN_EPOCHS and type(one).__module__.startswith("keras."):
            often = [getattr(one, key, "epoch") for key in ("save_freq", "update_freq")]
            if often != ["epoch", "epoch"]:
                raise Refused(
                    f"{name} wants to be called every few batches, and callbacks are called between epochs only",
                    'save_freq="epoch", or update_freq="epoch"',
                )
            continue
        hooks = [hook for hook in _BATCH_HOOKS if _own(one, hook, base)]
        if hooks:
            raise Refused(
                f"the callback {name} has {hooks[0]}, and callbacks are called in the notebook, between epochs: batches"
                " are trained on the workers",
                "use on_epoch_begin and on_epoch_end",
            )
    return taken


def _own(one: Any, hook: str, base: type) -> bool:
    mine = getattr(type(one), hook, None)
    return hook in vars(one) or mine is not getattr(base, hook, None)
