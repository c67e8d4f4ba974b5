"""Workers find no room on the hosts, in words: now, or whatever others give back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from occamctl.errors import DoesNotFit
from occamctl.gateway.quotas import Rights, human
from occamctl.plan.fit import Room, capacity, instead, too_much
from occamctl.spark.clusters import Facts, Profile
from occamctl.spec.units import human_size


def now(
    owner: str,
    size: Profile,
    many: int,
    rooms: Iterable[Room],
    *,
    there: int,
    fits: int,
    would: int,
    held: str,
    quota: str,
) -> DoesNotFit:
    """The hosts are full.

    there  workers that the cluster has already
    fits   how many of the `many` more would do
    would  how many to ask for instead, in all
    held   who holds the rest
    quota  what the owner may hold
    """
    told = [too_much(many, size.cores, size.memory, size.gpu, fits, rooms, more=there > 0)]
    told += [f"held: {held}"] if held else []
    told += [f"your quota is {quota}"] if quota else []
    return DoesNotFit("; ".join(told), where=owner, fix=instead(would if fits else 0))


def quota(rights: Rights, held: int) -> str:
    """`6 workers (2 guaranteed, 1 held)`; "" without a limit."""
    if rights.limits.workers is None:
        return ""
    told = [f"{many} {word}" for many, word in ((rights.guarantee, "guaranteed"), (held, "held")) if many]
    return human("workers", rights.limits.workers) + (f" ({', '.join(told)})" if told else "")


def most(facts: Facts, empty: Sequence[Room]) -> int:
    """How many of its workers all hosts together would take beside its driver, when nobody else is there."""
    size, rooms = facts.sizes[0], list(empty)
    if facts.own_driver:
        first = max(rooms, key=lambda room: room.memory, default=None)
        if first is None or first.memory < facts.memory:
            return 0
        rooms = [replace(one, memory=one.memory - facts.memory) if one is first else one for one in rooms]
    return capacity(rooms, size.cores, size.memory, size.gpu)


def never(size: Profile, empty: Iterable[Room]) -> str:
    """Why no host could ever take one worker of this size; "" when one could."""
    if capacity(empty, size.cores, size.memory, size.gpu):
        return ""
    beside = f" and {size.gpu}" if size.gpu else ""
    return f"no host of this course has {human('cpus', size.cores)}, {human_size(size.memory)}{beside} for one worker"
