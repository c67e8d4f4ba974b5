"""The engine fails, loses its answer, or the gateway is killed, at every call that changes something.

After each a cluster is there whole or not at all, and the ledger says what the engine shows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from occamctl import wait
from occamctl.engine import ground, swarm
from occamctl.engine.client import Engine
from occamctl.errors import OccamError
from occamctl.gateway import settings as told
from occamctl.gateway.api import Parts
from occamctl.gateway.app import assemble
from occamctl.gateway.quotas import Rights
from occamctl.gateway.reconcile import Loop
from occamctl.gateway.settings import Settings
from occamctl.gateway.wishes import Wish
from occamctl.spec import names

from .gateway_stage import COURSE, two_hosts, write_settings

pytestmark = [pytest.mark.engine, pytest.mark.light]

OWNER, NAME = names.COURSE_OWNER, "main"
MOST_CALLS = 30


class Killed(BaseException):
    """The gateway's process ends here."""


class Faults:
    """Counts calls that change something on the engine, and spoils one of them: all that follow too, when killed."""

    def __init__(self, engine: Engine) -> None:
        self._send, self._lock = engine.api.send, threading.Lock()
        self.at, self.kind, self.count, self.happened = 0, "", 0, False
        engine.api.send = self.send

    def set(self, kind: str, at: int) -> None:
        self.kind, self.at, self.count, self.happened = kind, at, 0, False

    def send(self, request: requests.PreparedRequest, **more: Any) -> requests.Response:
        if request.method not in ("POST", "DELETE"):
            return self._send(request, **more)
        with self._lock:
            self.count += 1
            spoilt = self.count == self.at
            dead = self.kind == "killed" and self.happened
            self.happened = self.happened or spoilt
        if dead:
            raise Killed
        if spoilt and self.kind == "refused":
            raise requests.ConnectionError("refused")
        answer = self._send(request, **more)
        if spoilt:
            raise Killed if self.kind == "killed" else requests.ConnectionError("the answer was lost")
        return answer


class Stage:
    """A gateway in this process; `restart` forgets what it had in memory."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine, self.settings, self.faults = engine, settings, Faults(engine)
        self.parts, self.loop = self._assemble()

    def _assemble(self) -> tuple[Parts, Loop]:
        return assemble(self.engine, self.settings)

    def restart(self) -> None:
        self.parts.pool.shutdown(wait=True, cancel_futures=True)
        self.parts, self.loop = self._assemble()

    @property
    def rights(self) -> Rights:
        return self.settings.quotas.rights(OWNER, ())

    def create(self) -> None:
        self.parts.clusters.create(OWNER, Wish(NAME, 2, driver="connect"), self.rights)

    def scale(self, workers: int) -> None:
        self.parts.clusters.scale(OWNER, NAME, workers, self.rights)

    def delete(self) -> None:
        self.parts.clusters.delete(OWNER, NAME)

    def seen(self) -> tuple[int, int, int]:
        """Executors, drivers and secrets that the engine shows."""
        mine = {names.COURSE: COURSE}
        kinds = [one["Spec"]["Labels"][names.KIND] for one in swarm.services(self.engine, mine)]
        secrets = list(ground.secrets(self.engine, mine))
        return kinds.count("executor"), kinds.count("driver"), len(secrets)

    def settle(self) -> tuple[int, int, int]:
        """Rounds of the loop until ledger and engine agree; what the engine shows then."""

        def agree() -> tuple[bool, str]:
            self.loop.tick()
            there = self.parts.clusters.ledger.of(OWNER)
            for one in there:
                with suppress(OccamError):
                    self.parts.clusters.renew(OWNER, NAME, registered=one.facts.total, jobs=False)
            whole = (there[0].facts.total, 1, 3) if there and there[0].state == "running" else (0, 0, 0)
            calm = not there or there[0].state == "running"
            return calm and self.seen() == whole, f"{[one.state for one in there]} {self.seen()}"

        wait.until(agree, lambda seen: seen[0], "ledger and engine to agree", seconds=90, describe=lambda seen: seen[1])
        return self.seen()

    def clear(self) -> None:
        """As it was at the beginning, whatever the test before left."""
        if self.parts.clusters.ledger.of(OWNER):
            self.delete()
        assert self.settle() == (0, 0, 0)


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("faults")
    with two_hosts(folder, "gwfault") as (engine, image):
        yield Stage(engine, told.read(write_settings(folder, image)))


def before_scale(on: Stage) -> None:
    on.create()
    assert on.settle() == (2, 1, 3)


OPERATIONS: dict[str, tuple[Callable[[Stage], None], Callable[[Stage], None], set[int]]] = {
    "create": (lambda on: None, lambda on: on.create(), {0, 2}),
    "scale up": (before_scale, lambda on: on.scale(3), {2, 3}),
    "scale down": (before_scale, lambda on: on.scale(1), {1, 2}),
    "delete": (before_scale, lambda on: on.delete(), {0, 2}),
}
"""What comes before, the operation, and how many workers there may be when it was disturbed."""


@pytest.mark.parametrize("kind", ["refused", pytest.param("lost", marks=pytest.mark.soak), "killed"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_whole_or_nothing_whatever_fails(on: Stage, operation: str, kind: str) -> None:
    before, work, allowed = OPERATIONS[operation]
    tried = 0
    for at in range(1, MOST_CALLS):
        on.clear()
        before(on)
        on.faults.set(kind, at)
        with suppress(OccamError, Killed):
            work(on)
        happened = on.faults.happened
        on.faults.set("", 0)
        if kind == "killed":
            on.restart()
        executors, _, _ = on.settle()
        assert executors in allowed, f"{operation} {kind} at call {at}: {executors} workers"
        if not happened:
            break
        tried += 1
    else:
        pytest.fail(f"{operation} makes more than {MOST_CALLS} calls")
    print(f"{operation}, {kind}: {tried} of {tried} calls left a whole cluster or nothing")
    assert tried >= 2
