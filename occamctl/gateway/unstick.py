"""Tasks that the swarm's allocator has forgotten.

Under load, when networks and services are made at the same moment, a task can stay "new" for ever: nothing is missing,
the allocator never comes back to it (moby#36699, swarmkit behaves so since 1.12; a forced update makes a new task,
which is allocated at once). Seen here with two students who started together on a busy machine.
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
            task = seen.newest(service)
            if task is None or task.state != "new" or task.id in self._pushed:
                continue
            if time.time() - datetime.fromisoformat(task.created).timestamp() < AFTER:
                continue
            self._pushed.add(task.id)
            log.warning("%s: its task is not allocated; asking for a new one", service)
            try:
                swarm.force_update(self._engine, service)
            except OccamError as error:  # gone meanwhile
                log.warning("%s: %s", service, error)
