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
from occamctl.gateway import full, gpu_words, over_quota
from occamctl.gateway.asked import Asked, lacking, largest, what_is_missing
from occamctl.gateway.cluster import Cluster, Executor
from occamctl.gateway.gpu_ledger import GpuLedger
from occamctl.gateway.leases import Lease
from occamctl.gateway.over_quota import Over
from occamctl.gateway.quotas import RESOURCES, Amount, Quotas, Rights, Shared, called, human
from occamctl.gateway.refusals import NotKnown
from occamctl.gateway.room import Missing, Rooms, fit, given_back, without
from occamctl.gateway.shares import Borrowed, take_back
from occamctl.plan.fit import Room, Seat, capacity, place
from occamctl.spark.clusters import GPU_WORKERS, Facts, Profile
from occamctl.spec import names

Taken = tuple[Cluster, Executor]
"""A worker that is taken back from a cluster."""
Mine = Callable[[str, tuple[str, ...]], bool]
"""Whether an owner, who is in these groups, counts."""
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
        return self._sum(lambda one, groups: shared.counts(groups))

    def _sum(self, mine: Mine) -> Amount:
        with self._lock:
            return sum((amount for _, _, amount in self._holdings(mine)), Amount())

    def _holdings(self, mine: Mine, but: Cluster | None = None) -> Iterator[tuple[str, tuple[str, ...], Amount]]:
        """What is held by those whom `mine` accepts, each with its owner and the owner's groups."""
        for cluster in self._clusters.values():
            facts = cluster.facts
            if not cluster.over and cluster is not but and mine(facts.owner, facts.groups):
                yield facts.owner, facts.groups, self.amount(facts)
        for owner, held in self._notebooks.items():
            if mine(owner, held.groups):
                yield owner, held.groups, held.amount
        for grant in self.gpus.grants:
            if mine(grant.owner, grant.groups):
                yield grant.owner, grant.groups, Amount(gpus=len(grant.gpus))

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
        """By resource: what `owner` may hold (None: no limit) and holds; of workers also what is guaranteed.

        Where the owner's group or the whole course has a limit too, `shared` says it, and what all of them hold.
        """
        held = self.held(owner)
        told = {name: {"limit": getattr(rights.limits, name), "held": getattr(held, name)} for name in RESOURCES}
        told["workers"]["guarantee"] = rights.guarantee
        for one in rights.shared:
            together = self.held_by(one)
            for name in RESOURCES:
                if (limit := getattr(one.limits, name)) is not None:
                    more = {"of": one.called, "limit": limit, "held": getattr(together, name)}
                    told[name].setdefault("shared", []).append(more)
        return told

    def waits_for_own(self, owner: str, more: Amount, rights: Rights) -> bool:
        """Whether so much more waits for what only the owner, or the owner's groups, can give back."""
        groups = (one for one in rights.shared if one.group)
        own = ((rights.limits, self.held(owner)), *((one.limits, self.held_by(one)) for one in groups))
        return any(limits.over(held + more) for limits, held in own)

    # Notebooks -----------------------------------------------------------------------------------------------------

    def hold_notebook(self, owner: str, amount: Amount, rights: Rights) -> None:
        """Enter a notebook that starts. Raises DoesNotFit when a quota does not allow it."""
        with self._lock:
            if owner not in self._notebooks and (over := self._over(owner, Amount(), amount, rights)):
                raise over_quota.notebook(owner, "your notebook", amount, over)
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

    def admit(
        self, facts: Facts, rights: Rights, rooms: Rooms, lease: Lease | None, waiting: int = 0
    ) -> tuple[Cluster, Change]:
        """Enter a new cluster with its executors placed on nodes, or refuse; nothing is half entered.

        The caller holds the cluster's lock from then on: nobody scales or ends what is not made yet.

        waiting  requests of others that wait for room

        Raises DoesNotFit (quota or room) and Refused (the name is taken).
        """
        with self._lock:
            there = self._clusters.get((facts.owner, facts.name))
            if there is not None and not there.over:
                raise Refused(
                    f"there is a cluster {facts.name!r} already", where=facts.owner, fix="stop it, or take another name"
                )
            facts = replace(facts, groups=rights.groups)
            if facts.own_driver:
                facts = replace(facts, driver_host=f"tasks.{self._names.driver(facts.owner, facts.name)}")
            cluster = Cluster(facts, lease)
            change = self._more(cluster, Asked.of(facts, (), Amount(), rights, waiting), rooms)
            cluster.lock.acquire()
            self._clusters[cluster.key] = cluster
            return cluster, change

    def _seat_driver(self, cluster: Cluster, free: list[Room]) -> list[Room]:
        """Choose its node; what is free beside it."""
        memory = cluster.facts.memory
        cluster.driver_node = place(1, 0, memory, free)[0].node
        return [
            replace(room, memory=room.memory - memory) if room.node == cluster.driver_node else room for room in free
        ]

    def resize(
        self,
        cluster: Cluster,
        wants: Mapping[int, int],
        rights: Rights,
        rooms: Rooms,
        *,
        size: Profile | None = None,
        bounds: tuple[int, int] | None = None,
        waiting: int = 0,
    ) -> Change:
        """Change how many executors of each profile are wanted: all of it, or nothing.

        size     of a profile that the cluster may not have yet
        bounds   other ones for an adaptive cluster
        waiting  requests of others that wait for room

        Those that must go are no longer in the ledger; the newest go first. Raises DoesNotFit, and changes nothing.
        """
        with self._lock:
            before = cluster.facts
            facts = replace((before.having(size) if size else before).wanting(wants), groups=rights.groups)
            facts = replace(facts, adaptive=bounds or before.adaptive)
            if self.amount(facts).workers > self.amount(before).workers:
                asked = Asked.of(facts, before.sizes, self.amount(before), rights, waiting)
                change = self._more(cluster, asked, rooms)
            else:  # also on hosts that are full
                cluster.facts = facts
                change = self.grow(cluster, rooms, guarantee=rights.guarantee)
            change.gone = self.shrink(cluster)
            return change

    def _more(self, cluster: Cluster, asked: Asked, rooms: Rooms) -> Change:
        """Seats for all that is asked for, where others gave back what they borrowed if it is guaranteed.

        Raises DoesNotFit, and changes nothing.
        """
        owner, rights, free = cluster.facts.owner, asked.rights, list(self._rooms(cluster, rooms))
        amount, change = self.amount(asked.facts), Change()
        growing = amount.workers > asked.before.workers
        guaranteed = growing and (self.held(owner) - asked.before + amount).workers <= rights.guarantee
        over = self._over(owner, asked.before, amount, rights, cluster)
        if over and not (over.whose and guaranteed):  # what others share they can give back
            raise self._over_quota(cluster, asked, over, free)
        if asked.waiting and growing and not guaranteed:
            raise self._not_the_turn(cluster, asked, free)
        if cluster.facts.own_driver and not cluster.driver_node:
            free = self._seat_driver(cluster, free)
        missing, taken = what_is_missing(cluster, asked.facts), list[Taken]()
        if over or not fit(missing, free):
            way = self._way(owner, missing, free, amount - asked.before, rights.shared) if guaranteed else None
            if way is None:
                raise self._over_quota(cluster, asked, over, free) if over else self._no_room(cluster, asked, free)
            taken = way
        free = self._take_back(taken, free, change)
        cluster.facts = asked.facts
        for size, many in missing:
            free = self._seat(cluster, size, many, free, change)
        return change

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
            free, change = list(self._rooms(cluster, rooms)), Change()
            for size in cluster.facts.sizes:
                if size.id == GPU_WORKERS:  # Spark knows them as executors of the default profile
                    continue
                asked = _within(cluster.facts.adaptive, size.id, wants.get(size.id, 0))
                more = max(0, min(asked - size.wanted, most // self.weight(size)))
                if more:
                    more, taken = self._grantable(cluster, size, more, rights, free)
                    free = self._take_back(taken, free, change)
                    most -= more * self.weight(size)
                cluster.facts = cluster.facts.wanting({size.id: min(asked, size.wanted + more)})
                free = self._seat(cluster, size, lacking(cluster, cluster.facts.size(size.id)), free, change)
            change.gone = self.shrink(cluster)
            return change

    def _grantable(
        self, cluster: Cluster, size: Profile, more: int, rights: Rights, free: Sequence[Room]
    ) -> tuple[int, list[Taken]]:
        """How many more of a size there can be, and what others give back for that."""
        owner, each, lost = cluster.facts.owner, self.amount_of(size, 1), max(0, lacking(cluster, size))
        held = self.held(owner)
        more = rights.limits.fits(held, each, more)
        now = min(more, max(0, capacity(free, size.cores, size.memory, size.gpu) - lost))
        now = min(now, *(one.limits.fits(self.held_by(one), each, more) for one in rights.shared), more)
        return largest(
            now,
            min(more, (rights.guarantee - held.workers) // self.weight(size)),
            lambda many: self._way(owner, [(size, lost + many)], free, self.amount_of(size, many), rights.shared),
        )

    def grow(self, cluster: Cluster, rooms: Rooms, tries: int = 0, *, guarantee: int = 0) -> Change:
        """Place as many as fit of the executors that are missing, each with a number never used before.

        guarantee  workers that the owner must always be able to have: others give back for them what they borrowed
        """
        with self._lock:
            free, change = list(self._rooms(cluster, rooms)), Change()
            for size, many in what_is_missing(cluster, cluster.facts):
                many, taken = self._replaceable(cluster.facts.owner, size, many, guarantee, free)
                free = self._take_back(taken, free, change)
                free = self._seat(cluster, size, many, free, change, tries)
            return change

    def _replaceable(
        self, owner: str, size: Profile, many: int, guarantee: int, free: Sequence[Room]
    ) -> tuple[int, list[Taken]]:
        """How many of those that are missing can come, which every quota counts already, and what others give back."""
        return largest(
            min(many, capacity(free, size.cores, size.memory, size.gpu)),
            min(many, (guarantee - self._placed(owner)) // self.weight(size)),
            lambda number: self._way(owner, [(size, number)], free, Amount(), ()),
        )

    def _placed(self, owner: str) -> int:
        """Workers that `owner` has on hosts, counted in the course's size."""
        return sum(
            self.weight(cluster.facts.size(one.profile))
            for cluster in self._clusters.values()
            if cluster.facts.owner == owner
            for one in cluster.executors.values()
        )

    def _seat(
        self, cluster: Cluster, size: Profile, many: int, free: Sequence[Room], change: Change, tries: int = 0
    ) -> list[Room]:
        """Enter as many executors as fit; what is free beside them."""
        fits = max(0, min(many, capacity(free, size.cores, size.memory, size.gpu)))
        seats = place(fits, size.cores, size.memory, free, size.gpu)
        for seat in seats:
            self._enter(cluster, size, seat, tries, change)
        return without(free, size, seats)

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
                gone += order[: max(0, -lacking(cluster, size))]
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

    def _way(
        self, owner: str, missing: Missing, free: Sequence[Room], more: Amount, shared: Sequence[Shared]
    ) -> list[Taken] | None:
        """What others borrowed that has to go, so that all that is missing has room and no shared quota is exceeded.

        more    what would be held beside what is held now
        shared  the quotas that the owner shares with others

        None when even all of it would not do. See shares.py.
        """
        borrowed = [one for one in self._borrowed() if one.owner != owner]
        sums = [(one, one.limits.growing(more), self.held_by(one) + more) for one in shared]

        def enough(taken: Sequence[Taken]) -> bool:
            within = not any(limits.over(held - self._given(taken, one)) for one, limits, held in sums)
            return within and fit(missing, given_back(free, taken))

        return take_back(borrowed, enough)

    def _given(self, taken: Sequence[Taken], shared: Shared) -> Amount:
        """What these workers are in the sum of a group, or of everybody."""
        mine = [(one, gone) for one, gone in taken if shared.counts(one.facts.groups)]
        return sum((self.amount_of(one.facts.size(gone.profile), 1) for one, gone in mine), Amount())

    def _take_back(self, taken: Sequence[Taken], free: Sequence[Room], change: Change) -> list[Room]:
        """Take out what others borrowed; what is free then."""
        free = given_back(free, taken)
        for other, one in taken:
            self.take_out(other, [one.number])
            size = other.facts.size(one.profile)
            other.facts = other.facts.wanting({size.id: size.wanted - 1})
            change.taken.setdefault(other.key, (other, []))[1].append(one)
        return free

    def _borrowed(self) -> list[Borrowed[Taken]]:
        """Who has more than the guarantee, and which of their workers may go: the newest first."""
        held, living, found = Counter[str](), dict[str, list[Cluster]](), []
        for cluster in self._clusters.values():
            owner = cluster.facts.owner
            if not cluster.over:
                held[owner] += sum(size.wanted * self.weight(size) for size in cluster.facts.sizes)
            if cluster.living and not cluster.facts.ending:
                living.setdefault(owner, []).append(cluster)
        for owner, mine in sorted(living.items()):
            surplus = held[owner] - self._quotas.rights(owner, mine[0].facts.groups).guarantee
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

    def _over(
        self, owner: str, before: Amount, asked: Amount, rights: Rights, but: Cluster | None = None
    ) -> Over | None:
        """The first quota that `asked`, in place of `before`, is more than, the own one first; less is always allowed.

        but  the cluster that holds `before`
        """
        mine = self.held(owner) - before
        if name := rights.limits.growing(asked - before).over(mine + asked):
            return Over(name, "", rights.limits, mine)
        for one in rights.shared:
            others = self.held_by(one) - before
            if name := one.limits.growing(asked - before).over(others + asked):
                return Over(name, one.called, one.limits, others, self._holders(name, but, one))
        return None

    def _over_quota(self, cluster: Cluster, asked: Asked, over: Over, free: Sequence[Room]) -> DoesNotFit:
        fits, would = self._would(cluster, asked, free)
        return over_quota.cluster(
            asked.facts.owner,
            asked.facts.total,
            self.amount(asked.facts),
            over,
            weight=self.weight(asked.size),
            beside=asked.facts.total - asked.size.wanted,
            fits=fits,
            would=would,
        )

    def _not_the_turn(self, cluster: Cluster, asked: Asked, free: Sequence[Room]) -> DoesNotFit:
        many = "one request waits" if asked.waiting == 1 else f"{asked.waiting} requests wait"
        _, would = self._would(cluster, asked, free)
        new = not asked.before.clusters
        fix = 'wait="5m" waits in turn' if new else "scale it when they have had their turn"
        if would > asked.there:
            fix = f"ask for {would}, within your guarantee; {fix}"
        return DoesNotFit(f"{many} for room on the hosts already", where=asked.facts.owner, fix=fix)

    def _no_room(self, cluster: Cluster, asked: Asked, free: Sequence[Room]) -> DoesNotFit:
        """What was asked, what is free where, who holds the rest, what the quota is, and what would fit."""
        rooms, owner = list(free), asked.facts.owner
        for size, many in what_is_missing(cluster, asked.facts):
            fits = capacity(rooms, size.cores, size.memory, size.gpu)
            if fits < many:
                if why := self._no_gpus(size, many, cluster, free):
                    return why
                _, would = self._would(cluster, asked, free)
                return full.now(
                    owner,
                    size,
                    many,
                    rooms,
                    there=asked.there,
                    would=would,
                    fits=would - asked.there if size.id == asked.size.id else fits,
                    held=self._holders("workers", cluster),
                    quota=full.quota(asked.rights, self.held(owner).workers),
                )
            rooms = without(rooms, size, place(many, size.cores, size.memory, rooms, size.gpu))
        raise AssertionError("there was room")

    def _would(self, cluster: Cluster, asked: Asked, free: Sequence[Room]) -> tuple[int, int]:
        """How many workers, of those that are asked for, are within all quotas; and how many would be granted now."""
        owner, size, rights, shared = asked.facts.owner, asked.size, asked.rights, asked.rights.shared
        each, amount = self.amount_of(size, 1), self.amount(asked.facts)
        beside = amount - asked.before - self.amount_of(size, size.wanted)
        own = rights.limits.fits(self.held(owner) + beside, each, size.wanted)
        fits = min([own, *(one.limits.fits(self.held_by(one) + beside, each, size.wanted) for one in shared)])
        missing = what_is_missing(cluster, asked.facts)
        placed = size.wanted - sum(many for one, many in missing if one.id == size.id)
        room = placed + capacity(free, size.cores, size.memory, size.gpu)
        if asked.facts.own_driver and not cluster.driver_node:
            room -= 1  # its driver takes the memory of one
        guaranteed = min(own, (rights.guarantee - (self.held(owner) + beside).workers) // self.weight(size))
        now = min(fits, room, guaranteed if asked.waiting else room)

        def way(many: int) -> list[Taken] | None:
            less = size.wanted - many
            fewer = [(one, number - less * (one.id == size.id)) for one, number in missing]
            return self._way(owner, fewer, free, amount - asked.before - self.amount_of(size, less), shared)

        would, _ = largest(max(now, asked.there), guaranteed, way)
        return max(fits, asked.there), would

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

    def _holders(self, name: str, but: Cluster | None, shared: Shared | None = None) -> str:
        """`group phd 6 workers, students 2 workers`: who holds what, by the people that one is of."""
        held: Counter[str] = Counter()
        for owner, groups, amount in self._holdings(lambda _, groups: shared is None or shared.counts(groups), but):
            held[called(owner, groups)] += getattr(amount, name)
        return ", ".join(f"{who} {human(name, many)}" for who, many in sorted(held.items()) if many)


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
