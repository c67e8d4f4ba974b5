"""Students' notebooks as services between 0 and 1. Blocking; called from worker threads.

A notebook that is stopped stays as a service without a container: its labels remember which home it has, and on which
node that home is. A home never moves by itself, and nobody is ever given an empty one in place of theirs.
"""

from __future__ import annotations

import json
import logging
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from occamctl import wait
from occamctl.engine import ground, swarm
from occamctl.engine.client import Engine
from occamctl.errors import DoesNotFit, OccamError
from occamctl.gateway.gpu_grants import NO_LABELS, Grant
from occamctl.gateway.gpu_words import counted
from occamctl.gateway.last_words import last_words
from occamctl.gateway.ledger import Ledger
from occamctl.gateway.notebook_service import (
    BEFORE,
    ENV,
    HOME_STATE,
    Home,
    environment_secret,
    groups_of,
    home_of,
    memory,
    runs_with,
    service,
)
from occamctl.gateway.quotas import Amount, Rights
from occamctl.gateway.refusals import NotKnown
from occamctl.gateway.settings import Settings
from occamctl.gateway.sight import Seen, Sight
from occamctl.gateway.subnets import Networks
from occamctl.plan import gpus
from occamctl.plan.gpus import GpuWish
from occamctl.spec import names

log = logging.getLogger("occam.gateway.notebooks")
STOP = 60
"""Seconds until a notebook that was told to stop must be gone; its own grace is half of that."""
START = {"pending": 60, "starting": 120}
"""Seconds that a start may stay in each state."""
_STATES = {
    **dict.fromkeys(("new", "allocated", "pending", "assigned"), "pending"),
    **dict.fromkeys(("accepted", "preparing", "ready", "starting"), "starting"),
}
_SERVER_PORT = 8888


class Notebooks:
    """The notebooks of one course, on one engine."""

    def __init__(self, engine: Engine, settings: Settings, sight: Sight, networks: Networks, ledger: Ledger) -> None:
        self._engine, self._settings, self._sight, self._networks = engine, settings, sight, networks
        self._ledger = ledger
        self._amount = Amount(cpus=settings.notebook_cpus, memory=settings.notebook_memory)
        self._names = settings.names
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._pins: dict[str, str] = {}
        self._failed: dict[str, str] = {}
        """Why starts were given up, until the next one."""
        self.changing = False
        """Whether some notebook was starting at the last look."""

    def alone(self, user: str) -> threading.Lock:
        """Held while somebody changes this notebook."""
        with self._lock:
            return self._locks.setdefault(user, threading.Lock())

    def start(
        self, user: str, environment: Mapping[str, str], rights: Rights, want: GpuWish | None = None
    ) -> dict[str, Any]:
        """Start it, or leave it as it is when it runs with this environment already. Waits only for an older one's end.

        want  GPUs for as long as it runs; whoever has been given some starts with those

        Raises DoesNotFit when a quota does not allow it, no host is ready or no such GPU is free, EngineError.
        """
        with self.alone(user):
            seen = self._sight.look(0.5)
            # Not what was seen a moment ago: who changed the notebook just before may have started or stopped it since.
            there = swarm.service(self._engine, self._names.notebook(user))
            home = self.home(user, there)
            if home and home.node and seen.down(home.node):
                seen = self._sight.look(0)  # it may have come back since the last look
            if home and home.node and seen.down(home.node):
                return self._view(user, seen, there)
            mark = names.digest(json.dumps(dict(environment), sort_keys=True))
            if there and there["Spec"]["Labels"].get(ENV) == mark and _alive(self._newest(user), there):
                return self._view(user, seen, there)
            self._ledger.hold_notebook(user, self._amount, rights)
            try:
                self._end(user, there)
                grant = self._grant(user, want, rights, home, seen)
                placed = self._placed(user, home, seen, grant)
                self._start(user, environment, mark, placed, rights.groups, grant)
            except OccamError:
                self._ledger.release_notebook(user)
                raise
        return self.look(user, max_age=0)

    def _start(
        self,
        user: str,
        environment: Mapping[str, str],
        mark: str,
        home: Home,
        groups: tuple[str, ...],
        grant: Grant | None,
    ) -> None:
        subnet = self._networks.ensure(user)
        secret = environment_secret(self._settings, user, environment)
        ground.ensure_secret(self._engine, secret)
        last = self._newest(user)
        before = last.id if last else ""
        wanted = service(
            self._settings, user, home, subnet, secret.name, mark=mark, before=before, groups=groups, grant=grant
        )
        if grant:
            self._ledger.gpus.use(user)
        swarm.ensure_service(self._engine, wanted)
        if grant:
            self._ledger.gpus.use(user, time.monotonic())
        self._failed.pop(user, None)
        held = f" with {counted(grant.gpus)}" if grant else ""
        log.info("notebook of %s: started on node %s%s", user, home.node, held)
        self._remove_secrets(user, but=secret.name)

    def _end(self, user: str, there: Mapping[str, Any] | None) -> None:
        """End what runs of an earlier start.

        A task that ended is not started again by an update alone; one that runs must not run beside the new one, also
        when an earlier start has scaled the service down and did not see its end.
        """
        if there:
            if _replicas(there):
                swarm.scale_service(self._engine, self._names.notebook(user), 0)
            self._until_gone(user)
        self._ledger.gpus.notebook_ended(user)

    def _grant(self, user: str, want: GpuWish | None, rights: Rights, home: Home | None, seen: Seen) -> Grant | None:
        """The GPUs that it starts with: those given already, else those that are wished. Raises DoesNotFit."""
        there = self._ledger.gpus.of(user)
        if there is None and want is not None:
            return self._ledger.gpus.assign(
                user, want, None, rights, lambda but: seen.rooms(but=but), home=home.node if home else "", once=True
            )
        lost = there and lost_of(there, seen)
        if there and lost:
            # With them the scheduler would find no place: the notebook and the files in it are worth more.
            self._ledger.gpus.release(user)
            self._ledger.gpus.tell(user, f"Your notebook started without {counted(there.gpus)}: {lost}.")
            log.warning("notebook of %s: starts without %s: %s", user, counted(there.gpus), lost)
            return None
        return there

    def _newest(self, user: str) -> swarm.Task | None:
        return next(iter(swarm.tasks(self._engine, service_name=self._names.notebook(user))), None)

    def home(self, user: str, there: Mapping[str, Any] | None) -> Home | None:
        """The home that the user has: `there` is the notebook's service. None when there is none yet.

        One that is remembered, because GPUs were assigned to it, and was never used is on no node yet.
        """
        if there is not None:
            return home_of(there["Spec"]["Labels"])
        for one in ground.secrets(self._engine, {names.COURSE: self._settings.course, names.KIND: "home"}):
            if one["Spec"]["Name"] == self._names.home(user):
                home = home_of(one["Spec"]["Labels"])
                return home if home.state == "kept" else replace(home, node="")
        return None

    def _placed(self, user: str, home: Home | None, seen: Seen, grant: Grant | None) -> Home:
        """A new home is on the node of its GPUs, or on the one with least to do. Raises DoesNotFit."""
        if home and home.node:
            return home
        with self._lock:
            node = grant.node if grant else least_loaded(seen, self._pins, self._settings.notebook_memory)
            self._pins[user] = node
        return Home(home.id if home else secrets.token_hex(8), node, "new")

    def _remove_secrets(self, user: str, *, but: str = "") -> None:
        mine = {names.COURSE: self._settings.course, names.OWNER: user, names.KIND: "secret"}
        for one in ground.secrets(self._engine, mine):
            name = one["Spec"]["Name"]
            if name.startswith(f"{self._names.notebook(user)}-env-") and name != but:
                ground.remove_secret(self._engine, name)

    def stop(self, user: str) -> dict[str, Any]:
        """Stop it and wait until its container is gone. Raises NotKnown, TookTooLong."""
        with self.alone(user):
            self._must_be(user)
            swarm.scale_service(self._engine, self._names.notebook(user), 0)
            self._until_gone(user)
            self._ledger.release_notebook(user)
        log.info("notebook of %s: stopped", user)
        return self.look(user, max_age=0)

    def forget(self, user: str) -> None:
        """Stop it and remove all but the home's volume; where the home is stays known. Raises NotKnown, TookTooLong."""
        name = self._names.notebook(user)
        with self.alone(user):
            there = self._must_be(user)
            swarm.scale_service(self._engine, name, 0)
            self._until_gone(user)
            home = home_of(there["Spec"]["Labels"])
            kept = memory(self._settings, user, home)
            ground.ensure_secret(self._engine, kept)
            ground.relabel_secret(self._engine, kept.name, {**kept.labels, **NO_LABELS})  # it may be an older one
            swarm.remove_service(self._engine, name)
            mine = {names.COURSE: self._settings.course, names.OWNER: user, names.KIND: "notebook"}
            swarm.wait_absent(self._engine, mine, seconds=STOP)
            self._remove_secrets(user)
            self._networks.remove(user)
            self._pins.pop(user, None)
            self._ledger.release_notebook(user)
            self._ledger.gpus.release(user)
        self._sight.look(0)  # or who asks at once would be shown it as it was a moment ago
        log.info("notebook of %s: forgotten, its home stays", user)

    def _must_be(self, user: str) -> dict[str, Any]:
        there = swarm.service(self._engine, self._names.notebook(user))
        if there is None or there["Spec"]["Labels"].get(names.COURSE) != self._settings.course:
            raise NotKnown("there is no notebook", where=user)
        return there

    def _until_gone(self, user: str) -> None:
        def live() -> list[str]:
            down = {node.id for node in swarm.nodes(self._engine) if node.down}
            tasks = swarm.tasks(self._engine, service_name=self._names.notebook(user))
            # A container on a host that is down cannot be waited for; its home is on the same host, so nothing clashes.
            return [one.state for one in tasks if one.state in swarm.RUNNING_STATES and one.node_id not in down]

        wait.until(live, lambda seen: not seen, f"the end of {user}'s notebook", seconds=STOP, describe=", ".join)

    def look(self, user: str, max_age: float = 0.5) -> dict[str, Any]:
        """The notebook as the API shows it. Raises NotKnown."""
        seen = self._sight.look(max_age)
        there = seen.services.get(self._names.notebook(user))
        if there is None:
            raise NotKnown("there is no notebook", where=user)
        return self._view(user, seen, there)

    def all(self) -> list[dict[str, Any]]:
        seen = self._sight.look(0.5)
        listed = sorted((one["Spec"]["Labels"][names.OWNER], one) for one in seen.of_kind("notebook"))
        return [self._view(user, seen, one) for user, one in listed]

    def _view(self, user: str, seen: Seen, there: Mapping[str, Any] | None) -> dict[str, Any]:
        state, message, since = self._state(user, seen, there)
        name = self._names.notebook(user)
        node = home_of(there["Spec"]["Labels"]).node if there else ""
        return {
            "user": user,
            "slug": names.slug(user),
            "service": name,
            "state": state,
            "url": f"http://tasks.{name}:{_SERVER_PORT}",
            "node": seen.hostname(node),
            "home": self._names.home(user),
            "message": message,
            "since": since,
        }

    def _state(self, user: str, seen: Seen, there: Mapping[str, Any] | None) -> tuple[str, str, str]:
        """State, words of scheduler or container, and since when."""
        if there is None:
            return "failed", "the host of your home is down; your files are safe on it", ""
        task = seen.newest(there["Spec"]["Name"])
        since = _moment(task.created if task else there["UpdatedAt"])
        if _replicas(there) == 0:
            why = self._failed.get(user, "")
            return "failed" if why else "stopped", why, since
        node = home_of(there["Spec"]["Labels"]).node
        if seen.down(node):
            return "failed", f"your host {seen.hostname(node)} is down; your files are safe on it", since
        if task is None or task.id == there["Spec"]["Labels"].get(BEFORE):
            return "starting", "waiting for the scheduler", since
        if task.state == "running":
            return "running", "", since
        if task.state in _STATES:
            return "starting", task.message, since
        if task.state == "complete":
            return "stopped", "its server ended", since
        return "failed", self._reason(there["Spec"]["Name"], task), since

    def _reason(self, name: str, task: swarm.Task) -> str:
        ended = f" (exit {task.exit_code})" if task.exit_code else ""
        return f"{task.message}{ended}{last_words(self._engine, name)}"

    def task_of(self, user: str, seen: Seen) -> str:
        """Id of the task that runs the notebook now; "" when none does."""
        there = seen.services.get(self._names.notebook(user))
        task = seen.newest(there["Spec"]["Name"]) if there and _replicas(there) else None
        return task.id if task and task.state in swarm.RUNNING_STATES else ""

    def count(self, seen: Seen) -> None:
        """Tell the ledger which notebooks run; one on a host that is down holds nothing, whatever its task says."""
        there = {one["Spec"]["Labels"][names.OWNER]: one for one in seen.of_kind("notebook")}
        there = {user: one for user, one in there.items() if not seen.down(home_of(one["Spec"]["Labels"]).node)}
        running = {user: one for user, one in there.items() if self.task_of(user, seen)}
        for user in self._ledger.notebooks:
            if user not in running:
                self._ledger.release_notebook(user, seen=seen.began)
        for user, one in running.items():
            self._ledger.found_notebook(user, self._amount, groups_of(one["Spec"]["Labels"]))
            held = self._ledger.gpus.of(user)
            if held and not held.used and held.kinds <= runs_with(one):  # its start failed on the way back to us
                self._ledger.gpus.use(user, seen.began)
        for grant in self._ledger.gpus.grants:
            if grant.used and self._is_over(grant, seen):
                self._ledger.gpus.notebook_ended(grant.owner, seen=seen.began)

    def _is_over(self, grant: Grant, seen: Seen) -> bool:
        """Whether no container of a notebook has its GPUs any more, as far as the engine shows it."""
        name = self._names.notebook(grant.owner)
        there, newest = seen.services.get(name), seen.newest(name)
        if seen.down(grant.node) or any(one.state in swarm.RUNNING_STATES for one in seen.tasks.get(name, ())):
            return False
        if there is None or _replicas(there) == 0:
            return True
        return newest is not None and newest.id != there["Spec"]["Labels"].get(BEFORE)

    def tend(self, seen: Seen) -> None:
        """Note homes that have been used, and end starts that take too long."""
        self.changing = False
        self.count(seen)
        for one in seen.of_kind("notebook"):
            task = seen.newest(one["Spec"]["Name"])
            if task is None or _replicas(one) == 0:
                continue
            labels = one["Spec"]["Labels"]
            pending = _STATES.get(task.state) == "pending"
            age = time.time() - seconds_of(task.created if pending else task.timestamp)
            if task.state == "running":
                if labels.get(HOME_STATE) == "new" and _used(task, age, self._settings):
                    with suppress(OccamError):
                        swarm.relabel_service(self._engine, one["Spec"]["Name"], {HOME_STATE: "kept"})
            elif task.state in _STATES:
                self.changing = True
                if age > START[_STATES[task.state]]:
                    self._give_up(one, task, age)

    def _give_up(self, one: Mapping[str, Any], task: swarm.Task, age: float) -> None:
        user = one["Spec"]["Labels"][names.OWNER]
        log.warning("notebook of %s: %s for %d s: %s", user, task.state, age, task.message)
        if self.alone(user).acquire(blocking=False):
            try:
                self._failed[user] = f"it was {task.state} for {age:.0f} s: {task.message}"
                swarm.scale_service(self._engine, one["Spec"]["Name"], 0)
            finally:
                self.alone(user).release()


def lost_of(grant: Grant, seen: Seen) -> str:
    """Why the node cannot give some of the GPUs any more; "" when it can."""
    node = seen.nodes.get(grant.node)
    if node is None:
        return "its host is gone"
    known = {one.uuid for one in gpus.lent(node.labels)}
    for one in grant.gpus:
        if one.uuid not in known:
            return f"{node.hostname} does not lend it any more"
        if why := gpus.trouble(one, node.labels, node.generic):
            return why
    return ""


def least_loaded(seen: Seen, pins: Mapping[str, str], memory: int) -> str:
    """Id of the node whose memory is least spoken for, by reservations and by homes that live there.

    pins    user to node of homes that were placed a moment ago and may not be seen yet
    memory  bytes that one notebook may use

    Raises DoesNotFit when no node is ready.
    """
    homes = {
        one["Spec"]["Labels"][names.OWNER]: home_of(one["Spec"]["Labels"]).node for one in seen.of_kind("notebook")
    }
    many = Counter({**pins, **homes}.values())
    reserved = seen.reserved()
    usable = seen.open_nodes()
    if not usable:
        raise DoesNotFit("no host is ready for a notebook", fix="see: occamctl host list")

    def load(node: swarm.Node) -> tuple[float, str]:
        return (reserved[node.id][1] + many[node.id] * memory) / max(node.memory, 1), node.hostname

    return min(usable, key=load).id


def _replicas(there: Mapping[str, Any]) -> int:
    return int(there["Spec"]["Mode"]["Replicated"].get("Replicas", 0))


def _alive(task: swarm.Task | None, there: Mapping[str, Any]) -> bool:
    return _replicas(there) > 0 and task is not None and task.state in swarm.RUNNING_STATES


def _used(task: swarm.Task, age: float, settings: Settings) -> bool:
    """Whether the server's port is open: its entrypoint has then done all that it does to a home."""
    if settings.kept_after and age > settings.kept_after:
        return True
    address = task.addresses.get(settings.hub_net)
    if not address:
        return False
    try:
        with socket.create_connection((address, _SERVER_PORT), timeout=0.3):
            return True
    except OSError:
        return False


def seconds_of(moment: str) -> float:
    """Seconds since 1970 of an ISO date; the engine writes nanoseconds, which Python 3.11 cuts off."""
    return datetime.fromisoformat(moment).timestamp()


def _moment(engines: str) -> str:
    """The engine's date to the second: it writes nanoseconds, which nobody needs to see."""
    return datetime.fromisoformat(engines).isoformat(timespec="seconds")
