"""What is told of a cluster: how it is, as the API shows it, and what its containers printed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from occamctl.engine.client import Engine
from occamctl.gateway.cluster import Cluster
from occamctl.gateway.last_words import last_lines
from occamctl.gateway.refusals import NotKnown
from occamctl.gateway.sight import Seen
from occamctl.plan.gpus import called
from occamctl.spark.clusters import GPU_WORKERS
from occamctl.spark.settings import CONNECT_PORT
from occamctl.spec.names import Names

SHOWN = 300
"""Seconds that a lost executor is listed, so that the driver and people learn of it."""


def view(cluster: Cluster, seen: Seen, names: Names) -> dict[str, Any]:
    """The cluster as the API shows it; docs/reference/gateway-api.md says what is what."""
    facts, lease = cluster.facts, cluster.lease
    now = time.monotonic()
    lost = [one for one in cluster.lost if cluster.over or now - (one.lost_at or now) < SHOWN]
    executors = [*lost[-8:], *sorted(cluster.executors.values(), key=lambda one: one.number)]
    service = names.driver(facts.owner, facts.name) if facts.own_driver else ""
    return {
        "name": facts.name,
        "owner": facts.owner,
        "app_id": facts.app_id,
        "driver": facts.driver,
        "state": cluster.state,
        "wanted": facts.total,
        "granted": {str(one.id): one.wanted for one in facts.sizes},
        "adaptive": list(facts.adaptive) if facts.adaptive else None,
        "cores": facts.cores,
        "memory": facts.memory,
        "gpu_workers": sum(one.wanted for one in facts.sizes if one.id == GPU_WORKERS),
        "gpu": str(facts.sizes[0].gpu or ""),
        "executors": [
            {
                "id": str(one.number),
                "node": seen.hostname(one.node),
                "state": one.state,
                "message": one.message,
                "profile": str(one.profile),
                "gpus": [called(gpu) for gpu in one.gpus],
            }
            for one in executors
        ],
        "registered": cluster.registered,
        "driver_service": service,
        "ui_port": facts.ui_port or None,
        "connect_url": f"sc://tasks.{service}:{CONNECT_PORT}" if facts.driver == "connect" else "",
        "exit_code": cluster.exit_code,
        "message": cluster.message,
        "notices": [{"number": one.number, "text": one.text} for one in cluster.notices],
        "since": facts.since,
        "declared": facts.declared,
        "lease_left": None if lease is None else round(lease.left(now), 1),
    }


def logs(engine: Engine, names: Names, cluster: Cluster, worker: str, tail: int) -> str:
    """What the workers printed, each line with its worker; of one that was lost, what is known of its end.

    worker  number of one worker, `driver` for a driver in a container, or "" for all of them

    Raises NotKnown.
    """
    owner, name = cluster.key
    services = {
        str(number): names.executor(owner, name, number)
        for number in sorted(cluster.executors)
        if worker in ("", str(number))
    }
    if cluster.facts.own_driver and not cluster.over and worker in ("", "driver"):
        services["driver"] = names.driver(owner, name)
    ended = {str(one.number): one.message for one in cluster.lost if worker in ("", str(one.number))}
    kept = cluster.log[-tail:] if worker in ("", "driver") else ()
    if worker and not services and not ended and not kept:
        raise NotKnown(f"the cluster {name!r} has no worker {worker!r:.20}", where=owner)
    with ThreadPoolExecutor(max_workers=8) as pool:
        heard = list(pool.map(lambda one: last_lines(engine, one, tail), services.values()))
    lines = [(one, line) for one, text in ended.items() for line in text.splitlines()]
    lines += [(one, line) for one, printed in zip(services, heard, strict=True) for line in printed]
    lines += [("driver", line) for line in kept]
    return "".join(f"{one}: {line}\n" for one, line in lines)
