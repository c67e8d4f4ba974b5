"""Notebook servers of people, as the operator sees and steers them, through the gateway."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from occamctl.actions import readiness, users
from occamctl.actions.pieces import host_of_node
from occamctl.actions.session import Session
from occamctl.engine import swarm
from occamctl.errors import SpecError, TookTooLong

_START, _STOP = 150, 100
_STUDENT = "1000:1000"
_HOME = "/home/student"


@dataclass(frozen=True)
class Ran:
    """What a command in a notebook's container did."""

    code: int
    out: bytes
    err: bytes


def listed(session: Session) -> list[dict[str, Any]]:
    """The notebooks that were ever started, as the gateway describes them, sorted by name."""
    there: list[dict[str, Any]] = session.gateway.get("/notebooks")
    return sorted(there, key=lambda one: str(one["user"]).casefold())


def start(session: Session, username: str) -> dict[str, Any]:
    """Start the notebook and wait until it answers. Raises what the gateway says, SpecError for an unknown name."""
    users.check_known(session, username)
    made: dict[str, Any] = session.gateway.post(_server(username), timeout=_START)
    return made


def stop(session: Session, username: str) -> dict[str, Any]:
    """Stop the notebook with its kernels; files stay. Raises SpecError for an unknown name."""
    users.check_known(session, username)
    made: dict[str, Any] = session.gateway.delete(_server(username), timeout=_STOP)
    return made


def _server(username: str) -> str:
    return f"/users/{quote(username, safe='')}/server"


def logs(session: Session, username: str, tail: int | None) -> str:
    """What the notebook's containers printed, the oldest first."""
    service = _service(session, username)
    return swarm.service_logs(session.manager, service, tail=tail or "all")


def run(session: Session, username: str, command: list[str], stdin: bytes, seconds: float) -> Ran:
    """Run a command as the student, in the home, on the host where the notebook runs.

    Raises SpecError when the notebook does not run, HostError when its host does not answer, TookTooLong.
    """
    service = _service(session, username)
    task = next(
        (
            one
            for one in swarm.tasks(session.manager, service_name=service)
            if one.state == "running" and one.wanted == "running"
        ),
        None,
    )
    if task is None:
        raise SpecError("the notebook is not running", where=username, fix=f"occamctl notebook start {username}")
    engine = session.engine(host_of_node(session, task.node_id))
    # The entrypoint is root for its firewall; nothing after it is. A command from here is the student's too.
    inside = ["env", "-C", _HOME, f"HOME={_HOME}", "USER=student", *command]
    try:
        return Ran(*engine.exec(task.container_id, inside, stdin, user=_STUDENT, seconds=seconds))
    except TookTooLong:
        what = f"{shlex.join(command)[:60]}: no end after {seconds:g} s; it may go on there"
        raise TookTooLong(what, where=username, fix="give it more time: --timeout, before the name") from None


def url(session: Session, username: str) -> str:
    """Address of the person's notebook in a browser."""
    users.check_known(session, username)
    return f"{readiness.url(session).rstrip('/')}/user/{quote(username, safe='@~')}/"


def _service(session: Session, username: str) -> str:
    service = session.names.notebook(username)
    if swarm.service(session.manager, service) is None:
        users.check_known(session, username)
        raise SpecError(
            "this person has never started a notebook", where=username, fix=f"occamctl notebook start {username}"
        )
    return service
