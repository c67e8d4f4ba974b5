"""What the engine shows now, read once for everybody who asks at the same time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from occamctl import wait
from occamctl.engine import swarm
from occamctl.engine.client import Engine
from occamctl.errors import EngineError, HostError
from occamctl.plan import gpus
from occamctl.plan.fit import Room
from occamctl.plan.observed import Gpu
from occamctl.spec import names

log = logging.getLogger("occam.gateway.sight")
_AGAIN = 0.5
"""Seconds after which the engine is read once more."""


@dataclass(frozen=True)
class Seen:
    """Nodes, this course's services, and the tasks of all services.

    began  when reading began, on the monotonic clock: what was made later may be missing
    """

    began: float
    nodes: Mapping[str, swarm.Node]
    services: Mapping[str, Mapping[str, Any]]
    tasks: Mapping[str, tuple[swarm.Task, ...]]
    """Service name to its tasks, newest first; those of services gone or not ours are under "id:<service id>"."""

    def of_kind(self, kind: str) -> list[Mapping[str, Any]]:
        return [one for one in self.services.values() if one["Spec"]["Labels"].get(names.KIND) == kind]

    def newest(self, service: str) -> swarm.Task | None:
        tasks = self.tasks.get(service, ())
        return tasks[0] if tasks else None

    def hostname(self, node: str) -> str:
        return self.nodes[node].hostname if node in self.nodes else ""

    def down(self, node: str) -> bool:
        """True when the node is gone or does not answer; its tasks look as if they ran (moby#31999)."""
        return node not in self.nodes or self.nodes[node].down

    def open_nodes(self) -> list[swarm.Node]:
        """Nodes where a student's container may start: those that take tasks, and where somebody keeps the walls.

        Where no service keeps walls at all there is no course that `up` made: every node that takes tasks.
        """
        keepers = [one["Spec"]["Name"] for one in self.of_kind("walls")]
        tasks = [task for name in keepers for task in self.tasks.get(name, ())]
        kept = {task.node_id for task in tasks if task.state == "running" and task.wanted == "running"}
        return [node for node in self.nodes.values() if node.usable and (not keepers or node.id in kept)]

    def reserved(self, *, but: frozenset[str] = frozenset()) -> dict[str, tuple[float, int]]:
        """CPUs and bytes that tasks with a live container, or about to have one, reserve on each node.

        but  services that do not count, because whoever asks counts them differently
        """
        used = dict.fromkeys(self.nodes, (0.0, 0))
        for service, tasks in self.tasks.items():
            for task in tasks:
                if service not in but and task.state in swarm.RUNNING_STATES and task.node_id in used:
                    cpus, memory = used[task.node_id]
                    used[task.node_id] = (cpus + task.cpus_reserved, memory + task.memory_reserved)
        return used

    def assigned(self, *, but: frozenset[str] = frozenset()) -> frozenset[str]:
        """UUIDs of GPUs that the swarm has assigned to live tasks; `but` as for `reserved`."""
        live = (
            task
            for service, tasks in self.tasks.items()
            for task in tasks
            if service not in but and task.state in swarm.RUNNING_STATES
        )
        return frozenset(uuid for task in live for uuid in gpus.uuids(task.generic))

    def rooms(self, *, but: frozenset[str] = frozenset()) -> list[Room]:
        """What is free on every node where a student's container may start."""
        used, taken = self.reserved(but=but), self.assigned(but=but)
        lent = {node.id: gpus.usable(node.labels, node.generic) for node in self.open_nodes()}
        return [
            Room(
                node.id,
                node.hostname,
                node.cpus - used[node.id][0],
                node.memory - used[node.id][1],
                gpus=tuple(one for one in lent[node.id] if one.uuid not in taken),
                lent=lent[node.id],
            )
            for node in self.open_nodes()
        ]

    def out(self) -> list[tuple[str, Gpu, str]]:
        """GPUs that are lent and cannot be given out: their host, and why."""
        return [
            (node.hostname, one, why)
            for node in self.nodes.values()
            for one in gpus.lent(node.labels)
            if (why := trouble(one, node))
        ]

    def empty(self) -> list[Room]:
        """Every node as it would be with nothing in it, and in order: a host that is down may come back."""
        found = []
        for node in self.nodes.values():
            lent = gpus.lent(node.labels)
            found.append(Room(node.id, node.hostname, node.cpus, node.memory, gpus=lent, lent=lent))
        return found


def trouble(gpu: Gpu, node: swarm.Node) -> str:
    """Why a GPU that its node lends is not given out; "" when it is."""
    return "its host is down" if node.down else gpus.trouble(gpu, node.labels, node.generic)


class Sight:
    """Reads the engine; those who ask while somebody reads get what he reads, if it is fresh enough."""

    def __init__(self, engine: Engine, course: str) -> None:
        self._engine, self._course = engine, course
        self._lock = threading.Lock()
        self._last: Seen | None = None

    @property
    def last(self) -> Seen:
        """What was read last, however long ago; never waits."""
        return self._last or Seen(0.0, {}, {}, {})

    def look(self, max_age: float = 0.5) -> Seen:
        """What there is, read at most `max_age` seconds ago. Raises EngineError."""
        asked = time.monotonic()
        with self._lock:
            if self._last is None or self._last.began < asked - max_age:
                self._last = self._read_or_again()
            return self._last

    def _read_or_again(self) -> Seen:
        """A busy manager refuses a request or drops a connection now and then; reading once more harms nothing."""
        try:
            return self._read()
        except (EngineError, HostError) as error:
            log.warning("the engine is read again: %s", error)
            wait.nap(_AGAIN)
            return self._read()

    def _read(self) -> Seen:
        began = time.monotonic()
        # Tasks before services: a task whose service is made in between is then found with its name.
        tasks = swarm.tasks(self._engine)
        services = swarm.services(self._engine, {names.COURSE: self._course})
        called = {one["ID"]: one["Spec"]["Name"] for one in services}
        grouped: dict[str, list[swarm.Task]] = {}
        for task in tasks:
            grouped.setdefault(called.get(task.service_id, f"id:{task.service_id}"), []).append(task)
        return Seen(
            began,
            {node.id: node for node in swarm.nodes(self._engine)},
            {one["Spec"]["Name"]: one for one in services},
            {
                name: tuple(sorted(these, key=lambda task: task.created, reverse=True))
                for name, these in grouped.items()
            },
        )
