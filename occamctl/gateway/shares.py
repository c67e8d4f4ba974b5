"""Which borrowed workers are taken back, when somebody within the guarantee finds no room. Pure.

Everybody may borrow up to the quota what nobody needs, and always has the guarantee. Who borrowed most gives back most:
workers go one by one, each from the owner who has given back the smallest part of what was borrowed (the method of
highest averages, D'Hondt's, turned round), never below anybody's guarantee.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key")


@dataclass(frozen=True)
class Borrowed(Generic[Key]):
    """What one owner has beyond the guarantee.

    surplus  how much of it may be taken back, in workers of the course's size
    workers  what may go, in the order in which it should: what it is, and as how many workers it counts
    """

    owner: str
    surplus: int
    workers: Sequence[tuple[Key, int]]


def take_back(borrowed: Sequence[Borrowed[Key]], enough: Callable[[Sequence[Key]], bool]) -> list[Key] | None:
    """The workers to take back so that there is `enough` room; None when even all of them would not do.

    enough  whether the room would do without the given workers
    """
    if not enough([worker for one in borrowed for worker, _ in one.workers]):
        return None  # as nearly every refusal: one look in place of one for each worker
    taken: list[Key] = []
    given = {one.owner: 0 for one in borrowed}
    left = {one.owner: list(one.workers) for one in borrowed}
    while not enough(taken):
        givers = [one for one in borrowed if _next(one, given, left) is not None]
        if not givers:
            return None
        giver = min(givers, key=lambda one: (_part(one, given, left), -one.surplus, one.owner))
        index = _next(giver, given, left)
        assert index is not None
        worker, counts = left[giver.owner].pop(index)
        given[giver.owner] += counts
        taken.append(worker)
    return _needed(taken, enough)


def _next(one: Borrowed[Key], given: dict[str, int], left: dict[str, list[tuple[Key, int]]]) -> int | None:
    """Place of the first worker that the owner could give without falling below the guarantee."""
    for index, (_, counts) in enumerate(left[one.owner]):
        if given[one.owner] + counts <= one.surplus:
            return index
    return None


def _part(one: Borrowed[Key], given: dict[str, int], left: dict[str, list[tuple[Key, int]]]) -> float:
    index = _next(one, given, left)
    assert index is not None
    return (given[one.owner] + left[one.owner][index][1]) / one.surplus


def _needed(taken: list[Key], enough: Callable[[Sequence[Key]], bool]) -> list[Key]:
    """Those of `taken` that the room needs: one whose host gave no room after all stays where it is."""
    for worker in list(taken):
        without = [one for one in taken if one is not worker]
        if enough(without):
            taken = without
    return taken
