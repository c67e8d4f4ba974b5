"""What every rank of a training is told when it starts. Sent to Spark's tasks, so it holds only what can be pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from occam.training.direct import Listing
from occam.training.forms import TRAIN, Forms
from occam.training.order import Layout


@dataclass(frozen=True)
class Plan:
    """One training.

    address      where the notebook listens, on the cluster's network; `key` opens it
    build        the student's function, as cloudpickle wrote it
    forms        of one row
    layouts      of each part: train, and validation if there is one
    from_spark   whether the tasks get the rows; else the notebook sends them
    versions     of the libraries in the notebook, which the workers' must be alike
    cores        of one executor
    gpus         whether each rank has the GPU of its task
    names        of the features, one for each value of x, where they are columns
    listings     of each part its files, when the tasks read them by themselves
    """

    address: tuple[str, int]
    key: bytes = field(repr=False)
    build: bytes = field(repr=False)
    forms: Forms
    layouts: Mapping[str, Layout]
    from_spark: bool
    seed: int
    shuffle: bool
    versions: Mapping[str, str]
    cores: int
    gpus: bool
    class_weight: Mapping[int, float]
    names: tuple[str, ...] = ()
    listings: Mapping[str, Listing] = field(default_factory=dict)

    @property
    def workers(self) -> int:
        return self.layouts[TRAIN].workers

    @property
    def parts(self) -> list[str]:
        return list(self.layouts)


@dataclass(frozen=True)
class Order:
    """What a rank's process is told first; `files` are numbers of open files that it has from its parent."""

    plan: Plan
    rank: int
    files: Mapping[str, int]


@dataclass(frozen=True)
class Go:
    """What it is told when its rows are there: addresses of all ranks, and how many threads it may use."""

    peers: list[str]
    threads: int
