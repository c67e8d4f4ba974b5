"""`occamctl image …`: build, list, send and remove the images of a course."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from occamctl.actions.session import MOST_AT_ONCE, Session, each, open_course
from occamctl.engine import images
from occamctl.engine.client import Engine
from occamctl.engine.images import Built
from occamctl.errors import HostError, OccamError
from occamctl.spec import load
from occamctl.spec.course import Course
from occamctl.wait import Together

Say = Callable[[str, str], None]
YOUNG = 600
"""Seconds for which what has no tag is left alone: somebody's build may be going on."""
PART = "(part of a build)"
_OF_COURSES = (f"{images.PREFIX}/hub:", f"{images.PREFIX}/notebook:")


@dataclass(frozen=True)
class Row:
    """One image on one engine."""

    host: str
    image: str
    size: int
    age: int
    """Seconds."""
    used: bool
    """The course file asks for it, or a service names it."""
    id: str


def wanted(course: Course) -> tuple[Built, ...]:
    """What the course file asks for."""
    return images.of_course(course.image)


def local_engine() -> Engine | None:
    """This machine's engine, when it has one."""
    try:
        return Engine.local()
    except HostError:
        return None


def build(config: Path, say: Say) -> list[str]:
    """Build what the course needs and is not there, here, or on the manager when this machine has no engine."""
    course = load.load(config)
    here = local_engine()
    if here is not None:
        return _build(here, course, say)
    with open_course(config, manager_only=True) as session:
        session.all_here()
        return _build(session.manager, course, say)


def _build(engine: Engine, course: Course, say: Say) -> list[str]:
    for one in wanted(course):
        images.ensure_built(engine, one, lambda text: say(engine.name, text))
    return [one.tag for one in wanted(course)]


def push(config: Path, say: Say) -> dict[str, list[str]]:
    """Send every host the images that it lacks; the tags that were sent, by host."""
    with open_course(config) as session:
        session.all_here()
        source = _builder(session)
        tags = _build(source, session.course, say)
        targets = [host for host in session.machines if session.engine(host) is not source]

        def send(host: str) -> list[str]:
            return images.deliver(source, session.engine(host), tags, lambda text: say(host, text))

        sent, errors = each(targets, send)
    _raise_first(errors.values())
    return sent


def _builder(session: Session) -> Engine:
    here = local_engine() if session.course.hosts else None
    return here or session.manager


def _engines(session: Session) -> dict[str, Engine]:
    """The hosts' engines, and this machine's where it builds."""
    builder = _builder(session)
    there = session.engines
    return there if builder in there.values() else {builder.name: builder, **there}


def listed(config: Path) -> list[Row]:
    """Our images on every engine of the course."""
    with open_course(config) as session:
        engines = _engines(session)
        keep = _kept(session, engines)
        with Together(max_workers=MOST_AT_ONCE) as pool:
            rows = [row for found in pool.map(lambda name: _rows(name, engines[name], keep), engines) for row in found]
        _raise_first(session.errors.values())
    return rows


def _kept(session: Session, engines: dict[str, Engine]) -> frozenset[str]:
    named = [images.in_services(engine) for engine in engines.values()]
    asked = [one for built in wanted(session.course) for one in (built, built.parent) if one is not None]
    return frozenset(one.tag for one in asked).union(*named)


def _rows(name: str, engine: Engine, keep: frozenset[str]) -> list[Row]:
    now = int(time.time())
    return [
        Row(name, one.tag or PART, one.size, max(0, now - one.created), one.tag in keep, one.id)
        for one in images.held(engine)
    ]


def superfluous(rows: Iterable[Row]) -> list[Row]:
    """Those that `prune` removes: what courses ran on, and what builds left; Debian and the sandbox stay."""
    return [row for row in rows if not row.used and (row.image.startswith(_OF_COURSES) or _leftover(row))]


def _leftover(row: Row) -> bool:
    return row.image == PART and row.age >= YOUNG


def prune(config: Path, rows: Iterable[Row], say: Say) -> list[Row]:
    """Remove images from their engines; returns those that stay, because a container uses them."""
    kept = []
    with open_course(config) as session:
        engines = _engines(session)
        for row in rows:
            name = row.id if row.image == PART else row.image
            say(row.host, f"removing {row.image}")
            if images.remove(engines[row.host], [name]):
                kept.append(row)
    return kept


def _raise_first(errors: Iterable[OccamError]) -> None:
    """The first error, with the others behind it."""
    found = list(errors)
    if found:
        found[0].others = found[1:]
        raise found[0]
