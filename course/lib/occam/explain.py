"""Why a job failed, in words about the student's own work. Pure: from the error's text and what the gateway knows."""

from __future__ import annotations

import re

from occam import show
from occam.cluster import Cluster

_MEMORY = re.compile(r"out of memory|heap .*too small|OutOfMemoryError|memory limit|for memory", re.IGNORECASE)
_LOST = re.compile(r"ExecutorLostFailure \(executor (\d+)|executor (\d+)\): java\.lang\.OutOfMemoryError")
_SIGNS = ("ExecutorLostFailure", "FetchFailed", "java.lang.OutOfMemoryError")
_DRIVER_GONE = re.compile(r"Answer from Java side is empty|Connection refused|sending or receiving|Py4JNetworkError")


def why(error: str, cluster: Cluster | None, *, driver_out_of_memory: bool = False, driver_heap: str = "") -> str:
    """One paragraph, or "" when the error speaks for itself (a mistake in the student's code, say)."""
    if driver_out_of_memory:
        heap = f" ({driver_heap})" if driver_heap else ""
        return (
            f"Spark's driver, in this notebook, ran out of memory{heap} and ended; its workers are free."
            " Bring less into the notebook: aggregate or limit() before collect() and toPandas(), or write the result"
            " to a file. occam.spark() starts a new one."
        )
    if "SPARK-24942" in error:
        return (
            "This cluster is adaptive, and barrier stages (distributed training) need a fixed one:"
            " spark.stop(), then occam.spark(workers=4) without adaptive=."
        )
    if "SPARK-24819" in error:
        return (
            "A barrier stage starts all its tasks at once, and asks for more than this cluster's workers have cores."
            " Use fewer partitions, or more workers: spark.cluster.scale(n)."
        )
    if "spark.driver.maxResultSize" in error:
        return "The result is too large for the notebook: aggregate or limit() it first, or write it to a file."
    if cluster is not None and any(word in error for word in _SIGNS):
        return _lost(error, cluster)
    return ""


def driver_is_gone(error: str) -> bool:
    """Whether the error is one of the connection to the driver, and not of Spark."""
    return bool(_DRIVER_GONE.search(error))


def _lost(error: str, cluster: Cluster) -> str:
    named = ["".join(pair) for pair in _LOST.findall(error)]
    gone = [one for one in cluster.executors if one.state == "lost"]
    guilty = [one for one in gone if _MEMORY.search(one.message)]
    told = [one.text for one in cluster.notices if _MEMORY.search(one.text)]
    if guilty or told or _MEMORY.search(error):
        who = ", ".join(f"{one.id} on {one.host}" if one.host else one.id for one in guilty) or ", ".join(named[-1:])
        limit = show.size(cluster.memory)
        return (
            f"Worker {who or 'of this cluster'} needed more memory than it has ({limit}, for"
            f" {show.plural(cluster.cores, 'task')} at a time) and was ended. Larger workers:"
            f" occam.stop({cluster.name!r}), then occam.spark(memory={_double(cluster.memory)!r})."
            " Or smaller pieces: df.repartition(n) with a larger n, or cores=1, so that fewer tasks share the memory."
        )
    hosts = sorted({one.host for one in gone if one.host})
    where = f" on {', '.join(hosts)}" if hosts else ""
    reasons = "; ".join(dict.fromkeys(one.message for one in gone if one.message))
    return (
        f"The job lost workers{where} more often than Spark tries again"
        f"{f' ({reasons})' if reasons else ''}. Others take their place: run the cell again."
    )


def _double(memory: int) -> str:
    return f"{max(2 * memory >> 30, 1)}G" if memory else "4G"
