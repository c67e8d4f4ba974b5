"""What the loop makes of a driver in a container of its own, from what the engine shows; no engine is there."""

from __future__ import annotations

import time
from concurrent.futures import Executor as Pool
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from occamctl.engine import swarm
from occamctl.gateway import reconcile
from occamctl.gateway.cluster import Cluster, Executor
from occamctl.gateway.reconcile import Loop
from occamctl.gateway.sight import Seen
from occamctl.spec.names import Names

from .test_ledger import facts

NODE = swarm.Node("n", "node1", "10.0.0.1", "worker", "ready", "active", 2, 8 << 30, {})
SERVICE = Names("ml").driver("anna", "lab")


class Told:
    """Notes what would be done with a cluster."""

    ledger = None

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []

    def application_ended(self, cluster: Cluster, code: int, why: str) -> None:
        self.said.append((code, why))

    def fail(self, cluster: Cluster, why: str) -> None:
        self.said.append((None, why))


class AtOnce(Pool):
    def submit(self, do: Any, *words: Any, **more: Any) -> Any:
        do(*words, **more)


def task(state: str, code: int | None = None, message: str = "words") -> swarm.Task:
    return swarm.Task("t", "s", "n", state, "running", message, "c", code, "2026", "2026", 0, 0, {})


@pytest.mark.parametrize(
    ("tasks", "node", "seconds", "said"),
    [
        ((task("running"),), NODE, 9999, []),
        ((task("pending"),), NODE, 30, []),
        ((task("pending"),), NODE, 61, [(None, "its driver: pending for 61 s: words")]),
        ((task("preparing"),), NODE, 121, [(None, "its driver: starting for 121 s: words")]),
        ((), NODE, 61, [(None, "its driver: pending for 61 s: no word")]),
        ((task("complete", 0),), NODE, 5, [(0, "")]),
        ((task("failed", 3),), NODE, 5, [(3, "it ended with exit code 3")]),
        ((task("failed", 0),), NODE, 5, [(None, "its driver: failed: words (exit 0)")]),  # never started
        ((task("rejected"),), NODE, 5, [(None, "its driver: rejected: words")]),
        ((task("running"),), replace(NODE, state="down"), 5, [(None, "its driver: the host node1 is down")]),
        ((task("complete", 0),), replace(NODE, state="down"), 5, [(0, "")]),
        (None, NODE, 5, [(None, "its driver's service was removed")]),
    ],
)
def test_states_of_an_application(
    monkeypatch: pytest.MonkeyPatch, tasks: Any, node: swarm.Node, seconds: float, said: list[tuple[Any, ...]]
) -> None:
    monkeypatch.setattr(reconcile, "last_words", lambda engine, service: "")
    _look(tasks, node, seconds, said, "application")


@pytest.mark.parametrize(
    ("tasks", "node", "said"),
    [
        ((task("running"),), NODE, []),
        ((task("running"),), replace(NODE, state="unknown"), []),
        ((task("pending"),), replace(NODE, state="down"), [(None, "the host of its driver, node1, is down")]),
    ],
)
def test_states_of_a_connect_server(tasks: Any, node: swarm.Node, said: list[tuple[Any, ...]]) -> None:
    _look(tasks, node, 5, said, "connect")


def _look(tasks: Any, node: swarm.Node, seconds: float, said: list[tuple[Any, ...]], kind: Any) -> None:
    clusters: Any = Told()
    settings: Any = SimpleNamespace(names=Names("ml"))
    nothing: Any = None
    loop = Loop(nothing, settings, nothing, clusters, nothing, AtOnce())
    now = time.monotonic()
    cluster = Cluster(facts(driver=kind), None, driver_node="n", driver_made=now - seconds)
    there = {} if tasks is None else {SERVICE: {}}
    seen = Seen(now, {"n": node}, there, {SERVICE: tasks or ()})
    assert loop._look_at_driver(cluster, seen, now) is bool(said)
    assert clusters.said == said


def test_a_driver_that_is_being_made_is_not_missed() -> None:
    clusters: Any = Told()
    settings: Any = SimpleNamespace(names=Names("ml"))
    nothing: Any = None
    loop = Loop(nothing, settings, nothing, clusters, nothing, AtOnce())
    now = time.monotonic()
    for made in (None, now + 1):
        cluster = Cluster(facts(driver="application"), None, driver_node="n", driver_made=made)
        assert not loop._look_at_driver(cluster, Seen(now, {"n": NODE}, {}, {}), now)
    assert clusters.said == []


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (
            "failed: non-zero exit (137)\n  occam-executor: executor 0: out of memory",
            "occam-executor: executor 0: out",
        ),
        ("failed: non-zero exit (137)\n  INFO registered with driver", "failed: non-zero exit (137)."),
        ("", "without a word."),
    ],
)
def test_an_owner_is_told_why_a_worker_was_lost(message: str, why: str) -> None:
    seen = Seen(0, {"n": NODE}, {}, {})
    lost = Executor(0, "n", message=message)
    assert f"Worker 0 was lost, on node1: {why}" in reconcile._farewell(lost, seen)
    assert "its host node1 is down" in reconcile._farewell(lost, Seen(0, {"n": replace(NODE, state="down")}, {}, {}))
