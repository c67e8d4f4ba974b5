"""When a GPU that nobody uses is taken back: announced first, and never in the middle of work. Pure.

Not to know is not "idle": a sample that is missing, of a watcher that does not answer, starts the clock anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

GRACE = 300
"""Seconds between the announcement and the end."""
GAP = 180
"""Seconds without a sample after which nothing is known of the time between."""
ACTIVE = 600
"""Seconds since a notebook's last sign of life for which it counts as working: it reports every five minutes."""
Verdict = Literal["", "announce", "spare", "take"]


@dataclass(frozen=True)
class Rules:
    """When a GPU is idle, and for how long.

    timeout      seconds; 0: never
    utilization  percent above which it is used
    grace        seconds between the announcement and the end
    """

    timeout: int
    utilization: float
    grace: int = GRACE


@dataclass(frozen=True)
class Sample:
    """What is known at one moment of all GPUs of one notebook. Times in seconds since 1970.

    utilization  of the busiest, in percent
    processes    with memory on any of them
    active       when the notebook last gave a sign of life, as the hub knows it; None when there was none
    """

    at: float
    utilization: float
    processes: int
    active: float | None = None

    def works(self, rules: Rules) -> bool:
        """Whether somebody uses them: a kernel that has memory there and is busy may need it in a moment."""
        busy = self.active is not None and self.at - self.active < ACTIVE
        return self.utilization > rules.utilization or (self.processes > 0 and busy)


@dataclass(frozen=True)
class Watched:
    """How it has been. `since`: idle since then; `told`: announced then; `last`: the last sample's time."""

    since: float | None = None
    told: float | None = None
    last: float | None = None


def look(before: Watched, now: Sample, rules: Rules) -> tuple[Watched, Verdict]:
    """What one more sample means: announce that it will be taken back, spare it after all, or take it."""
    if before.last is not None and now.at - before.last > GAP:
        before = Watched(told=before.told)
    if now.works(rules) or not rules.timeout:
        return Watched(last=now.at), "spare" if before.told is not None else ""
    since = now.at if before.since is None else before.since
    seen = replace(before, since=since, last=now.at)
    if before.told is not None and before.since is None:
        return replace(seen, told=None), "spare"  # there was a time of which nothing is known
    if now.at - since < rules.timeout:
        return seen, ""
    if seen.told is None:
        return replace(seen, told=now.at), "announce"
    return seen, "take" if now.at - seen.told >= rules.grace else ""
