"""Who has which GPU, as the operator sees and steers it, through the gateway."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from occamctl.actions import users
from occamctl.actions.session import Session
from occamctl.errors import SpecError
from occamctl.plan import gpus
from occamctl.plan.observed import Gpu
from occamctl.spec import units
from occamctl.spec.course import Course

Said = dict[str, Any]
_RESTART = 300
"""Seconds: a notebook's end and its new start."""


def wish(text: str, count: int, memory: str) -> Said:
    """GPUs as a person asks for them, as the gateway is asked.

    text    a number, a model such as A100, a MIG profile such as 1g.10gb, or "" for any one
    count   so many of that model or profile
    memory  such as 40G, or ""

    Raises SpecError.
    """
    try:
        least = {"memory": units.size(memory)} if memory else {}
    except ValueError as error:
        raise SpecError(str(error), where="memory of a GPU", fix="write 40G") from None
    try:
        number = {"count": int(text) if text.isdecimal() else count}
        if count not in (1, number["count"]):
            raise SpecError(f"{text} GPUs, and --count {count}: which?", where="GPUS", fix="--count goes with a model")
        named = gpus.wish(text) if text and not text.isdecimal() else None
        which = {"profile": named.profile} if named and named.profile else {"model": named.model} if named else {}
        said = {**number, **which, **least}
        if gpus.wish(said) is None:
            raise ValueError("none is asked for")
    except ValueError as error:
        raise SpecError(str(error), where="GPUS", fix="write 1, A100 or 1g.10gb") from None
    return said


def seconds(text: str) -> int:
    """Raises SpecError."""
    try:
        return units.seconds(text)
    except ValueError as error:
        raise SpecError(str(error), where="--for") from None


class _Here(tzinfo):
    """This machine's zone with its summer time; what `astimezone()` alone gives is the offset of one moment."""

    def utcoffset(self, at: datetime | None) -> timedelta | None:
        return at.replace(tzinfo=None).astimezone().utcoffset() if at else None

    def dst(self, at: datetime | None) -> None:
        return None

    def tzname(self, at: datetime | None) -> str | None:
        return at.replace(tzinfo=None).astimezone().tzname() if at else None

    def fromutc(self, at: datetime) -> datetime:
        return at.replace(tzinfo=UTC).astimezone().replace(tzinfo=self)


def zone(course: Course) -> tzinfo:
    """Where the course takes place; without a term that is where this machine is."""
    return ZoneInfo(course.term.timezone) if course.term else _Here()


def moment(text: str, now: datetime) -> str:
    """A time as a person writes it, as ISO with its zone: `now`, `14:00` (the next one), `2026-10-05 14:00`.

    now  with the zone that counts where none is written

    Raises SpecError.
    """
    if text == "now":
        return now.isoformat(timespec="seconds")
    try:
        if found := re.fullmatch(r"(\d{1,2}):(\d\d)", text):
            at = now.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
            return (at if at >= now else at + timedelta(days=1)).isoformat()
        said = datetime.fromisoformat(text)
        return (said if said.tzinfo else said.replace(tzinfo=now.tzinfo)).isoformat()
    except ValueError:
        raise SpecError(
            f"{text!r:.60} is not a time", where="--from", fix='write now, 14:00 or "2026-10-05 14:00"'
        ) from None


def shown(iso: str | None, now: datetime) -> str:
    """A moment for people, in the zone of `now`: `14:00`, and its date when it is another day's."""
    if not iso:
        return ""
    at = datetime.fromisoformat(iso).astimezone(now.tzinfo)
    return f"{at:%H:%M}" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M}"


def now(course: Course) -> datetime:
    """The time, in the course's zone."""
    return datetime.now(UTC).astimezone(zone(course))


def listed(session: Session) -> list[Said]:
    """Every GPU that a host lends, by host."""
    there: list[Said] = session.gateway.get("/gpus")
    return there


def assign(session: Session, username: str, asked: Said, lasts: int | None, *, restart: bool) -> Said:
    """Give GPUs to somebody's notebook; what that person has now.

    lasts    seconds; None: until they are released
    restart  replace a notebook that runs, so that it has them at once

    Raises DoesNotFit, Refused, SpecError for an unknown name.
    """
    users.check_known(session, username)
    body = {"gpu": asked, "for": lasts, "restart": restart}
    made: Said = session.gateway.put(_of(username), body, timeout=_RESTART if restart else 30)
    return made


def release(session: Session, username: str, *, restart: bool) -> Said:
    """Take them back; those that a notebook runs with go when it stops. Raises SpecError for an unknown name."""
    users.check_known(session, username)
    asked = f"{_of(username)}{'?restart=1' if restart else ''}"
    left: Said = session.gateway.delete(asked, timeout=_RESTART if restart else 30)
    return left


def _of(username: str) -> str:
    return f"/users/{quote(username, safe='')}/gpu"


def reserve(session: Session, group: str, asked: Said, begins: str, lasts: int) -> Said:
    """Keep GPUs for the members of a group. Raises DoesNotFit, SpecError."""
    made: Said = session.gateway.post(
        "/gpus/reservations", {"group": group, "gpu": asked, "from": begins, "for": lasts}
    )
    return made


def reservations(session: Session) -> list[Said]:
    """Those that are on or to come, the earliest first."""
    there: list[Said] = session.gateway.get("/gpus/reservations")
    return there


def unreserve(session: Session, number: str) -> None:
    """Raises NotThere."""
    session.gateway.delete(f"/gpus/reservations/{quote(number, safe='')}")


# In words -----------------------------------------------------------------------------------------------------------


def row(one: Said, at: datetime) -> Said:
    """One GPU as a row for people."""
    use = [f"{one['utilization']:.0f}%"] if one["utilization"] is not None else []
    use += [units.human_size(one["memory_used"])] if one["memory_used"] is not None else []
    kept = [f"{there['group']} from {shown(there['from'], at)}" for there in one["reservations"] if not there["on"]]
    kept += [f"{there['group']} until {shown(there['to'], at)}" for there in one["reservations"] if there["on"]]
    return {
        "host": one["host"],
        "gpu": called(one),
        "memory": units.human_size(one["memory"]),
        "state": f"out: {one['trouble']}" if one["trouble"] else one["state"],
        "use": ", ".join(use),
        "holder": holder(one),
        "until": shown(one["until"], at),
        "reserved": ", ".join(kept),
    }


def called(one: Said) -> str:
    """Its model, short, and its MIG profile."""
    return gpus.called(Gpu(one["uuid"], one["model"], one["memory"], one["profile"]))


def holder(one: Said) -> str:
    """`anna`, `anna/lab` for a cluster's worker."""
    who = one["holder"]
    if not who:
        return ""
    name = who.get("user", who["who"])
    return f"{name}/{who['cluster']}" if who.get("cluster") else str(name)


def counted(those: list[Said]) -> str:
    """`2 A100-SXM4-40GB, 1 Tesla T4`."""
    names = [called(one) for one in those]
    return ", ".join(f"{names.count(name)} {name}" for name in sorted(set(names)))


def told(made: Said, at: datetime) -> str:
    """What somebody has now, in one line."""
    if not made["gpus"]:
        return f"{made['user']} has no GPU."
    until = f" until {shown(made['until'], at)}" if made["until"] else ""
    group = f" (reserved for group {made['for_group']} then)" if made["for_group"] else ""
    return f"{made['user']} has {counted(made['gpus'])} on {made['host']}{until}{group}: {made['message']}."
