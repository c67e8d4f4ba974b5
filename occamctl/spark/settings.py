"""From the size of a worker to Spark's configuration; pure, so that it is tested in milliseconds.

The gateway hands `driver_conf` to a notebook in its answer, or writes it with `conf_file` into the secret of a
Connect driver; every executor gets `executor_args` as a secret file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlsplit

_MIB = 1 << 20
_MIN_HEAP = 480
"""Spark refuses a heap of less than 450 MiB; a JVM reports a little less than it was given."""

_SECRET = re.compile(r"[A-Za-z0-9_-]{16,}")

CONNECT_PORT = 15002
DOOR_PORT = 15003
"""Where people of the course come into a Connect server, with a ticket of the gateway: see occam-door."""
DISCOVERY = "/usr/local/bin/occam-gpus"
"""Prints the GPUs of a container as Spark's discovery scripts do."""
DRIVER_PORT = 7078
"""Where a driver in a container of its own listens; a notebook chooses a free port for each cluster."""

_WIRE = {
    "spark.authenticate": "true",
    "spark.network.crypto.enabled": "true",
    "spark.network.crypto.cipher": "AES/GCM/NoPadding",
}
_GRACEFUL = {
    "spark.decommission.enabled": "true",
    "spark.storage.decommission.enabled": "true",
    "spark.storage.decommission.rddBlocks.enabled": "true",
    "spark.storage.decommission.shuffleBlocks.enabled": "true",
    # Spark lets an executor go after a round that began with nothing left, and its own 30 s between rounds are all the
    # time that a container has to stop.
    "spark.storage.decommission.replicationReattemptInterval": "2s",
}

_IDLE = {
    "spark.dynamicAllocation.executorIdleTimeout": "60s",
    "spark.dynamicAllocation.cachedExecutorIdleTimeout": "300s",
    # Shuffled data moves to those that stay (see _GRACEFUL): nobody need stay to keep it. Spark warns of having both.
    "spark.dynamicAllocation.shuffleTracking.enabled": "false",
}
"""How long an executor of an adaptive cluster does nothing before its place is free for others."""


@dataclass(frozen=True)
class Driver:
    """One Spark driver: where it runs, and where its gateway is.

    url         the gateway's API, such as http://tasks.ml-2026-gateway:8080/services/gateway/api
    owner       user name as is, or `course`
    host, port  where executors reach the driver; no host: a driver in a container of its own finds it
    memory      bytes of the container that the driver's JVM shares with Python
    token_file  file with the token that the driver shows to the gateway; "": the notebook's library writes one
    """

    kind: Literal["notebook", "connect", "application"]
    url: str
    owner: str
    cluster: str
    app_id: str
    memory: int
    host: str = ""
    port: int = DRIVER_PORT
    token_file: str = ""


def heap(memory: int) -> int:
    """MiB of heap of an executor in a container of `memory` bytes: half, the rest is for Python and the JVM itself.

    `occam-executor` does the same sum; a test holds them together.
    """
    return max(memory // _MIB // 2, _MIN_HEAP)


def driver_heap(memory: int) -> int:
    """MiB of heap of a driver in a container of `memory` bytes: a quarter, at most 8 GiB."""
    return min(max(memory // _MIB // 4, 512), 8192)


def cluster_path(owner: str, cluster: str) -> str:
    """Path of a cluster below the gateway's API."""
    return f"users/{quote(owner, safe='')}/clusters/{quote(cluster, safe='')}"


def driver_conf(
    driver: Driver,
    *,
    workers: int,
    cores: int,
    memory: int,
    adaptive: tuple[int, int] | None = None,
    gpus: int = 0,
) -> dict[str, str]:
    """Spark's configuration of a driver with `workers` executors of `cores` tasks and `memory` bytes; no secret.

    adaptive  the fewest and the most executors, between which Spark itself chooses; None keeps `workers` of them
    gpus      of each executor
    """
    slots = max((adaptive[1] if adaptive else workers) * cores, 1)
    conf = {
        "spark.master": f"spark+occam://{urlsplit(driver.url).netloc}",
        "spark.app.name": driver.cluster,
        "spark.occam.app.id": driver.app_id,
        "spark.occam.url": driver.url,
        "spark.occam.cluster": cluster_path(driver.owner, driver.cluster),
        "spark.driver.memory": f"{driver_heap(driver.memory)}m",
        "spark.driver.port": str(driver.port),
        "spark.executor.cores": str(cores),
        "spark.executor.memory": f"{heap(memory)}m",
        "spark.executor.memoryOverhead": f"{max(memory // _MIB - heap(memory), 0)}m",
        # An executor gives up a silent driver after 12 heartbeats of 10 s, as the driver does with it; Spark's own 60
        # would keep it for ten minutes.
        "spark.executor.heartbeat.maxFailures": "12",
        "spark.scheduler.maxRegisteredResourcesWaitingTime": "60s",
        "spark.sql.shuffle.partitions": str(max(4 * slots, 16)),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.ui.showConsoleProgress": "false",
    }
    conf |= _allocation(workers, adaptive) | _gpus(gpus, cores) | _WIRE | _GRACEFUL
    return conf | (_notebook(driver) if driver.kind == "notebook" else _connect(driver))


def _allocation(workers: int, adaptive: tuple[int, int] | None) -> dict[str, str]:
    if adaptive is None:  # barrier stages (distributed training) need a cluster of a fixed size
        # spark-submit refuses 0 ("Number of executors must be a positive number"). Our backend asks for nothing at the
        # start, and the gateway then tells it how many there are; so 1 is only what it takes the number for till then.
        return {"spark.dynamicAllocation.enabled": "false", "spark.executor.instances": str(max(workers, 1))}
    least, most = adaptive
    if not 0 <= least <= most or most < 1:
        raise ValueError(f"an adaptive cluster has at least 0 and at most some executors, not {least} to {most}")
    return _IDLE | {
        "spark.dynamicAllocation.enabled": "true",
        "spark.dynamicAllocation.minExecutors": str(least),
        "spark.dynamicAllocation.maxExecutors": str(most),
        "spark.dynamicAllocation.initialExecutors": str(min(max(workers, least), most)),
    }


def _gpus(gpus: int, cores: int) -> dict[str, str]:
    """Every task has a GPU, or a part of one: an executor runs as many tasks at a time as without GPUs.

    Spark takes parts of a GPU for tasks that share it: 1/n of it for n tasks, rounded down, or n would not fit.
    """
    if not gpus:
        return {}
    sharing = -(-cores // gpus)
    part = str(gpus // cores) if sharing == 1 else f"{1_000_000 // sharing / 1_000_000:.6f}"
    return {
        "spark.executor.resource.gpu.amount": str(gpus),
        "spark.executor.resource.gpu.discoveryScript": DISCOVERY,
        "spark.task.resource.gpu.amount": part,
    }


def _notebook(driver: Driver) -> dict[str, str]:
    # The library waits for the executors itself, and shows it; Spark's own wait would be a silent one.
    conf = {"spark.scheduler.minRegisteredResourcesRatio": "0", "spark.ui.enabled": "true"}
    return conf | ({"spark.driver.host": driver.host, "spark.driver.bindAddress": driver.host} if driver.host else {})


def _connect(driver: Driver) -> dict[str, str]:
    return {
        "spark.scheduler.minRegisteredResourcesRatio": "1",
        "spark.occam.release": "false",
        "spark.connect.grpc.binding.port": str(CONNECT_PORT),
        "spark.ui.enabled": "true",
    } | ({"spark.occam.token.file": driver.token_file} if driver.token_file else {})


def executor_args(secret: str) -> str:
    """Java options of an executor as an @argfile, one a line: the cluster's secret, and how to encrypt."""
    return "".join(
        f"-D{key}={value}\n" for key, value in {**_WIRE, "spark.authenticate.secret": _sound(secret)}.items()
    )


def conf_file(conf: dict[str, str], secret: str) -> str:
    """`conf` with the cluster's secret, in the format of spark-defaults.conf."""
    return "".join(f"{key} {value}\n" for key, value in {**conf, "spark.authenticate.secret": _sound(secret)}.items())


def _sound(secret: str) -> str:
    if not _SECRET.fullmatch(secret):
        raise ValueError("a cluster's secret is at least 16 letters, digits, _ or -")
    return secret
