"""Find the container behind a piece of the course."""

from __future__ import annotations

from occamctl.actions.session import Session
from occamctl.engine import swarm
from occamctl.engine.client import Engine
from occamctl.errors import EngineError, HostError, SpecError
from occamctl.spec import names

FRONT = ("hub", "proxy", "gateway")


def container_of(engine: Engine, service: str) -> str:
    """Id of the running container of a service; "" when none runs."""
    for task in swarm.tasks(engine, service_name=service):
        if task.state == "running" and task.wanted == "running":
            return task.container_id
    return ""


def host_of_node(session: Session, node_id: str) -> str:
    """Name of the course's host that is this node. Raises HostError when that host did not answer."""
    for host in session.machines:
        there = swarm.in_swarm(session.engine(host))
        if there and there["NodeID"] == node_id:
            return host
    where = next((node.hostname for node in swarm.nodes(session.manager) if node.id == node_id), node_id)
    raise HostError("the container's host does not answer", where=where, fix="see: occamctl status")


def service_of(session: Session, piece: str) -> str:
    """The service that a person means by `hub`, `proxy`, `gateway`, a user's name, or a service's own name."""
    there = {one["Spec"]["Name"] for one in swarm.services(session.manager, {names.COURSE: session.course.course})}
    for name in (f"{session.course.course}-{piece}", piece, session.names.notebook(piece)):
        if name in there:
            return name
    known = sorted(name.removeprefix(f"{session.course.course}-") for name in there)
    if not known:
        raise EngineError("the course is not running", where=session.hosts[0], fix="run: occamctl course up")
    if any(person.username == piece for person in session.course.people):
        raise SpecError("this person has never started a notebook", where=piece, fix=f"occamctl notebook start {piece}")
    raise SpecError(f"no piece {piece!r} in this course", fix=f"one of: {', '.join(known)}, or a user's name")
