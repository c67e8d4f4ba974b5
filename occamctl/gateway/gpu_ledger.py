"""Who holds which GPU: the part of the ledger for notebooks and reservations, under the ledger's own lock.

Executors hold theirs themselves (`Executor.gpus`); here they are counted with the others.
"""

from __future__ import annotations

import math
import secrets
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from occamctl.errors import Refused
from occamctl.gateway import gpu_words
from occamctl.gateway.cluster import MOST_NOTICES, Cluster, Executor, Notice
from occamctl.gateway.gpu_grants import Book, End, Grant, Holder, Reservation
from occamctl.gateway.quotas import Amount, Rights, Shared
from occamctl.gateway.refusals import NotKnown
from occamctl.gateway.room import Rooms
from occamctl.plan import gpus
from occamctl.plan.fit import Room
from occamctl.plan.gpus import GpuWish
from occamctl.plan.observed import Gpu


class Whole(Protocol):
    """What is needed of the rest of the ledger."""

    def __iter__(self) -> Iterator[Cluster]: ...
    def held(self, owner: str) -> Amount: ...
    def held_by(self, shared: Shared) -> Amount: ...
    def left(self, rooms: Rooms, groups: Sequence[str]) -> Iterable[Room]: ...
    def take_out(self, cluster: Cluster, numbers: Iterable[int]) -> list[Executor]: ...


class GpuLedger:
    """GPUs of notebooks and of groups.

    clock  seconds since 1970
    """

    def __init__(self, whole: Whole, lock: threading.RLock, clock: Callable[[], float]) -> None:
        self._whole, self._lock, self._clock = whole, lock, clock
        self._book = Book()
        self._notices: dict[str, list[Notice]] = {}

    # Notebooks -----------------------------------------------------------------------------------------------------

    def assign(
        self,
        owner: str,
        want: GpuWish,
        seconds: float | None,
        rights: Rights,
        rooms: Rooms,
        *,
        home: str = "",
        once: bool = False,
        named: bool = False,
        prolong: bool = True,
    ) -> Grant:
        """Give GPUs of one host to somebody's notebook: all that are wished, or none.

        Who has such GPUs already keeps them for other `seconds` from now.

        seconds  None: until they are released
        home     the node where the home is, which a notebook cannot leave; "" when there is no home yet
        once     only as long as the notebook runs
        named    whether a refusal may say by name who holds what
        prolong  whether GPUs that are held until some moment may be kept longer

        Raises DoesNotFit (quota, none free, none there) and Refused (others are held already).
        """
        with self._lock:
            until = None if seconds is None else self._clock() + seconds
            there = self._book.grants.get(owner)
            if there is None:
                self._must_be_within(owner, want.count, rights)
                node, chosen = self._chosen(want, rights, rooms, home, named)
                made = Grant(owner, rights.groups, node, chosen, until, once)
            elif len(there.gpus) == want.count and all(gpus.suits(one, want) for one in there.gpus):
                if there.until is not None and not prolong:
                    until = min(there.until, math.inf if until is None else until)
                made = replace(there, groups=rights.groups, until=until, once=once)
            else:
                raise Refused(f"holds {gpu_words.counted(there.gpus)} already", where=owner, fix="release that first")
            self._book.grants[owner] = made
            return made

    def _must_be_within(self, owner: str, many: int, rights: Rights) -> None:
        limits = [("", rights.limits, self._whole.held(owner))]
        limits += [(one.called, one.limits, self._whole.held_by(one)) for one in rights.shared]
        for whose, allowed, held in limits:
            if allowed.gpus is not None and held.gpus + many > allowed.gpus:
                raise gpu_words.over_quota(owner, many, allowed.gpus, held.gpus, whose)

    def _chosen(
        self, want: GpuWish, rights: Rights, rooms: Rooms, home: str, named: bool
    ) -> tuple[str, tuple[Gpu, ...]]:
        """The node, and the GPUs there; among hosts one that has them alike, then the one where most such are free."""
        free = [room for room in self._whole.left(rooms, rights.groups) if home in ("", room.node)]
        found = [(room, picked) for room in free if (picked := gpus.pick(room.gpus, want))]
        if found:
            room, picked = min(found, key=lambda one: (gpus.unlike(one[1]), -_such(one[0].gpus, want), one[0].hostname))
            return room.node, picked
        everywhere = list(rooms(frozenset()))
        if no := gpu_words.never(want, everywhere):
            raise no
        at_home = next((room for room in everywhere if room.node == home), None)
        if home and (at_home is None or not gpus.pick(at_home.lent, want)):
            raise gpu_words.away(want, at_home.hostname if at_home else "a host that is not ready", everywhere)
        raise gpu_words.refused(want, self.now(everywhere, named=named), on=at_home.hostname if at_home else "")

    def of(self, owner: str) -> Grant | None:
        """The GPUs of somebody's notebook."""
        with self._lock:
            return self._book.grants.get(owner)

    @property
    def grants(self) -> list[Grant]:
        with self._lock:
            return list(self._book.grants.values())

    def found(self, grant: Grant) -> None:
        """Enter a grant that the engine's labels tell of."""
        with self._lock:
            self._book.grants.setdefault(grant.owner, grant)

    def put_back(self, owner: str, before: Grant | None) -> None:
        """Undo what could not be remembered: the grant is again what it was before."""
        with self._lock:
            self._book.grants.pop(owner, None)
            if before is not None:
                self._book.grants[owner] = before

    def use(self, owner: str, began: float = math.inf) -> None:
        """The notebook starts with its GPUs: from now on they are free only after its end.

        began  when its service was made (monotonic); left away while that is under way
        """
        with self._lock:
            self._book.change(owner, used=True, began=began)

    def notebook_ended(self, owner: str, *, seen: float | None = None) -> None:
        """What was held only as long as it ran is free. With `seen`: as the engine was seen to be then."""
        with self._lock:
            there = self._book.grants.get(owner)
            if there is None or (seen is not None and seen <= there.began):
                return
            self._book.change(owner, used=False)
            if there.once:
                del self._book.grants[owner]

    def release(self, owner: str) -> Grant | None:
        """Give them back: at once, or when the notebook that runs with them ends (`once` of the answer).

        None when none are held. Calling it twice is fine.
        """
        with self._lock:
            there = self._book.grants.get(owner)
            if there is not None and there.used:
                self._book.change(owner, once=True)
                return self._book.grants[owner]
            return self._book.grants.pop(owner, None)

    def tell(self, owner: str, text: str) -> None:
        """Leave a notice about GPUs for somebody. In memory: what it tells of can be seen without it."""
        with self._lock:
            told = self._notices.setdefault(owner, [])
            told.append(Notice(max(told[-1].number + 1 if told else 0, int(self._clock() * 1000)), text))
            del told[:-MOST_NOTICES]

    def notices(self, owner: str) -> list[Notice]:
        """The newest last."""
        with self._lock:
            return list(self._notices.get(owner, ()))

    # Everybody -----------------------------------------------------------------------------------------------------

    def holders(self) -> list[Holder]:
        """Who holds which GPU until when, executors too."""
        with self._lock:
            found = []
            for one in self._book.grants.values():
                end = self._end(one.groups, one.gpus, one.until)
                found += [Holder(gpu, one.node, "notebook", one.owner, one.groups, until=end) for gpu in one.gpus]
            for cluster in self._whole:
                facts = cluster.facts
                for executor in cluster.executors.values():
                    end = self._end(facts.groups, executor.gpus, None)
                    found += [
                        Holder(gpu, executor.node, "executor", facts.owner, facts.groups, facts.name, end)
                        for gpu in executor.gpus
                    ]
            return found

    def _end(self, groups: Collection[str], held: Iterable[Gpu], until: float | None) -> float | None:
        end = self._book.end(groups, held, until, self._clock())
        return end.at if end else None

    def end_of(self, grant: Grant) -> End | None:
        """When a notebook's GPUs are taken back, and for whom; None when that is not known yet."""
        return self.end(grant.groups, grant.gpus, grant.until)

    def end(self, groups: Collection[str], held: Iterable[Gpu], until: float | None = None) -> End | None:
        """When somebody of these groups loses the GPUs that are held; None when that is not known yet."""
        with self._lock:
            return self._book.end(groups, held, until, self._clock())

    def not_for(self, groups: Collection[str]) -> set[str]:
        """UUIDs that nobody of these groups can have now: those of notebooks, and those reserved for others."""
        with self._lock:
            return self._book.granted() | self._book.kept_from(groups, self._clock())

    def now(self, rooms: Sequence[Room], *, named: bool = False) -> gpu_words.Now:
        """How things are, for the words of a refusal."""
        return gpu_words.Now(rooms, self.holders(), self.reservations, self._clock(), named)

    # Reservations --------------------------------------------------------------------------------------------------

    def reserve(self, group: str, want: GpuWish, begins: float, ends: float, rooms: Rooms) -> Reservation:
        """Keep GPUs for a group from one moment to another; first those that nobody is known to hold then.

        They may be on several hosts. Raises DoesNotFit.
        """
        with self._lock:
            there = list(rooms(frozenset()))
            if no := gpu_words.never(replace(want, count=1), there, each=want.count):
                raise no
            taken = self._book.overlapping(begins, ends)
            such = [one for room in there for one in room.lent if gpus.suits(one, want) and one.uuid not in taken]
            if len(such) < want.count:
                raise gpu_words.reserved(want, len(such), self.reservations, begins, ends, self._clock())
            held = {one.gpu.uuid for one in self.holders() if one.until is None or one.until > begins}
            such.sort(key=lambda one: (one.uuid in held, one.memory, one.uuid))
            made = Reservation(secrets.token_hex(3), group, tuple(such[: want.count]), begins, ends)
            self._book.reservations[made.id] = made
            return made

    @property
    def reservations(self) -> list[Reservation]:
        """The earliest first."""
        with self._lock:
            return sorted(self._book.reservations.values(), key=lambda one: (one.begins, one.id))

    def found_reservation(self, one: Reservation) -> None:
        with self._lock:
            self._book.reservations.setdefault(one.id, one)

    def unreserve(self, number: str) -> Reservation:
        """Raises NotKnown."""
        with self._lock:
            if number not in self._book.reservations:
                raise NotKnown(f"there is no reservation {number!r:.40}", fix="see: occamctl gpu reservations")
            return self._book.reservations.pop(number)

    def over(self) -> list[Reservation]:
        """Take out the reservations that are over."""
        with self._lock:
            return [self.unreserve(one.id) for one in self.reservations if one.ends <= self._clock()]

    def take_reserved(self, cluster: Cluster) -> list[Executor]:
        """Take out executors whose GPUs are another group's from now on; so many fewer are wanted."""
        with self._lock:
            kept = self._book.kept_from(cluster.facts.groups, self._clock())
            gone = [one for one in cluster.executors.values() if any(gpu.uuid in kept for gpu in one.gpus)]
            for one in gone:
                size = cluster.facts.size(one.profile)
                cluster.facts = cluster.facts.wanting({size.id: max(0, size.wanted - 1)})
            return self._whole.take_out(cluster, [one.number for one in gone])


def _such(listed: Iterable[Gpu], want: GpuWish) -> int:
    return sum(gpus.suits(one, want) for one in listed)
