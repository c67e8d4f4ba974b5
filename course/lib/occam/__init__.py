"""Spark clusters from a notebook cell.

    import occam
    spark = occam.spark(workers=2)     # a SparkSession; its workers are containers of the course
    spark.stop()                       # gives them back; so does the end of the kernel

or, shorter, `%load_ext occam` and `%sc 2`, which sets `spark` and `sc`.
"""

from __future__ import annotations

from typing import Any

from occam import data
from occam.cluster import Cluster, Executor
from occam.errors import NotEnough, NotReached, NotStarted, OccamError, Refused
from occam.session import Session, clusters, current, quota, spark, stop

__all__ = [
    "Cluster",
    "Executor",
    "NotEnough",
    "NotReached",
    "NotStarted",
    "OccamError",
    "Refused",
    "Session",
    "clusters",
    "current",
    "data",
    "load_ipython_extension",
    "quota",
    "spark",
    "stop",
]


def load_ipython_extension(shell: Any) -> None:
    """What `%load_ext occam` calls."""
    from occam import magics

    magics.load(shell)
