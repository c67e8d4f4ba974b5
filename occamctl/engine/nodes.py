"""Forming a swarm, joining it, leaving it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from docker.errors import APIError

from occamctl import wait
from occamctl.engine import swarm
from occamctl.engine.client import Engine, speaking_to
from occamctl.errors import EngineError, HostError, Refused
from occamctl.spec import names

_SECOND = 1_000_000_000
# A node counts as down after three missed heartbeats; at the default of 5 s a short blip moves every task (moby#36311).
DISPATCHER_HEARTBEAT = 15
JOIN_SECONDS = 60
JOINED = "occam.joined"
"""Label of a node that a course brought into a swarm that was there before."""


def form(engine: Engine, course: str, address: str, *, local: bool) -> None:
    """A swarm with this engine as its first manager; one that is there is used and left as it is.

    local  a swarm of one, which listens on the loopback address only
    """
    if swarm.in_swarm(engine):
        return
    with speaking_to(engine.name):
        spec = engine.api.create_swarm_spec(
            dispatcher_heartbeat_period=DISPATCHER_HEARTBEAT * _SECOND,
            task_history_retention_limit=3,
            labels={names.COURSE: course},
        )
        engine.api.init_swarm(
            advertise_addr="127.0.0.1" if local else address,
            listen_addr="127.0.0.1:2377" if local else f"{address}:2377",
            swarm_spec=spec,
        )


def formed_by(engine: Engine) -> str | None:
    """The course that formed the swarm of this manager; None when it was there before, or there is none."""
    if not swarm.in_swarm(engine):
        return None
    with speaking_to(engine.name):
        labels = engine.api.inspect_swarm()["Spec"].get("Labels") or {}
    return labels.get(names.COURSE)


def join(engine: Engine, manager: Engine, address: str, role: Literal["manager", "worker"], course: str) -> None:
    """Join the manager's swarm. Raises Refused when the engine is in another one."""
    theirs = {node.id for node in swarm.nodes(manager)}
    there = swarm.in_swarm(engine)
    if there:
        if there["NodeID"] in theirs:
            return
        raise Refused(
            "its engine is in another swarm",
            where=engine.name,
            fix=f"if nobody needs that swarm: ssh {engine.name} docker swarm leave --force",
        )
    with speaking_to(manager.name):
        token = manager.api.inspect_swarm()["JoinTokens"]["Manager" if role == "manager" else "Worker"]
        at = (manager.api.info()["Swarm"].get("RemoteManagers") or [{}])[0].get("Addr", f"{manager.name}:2377")
    try:
        engine.api.join_swarm([at], token, listen_addr=f"{address}:2377", advertise_addr=address)
    except APIError as error:
        raise HostError(
            f"cannot join the swarm at {at}: {error.explanation}",
            where=engine.name,
            fix="between the hosts TCP 2377, TCP and UDP 7946 and UDP 4789 must be open",
        ) from error
    wait.until(
        lambda: swarm.in_swarm(engine), bool, f"{engine.name} to be in the swarm", seconds=JOIN_SECONDS, describe=str
    )
    label(manager, own_id(engine), {JOINED: course})


def own_id(engine: Engine) -> str:
    """The id of this engine's node. Raises EngineError when it is in no swarm."""
    there = swarm.in_swarm(engine)
    if not there:
        raise EngineError("not in a swarm", where=engine.name, fix="run: occamctl course up")
    return str(there["NodeID"])


def label(manager: Engine, node_id: str, labels: Mapping[str, str | None]) -> None:
    """Set labels of a node; None takes one away."""
    with speaking_to(manager.name):
        there = manager.api.inspect_node(node_id)
        spec = there["Spec"]
        merged = {**(spec.get("Labels") or {}), **labels}
        spec["Labels"] = {key: value for key, value in merged.items() if value is not None}
        manager.api.update_node(node_id, there["Version"]["Index"], spec)


def forget(manager: Engine, node_id: str) -> None:
    """Take a node that has left out of the swarm's list."""

    def gone() -> str:
        try:
            manager.api.remove_node(node_id, force=True)
        except APIError as error:
            return "" if error.status_code == 404 else str(error.explanation)
        return ""

    with speaking_to(manager.name):
        wait.until(gone, lambda seen: not seen, f"removal of node {node_id}", seconds=30)


def leave(engine: Engine) -> None:
    """Leave the swarm, whatever is left of it; an engine in none is fine."""
    if swarm.in_swarm(engine):
        with speaking_to(engine.name):
            engine.api.leave_swarm(force=True)
