"""What may be held at a time: amounts, limits, and whose they are. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from occamctl.spec import names
from occamctl.spec.units import human_size

INSTRUCTOR = "instructor"
"""The hub's group of all instructors."""
_ROLES = {INSTRUCTOR, "student"}


@dataclass(frozen=True)
class Amount:
    """What somebody holds, or asks for. Memory in bytes; `workers` counts in workers of the course's size."""

    workers: int = 0
    cpus: float = 0.0
    memory: int = 0
    gpus: int = 0
    clusters: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.workers + other.workers,
            self.cpus + other.cpus,
            self.memory + other.memory,
            self.gpus + other.gpus,
            self.clusters + other.clusters,
        )

    def __neg__(self) -> Amount:
        return Amount(-self.workers, -self.cpus, -self.memory, -self.gpus, -self.clusters)

    def __sub__(self, other: Amount) -> Amount:
        return self + -other


RESOURCES = tuple(one.name for one in fields(Amount))
_FEW = 1e-6
"""CPUs are sums of floats: 0.1 + 0.2 of a CPU must not cost anybody a worker."""


@dataclass(frozen=True)
class Limits:
    """At most so much of each; None is no limit."""

    workers: int | None = None
    cpus: float | None = None
    memory: int | None = None
    gpus: int | None = None
    clusters: int | None = None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Limits:
        return cls(**{name: told.get(name) for name in RESOURCES})

    def over(self, amount: Amount) -> str:
        """The first resource of which `amount` is too much, clusters before all; "" when none is."""
        for name in sorted(RESOURCES, key=lambda one: one != "clusters"):  # fewer workers would do for the others only
            limit = getattr(self, name)
            if limit is not None and getattr(amount, name) > limit + _FEW:
                return name
        return ""

    def growing(self, more: Amount) -> Limits:
        """The limits of those resources of which there would be more."""
        return Limits.of({name: limit for name, limit in vars(self).items() if getattr(more, name) > 0})

    def fits(self, held: Amount, one: Amount, most: int) -> int:
        """How many times `one` may be added to `held`, at most `most`."""
        for name in RESOURCES:
            limit, each = getattr(self, name), getattr(one, name)
            if limit is not None and each:
                most = min(most, int((limit - getattr(held, name) + _FEW) // each))
        return max(most, 0)


def human(name: str, amount: float) -> str:
    """`4 workers`, `2.5 CPUs`, `8G of memory`."""
    if name == "memory":
        return f"{human_size(int(amount))} of memory"
    word = {"cpus": "CPUs", "gpus": "GPUs"}.get(name, name)
    return f"{amount:g} {word if amount != 1 else word.removesuffix('s')}"


@dataclass(frozen=True)
class Shared:
    """A limit of several people together: of a group, or of the whole course (`group` is empty)."""

    group: str
    limits: Limits

    @property
    def called(self) -> str:
        return f"group {self.group}" if self.group else "the course"

    def counts(self, groups: Collection[str]) -> bool:
        """Whether what somebody in these groups holds is a part of the sum."""
        return not self.group or self.group in groups


@dataclass(frozen=True)
class Rights:
    """What one owner may hold: alone, and with others. `guarantee` is in workers."""

    limits: Limits
    guarantee: int = 0
    shared: tuple[Shared, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quota:
    """What one person may hold, and how many workers are guaranteed."""

    limits: Limits
    guarantee: int = 0

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Quota:
        return cls(Limits.of(told), int(told.get("guarantee", 0)))


@dataclass(frozen=True)
class Quotas:
    """The course file's quotas."""

    student: Quota
    instructor: Quota
    groups: Mapping[str, Quota] = field(default_factory=dict)
    together: Mapping[str, Limits] = field(default_factory=dict)
    users: Mapping[str, Quota] = field(default_factory=dict)
    course: Limits = Limits()

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Quotas:
        """From the section `quotas` of the course file."""
        groups = told.get("groups", {})
        return cls(
            Quota.of(told["student"]),
            Quota.of(told["instructor"]),
            {name: Quota.of(one) for name, one in groups.items()},
            {name: Limits.of(one.get("together", {})) for name, one in groups.items()},
            {name: Quota.of(one) for name, one in told.get("users", {}).items()},
            Limits.of(told.get("course", {})),
        )

    def rights(self, owner: str, groups: Iterable[str]) -> Rights:
        """What `owner`, who is in `groups` of the hub, may hold; of several groups the one with most workers counts."""
        mine = tuple(sorted(set(groups)))
        quota = self._quota(owner, mine)
        shared = [Shared(group, self.together[group]) for group in mine if group in self.together]
        return Rights(quota.limits, quota.guarantee, (*shared, Shared("", self.course)), mine)

    def _quota(self, owner: str, groups: tuple[str, ...]) -> Quota:
        if owner in self.users:
            return self.users[owner]
        if owner == names.COURSE_OWNER or INSTRUCTOR in groups:
            return self.instructor
        there = [self.groups[group] for group in groups if group in self.groups]
        return max(there, key=lambda one: one.limits.workers or 0, default=self.student)


def called(owner: str, groups: Collection[str]) -> str:
    """The people that an owner is one of, for those who may not know the owner's name."""
    if owner == names.COURSE_OWNER:
        return "the course"
    if INSTRUCTOR in groups:
        return "instructors"
    mine = [group for group in groups if group not in _ROLES]
    return f"group {mine[0]}" if mine else "students"
