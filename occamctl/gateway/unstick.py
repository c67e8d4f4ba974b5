"""Services that the swarm has lost sight of: it is told of them again.

Tasks that stay "new": the allocator has not come back to them. Seen twice here, both times on a busy machine, with two
students who started together. Why is not known (moby#36699 tells of services that stay pending). A forced update asks
for a new task. It did not help the second time, so the network's allocation is waited for as well (engine/ground.py);
this is for what still gets stuck.

Tasks that stay although their service was scaled to 0: when a task changes in the moment between the orchestrator's
look and its write, the write fails ("failed to update task to REMOVE: update out of sequence" in the manager's log),
and nothing tries again until the service changes (swarmkit, replicated/services.go, setTasksDesiredState, which does
not read the task again as its other writers do). A start stopped at once met this once in 25 times here.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime

from occamctl.engine import swarm
from occamctl.engine.client import Engine
from occamctl.errors import OccamError
from occamctl.gateway.sight import Seen

log = logging.getLogger("occam.gateway.loop")
AFTER = 8
"""Seconds that a task may be "new"; allocation takes a fraction of one."""


class Unstick:
    """Remembers which tasks it has pushed, so that each is pushed once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pushed: set[str] = set()

    def look(self, seen: Seen) -> None:
        for service in seen.services:
            try:
                if _left_over(seen, service):
                    log.warning("%s: is scaled to 0 and runs; telling the swarm again", service)
                    swarm.tell_again(self._engine, service)
                elif task := self._stuck(seen, service):
                    self._pushed.add(task.id)
                    log.warning("%s: its task is not allocated; asking for a new one", service)
                    swarm.force_update(self._engine, service)
            except OccamError as error:  # gone meanwhile
                log.warning("%s: %s", service, error)

    def _stuck(self, seen: Seen, service: str) -> swarm.Task | None:
        task = seen.newest(service)
        if task is None or task.state != "new" or task.id in self._pushed:
            return None
        return task if time.time() - datetime.fromisoformat(task.created).timestamp() >= AFTER else None


def _left_over(seen: Seen, service: str) -> bool:
    """Whether the swarm still wants a task of a service that shall have none. One time too many harms nothing."""
    if seen.services[service]["Spec"]["Mode"].get("Replicated", {}).get("Replicas") != 0:
        return False
    return any(one.wanted == "running" and one.state in swarm.RUNNING_STATES for one in seen.tasks.get(service, ()))
