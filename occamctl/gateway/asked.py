"""What somebody asks for, and what of it is missing or can be had. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from occamctl.gateway.cluster import Cluster
from occamctl.gateway.quotas import Amount, Rights
from occamctl.spark.clusters import Facts, Profile

Way = TypeVar("Way")


@dataclass(frozen=True)
class Asked:
    """More of one cluster, in place of what it has.

    facts    as they would be
    size     the workers of which more are asked for: `wanted` of them, where `there` were wanted
    before   all that the cluster holds
    waiting  requests of others that wait for room: until they had their turn nobody else borrows
    """

    facts: Facts
    size: Profile
    there: int
    before: Amount
    rights: Rights
    waiting: int

    @classmethod
    def of(cls, facts: Facts, was: Sequence[Profile], before: Amount, rights: Rights, waiting: int) -> Asked:
        """`was`: the sizes that it has, each with how many are wanted."""
        there = {one.id: one.wanted for one in was}
        size = next((one for one in facts.sizes if one.wanted > there.get(one.id, 0)), facts.sizes[0])
        return cls(facts, size, there.get(size.id, 0), before, rights, waiting)


def lacking(cluster: Cluster, size: Profile) -> int:
    """How many more executors of a size are wanted than there are; negative when there are too many."""
    return size.wanted - sum(one.profile == size.id for one in cluster.executors.values())


def what_is_missing(cluster: Cluster, facts: Facts) -> list[tuple[Profile, int]]:
    """What the cluster lacks of what `facts` want."""
    return [(size, many) for size in facts.sizes if (many := lacking(cluster, size)) > 0]


def largest(now: int, most: int, way: Callable[[int], list[Way] | None]) -> tuple[int, list[Way]]:
    """The largest number up to `most` for which others can make way, and what they give back; at least `now`."""
    for many in range(most, now, -1):
        if (taken := way(many)) is not None:
            return many, taken
    return now, []
