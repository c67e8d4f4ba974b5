"""Who holds which workers, in memory, under one lock: what is asked for is checked and written in one step.

Nothing here talks to an engine, so nobody waits for long, and twenty threads at once are tested in milliseconds. The
engine's labels are what lasts: a gateway that starts fills its ledger from them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from occamctl.errors import DoesNotFit, Refused
from occamctl.gateway.leases import Lease
from occamctl.gateway.refusals import NotKnown
from occamctl.plan.fit import Room, place
from occamctl.spark.clusters import Facts
from occamctl.spec import names

ExecutorState = Literal["pending", "starting", "running", "lost"]
Rooms = Callable[[frozenset[str]], Iterable[Room]]
"""Free room on nodes, not counting the reservations of the services that are named."""


@dataclass
class Executor:
    """One executor. `made` is when its service was made (monotonic; None while that is under way)."""

    number: int
    node: str
    tries: int = 0
    state: ExecutorState = "pending"
    message: str = ""
    made: float | None = None
    running_since: float | None = None
    lost_at: float | None = None


@dataclass
class Cluster:
    """One cluster. `lock` is held by whoever changes what it has on the engine."""

    facts: Facts
    lease: Lease | None
    driver_node: str = ""
    driver_state: ExecutorState = "pending"
    executors: dict[int, Executor] = field(default_factory=dict)
    lost: list[Executor] = field(default_factory=list)
    state: Literal["starting", "running", "stopping", "failed"] = "starting"
    message: str = ""
    whole: bool = False
    """Whether all its executors have run at the same time since it was made."""
    failed_at: float | None = None
    waiting_since: float | None = None
    """Since when all its containers run and its driver does not count all of them."""
    made: float = field(default_factory=time.monotonic)
    driver_says: int | None = None
    """Executors that a Connect driver, which has no lease, last said it had."""
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @property
    def key(self) -> tuple[str, str]:
        return self.facts.owner, self.facts.name

    @property
    def registered(self) -> int | None:
        """Executors that the driver last said it had; None while it has not been heard."""
        return self.lease.registered if self.lease else self.driver_says

    def hear(self, now: float, *, registered: int, jobs: bool) -> None:
        """A heartbeat of its driver."""
        if self.lease is None:
            self.driver_says = registered
        else:
            self.lease.renew(now, registered=registered, jobs=jobs)


class Ledger:
    """Every cluster of the course."""

    def __init__(self, course: str, worker_cpus: int, worker_memory: int) -> None:
        self._names = names.Names(course)
        self._cpus, self._memory = worker_cpus, worker_memory
        self._lock = threading.RLock()
        self._clusters: dict[tuple[str, str], Cluster] = {}

    def __iter__(self) -> Iterator[Cluster]:
        with self._lock:
            return iter(list(self._clusters.values()))

    def get(self, owner: str, name: str) -> Cluster:
        """Raises NotKnown."""
        with self._lock:
            found = self._clusters.get((owner, name))
        if found is None:
            raise NotKnown(f"there is no cluster {name!r}", where=owner)
        return found

    def of(self, owner: str) -> list[Cluster]:
        return [cluster for cluster in self if cluster.facts.owner == owner]

    def held(self, owner: str) -> int:
        """Workers that `owner` holds: those that are wanted, whether or not they run yet."""
        living = [cluster.facts for cluster in self.of(owner) if cluster.state != "failed"]
        return sum(facts.wanted * self.weight(facts) for facts in living)

    def weight(self, facts: Facts) -> int:
        """As how many workers of the course's size one of the cluster's counts."""
        return max(1, -(-facts.cores // self._cpus), -(-facts.memory // self._memory))

    def admit(self, facts: Facts, limit: int, rooms: Rooms, lease: Lease | None) -> Cluster:
        """Enter a new cluster with its executors placed on nodes, or refuse; nothing is half entered.

        limit  workers that the owner may hold

        Raises DoesNotFit (quota or room) and Refused (the name is taken).
        """
        with self._lock:
            there = self._clusters.get((facts.owner, facts.name))
            if there is not None and there.state != "failed":
                raise Refused(
                    f"there is a cluster {facts.name!r} already", where=facts.owner, fix="stop it, or take another name"
                )
            self._must_be_within(facts, 0, limit)
            cluster = Cluster(facts, lease)
            if facts.driver == "connect":
                cluster.driver_node = self._place(1, 0, facts, rooms)[0]
                cluster.facts = facts = replace(
                    facts, driver_host=f"tasks.{self._names.driver(facts.owner, facts.name)}"
                )
            self._clusters[cluster.key] = cluster
            try:
                self.grow(cluster, rooms)
            except DoesNotFit:
                del self._clusters[cluster.key]
                raise
            return cluster

    def resize(self, cluster: Cluster, wanted: int, limit: int, rooms: Rooms) -> tuple[list[Executor], list[Executor]]:
        """Change how many are wanted. Returns the executors that are new and those that must go.

        Those that must go are no longer in the ledger; the newest go first. Raises DoesNotFit, and changes nothing.
        """
        with self._lock:
            before = cluster.facts.wanted
            asked = replace(cluster.facts, wanted=wanted)
            if wanted > before:
                self._must_be_within(asked, before, limit)
            cluster.facts = asked
            try:
                return self.grow(cluster, rooms), self.shrink(cluster)
            except DoesNotFit:
                cluster.facts = replace(cluster.facts, wanted=before)
                raise

    def grow(self, cluster: Cluster, rooms: Rooms, tries: int = 0) -> list[Executor]:
        """Place the executors that are missing, each with a number never used before. Raises DoesNotFit."""
        with self._lock:
            facts = cluster.facts
            missing = max(0, facts.wanted - len(cluster.executors))
            chosen = self._place(missing, facts.cores, facts, rooms)
            new = [Executor(facts.next_id + step, node, tries) for step, node in enumerate(chosen)]
            cluster.executors.update({one.number: one for one in new})
            cluster.facts = replace(facts, next_id=facts.next_id + len(new))
            return new

    def take_out(self, cluster: Cluster, numbers: Iterable[int]) -> list[Executor]:
        """Executors that were given back or lost: they no longer count. Those that are not there are passed over."""
        with self._lock:
            return [cluster.executors.pop(number) for number in list(numbers) if number in cluster.executors]

    def enter(self, cluster: Cluster) -> None:
        """A cluster that was found on the engine."""
        with self._lock:
            self._clusters[cluster.key] = cluster

    def remove(self, cluster: Cluster) -> None:
        with self._lock:
            if self._clusters.get(cluster.key) is cluster:
                del self._clusters[cluster.key]

    def services(self) -> frozenset[str]:
        """Names of all services of executors and drivers that the ledger knows."""
        with self._lock:
            return frozenset(name for cluster in self._clusters.values() for name in self._services(cluster))

    def _services(self, cluster: Cluster) -> Iterator[str]:
        facts = cluster.facts
        yield from (self._names.executor(facts.owner, facts.name, number) for number in cluster.executors)
        if cluster.driver_node:
            yield self._names.driver(facts.owner, facts.name)

    def _must_be_within(self, facts: Facts, before: int, limit: int) -> None:
        weight = self.weight(facts)
        held = self.held(facts.owner) - before * weight
        if held + facts.wanted * weight > limit:
            left = max(0, limit - held) // weight
            size = f" that count {weight} each" if weight > 1 else ""
            others = f", {held} held by other clusters" if held else ""
            raise DoesNotFit(
                f"{facts.wanted} workers{size} are over the quota of {limit}{others}; {left} would do",
                where=facts.owner,
                fix=f"ask for {left}" if left else "stop a cluster that you do not need",
            )

    def _place(self, workers: int, cpus: float, facts: Facts, rooms: Rooms) -> list[str]:
        if not workers:
            return []
        return place(workers, cpus, facts.memory, self._rooms(facts, rooms))

    def _rooms(self, facts: Facts, rooms: Rooms) -> Iterator[Room]:
        """Room on nodes less what the ledger's own clusters hold there, which the engine may not show yet."""
        used: dict[str, tuple[float, int]] = {}
        held: dict[str, int] = {}

        def take(node: str, cpus: float, memory: int) -> None:
            before = used.get(node, (0.0, 0))
            used[node] = (before[0] + cpus, before[1] + memory)

        for cluster in self._clusters.values():
            for executor in cluster.executors.values():
                take(executor.node, cluster.facts.cores, cluster.facts.memory)
                if cluster.key == (facts.owner, facts.name):
                    held[executor.node] = held.get(executor.node, 0) + 1
            if cluster.driver_node:
                take(cluster.driver_node, 0, cluster.facts.memory)
        for room in rooms(self.services()):
            cpus, memory = used.get(room.node, (0.0, 0))
            yield replace(room, cpus=room.cpus - cpus, memory=room.memory - memory, held=held.get(room.node, 0))

    def free(self, cores: int, memory: int, rooms: Rooms) -> int:
        """How many more workers of this size the hosts would take now."""
        with self._lock:
            nobody = Facts("", "", "", "", "notebook", "", 0, cores, memory, 0, "")
            return sum(room.takes(cores, memory) for room in self._rooms(nobody, rooms))

    def shrink(self, cluster: Cluster) -> list[Executor]:
        """Take out the executors that are more than wanted."""
        with self._lock:
            many = len(cluster.executors) - cluster.facts.wanted
            # Those that do not run yet first, then the newest: the oldest hold most of what was cached.
            order = sorted(cluster.executors.values(), key=lambda one: (one.state == "running", -one.number))
            return self.take_out(cluster, [one.number for one in order[: max(0, many)]])
