"""Services that the swarm has lost sight of: which it is told of again, and which are let be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from occamctl.errors import EngineError
from occamctl.gateway import unstick
from occamctl.gateway.unstick import Unstick

from .test_sight import node, seen, task

LONG_AGO = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()


def service(name: str, replicas: int | None) -> dict[str, Any]:
    mode: dict[str, Any] = {"Global": {}} if replicas is None else {"Replicated": {"Replicas": replicas}}
    return {"Spec": {"Name": name, "Labels": {}, "Mode": mode}}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    said: list[tuple[str, str]] = []

    def note(what: str) -> Any:
        def noted(_engine: object, name: str) -> None:
            said.append((what, name))
            if name == "gone":
                raise EngineError("service gone is gone")

        return noted

    monkeypatch.setattr(unstick.swarm, "tell_again", note("again"))
    monkeypatch.setattr(unstick.swarm, "force_update", note("new task"))
    return said


def test_a_task_that_outlives_its_services_end_is_told_of_until_it_goes(told: list[tuple[str, str]]) -> None:
    services = [service("lost", 0), service("ending", 0), service("ended", 0), service("runs", 1), service("all", None)]
    running = replace(task("a"), created=LONG_AGO)
    ending, ended = replace(running, wanted="remove"), replace(running, state="complete")
    tasks = {"lost": [running], "ending": [ending], "ended": [ended], "runs": [running], "all": [running]}
    look = Unstick(SimpleNamespace()).look  # type: ignore[arg-type]
    for _ in range(2):
        look(seen([node("a")], tasks, services))
    assert told == [("again", "lost"), ("again", "lost")]


def test_a_task_that_stays_new_is_asked_for_once_more_and_only_once(told: list[tuple[str, str]]) -> None:
    old = replace(task("a", "new"), created=LONG_AGO)
    young = replace(old, created=datetime.now(UTC).isoformat())
    tasks = {"gone": [replace(old, id="g")], "old": [replace(old, id="o")], "young": [young]}
    look = Unstick(SimpleNamespace()).look  # type: ignore[arg-type]
    for _ in range(2):
        look(seen([node("a")], tasks, [service(name, 1) for name in tasks]))
    assert told == [("new task", "gone"), ("new task", "old")]
