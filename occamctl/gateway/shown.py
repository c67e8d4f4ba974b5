"""The gateway's page as HTML, made of what its API answers. Pure; templates and style are in `pages/`.

Names, messages and logs are whatever somebody wrote: the templates escape everything, and the page allows no script.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tornado.template import Loader

from occamctl.gateway.gpu_words import counted
from occamctl.gateway.settings import PAGE
from occamctl.plan.observed import Gpu
from occamctl.spec import names
from occamctl.spec.units import human_size

EVERY = 10
"""Seconds after which the page loads itself again, while something starts or stops."""
_PAGES = Path(__file__).parent / "pages"
_STYLE = (_PAGES / "style.css").read_text()
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = "; ".join(
    (
        "default-src 'none'",
        f"style-src 'sha256-{_HASH}'",
        "img-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
"""Content-Security-Policy: no script at all, and no other style than ours."""
LONGEST = 64 << 10
"""Characters of one container that are shown: a line may be as long as a program likes."""
_NOTICES = 3
_UNSEEN = re.compile(
    r"\x1b\[[0-9;?]*[A-Za-z]|[^\n\t\x20-\x7e\xa0-\U0010ffff]|[\u200b-\u200f\u202a-\u202e\u2066-\u2069]"
)
"""Colours of terminals, and characters that a browser does not show or that turn the direction of a line."""
_CALLED = {"workers": "Workers", "cpus": "CPUs", "memory": "Memory", "gpus": "GPUs", "clusters": "Clusters"}


@dataclass(frozen=True)
class Around:
    """What every page needs. `xsrf` is the hidden field that shows that a form comes from our page."""

    course: str
    user: str
    instructor: bool = False
    xsrf: str = ""


@dataclass(frozen=True)
class Said:
    """What came of the last request."""

    text: str
    wrong: bool = False


@dataclass(frozen=True)
class Bar:
    """One resource of a quota. `most` is 0 without a limit: there is nothing to draw then."""

    key: str
    label: str
    held: float
    most: float
    text: str


@dataclass(frozen=True)
class Printed:
    """What one container printed last, as the API gives it: each line begins with the container's number."""

    title: str
    told: str

    @property
    def text(self) -> str:
        lines = (line.partition(": ")[2] for line in self.told.split("\n"))
        return _UNSEEN.sub("", "\n".join(lines)[-LONGEST:]).rstrip()


@dataclass(frozen=True)
class Person:
    """What somebody holds. `memory` in bytes."""

    name: str
    notebook: str
    clusters: int
    workers: int
    cpus: int
    memory: int


@dataclass(frozen=True)
class Shown:
    """One cluster as the page shows it.

    most  workers that the quota allows it; None when that is not known
    """

    view: Mapping[str, Any]
    number: int
    most: int | None
    own: bool
    now: datetime

    def __getattr__(self, name: str) -> Any:
        try:
            return self.view[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def title(self) -> str:
        """How its headings and buttons call it."""
        return f"{self.view['name']} of {'the course' if self.owner == names.COURSE_OWNER else self.owner}"

    @property
    def path(self) -> str:
        """Its address on the page."""
        return f"{PAGE}clusters/{quote(self.owner, safe='')}/{quote(self.view['name'], safe='')}"

    @property
    def lives(self) -> bool:
        return self.state in ("starting", "running")

    @property
    def changes(self) -> bool:
        return self.state in ("starting", "stopping")

    @property
    def ui(self) -> str:
        """Spark's page in the owner's notebook, which nobody else may open; "" when there is none to open."""
        if not self.own or not self.lives or not self.view.get("ui_port"):
            return ""
        return f"/user/{quote(self.owner, safe='@~')}/proxy/{int(self.ui_port)}/jobs/"

    @property
    def wish(self) -> int:
        """The number that its form begins with: workers, or of an adaptive cluster the most."""
        return int(self.adaptive[1] if self.adaptive else self.wanted - self.gpu_workers)

    @property
    def size(self) -> str:
        cores = f"{self.cores} core" if self.cores == 1 else f"{self.cores} cores"
        beside = f"; {self.gpu_workers} with GPUs" if self.gpu_workers else ""
        return f"{cores}, {human_size(self.memory)}{f', {self.gpu}' if self.gpu else beside}"

    @property
    def workers(self) -> str:
        running = sum(one["state"] == "running" for one in self.executors)
        there = running if self.registered is None else self.registered
        return f"{there} of {self.wanted}"

    @property
    def hosts(self) -> list[tuple[str, str]]:
        """Each host with what it has of the cluster, such as `2 running, 1 lost`."""
        found: dict[str, Counter[str]] = {}
        for one in self.executors:
            found.setdefault(one["node"] or "not placed yet", Counter())[one["state"]] += 1
        return [
            (host, ", ".join(f"{many} {state}" for state, many in sorted(states.items(), key=lambda one: one[0])))
            for host, states in sorted(found.items())
        ]

    @property
    def age(self) -> str:
        return ago(self.since, self.now)


@dataclass(frozen=True)
class Overview:
    """All that the main page shows; the last three are for instructors. `gpu`: what the API says of the own GPUs."""

    mine: list[Shown]
    bars: list[Bar]
    gpu: Mapping[str, Any] = field(default_factory=dict)
    others: list[Shown] = field(default_factory=list)
    hosts: list[Mapping[str, Any]] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)

    @property
    def changes(self) -> bool:
        return any(one.changes for one in (*self.mine, *self.others))

    @property
    def gpus(self) -> str:
        """The own GPUs in a sentence; "" without any."""
        there = self.gpu.get("gpus")
        if not there:
            return ""
        until = f" until {self.gpu['until'][:16].replace('T', ' ')} UTC" if self.gpu.get("until") else ""
        group = f", when group {self.gpu['for_group']} has reserved it" if self.gpu.get("for_group") else ""
        what = counted(Gpu(one["uuid"], one["model"], one["memory"], one["profile"]) for one in there)
        return f"{what} on {self.gpu['host']}{until}{group}: {self.gpu['message']}."

    @property
    def gpu_notices(self) -> list[str]:
        """What was told of them last, the newest first."""
        return [str(one["text"]) for one in reversed(self.gpu.get("notices", ())[-_NOTICES:])]


def ago(since: str, now: datetime) -> str:
    """`12 minutes ago`, for an ISO date."""
    seconds = max(0, int((now - datetime.fromisoformat(since)).total_seconds()))
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            many = seconds // length
            return f"{many} {unit}{'s' if many > 1 else ''} ago"
    return "less than a minute ago"


def bars(quota: Mapping[str, Mapping[str, Any]]) -> list[Bar]:
    """A quota as the API answers it, resource by resource, whichever there are; those with nothing to say left out."""
    made = []
    for key, said in quota.items():
        if said.get("limit") is not None or said.get("held"):
            made.append(_bar(key, said))
        made += [_shared(key, number, one) for number, one in enumerate(said.get("shared", ()))]
    return made


def _amount(key: str, number: float) -> str:
    return human_size(int(number)) if key == "memory" else f"{number:g}"


def _shared(key: str, number: int, said: Mapping[str, Any]) -> Bar:
    """What somebody holds together with others."""
    held, limit = said["held"], said["limit"]
    text = f"{_amount(key, held)} of {_amount(key, limit)} in use by all of {said['of']}"
    return Bar(f"{key}-{number}", f"{_CALLED.get(key, key)}, {said['of']}", held, limit, text)


def _bar(key: str, said: Mapping[str, Any]) -> Bar:
    amount, held, limit = partial(_amount, key), said.get("held") or 0, said.get("limit")
    told = [f"{amount(held)} of {amount(limit)} in use" if limit is not None else f"{amount(held)} in use, no limit"]
    if said.get("guarantee"):
        told.append(f"{amount(said['guarantee'])} kept for you")
    if said.get("free_on_hosts") is not None:
        told.append(f"the hosts have room for {amount(said['free_on_hosts'])} more")
    return Bar(key, _CALLED.get(key, key), held, limit or 0, "; ".join(told))


def most(view: Mapping[str, Any], quota: Mapping[str, Mapping[str, Any]]) -> int | None:
    """Workers that the owner's quota allows a cluster; the gateway has the last word."""
    workers = quota.get("workers", {})
    if workers.get("limit") is None:
        return None
    asked = view["adaptive"][1] if view["adaptive"] else view["wanted"]
    return max(int(asked), int(view["wanted"] + workers["limit"] - (workers.get("held") or 0)))


def containers(view: Mapping[str, Any]) -> dict[str, str]:
    """What the API's logs of a cluster can be asked for, and what each is called."""
    there = {"driver": "Driver"} if view["driver_service"] else {}
    for one in view["executors"]:
        lost = ", lost" if one["state"] == "lost" else ""
        there[one["id"]] = f"Worker {one['id']} on {one['node'] or 'no host yet'}{lost}"
    return there


def people(notebooks: Iterable[Mapping[str, Any]], clusters: Iterable[Mapping[str, Any]]) -> list[Person]:
    """Who has what, by name: whoever has a notebook or a cluster."""
    living: dict[str, list[Mapping[str, Any]]] = {}
    for one in clusters:
        if one["state"] not in ("failed", "finished"):
            living.setdefault(one["owner"], []).append(one)
    where = {
        one["user"]: f"{one['state']} on {one['node']}" if one["state"] == "running" else one["state"]
        for one in notebooks
    }
    return [
        Person(
            name,
            where.get(name, "none"),
            len(mine := living.get(name, [])),
            sum(one["wanted"] for one in mine),
            sum(one["wanted"] * one["cores"] for one in mine),
            sum(one["wanted"] * one["memory"] for one in mine),
        )
        for name in sorted({*where, *living})
    ]


def overview(around: Around, told: Overview, said: Said | None = None, *, still: bool = False) -> bytes:
    """The main page. It loads itself again while something changes, unless it is told to keep `still`."""
    every = EVERY if told.changes and not still else 0
    return _page("overview.html", around, told=told, said=said, every=every, still=still)


def stop(around: Around, one: Shown) -> bytes:
    """The question before a cluster is stopped."""
    return _page("stop.html", around, one=one)


def logs(around: Around, one: Shown, printed: list[Printed]) -> bytes:
    """What the containers of a cluster printed last."""
    return _page("logs.html", around, one=one, printed=printed)


def trouble(around: Around, what: str, fix: str) -> bytes:
    """Why something cannot be done."""
    return _page("trouble.html", around, what=what, fix=fix)


@cache
def _loader() -> Loader:
    return Loader(str(_PAGES))


def _page(name: str, around: Around, **words: Any) -> bytes:
    words = {"every": 0, "style": _STYLE, "home": PAGE, "around": around, "human_size": human_size, **words}
    made: bytes = _loader().load(name).generate(**words)
    return made
