"""Placement of workers: spread, exact, and refused with numbers."""

from __future__ import annotations

import random

import pytest

from occamctl.errors import DoesNotFit
from occamctl.plan.fit import Room, capacity, place

GIB = 1 << 30


def room(name: str, cpus: float, memory: float, held: int = 0, lost: int = 0) -> Room:
    return Room(f"id-{name}", name, cpus, int(memory * GIB), held, lost)


@pytest.mark.parametrize(
    ("workers", "rooms", "chosen"),
    [
        (0, [], []),
        (1, [room("a", 2, 4)], ["a"]),
        (2, [room("a", 2, 8), room("b", 2, 4)], ["a", "b"]),  # two hosts, though both would fit on a
        (3, [room("a", 4, 8), room("b", 1, 2)], ["a", "b", "a"]),
        (1, [room("a", 4, 8, held=1), room("b", 1, 2)], ["b"]),  # a has one of the cluster already
        (1, [room("a", 4, 8, lost=1), room("b", 1, 2, held=1)], ["b"]),  # one was lost on a
        (2, [room("a", 4, 8, lost=1), room("b", 1, 2, held=1)], ["b", "a"]),  # and b takes no more
        (2, [room("a", 0.5, 8), room("b", 2, 8)], ["b", "b"]),
        (2, [room("a", 2, 1.9), room("b", 2, 4)], ["b", "b"]),
        (1, [room("b", 2, 4), room("a", 2, 4)], ["a"]),  # equals: by name
        (3, [room("a", 0.3 * 3 + 2.1, 8)], ["a", "a", "a"]),  # 2.9999999999999996 CPUs are three
    ],
)
def test_place(workers: int, rooms: list[Room], chosen: list[str]) -> None:
    assert [seat.node for seat in place(workers, 1, 2 * GIB, rooms)] == [f"id-{name}" for name in chosen]


@pytest.mark.parametrize(
    ("workers", "rooms", "says", "fix"),
    [
        (
            3,
            [room("a", 2, 8), room("b", 0, 8)],
            "3 workers of 1 CPU and 2G do not fit on the hosts now, 2 would",
            "ask for 2",
        ),
        (
            1,
            [room("a", 0.5, 8)],
            "1 worker of 1 CPU and 2G do not fit on the hosts now, 0 would (a has 0.5 CPU and 8G free)",
            "wait",
        ),
        (1, [], "no host is ready", "wait"),
        (1, [room("a", -1, -2)], "a has 0 CPU and 0B free", "wait"),
    ],
)
def test_refused_with_numbers(workers: int, rooms: list[Room], says: str, fix: str) -> None:
    with pytest.raises(DoesNotFit) as refused:
        place(workers, 1, 2 * GIB, rooms)
    assert says in refused.value.what
    assert fix in refused.value.fix


def test_whatever_is_free_is_used_and_never_more() -> None:
    chance = random.Random(7)
    for _ in range(300):
        rooms = [
            room(str(n), chance.uniform(-1, 6), chance.uniform(-1, 12), chance.randrange(3))
            for n in range(chance.randrange(1, 6))
        ]
        most = capacity(rooms, 1, 2 * GIB)
        chosen = [seat.node for seat in place(most, 1, 2 * GIB, rooms)]
        for one in rooms:
            assert chosen.count(one.node) == one.takes(1, 2 * GIB)
        with pytest.raises(DoesNotFit):
            place(most + 1, 1, 2 * GIB, rooms)
