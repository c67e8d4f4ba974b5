"""Requests about GPUs, checked before anything is done with them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from occamctl.errors import SpecError
from occamctl.gateway import wishes
from occamctl.plan import gpus
from occamctl.plan.gpus import GpuWish
from occamctl.spec.units import human_seconds

SHORTEST, LONGEST = 60, 92 * 86_400
"""Seconds that GPUs may be assigned or reserved for."""
_SOON = 366 * 86_400
_ASSIGNMENT, _BOOKING, _START = {"gpu", "for", "restart"}, {"group", "gpu", "from", "for"}, {"environment", "gpu"}


@dataclass(frozen=True)
class Assignment:
    """GPUs for somebody's notebook. `seconds`: None until they are released; `restart`: replace a running notebook."""

    want: GpuWish
    seconds: int | None = None
    restart: bool = False


@dataclass(frozen=True)
class Booking:
    """GPUs for a group, from one moment to another, in seconds since 1970."""

    group: str
    want: GpuWish
    begins: float
    ends: float


def wish(said: Mapping[str, Any]) -> GpuWish | None:
    """The key `gpu` of a request. Raises SpecError."""
    try:
        return gpus.wish(said.get("gpu"))
    except ValueError as error:
        raise SpecError(f"gpu: {error}", fix='write 1, "A100", "1g.10gb" or {"count": 2, "memory": "40G"}') from None


def assignment(said: Mapping[str, Any]) -> Assignment:
    """From the body of a request; without `gpu` any one. Raises SpecError."""
    _known(said, _ASSIGNMENT)
    want = wish({"gpu": True, **said})
    if want is None:
        raise SpecError("gpu: none is asked for", fix="to give GPUs back, release them")
    seconds = None if said.get("for") is None else _seconds(said)
    return Assignment(want, seconds, wishes.take(said, "restart", bool, False))


def booking(said: Mapping[str, Any], groups: Collection[str], now: float) -> Booking:
    """From the body of a request. Raises SpecError.

    groups  those that there are
    now     seconds since 1970
    """
    _known(said, _BOOKING)
    group = wishes.take(said, "group", str)
    if group not in groups:
        raise SpecError(f"group: there is no group {group!r:.60}", fix=f"one of: {', '.join(sorted(groups))}")
    want = wish({"gpu": True, **said})
    if want is None:
        raise SpecError("gpu: none is asked for", fix="say how many")
    begins = now if said.get("from") is None else _moment(wishes.take(said, "from", str))
    ends = begins + _seconds(said)
    if ends <= now or begins > now + _SOON:
        raise SpecError("from: that time is over, or more than a year away", fix="take another time")
    return Booking(group, want, begins, ends)


def of_notebook(said: Mapping[str, Any]) -> GpuWish | None:
    """The GPUs that a notebook's start asks for; None: no wish. Raises SpecError."""
    _known(said, _START)
    return wish(said)


def _seconds(said: Mapping[str, Any]) -> int:
    seconds = wishes.take(said, "for", int)
    if not SHORTEST <= seconds <= LONGEST:
        most = f"{human_seconds(SHORTEST)} to {human_seconds(LONGEST)}"
        raise SpecError(f"for: {human_seconds(seconds)} is not a time for GPUs", fix=f"from {most}")
    return seconds


def _moment(text: str) -> float:
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        raise SpecError(f"from: {text!r:.60} is not a time", fix="write 2026-10-05T14:00:00+02:00") from None


def _known(said: Mapping[str, Any], keys: Collection[str]) -> None:
    unknown = sorted(said.keys() - set(keys))
    if unknown:
        raise SpecError(f"unknown key {unknown[0]!r:.60}", fix=f"known are {', '.join(sorted(keys))}")
