"""Why somebody gets no GPU, in words: who holds which until when, or that there are none such. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from occamctl.errors import DoesNotFit
from occamctl.gateway.gpu_grants import Holder, Reservation
from occamctl.gateway.quotas import called
from occamctl.gateway.refusals import NeverFits
from occamctl.plan import gpus
from occamctl.plan.fit import Room
from occamctl.plan.gpus import GpuWish
from occamctl.plan.observed import Gpu

_DAY = 86400
_MANY = 6


@dataclass(frozen=True)
class Now:
    """How things are when somebody is refused. `named`: whether the asker may know who holds what."""

    rooms: Sequence[Room]
    holders: Sequence[Holder]
    reservations: Collection[Reservation]
    time: float
    named: bool = False


def moment(at: float, now: float) -> str:
    """`14:00 UTC`, with its date when that is not within a day."""
    told = datetime.fromtimestamp(at, UTC)
    return f"{told:%H:%M} UTC" if abs(at - now) < _DAY else f"{told:%Y-%m-%d %H:%M} UTC"


def which(want: GpuWish) -> str:
    """What the wish calls them, without a number: `A100`, `GPU with 40G`."""
    one = str(GpuWish(1, want.model, want.profile, want.memory)).removeprefix("1 ")
    return one.removeprefix("GPU ") if want.model or want.profile else one


def counted(held: Iterable[Gpu]) -> str:
    """`2 A100-SXM4-40GB, 1 Tesla T4`."""
    many = Counter(gpus.called(one) for one in held)
    return ", ".join(f"{number} {model}" for model, number in sorted(many.items()))


def never(want: GpuWish, rooms: Iterable[Room], *, each: int = 1) -> DoesNotFit | None:
    """Why no waiting brings it; None when waiting could.

    each  how many times the wish is asked for, by workers that may be on different hosts
    """
    rooms = list(rooms)
    lent = [one for room in rooms for one in room.lent]
    such = [one for one in lent if gpus.suits(one, want)]
    if not lent:
        return NeverFits("no host of this course has a GPU to give", fix="ask for none")
    if not such:
        return NeverFits(f"the course has no {which(want)}; it has {counted(lent)}", fix="ask for one of these")
    if len(such) < want.count * each:
        return NeverFits(
            f"{_all(want, each)} are asked for, and the course has only {_such(len(such))}: {counted(such)}"
        )
    fits = sum(_on(room, want) // want.count for room in rooms)
    if fits < each:
        there = ", ".join(f"{room.hostname} has {many}" for room in rooms if (many := _on(room, want)))
        return NeverFits(f"{want} have to be in one host: {there}", fix="ask for fewer")
    return None


@contextmanager
def those_out_named(want: GpuWish | None, out: Iterable[tuple[str, Gpu, str]]) -> Iterator[None]:
    """A refusal of what the course does not have names those that it would have.

    out  GPUs out of service: host, GPU, and why
    """
    try:
        yield
    except NeverFits as no:
        told = Counter((host, gpus.called(one), why) for host, one, why in out if want and gpus.suits(one, want))
        if told:
            each = [f"{many} {called} on {host} ({why})" for (host, called, why), many in told.items()]
            no.what += f"; out of service: {', '.join(each[:_MANY])}"
        raise


def _all(want: GpuWish, each: int) -> str:
    return str(GpuWish(want.count * each, want.model, want.profile, want.memory))


def _such(many: int) -> str:
    return f"{many} such GPU{'s' if many != 1 else ''}"


def _on(room: Room, want: GpuWish) -> int:
    return sum(gpus.suits(one, want) for one in room.lent)


def free(want: GpuWish, room: Room) -> int:
    """How many such GPUs nobody holds in a room."""
    return sum(gpus.suits(one, want) for one in room.gpus)


def away(want: GpuWish, home: str, rooms: Sequence[Room]) -> DoesNotFit:
    """The home's host does not have what another has. `home`: the host's name."""
    there = ", ".join(f"{room.hostname} has {many}" for room in rooms if (many := _on(room, want)))
    return NeverFits(
        f"a notebook runs where its home is, on {home}, which has not {want}; {there}",
        fix="ask for what that host has, or take a Spark cluster's workers, which run anywhere",
    )


def refused(want: GpuWish, now: Now, *, on: str = "") -> DoesNotFit:
    """All such GPUs are held or reserved. `on`: the one host that counts, by its name."""
    where = f" on {on}" if on else ""
    told = holders(want, now, on=on)
    return DoesNotFit(
        f"{want} {'is' if want.count == 1 else 'are'} not free{where}{': ' + told if told else ''}",
        fix="ask again then" if " until " in told else "ask again later",
    )


def holders(want: GpuWish | None, now: Now, *, on: str = "") -> str:
    """`group phd holds 2 A100 until 14:00 UTC; students hold 1 Tesla T4`: who has such GPUs."""
    nodes = {room.node for room in now.rooms if not on or room.hostname == on}
    held: dict[tuple[str, str], list[Gpu]] = {}
    for one in now.holders:
        if one.node in nodes and (want is None or gpus.suits(one.gpu, want)):
            until = f" until {moment(one.until, now.time)}" if one.until else ""
            if one.until and one.until <= now.time:  # its owner has been told, and saves
                until = ", whose time is over"
            held.setdefault((one.owner if now.named else called(one.owner, one.groups), until), []).append(one.gpu)
    told = [f"{who} {_holds(who)} {counted(these)}{until}" for (who, until), these in sorted(held.items())]
    taken = {one.gpu.uuid for one in now.holders}
    lent = {one.uuid for room in now.rooms if room.node in nodes for one in room.lent}
    for kept in sorted(now.reservations, key=lambda one: one.ends):
        free = [one for one in kept.gpus if one.uuid in lent - taken and (want is None or gpus.suits(one, want))]
        if free and kept.on(now.time):
            told.append(f"{counted(free)} reserved for group {kept.group} until {moment(kept.ends, now.time)}")
    more = f"; and {len(told) - _MANY} more" if len(told) > _MANY else ""
    return "; ".join(told[:_MANY]) + more


def _holds(who: str) -> str:
    return "hold" if who in ("students", "instructors") else "holds"


def over_quota(owner: str, many: int, limit: float, held: float, whose: str) -> DoesNotFit:
    """More than a quota allows."""
    quota = f"the quota of {whose + ', ' if whose else ''}{limit:g} GPU{'s' if limit != 1 else ''}"
    rest = f", {held:g} held {'by all' if whose else 'already'}" if held else ""
    left = max(0, int(limit - held))
    return DoesNotFit(
        f"{many} GPU{'s' if many != 1 else ''} {'is' if many == 1 else 'are'} over {quota}{rest}; {left} would do",
        where=owner,
        fix=f"ask for {left}" if left else "release what you do not need" if held and not whose else "ask for none",
    )


def reserved(
    want: GpuWish, left: int, others: Iterable[Reservation], begins: float, ends: float, now: float
) -> DoesNotFit:
    """Others have reserved them for some of that time. `left`: how many such GPUs can be had."""
    told = ", ".join(
        f"group {one.group} from {moment(one.begins, now)} to {moment(one.ends, now)}"
        for one in others
        if one.begins < ends and begins < one.ends
    )
    return DoesNotFit(
        f"{want} cannot be reserved then, {left} can; reserved already: {told}", fix="take another time, or fewer"
    )


def choices(free: Iterable[Gpu]) -> list[dict[str, object]]:
    """What somebody may choose from: one GPU of any kind, and one of each kind when there are several."""
    many = Counter((gpus.called(one), one.profile, one.model) for one in free)
    if not many:
        return []
    total = sum(many.values())
    each: list[dict[str, object]] = [
        {"gpu": {"profile": profile} if profile else {"model": model}, "label": f"1 {name} ({number} free)"}
        for (name, profile, model), number in sorted(many.items())
    ]
    return [{"gpu": {"count": 1}, "label": f"1 GPU of any kind ({total} free)"}, *each] if len(each) > 1 else each
