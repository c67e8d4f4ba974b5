"""See on the host itself whether containers see exactly the GPUs that the swarm assigns to them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import suppress

from occamctl import wait
from occamctl.engine import nodes, swarm
from occamctl.engine.client import Engine
from occamctl.errors import OccamError, TookTooLong
from occamctl.plan import gpus, lending

SECONDS = 90
"""For a probe to be scheduled, to start and to end."""
LOG_SECONDS = 10
_ENDED = ("complete", "failed", "rejected", "shutdown", "orphaned")


def prove(
    manager: Engine,
    course: str,
    node: str,
    image: str,
    uuids: Collection[str],
    fingerprint: str,
    keep: Mapping[str, str],
) -> str | None:
    """Probe the GPUs of a node that nobody holds, and label the node with the outcome: the reason why they stay out.

    "" when they are proven, None when all of them are held: there is nothing to probe with. A probe that cannot be
    made is a reason like any other. Those that are held stay proven if they were, and only then.

    fingerprint  of all `uuids`
    keep         GPUs that stay out of service whatever is seen, with the reason
    """
    taken = held(manager, node)
    free = sorted(set(uuids) - taken)
    if not free:
        return None
    try:
        why = _probe(manager, course, node, image, free)
    except OccamError as error:
        why = f"it could not be probed: {error.what}"
    labels = next((one.labels for one in swarm.nodes(manager) if one.id == node), {})
    before = gpus.proven(labels.get(gpus.PROVEN, ""), fingerprint)
    out = dict(keep) | ({gpus.EVERY: why} if why else {})
    nodes.label(
        manager,
        node,
        {
            gpus.OUT: json.dumps(out, sort_keys=True) if out else None,
            gpus.PROVEN: None if why else gpus.narrowed(fingerprint, {*free, *(before & taken)}),
        },
    )
    return why


def held(manager: Engine, node: str) -> set[str]:
    """UUIDs of a node's GPUs that live tasks have, whoever's they are."""
    live = [one for one in swarm.tasks(manager) if one.node_id == node and one.state in swarm.RUNNING_STATES]
    return {uuid for task in live for uuid in gpus.uuids(task.generic)}


def _probe(manager: Engine, course: str, node: str, image: str, free: Collection[str]) -> str:
    """What is wrong, "" when nothing is. The probes of a node run side by side, and none is left."""
    made = [
        (assigned, lending.probe(course, number, node, image, assigned))
        for number, assigned in enumerate(lending.probes(free))
    ]
    try:
        for _, service in made:
            swarm.remove_service(manager, service.name)  # a command that was killed left it
            swarm.ensure_service(manager, service)
        said = [(assigned, _said(manager, service.name)) for assigned, service in made]
    finally:
        for _, service in made:
            with suppress(OccamError):
                swarm.remove_service(manager, service.name)
    return next((why for assigned, text in said if (why := lending.verdict(assigned, text))), "")


def until_ended(manager: Engine, name: str, what: str, seconds: float) -> tuple[str, str]:
    """State and words of a service's one task once it has ended, however it did. Raises TookTooLong."""

    def look() -> tuple[str, str]:
        newest = next(iter(swarm.tasks(manager, service_name=name)), None)
        return (newest.state, newest.message) if newest else ("new", "not scheduled yet")

    return wait.until(
        look, lambda seen: seen[0] in _ENDED, what, seconds=seconds, describe=lambda seen: f"{seen[0]}: {seen[1]}"
    )


def _said(manager: Engine, name: str) -> str:
    """What a probe printed, or the engine's words on why it could not start. Raises TookTooLong."""

    state, message = until_ended(manager, name, "the probe's end", SECONDS)
    if state != "complete":
        return message
    try:
        return wait.until(
            lambda: swarm.service_logs(manager, name),
            lambda text: "\nexit " in f"\n{text}",
            "what the probe printed",
            seconds=LOG_SECONDS,
        )
    except TookTooLong:
        return "its output cannot be read"
