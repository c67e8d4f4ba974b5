"""Free room on nodes, as workers go into it and come out of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from occamctl.gateway.cluster import Cluster, Executor
from occamctl.plan.fit import Room, Seat, capacity, less, place
from occamctl.spark.clusters import Profile

Rooms = Callable[[frozenset[str]], Iterable[Room]]
"""Free room on nodes, not counting the reservations of the services that are named."""
Missing = Sequence[tuple[Profile, int]]
"""Sizes of workers, and how many of each are asked for."""


def without(rooms: Iterable[Room], size: Profile, seats: Iterable[Seat]) -> list[Room]:
    """What is left when workers have these seats."""
    left = {room.node: room for room in rooms}
    for seat in seats:
        left[seat.node] = less(left[seat.node], seat, size.cores, size.memory)
    return list(left.values())


def fit(missing: Missing, free: Sequence[Room]) -> bool:
    """Whether all that is missing has room at once."""
    rooms = list(free)
    for size, many in missing:
        if capacity(rooms, size.cores, size.memory, size.gpu) < many:
            return False
        rooms = without(rooms, size, place(many, size.cores, size.memory, rooms, size.gpu))
    return True


def given_back(free: Sequence[Room], taken: Sequence[tuple[Cluster, Executor]]) -> list[Room]:
    """`free`, and what the workers that are taken back leave."""
    rooms = {room.node: room for room in free}
    for cluster, one in taken:
        size = cluster.facts.size(one.profile)
        if one.node in rooms:
            there = rooms[one.node]
            rooms[one.node] = replace(
                there,
                cpus=there.cpus + size.cores,
                memory=there.memory + size.memory,
                gpus=there.gpus + one.gpus,
            )
    return list(rooms.values())
