"""Spark clusters from a notebook cell.

    import occam
    spark = occam.spark(workers=2)     # a SparkSession; its workers are containers of the course
    spark.stop()                       # gives them back; so does the end of the kernel

or, shorter, `%load_ext occam` and `%sc 2`, which sets `spark` and `sc`, and returns `sc`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from occam.cluster import Cluster, Executor
from occam.errors import NotEnough, NotReached, NotStarted, OccamError, Refused, TrainingFailed

if TYPE_CHECKING:
    from occam import data
    from occam.classic import Session
    from occam.delivery import material
    from occam.lookout import show_progress as progress
    from occam.scales import scaling
    from occam.session import clusters, current, quota, spark, stop
    from occam.training.train import train

__all__ = [
    "Cluster",
    "Executor",
    "NotEnough",
    "NotReached",
    "NotStarted",
    "OccamError",
    "Refused",
    "Session",
    "TrainingFailed",
    "clusters",
    "current",
    "data",
    "load_ipython_extension",
    "material",
    "progress",
    "quota",
    "scaling",
    "spark",
    "stop",
    "train",
]

_WITH_PYSPARK = {
    "Session": ("occam.classic", "Session"),
    "material": ("occam.delivery", "material"),
    "progress": ("occam.lookout", "show_progress"),
    "scaling": ("occam.scales", "scaling"),
    "train": ("occam.training.train", "train"),
    **{name: ("occam.session", name) for name in ("clusters", "current", "quota", "spark", "stop")},
}


def __getattr__(name: str) -> Any:
    """pyspark is loaded when it is first needed, not by `import occam`."""
    if name in _WITH_PYSPARK:
        module, what = _WITH_PYSPARK[name]
        return getattr(import_module(module), what)
    if name == "data":
        return import_module("occam.data")
    raise AttributeError(f"module 'occam' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(shell: Any) -> None:
    """What `%load_ext occam` calls."""
    from occam import magics

    magics.load(shell)
