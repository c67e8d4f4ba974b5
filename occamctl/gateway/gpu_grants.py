"""Who was given which GPU, beside executors: notebooks, and groups that reserved some. Pure; times since 1970.

A notebook's GPUs are remembered in the labels of its service, and a reservation in those of a secret of its own.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from occamctl.plan import gpus as plan
from occamctl.plan.observed import Gpu

UNTIL = "occam.gpus.until"
"""Service label: UTC ISO time at which its GPUs are taken back; "" when they are held until they are released."""
ONCE = "occam.gpus.once"
"""Service label: "true" when they are held only as long as the notebook runs."""
RESERVED = "occam.gpus.reserved"
"""Label of the secret that remembers reservations: all of them, as JSON."""


@dataclass(frozen=True)
class Grant:
    """GPUs that were given to somebody's notebook, all on the node of the home.

    until  when they are taken back; None: when they are released
    once   held only as long as the notebook runs
    used   whether the notebook runs with them: then nobody else can have them before it has ended
    began  when it was made with them (monotonic): a look at the engine before that tells nothing of its end
    """

    owner: str
    groups: tuple[str, ...]
    node: str
    gpus: tuple[Gpu, ...]
    until: float | None = None
    once: bool = False
    used: bool = False
    began: float = 0.0

    @property
    def kinds(self) -> frozenset[str]:
        """What the swarm calls them."""
        return frozenset(plan.kind(one.uuid) for one in self.gpus)

    def labels(self) -> dict[str, str]:
        return {plan.HELD: plan.label(self.gpus), UNTIL: iso(self.until), ONCE: "true" if self.once else ""}


NO_LABELS = {plan.HELD: "", UNTIL: "", ONCE: ""}
"""What is written over the labels of a grant that is over."""


def grant_of(labels: Mapping[str, str], owner: str, groups: tuple[str, ...], node: str) -> Grant | None:
    """The grant that labels tell of; None when they tell of none."""
    held = plan.held(labels)
    if not held:
        return None
    return Grant(owner, groups, node, held, _moment(labels.get(UNTIL)), labels.get(ONCE) == "true")


def iso(moment: float | None) -> str:
    """UTC, to the second; "" for None."""
    return "" if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def _moment(text: str | None) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None


@dataclass(frozen=True)
class Reservation:
    """GPUs that are kept for the members of a group for a while."""

    id: str
    group: str
    gpus: tuple[Gpu, ...]
    begins: float
    ends: float

    def on(self, now: float) -> bool:
        return self.begins <= now < self.ends

    @property
    def uuids(self) -> frozenset[str]:
        return frozenset(one.uuid for one in self.gpus)


def label(reservations: Iterable[Reservation]) -> str:
    """The value of RESERVED."""
    return json.dumps([asdict(one) for one in reservations], separators=(",", ":"))


def reservations_of(text: str | None) -> list[Reservation]:
    """The reservations that `label` wrote; those that cannot be read are none."""
    try:
        told = json.loads(text or "[]")
        return [Reservation(**one | {"gpus": tuple(Gpu(**gpu) for gpu in one["gpus"])}) for one in told]
    except (ValueError, TypeError, KeyError):
        return []


@dataclass(frozen=True)
class Holder:
    """Who holds one GPU. `until`: when it is taken back; None: when it is released, or its cluster ends."""

    gpu: Gpu
    node: str
    kind: Literal["notebook", "executor"]
    owner: str
    groups: tuple[str, ...]
    cluster: str = ""
    until: float | None = None


@dataclass(frozen=True)
class End:
    """When somebody loses GPUs, and for whom: a group's reservation, or nobody in particular."""

    at: float
    group: str = ""


@dataclass
class Book:
    """All grants by owner, and all reservations by id. Whoever uses it holds the ledger's lock."""

    grants: dict[str, Grant] = field(default_factory=dict)
    reservations: dict[str, Reservation] = field(default_factory=dict)

    def granted(self) -> set[str]:
        """UUIDs that notebooks hold."""
        return {gpu.uuid for one in self.grants.values() for gpu in one.gpus}

    def kept_from(self, groups: Collection[str], now: float) -> set[str]:
        """UUIDs that are reserved now, and not for somebody of these groups."""
        return {uuid for one in self._others(groups) if one.on(now) for uuid in one.uuids}

    def end(self, groups: Collection[str], held: Iterable[Gpu], until: float | None, now: float) -> End | None:
        """When somebody of these groups loses the GPUs that are held; None when that is not known yet."""
        mine = {gpu.uuid for gpu in held}
        ends = [End(one.begins, one.group) for one in self._others(groups) if one.ends > now and one.uuids & mine]
        ends += [End(until)] if until is not None else []
        return min(ends, key=lambda one: one.at, default=None)

    def _others(self, groups: Collection[str]) -> list[Reservation]:
        return [one for one in self.reservations.values() if one.group not in groups]

    def overlapping(self, begins: float, ends: float) -> set[str]:
        """UUIDs that somebody has reserved for some of this time."""
        return {
            uuid for one in self.reservations.values() if one.begins < ends and begins < one.ends for uuid in one.uuids
        }

    def change(self, owner: str, **more: Any) -> None:
        """Other facts of a grant; of one that is not there nothing is changed."""
        if owner in self.grants:
            self.grants[owner] = replace(self.grants[owner], **more)
