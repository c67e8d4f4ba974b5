"""`course down`: everything with the course's label goes, from every host, and the hosts are as they were before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from occamctl.actions import data_hosts, homes
from occamctl.actions.apply import Site
from occamctl.actions.session import Session, each
from occamctl.engine import ground, leftovers, loader, nodes, swarm, walls
from occamctl.engine.client import Engine
from occamctl.errors import PartlyDone, Refused
from occamctl.hosts import gpu_prepare
from occamctl.hosts.lock import holding
from occamctl.plan import gpus
from occamctl.plan.lending import lends_label
from occamctl.plan.wanted import front_label, host_label
from occamctl.spec import names
from occamctl.spec.units import human_size

Say = Callable[[str, str], None]
PIECES_GONE = 120
"""Seconds that services may take to end; a notebook's kernels get 30 of them."""


@dataclass(frozen=True)
class Found:
    """What is there to take down."""

    hosts: dict[str, leftovers.Left]
    homes: tuple[homes.Home, ...]
    """Homes with somebody's own files."""
    data: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Data sets by name, with the hosts that have them."""
    gpus: tuple[str, ...] = ()
    """Hosts whose engine `host prepare --gpu` told of its GPUs, for no other course."""

    @property
    def empty(self) -> bool:
        return not (self.gpus or any(left for left in self.hosts.values()))


def find(session: Session) -> Found:
    """What the hosts hold of this course. Raises the errors of hosts when none answered."""
    if not session.machines:
        session.all_here()
    answers, errors = each(session.machines, lambda host: leftovers.left(session.engine(host), session.course.course))
    session.errors.update(errors)
    image = _image_with_python(session, answers)
    told, _ = each(answers, lambda host: _only_ours(session, host) and gpu_prepare.told(session.machines[host]))
    prepared = tuple(host for host, yes in told.items() if yes)
    return Found(answers, tuple(homes.with_work(session, image)), _data(session, image), prepared)


def _data(session: Session, image: str) -> dict[str, tuple[str, ...]]:
    """A host that cannot tell is left out: data can be brought again."""
    course = session.course.course
    answers, _ = each(session.machines, lambda host: data_hosts.seen(session.engine(host), course, image))
    names = sorted({name for sets in answers.values() for name in sets})
    return {name: tuple(host for host, sets in answers.items() if name in sets) for name in names}


def _image_with_python(session: Session, there: dict[str, leftovers.Left]) -> str:
    wanted = Site(session).want.images[session.hosts[0]][-1]
    held = {tag for left in there.values() for tag in left.images}
    return wanted if wanted in held or not held else next((tag for tag in sorted(held) if "notebook" in tag), wanted)


def refuse_to_lose(found: Found) -> None:
    """Raises Refused when homes hold work."""
    if found.homes:
        listed = "; ".join(
            f"{home.owner}: {home.files} file{'s' if home.files != 1 else ''}, {human_size(home.size)}"
            f" ({', '.join(home.some)}{', …' if home.files > len(home.some) else ''}) on {home.host}"
            for home in found.homes[:5]
        )
        more = f"; and {len(found.homes) - 5} more" if len(found.homes) > 5 else ""
        raise Refused(
            f"{len(found.homes)} home{'s hold' if len(found.homes) != 1 else ' holds'} work: {listed}{more}",
            fix="copy what is needed, then: occamctl course down --discard-work",
        )


def down(session: Session, say: Say, *, keep_images: bool = False) -> None:
    """Take everything down. Raises PartlyDone when a host did not answer: run it again when it does."""
    course = session.course.course
    manager = session.hosts[0]
    if manager in session.machines:
        with holding(session.machines[manager], course):
            _take_down(session, say, keep_images=keep_images)
    else:
        _take_down(session, say, keep_images=keep_images)
    if session.errors:
        failed = PartlyDone(
            f"done, but not on {', '.join(sorted(session.errors))}",
            fix="run: occamctl course down, again when they answer",
        )
        failed.others = list(session.errors.values())
        raise failed


def _take_down(session: Session, say: Say, *, keep_images: bool) -> None:
    course, manager = session.course.course, session.hosts[0]
    formed = False
    if manager in session.machines and swarm.in_swarm(session.manager):
        formed = nodes.formed_by(session.manager) == course
        _services(session.manager, course, say)
    ours = Site(session).want.images[manager][-1]
    _, errors = each(session.machines, lambda host: _containers(session.engine(host), course, ours, say))
    session.errors.update(errors)
    if manager in session.machines and swarm.in_swarm(session.manager):
        _ground(session.manager, course, say)
        if not formed:
            _unlabel(session)
    _, errors = each(session.machines, lambda host: _rest(session.engine(host), course, say, keep_images))
    session.errors.update(errors)
    if formed:
        _leave(session, say)
    _, errors = each(session.machines, lambda host: _gpus(session, host, say))
    session.errors.update(errors)


def _services(engine: Engine, course: str, say: Say) -> None:
    """The gateway ends first, and is gone before the rest goes: it would replace a worker that it misses."""
    ours = {names.COURSE: course}
    for labels in (ours | {names.KIND: "gateway"}, ours):
        listed = swarm.services(engine, labels)
        if listed:
            say("", f"ending {len(listed)} service{'s' if len(listed) != 1 else ''}")
        for one in listed:
            swarm.remove_service(engine, one["Spec"]["Name"])
        swarm.wait_absent(engine, labels, seconds=PIECES_GONE)


def _containers(engine: Engine, course: str, image: str, say: Say) -> None:
    say(engine.name, "waiting for containers to end")
    loader.clear(engine, course, loader.LOADING, loader.LOOKING)
    leftovers.remove_containers(engine, course, seconds=PIECES_GONE)
    # Now that there is nobody left to keep out, and none who would set them again.
    walls.take_away(engine, course, image)


def _ground(engine: Engine, course: str, say: Say) -> None:
    ours = {names.COURSE: course}
    say("", "removing networks, secrets and settings")
    for one in ground.secrets(engine, ours):
        ground.remove_secret(engine, one["Spec"]["Name"])
    for one in ground.configs(engine, ours):
        ground.remove_config(engine, one["Spec"]["Name"])
    for one in ground.networks(engine, ours):
        ground.remove_network(engine, one["Name"])


def _rest(engine: Engine, course: str, say: Say, keep_images: bool) -> None:
    say(engine.name, "removing volumes")
    leftovers.remove_volumes(engine, course)
    if not keep_images and not leftovers.other_courses(engine, course):
        say(engine.name, "removing images")
        leftovers.remove_images(engine)
    say(engine.name, "clean")


def _gpus(session: Session, host: str, say: Say) -> None:
    """What `host prepare --gpu` told the engine goes with the last course; it refuses where others' containers run."""
    if _only_ours(session, host):
        gpu_prepare.undo_gpus(session.machines[host], lambda text: say(host, text))


def _only_ours(session: Session, host: str) -> bool:
    return not leftovers.other_courses(session.engine(host), session.course.course)


def _unlabel(session: Session) -> None:
    """The swarm was there before us and stays; our marks on its nodes go, and so do the nodes that we brought."""
    course = session.course.course
    by_id = {node.id: node for node in swarm.nodes(session.manager)}
    for host in session.machines:
        there = swarm.in_swarm(session.engine(host))
        node = by_id.get(there["NodeID"]) if there else None
        if node is None:
            continue
        if node.labels.get(nodes.JOINED) == course:
            nodes.leave(session.engine(host))
            nodes.forget(session.manager, node.id)
        elif ours := _ours(course, node.labels):
            nodes.label(session.manager, node.id, dict.fromkeys(ours))


def _ours(course: str, labels: Mapping[str, str]) -> set[str]:
    """Our labels of a node; what it lends stays as long as another course has it."""
    ours = {front_label(course), host_label(course), lends_label(course)}
    if not any(label.startswith(host_label("")) and label != host_label(course) for label in labels):
        ours |= {gpus.LENT, gpus.OUT, gpus.PROVEN}
    return ours & labels.keys()


def _leave(session: Session, say: Say) -> None:
    """Nobody else uses the swarm that we formed: everyone leaves, the first manager last."""
    others = leftovers.other_services(session.manager)
    if others:
        say("", f"the swarm stays: it runs {', '.join(others[:3])}")
        return
    manager = session.hosts[0]
    rest = [host for host in session.machines if host != manager]

    def leave(host: str) -> None:
        say(host, "leaving the swarm")
        nodes.leave(session.engine(host))
        leftovers.remove_swarm_bridge(session.engine(host))

    _, errors = each(rest, leave)
    session.errors.update(errors)
    leave(manager)
