"""What the watchers on the hosts say of GPUs: a small HTTP answer of each, within a few seconds or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from occamctl.gateway.sight import Seen

PORT = 8090
_SECONDS = 5
_LONGEST = 300
"""Characters of a reason that are kept."""


@dataclass(frozen=True)
class Use:
    """What a watcher said of one GPU. `at` on the monotonic clock, `utilization` in percent, memory in bytes."""

    at: float
    utilization: float
    memory_used: int
    processes: int


@dataclass(frozen=True)
class Heard:
    """What one host's watcher answered; nothing of a GPU means that nothing is known of it."""

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


def understood(node: str, body: bytes, now: float) -> Heard:
    """A watcher's answer; one that is not as it should be tells nothing."""
    try:
        said = json.loads(body)
        uses = {str(uuid): _use(one, now) for uuid, one in said.get("gpus", {}).items()}
        trouble = {str(uuid): str(why)[:_LONGEST] for uuid, why in said.get("trouble", {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Heard(node)
    return Heard(node, uses, trouble)


def _use(said: Any, now: float) -> Use:
    return Use(now, float(said["utilization"]), int(said["memory_used"]), int(said["processes"]))


async def ask(where: Mapping[str, str], now: float) -> list[Heard]:
    """Ask every watcher at the same time; those that do not answer are left out.

    where  node to address
    now    on the monotonic clock
    """
    client = AsyncHTTPClient()

    async def one(node: str, address: str) -> Heard | None:
        try:
            answer = await client.fetch(f"http://{address}:{PORT}/", connect_timeout=_SECONDS, request_timeout=_SECONDS)
        except (OSError, HTTPClientError):
            return None
        return understood(node, answer.body, now)

    heard: Iterable[Heard | None] = await asyncio.gather(*(one(node, address) for node, address in where.items()))
    return [answer for answer in heard if answer is not None]
