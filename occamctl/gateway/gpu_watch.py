"""What the watchers on the hosts say of GPUs: a small HTTP answer of each, within a few seconds or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from occamctl.gateway.sight import Seen
from occamctl.plan.gpus import EVERY
from occamctl.spec.units import size

PORT = 8090
STALE = 60
"""Seconds after which what a watcher has read tells nothing of now."""
EMPTY = size("256M")
"""A GPU with less than this in use has no process: the driver keeps some for itself, a CUDA context takes more."""
_SECONDS = 5
_LONGEST = 300
"""Characters of a reason that are kept."""
_FIRST = "not read yet"
"""What a watcher says that has just begun."""


@dataclass(frozen=True)
class Use:
    """What a watcher said of one GPU. `at` on the monotonic clock, memory in bytes.

    utilization  in percent; None where the driver tells none, as of MIG instances
    processes    with memory on it: at least so many, a container is not shown all
    """

    at: float
    utilization: float | None
    memory_used: int
    processes: int

    @property
    def load(self) -> float:
        """Percent; where none is told a GPU counts as busy while something is in its memory."""
        return (100 if self.processes else 0) if self.utilization is None else self.utilization


@dataclass(frozen=True)
class Heard:
    """What one host's watcher answered; nothing of a GPU means that nothing is known of it.

    trouble  UUID, or EVERY for all of the host, to what is wrong
    """

    node: str
    uses: Mapping[str, Use] = field(default_factory=dict)
    trouble: Mapping[str, str] = field(default_factory=dict)


def addresses(seen: Seen, service: str, network: str) -> dict[str, str]:
    """Node to address of the watchers that run. `network`: the one that the gateway is on."""
    return {
        task.node_id: task.addresses[network]
        for task in seen.tasks.get(service, ())
        if task.state == "running" and task.wanted == "running" and network in task.addresses
    }


def understood(node: str, body: bytes, now: float, lent: Collection[str]) -> Heard:
    """A watcher's answer; one that is not as it should be tells nothing.

    now   on the monotonic clock
    lent  UUIDs that the host lends
    """
    try:
        said = json.loads(body)
        stale = float(said.get("age", 0)) > STALE
        uses = {str(one["uuid"]): _use(one, now) for one in said["gpus"]}
        words = str(said.get("trouble", ""))[:_LONGEST]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Heard(node)
    if not words or words == _FIRST:
        return Heard(node, {} if stale else uses)
    if stale or not uses:
        return Heard(node, {}, {EVERY: words})
    return Heard(node, uses, {uuid: words for uuid in lent if uuid not in uses})


def _use(said: Any, now: float) -> Use:
    load, used = said["utilization"], int(said["memory_used"])
    processes = max(len(said["processes"]), int(used >= EMPTY))
    return Use(now, None if load is None else float(load), used, processes)


async def ask(where: Mapping[str, str], token: str, lent: Mapping[str, Collection[str]], now: float) -> list[Heard]:
    """Ask every watcher at the same time; those that do not answer are left out.

    where  node to address
    lent   node to the UUIDs that it lends
    now    on the monotonic clock
    """
    client = AsyncHTTPClient()

    async def one(node: str, address: str) -> Heard | None:
        try:
            answer = await client.fetch(
                f"http://{address}:{PORT}/",
                headers={"Authorization": f"token {token}"},
                connect_timeout=_SECONDS,
                request_timeout=_SECONDS,
            )
        except (OSError, HTTPClientError):
            return None
        return understood(node, answer.body, now, lent.get(node, ()))

    heard: Iterable[Heard | None] = await asyncio.gather(*(one(node, address) for node, address in where.items()))
    return [answer for answer in heard if answer is not None]
