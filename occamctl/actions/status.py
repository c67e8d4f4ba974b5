"""`occamctl status`: hosts, services, students, notebooks, clusters, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from occamctl.actions import material, readiness
from occamctl.actions.gpus import taken_out, unwatched
from occamctl.actions.hosts import row
from occamctl.actions.observe import observe
from occamctl.actions.session import Session
from occamctl.errors import OccamError
from occamctl.plan.seen import Observed


@dataclass
class Status:
    """Rows for people and for scripts."""

    course: str
    url: str
    hosts: list[dict[str, Any]] = field(default_factory=list)
    services: list[dict[str, Any]] = field(default_factory=list)
    students: list[dict[str, Any]] = field(default_factory=list)
    notebooks: list[dict[str, Any]] = field(default_factory=list)
    clusters: list[dict[str, Any]] = field(default_factory=list)
    material: list[dict[str, Any]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def status(session: Session) -> Status:
    """Everything that can be seen now; what cannot be seen is listed as wrong, and hides nothing else."""
    seen = observe(session)
    made = Status(session.course.course, readiness.url(session))
    made.hosts = [row(session, host) for host in session.hosts]
    made.wrong = [str(error) for error in session.errors.values()]
    _services(session, seen, made)
    made.students = [
        {"username": one.username, "role": one.role, "group": one.group, "name": one.name}
        for one in seen.accounts or ()
    ]
    made.material = material.rows(session.course, seen.material)
    if seen.material and seen.material.trouble:
        made.wrong.append(f"material is not published: {seen.material.trouble}")
    if session.names.gateway in seen.services and seen.services[session.names.gateway].running:
        _gateway(session, made)
    return made


def _services(session: Session, seen: Observed, made: Status) -> None:
    front = [session.names.proxy, session.names.hub, session.names.gateway, session.names.walls]
    front += [session.names.material] if session.course.material else []
    for name in front:
        there = seen.services.get(name)
        state = "absent" if there is None else "running" if there.running >= there.replicas else "down"
        made.services.append({"service": name, "state": state, "message": there.trouble if there else ""})
    absent = [one["service"] for one in made.services if one["state"] == "absent"]
    if len(absent) == len(front):
        made.wrong.append("the course is not running (run: occamctl course up)")
    elif absent:
        made.wrong.append(f"not there: {', '.join(absent)} (run: occamctl course up)")
    made.wrong += [
        f"{one['service']} does not run: {one['message'] or 'see its log'} (see: occamctl logs {one['service']})"
        for one in made.services
        if one["state"] == "down"
    ]
    made.wrong += _unwalled(session, seen)
    made.wrong += [*taken_out(seen), *unwatched(session.course, seen)]


def _unwalled(session: Session, seen: Observed) -> list[str]:
    """Hosts of a running course whose rules for containers nobody keeps."""
    there = seen.services.get(session.names.walls)
    return [
        f"{host}: nobody keeps the rules that separate students there (see: occamctl logs walls)"
        for host, one in seen.hosts.items()
        if there and one.node_id not in there.nodes
    ]


def _gateway(session: Session, made: Status) -> None:
    try:
        said = session.gateway.get("/status", timeout=20)
    except OccamError as error:
        made.wrong.append(f"the gateway does not answer: {error}")
        return
    made.notebooks, made.clusters = said["notebooks"], said["clusters"]
    made.wrong += [
        f"node {node.get('hostname')} is {node['state']}, {node['availability']}"
        for node in said["nodes"]
        if node["state"] != "ready" or node["availability"] != "active"
    ]
    made.wrong += [
        f"notebook of {one['user']}: {one.get('message') or one['state']}"
        for one in made.notebooks
        if one["state"] == "failed"
    ]
    made.wrong += [
        f"cluster {one['name']} of {one['owner']}: {one.get('message') or one['state']}"
        for one in made.clusters
        if one["state"] == "failed" and one.get("exit_code") is None  # a program's own failure is none of the course's
    ]
