"""Who holds what, in memory, under one lock: what is asked for is checked and written in one step.

Nothing here talks to an engine, so nobody waits for long, and twenty threads at once are tested in milliseconds. The
engine's labels are what lasts: a gateway that starts fills its ledger from them.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from occamctl.errors import DoesNotFit, Refused
from occamctl.gateway import gpu_words, over_quota
from occamctl.gateway.cluster import Cluster, Executor
from occamctl.gateway.gpu_ledger import GpuLedger
from occamctl.gateway.leases import Lease
from occamctl.gateway.over_quota import Over
from occamctl.gateway.quotas import RESOURCES, Amount, Limits, Quotas, Rights, Shared, called, human
from occamctl.gateway.refusals import NotKnown
from occamctl.gateway.room import Missing, Rooms, fit, given_back, without
from occamctl.gateway.shares import Borrowed, take_back
from occamctl.plan.fit import Room, Seat, capacity, place
from occamctl.spark.clusters import GPU_WORKERS, Facts, Profile
from occamctl.spec import names

AVOIDED = 300
"""Seconds that a node on which a cluster lost a worker gets its next one only when no other takes it."""


@dataclass(frozen=True)
class Worker:
    """The course's usual worker, by which others are counted. Memory in bytes."""

    cpus: int
    memory: int


@dataclass(frozen=True)
class Held:
    """What a running notebook holds."""

    amount: Amount
    groups: tuple[str, ...]
    since: float


@dataclass
class Change:
    """What a decision means for the engine: executors to start, to end, and to take back from other clusters."""

    new: list[Executor] = field(default_factory=list)
    gone: list[Executor] = field(default_factory=list)
    taken: dict[tuple[str, str], tuple[Cluster, list[Executor]]] = field(default_factory=dict)


class Ledger:
    """Every cluster, every running notebook and every GPU of the course.

    clock  seconds since 1970
    """

    def __init__(self, course: str, worker: Worker, quotas: Quotas, clock: Callable[[], float] = time.time) -> None:
        self._names = names.Names(course)
        self._worker, self._quotas = worker, quotas
        self._lock = threading.RLock()
        self._clusters: dict[tuple[str, str], Cluster] = {}
        self._notebooks: dict[str, Held] = {}
        self.gpus = GpuLedger(self, self._lock, clock)

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

    # What is held --------------------------------------------------------------------------------------------------

    def held(self, owner: str) -> Amount:
        """What `owner` holds: what is wanted, whether or not it runs yet."""
        return self._sum(lambda one, groups: one == owner)

    def held_by(self, shared: Shared) -> Amount:
        """What a group holds together, or everybody."""
        return self._sum(lambda one, groups: not shared.group or shared.group in groups)

    def _sum(self, mine: Callable[[str, tuple[str, ...]], bool]) -> Amount:
        with self._lock:
            total = Amount()
            for cluster in self._clusters.values():
                if not cluster.over and mine(cluster.facts.owner, cluster.facts.groups):
                    total += self.amount(cluster.facts)
            for owner, held in self._notebooks.items():
                if mine(owner, held.groups):
                    total += held.amount
            for grant in self.gpus.grants:
                if mine(grant.owner, grant.groups):
                    total += Amount(gpus=len(grant.gpus))
            return total

    def weight(self, size: Profile) -> int:
        """As how many workers of the course's size one of these counts."""
        return max(1, -(-size.cores // self._worker.cpus), -(-size.memory // self._worker.memory))

    def amount(self, facts: Facts) -> Amount:
        """What a cluster holds."""
        driver = facts.memory if facts.own_driver and not facts.ending else 0
        total = Amount(memory=driver, clusters=1)
        for size in facts.sizes:
            total += self.amount_of(size, size.wanted)
        return total

    def amount_of(self, size: Profile, workers: int) -> Amount:
        """What so many workers of a size hold."""
        return Amount(
            workers * self.weight(size), float(workers * size.cores), workers * size.memory, workers * size.gpus
        )

    def quota(self, owner: str, rights: Rights) -> dict[str, dict[str, Any]]:
        """By resource: what `owner` may hold (None: no limit) and holds; of workers also what is guaranteed."""
        held = self.held(owner)
        told = {name: {"limit": getattr(rights.limits, name), "held": getattr(held, name)} for name in RESOURCES}
        told["workers"]["guarantee"] = rights.guarantee
        return told

    # Notebooks -----------------------------------------------------------------------------------------------------

    def hold_notebook(self, owner: str, amount: Amount, rights: Rights) -> None:
        """Enter a notebook that starts. Raises DoesNotFit when a quota does not allow it."""
        with self._lock:
            if owner not in self._notebooks:
                self._must_be_within(owner, Amount(), amount, rights, "your notebook")
            self._notebooks[owner] = Held(amount, rights.groups, time.monotonic())

    def found_notebook(self, owner: str, amount: Amount, groups: tuple[str, ...]) -> None:
        """Enter a notebook that was found running."""
        with self._lock:
            self._notebooks.setdefault(owner, Held(amount, groups, time.monotonic()))

    def release_notebook(self, owner: str, *, seen: float | None = None) -> None:
        """It has ended. With `seen`: as the engine was seen to be then; one that was started after it stays."""
        with self._lock:
            there = self._notebooks.get(owner)
            if there is not None and (seen is None or there.since < seen):
                del self._notebooks[owner]
            if seen is None:
                self.gpus.notebook_ended(owner)

    @property
    def notebooks(self) -> list[str]:
        """Owners of running notebooks."""
        with self._lock:
            return list(self._notebooks)

    # Decisions -----------------------------------------------------------------------------------------------------

    def admit(self, facts: Facts, rights: Rights, rooms: Rooms, lease: Lease | None) -> tuple[Cluster, Change]:
        """Enter a new cluster with its executors placed on nodes, or refuse; nothing is half entered.

        Raises DoesNotFit (quota or room) and Refused (the name is taken).
        """
        with self._lock:
            there = self._clusters.get((facts.owner, facts.name))
            if there is not None and not there.over:
                raise Refused(
                    f"there is a cluster {facts.name!r} already", where=facts.owner, fix="stop it, or take another name"
                )
            facts = replace(facts, groups=rights.groups)
            self._must_be_within(facts.owner, Amount(), self.amount(facts), rights, facts)
            cluster = Cluster(facts, lease)
            self._clusters[cluster.key] = cluster
            try:
                if facts.own_driver:
                    self._seat_driver(cluster, rooms)
                return cluster, self.grow(cluster, rooms, guarantee=rights.guarantee)
            except DoesNotFit:
                del self._clusters[cluster.key]
                if there is not None:
                    self._clusters[cluster.key] = there
                raise

    def _seat_driver(self, cluster: Cluster, rooms: Rooms) -> None:
        facts = cluster.facts
        cluster.driver_node = place(1, 0, facts.memory, self._rooms(cluster, rooms))[0].node
        host = f"tasks.{self._names.driver(facts.owner, facts.name)}"
        cluster.facts = replace(facts, driver_host=host)

    def resize(
        self, cluster: Cluster, wants: Mapping[int, int], rights: Rights, rooms: Rooms, size: Profile | None = None
    ) -> Change:
        """Change how many executors of each profile are wanted: all of it, or nothing.

        size  of a profile that the cluster may not have yet

        Those that must go are no longer in the ledger; the newest go first. Raises DoesNotFit, and changes nothing.
        """
        with self._lock:
            before = cluster.facts
            asked = replace((before.having(size) if size else before).wanting(wants), groups=rights.groups)
            self._must_be_within(before.owner, self.amount(before), self.amount(asked), rights, asked)
            cluster.facts = asked
            try:
                change = self.grow(cluster, rooms, guarantee=rights.guarantee)
            except DoesNotFit:
                cluster.facts = before
                raise
            change.gone = self.shrink(cluster)
            return change

    def bound(self, cluster: Cluster, bounds: tuple[int, int]) -> None:
        """Other bounds for an adaptive cluster."""
        with self._lock:
            cluster.facts = replace(cluster.facts, adaptive=bounds)

    def grant(
        self,
        cluster: Cluster,
        wants: Mapping[int, int],
        sizes: Mapping[int, Profile],
        rights: Rights,
        rooms: Rooms,
        most: int,
    ) -> Change:
        """As much of what Spark asks for as quota and hosts allow; what it has already it keeps, if it wants it.

        wants  executors by resource profile; of one that is not named none are wanted
        sizes  of profiles, as Spark tells them now: a driver that was restarted may number them anew
        most   workers, counted in the course's size, that its owner may add at all
        """
        with self._lock:
            cluster.facts = _with_profiles(cluster.facts, wants, sizes)
            for size in cluster.facts.sizes:
                if size.id == GPU_WORKERS:  # Spark knows them as executors of the default profile
                    continue
                asked = _within(cluster.facts.adaptive, size.id, wants.get(size.id, 0))
                more = max(0, min(asked - size.wanted, most // self.weight(size)))
                if more:
                    more = self._allowed(cluster, size, more, rights)
                    more = min(more, capacity(self._rooms(cluster, rooms), size.cores, size.memory, size.gpu))
                    most -= more * self.weight(size)
                cluster.facts = cluster.facts.wanting({size.id: min(asked, size.wanted + more)})
            change = self.grow(cluster, rooms, part=True)
            change.gone = self.shrink(cluster)
            return change

    def _allowed(self, cluster: Cluster, size: Profile, more: int, rights: Rights) -> int:
        each = self.amount_of(size, 1)
        more = rights.limits.fits(self.held(cluster.facts.owner), each, more)
        for shared in rights.shared:
            more = shared.limits.fits(self.held_by(shared), each, more)
        return more

    def grow(self, cluster: Cluster, rooms: Rooms, tries: int = 0, *, guarantee: int = 0, part: bool = False) -> Change:
        """Place the executors that are missing, each with a number never used before.

        guarantee  workers that the owner must always be able to have: others give back for them what they borrowed
        part       place as many as fit

        Raises DoesNotFit when they do not all fit and `part` is not asked for.
        """
        with self._lock:
            free, change = list(self._rooms(cluster, rooms)), Change()
            missing = [(size, many) for size in cluster.facts.sizes if (many := self._missing(cluster, size)) > 0]
            if not part and not fit(missing, free):
                if guarantee and self.held(cluster.facts.owner).workers <= guarantee:
                    self._take_back(cluster, missing, free, change)
                if not fit(missing, free):
                    raise self._no_room(cluster, missing, free)
            for size, many in missing:
                fits = min(many, capacity(free, size.cores, size.memory, size.gpu))
                seats = place(fits, size.cores, size.memory, free, size.gpu)
                for seat in seats:
                    self._enter(cluster, size, seat, tries, change)
                free = without(free, size, seats)
            return change

    def _missing(self, cluster: Cluster, size: Profile) -> int:
        return size.wanted - sum(one.profile == size.id for one in cluster.executors.values())

    def _enter(self, cluster: Cluster, size: Profile, seat: Seat, tries: int, change: Change) -> None:
        number = cluster.facts.next_id
        made = Executor(number, seat.node, tries, size.id, gpus=seat.gpus)
        cluster.executors[number] = made
        cluster.facts = replace(cluster.facts, next_id=number + 1)
        change.new.append(made)

    def shrink(self, cluster: Cluster) -> list[Executor]:
        """Take out the executors that are more than wanted."""
        with self._lock:
            gone: list[Executor] = []
            for size in cluster.facts.sizes:
                order = [one for one in _order(cluster) if one.profile == size.id]
                gone += order[: max(0, -self._missing(cluster, size))]
            return self.take_out(cluster, [one.number for one in gone])

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

    # Fair share ----------------------------------------------------------------------------------------------------

    def _take_back(self, cluster: Cluster, missing: Missing, free: list[Room], change: Change) -> None:
        """Make room in `free` with what others borrowed, if that can make enough; see shares.py."""
        borrowed = [one for one in self._borrowed() if one.owner != cluster.facts.owner]

        def enough(taken: Sequence[tuple[Cluster, Executor]]) -> bool:
            return fit(missing, given_back(free, taken))

        taken = take_back(borrowed, enough) or []
        free[:] = given_back(free, taken)
        for other, one in taken:
            self.take_out(other, [one.number])
            size = other.facts.size(one.profile)
            other.facts = other.facts.wanting({size.id: size.wanted - 1})
            change.taken.setdefault(other.key, (other, []))[1].append(one)

    def _borrowed(self) -> list[Borrowed[tuple[Cluster, Executor]]]:
        """Who has more than the guarantee, and which of their workers may go: the newest first."""
        found = []
        for owner in sorted({owner for owner, _ in self._clusters}):
            mine = [one for one in self.of(owner) if one.living and not one.facts.ending]
            groups = mine[0].facts.groups if mine else ()
            surplus = self.held(owner).workers - self._quotas.rights(owner, groups).guarantee
            workers = [
                ((cluster, one), self.weight(cluster.facts.size(one.profile)))
                for cluster in sorted(mine, key=lambda one: one.facts.since, reverse=True)
                for one in _order(cluster)
            ]
            if surplus > 0 and workers:
                found.append(Borrowed(owner, surplus, workers))
        return found

    # Room ----------------------------------------------------------------------------------------------------------

    def services(self) -> frozenset[str]:
        """Names of all services of executors and drivers that the ledger knows."""
        with self._lock:
            return frozenset(name for cluster in self._clusters.values() for name in self._services(cluster))

    def _services(self, cluster: Cluster) -> Iterator[str]:
        facts = cluster.facts
        yield from (self._names.executor(facts.owner, facts.name, number) for number in cluster.executors)
        if cluster.driver_node:
            yield self._names.driver(facts.owner, facts.name)

    def _rooms(self, asking: Cluster | None, rooms: Rooms, *, groups: Sequence[str] = ()) -> Iterator[Room]:
        """Room on nodes less what the ledger's own clusters hold there, which the engine may not show yet.

        groups  of whom asks, when it is no cluster: what is reserved for others is not free
        """
        used: dict[str, tuple[float, int]] = {}
        held, lost, now = Counter[str](), Counter[str](), time.monotonic()
        groups = asking.facts.groups if asking else groups
        unfree = self.gpus.not_for(groups)
        if asking:
            held.update(one.node for one in asking.executors.values())
            lost.update(one.node for one in asking.lost if one.lost_at and now - one.lost_at < AVOIDED)

        def take(node: str, cpus: float, memory: int) -> None:
            before = used.get(node, (0.0, 0))
            used[node] = (before[0] + cpus, before[1] + memory)

        for cluster in self._clusters.values():
            for executor in cluster.executors.values():
                size = cluster.facts.size(executor.profile)
                take(executor.node, size.cores, size.memory)
                unfree.update(one.uuid for one in executor.gpus)
            if cluster.driver_node:
                take(cluster.driver_node, 0, cluster.facts.memory)
        for room in rooms(self.services()):
            cpus, memory = used.get(room.node, (0.0, 0))
            left = replace(room, cpus=room.cpus - cpus, memory=room.memory - memory)
            unheld = tuple(one for one in room.gpus if one.uuid not in unfree)
            yield replace(left, held=held[room.node], lost=lost[room.node], gpus=unheld)

    def left(self, rooms: Rooms, groups: Sequence[str]) -> list[Room]:
        """What is free on nodes for somebody of these groups."""
        with self._lock:
            return list(self._rooms(None, rooms, groups=groups))

    def free(self, cores: int, memory: int, rooms: Rooms) -> int:
        """How many more workers of this size the hosts would take now."""
        with self._lock:
            return capacity(self._rooms(None, rooms), cores, memory)

    # Words ---------------------------------------------------------------------------------------------------------

    def _must_be_within(self, owner: str, before: Amount, asked: Amount, rights: Rights, what: Facts | str) -> None:
        """Raises DoesNotFit when `asked`, in place of `before`, is more than a quota allows; less is always allowed."""
        own = ("", rights.limits, self.held(owner) - before)
        for whose, limits, others in (
            own,
            *((one.called, one.limits, self.held_by(one) - before) for one in rights.shared),
        ):
            name = Limits.of({key: value for key, value in vars(limits).items() if _grows(key, before, asked)}).over(
                others + asked
            )
            if name:
                raise self._over(owner, asked, Over(name, whose, limits, others), what)

    def _over(self, owner: str, asked: Amount, over: Over, what: Facts | str) -> DoesNotFit:
        if isinstance(what, str):
            return over_quota.notebook(owner, what, asked, over)
        size = what.sizes[0]
        fixed = asked - self.amount_of(size, what.wanted)
        fits = over.limits.fits(over.others + fixed, self.amount_of(size, 1), what.wanted)
        return over_quota.cluster(owner, what.total, asked, over, weight=self.weight(size), fits=fits)

    def _no_room(self, cluster: Cluster, missing: Missing, free: Sequence[Room]) -> DoesNotFit:
        """What was asked, what is free where, who holds the rest, and what would fit."""
        rooms, held = list(free), self._holders(but=cluster)
        for size, many in missing:
            try:
                seats = place(many, size.cores, size.memory, rooms, size.gpu)
            except DoesNotFit as no:
                if why := self._no_gpus(size, many, cluster, free):
                    return why
                what = f"{no.what}; held: {held}" if held else no.what
                return DoesNotFit(what, where=cluster.facts.owner, fix=no.fix)
            rooms = without(rooms, size, seats)
        raise AssertionError("there was room")

    def _no_gpus(self, size: Profile, many: int, cluster: Cluster, free: Sequence[Room]) -> DoesNotFit | None:
        """Why workers get no GPUs; None when it is not for want of GPUs that they have no room."""
        if not (want := size.gpu):
            return None
        there = sum(one.profile == size.id for one in cluster.executors.values())
        why = gpu_words.never(want, free, each=many + there)
        if why is None and sum(gpu_words.free(want, room) // want.count for room in free) < many:
            why = gpu_words.refused(replace(want, count=want.count * many), self.gpus.now(free))
        if why is not None:
            why.where = cluster.facts.owner
        return why

    def _holders(self, but: Cluster) -> str:
        """`group phd 6 workers, students 2 workers`: who holds what, by the people that one is of."""
        held: Counter[str] = Counter()
        for one in self._clusters.values():
            if one is not but and not one.over:
                held[called(one.facts.owner, one.facts.groups)] += self.amount(one.facts).workers
        return ", ".join(f"{who} {human('workers', many)}" for who, many in sorted(held.items()) if many)


def _with_profiles(facts: Facts, wants: Mapping[int, int], sizes: Mapping[int, Profile]) -> Facts:
    """The facts with the profiles that are wanted or still held, in their newest sizes."""
    held = {one.id: one.wanted for one in facts.profiles}
    known = {one.id: one for one in facts.profiles} | dict(sizes)
    kept = [replace(one, wanted=held.get(number, 0)) for number, one in known.items()]
    return replace(facts, profiles=tuple(one for one in kept if one.wanted or one.id in wants))


def _within(bounds: tuple[int, int] | None, profile: int, asked: int) -> int:
    """What may be asked for of a profile; the lower bound is kept by the default one alone."""
    if bounds is None:
        return asked
    return min(max(asked, 0 if profile else bounds[0]), bounds[1])


def _order(cluster: Cluster) -> list[Executor]:
    """In which order they go. Those that do not run yet first, then the newest: the oldest hold most of a cache."""
    return sorted(cluster.executors.values(), key=lambda one: (one.state == "running", -one.number))


def _grows(name: str, before: Amount, asked: Amount) -> bool:
    return bool(getattr(asked, name) > getattr(before, name))
