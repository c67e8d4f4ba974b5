"""Tasks that stay "new": the swarm's allocator has not come back to them.

Seen twice here, both times on a busy machine, with two students who started together. Why is not known (moby#36699
tells of services that stay pending). A forced update asks for a new task. It did not help the second time, so the
network's allocation is waited for as well (engine/ground.py); this is for what still gets stuck.
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
