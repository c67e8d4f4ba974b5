"""Requests for clusters while others wait for room, or for what no waiting brings; no engine is there."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from occamctl import wait
from occamctl.engine import swarm
from occamctl.errors import DoesNotFit, EngineError, Refused
from occamctl.gateway.clusters import Clusters
from occamctl.gateway.ledger import Change, Ledger, Worker
from occamctl.gateway.quotas import Limits, Rights, Shared
from occamctl.gateway.reconcile import Loop
from occamctl.gateway.refusals import NeverFits
from occamctl.gateway.sight import Seen
from occamctl.gateway.wishes import Wish

from .test_ledger import GIB, QUOTAS, facts

HOSTS = {name: swarm.Node(name, name, "", "worker", "ready", "active", 2, 8 * GIB, {}) for name in "ab"}


class Settings:
    site, lease, idle_timeout = None, 60.0, 0
    worker_cpus, worker_memory, notebook_memory = 1, 2 * GIB, 2 * GIB

    def token(self) -> str:
        return "token"


@pytest.fixture
def clusters() -> Clusters:
    """Two hosts of two CPUs each, and nothing in them; whoever asks has a notebook."""
    seen = Seen(time.monotonic(), HOSTS, {}, {})
    sight: Any = SimpleNamespace(look=lambda max_age: seen, last=seen)
    settings: Any = Settings()
    notebooks: Any = SimpleNamespace(task_of=lambda owner, seen: "task")
    nothing: Any = None
    ledger = Ledger("ml", Worker(1, 2 * GIB), QUOTAS)
    return Clusters(nothing, settings, ledger, sight=sight, networks=nothing, notebooks=notebooks)


def may(workers: int, **more: Any) -> Rights:
    return Rights(Limits(workers=workers), **more)


def waits(clusters: Clusters, owner: str, workers: int, rights: Rights | None = None, **more: Any) -> Any:
    return clusters.create(owner, Wish("lab", workers, wait=60, **more), rights or may(16))["queued"]


def hold(clusters: Clusters, owner: str, workers: int, **more: Any) -> None:
    """A cluster that is there already."""
    clusters.ledger.admit(facts(owner, wanted=workers, **more), may(16), clusters._rooms(), None)


@pytest.mark.parametrize("wait", [0, 60])
def test_a_worker_that_no_host_could_take_is_refused_at_once(clusters: Clusters, wait: int) -> None:
    with pytest.raises(NeverFits, match="no host of this course has 4 CPUs, 2G for one worker"):
        clusters.create("bob", Wish("lab", 1, cores=4, wait=wait), may(16))
    assert len(clusters.queue) == 0


@pytest.mark.parametrize(
    ("wish", "rights", "says"),
    [
        (Wish("lab", 5, wait=60), may(16), "no waiting brings more than 4: that is all that the hosts have"),
        (Wish("lab", 4, memory=4 * GIB, driver="connect", wait=60), may(16), "no waiting brings more than 3"),
        (Wish("lab", 3, wait=60), may(16, shared=(Shared("", Limits(workers=2)),)), "over the quota of the course, 2"),
        (Wish("lab", 3, wait=60), may(2), "over the quota of 2"),
    ],
)
def test_nobody_waits_for_what_no_waiting_brings(clusters: Clusters, wish: Wish, rights: Rights, says: str) -> None:
    hold(clusters, "anna", 1)
    with pytest.raises(DoesNotFit, match=says):
        clusters.create("bob", wish, rights)
    assert len(clusters.queue) == 0
    hold(clusters, "anna", 2, name="two")
    assert waits(clusters, "bob", 4)["position"] == 1  # the twin: all that the hosts have


def test_who_waits_for_a_groups_quota_holds_up_nobody(clusters: Clusters) -> None:
    phd = may(16, groups=("phd",), shared=(Shared("phd", Limits(workers=2)),))
    clusters.ledger.admit(facts("anna", wanted=1), phd, clusters._rooms(), None)
    waits(clusters, "bob", 2, phd)
    assert waits(clusters, "carla", 4)["position"] == 1


def test_scaling_does_not_overtake_those_who_wait(clusters: Clusters) -> None:
    hold(clusters, "anna", 2)
    waits(clusters, "bob", 3)
    with pytest.raises(DoesNotFit, match="one request waits for room on the hosts already"):
        clusters.scale("anna", "lab", 3, may(16, guarantee=2))
    hold(clusters, "carla", 1, adaptive=(1, 4))
    with pytest.raises(DoesNotFit, match="one request waits for room"):
        clusters.adapt("carla", "lab", (2, 4), may(16))
    assert clusters.ledger.get("carla", "lab").facts.adaptive == (1, 4)
    assert clusters._may_add("carla", may(16), ()) == 0
    assert clusters._may_add("bob", may(16), ()) > 0  # it is only himself who waits


def test_lost_workers_within_the_guarantee_come_back_on_full_hosts(
    clusters: Clusters, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(clusters, "anna", 2)
    hold(clusters, "bob", 2)
    there = clusters.ledger.get("anna", "lab")
    clusters.ledger.take_out(there, [0])
    hold(clusters, "bob", 1, name="two")
    settled: list[Change] = []
    monkeypatch.setattr(clusters, "settle", lambda cluster, change: settled.append(change))
    nothing: Any = None
    settings: Any = SimpleNamespace(quotas=QUOTAS)
    loop = Loop(nothing, settings, clusters._sight, clusters, nothing, nothing)
    loop._fill(there, time.monotonic(), 0)
    assert len(there.executors) == 2
    assert [one.facts.owner for one, _ in settled[0].taken.values()] == ["bob"]
    loop._fill(there, time.monotonic(), 0)
    assert len(settled) == 1


def test_workers_that_were_never_made_are_not_kept(clusters: Clusters, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(clusters, "bob", 4)
    hold(clusters, "anna", 0)
    there = clusters.ledger.get("anna", "lab")

    def fails(*_: Any) -> None:
        raise EngineError("busy")

    monkeypatch.setattr(clusters, "write", fails)
    with pytest.raises(EngineError):
        clusters.scale("anna", "lab", 2, may(16, guarantee=2))
    assert there.executors == {}
    assert there.facts.wanted == 2  # the loop makes others in their place


def test_one_that_is_being_removed_is_waited_for_and_one_that_runs_is_not(clusters: Clusters) -> None:
    hold(clusters, "anna", 1)
    there = clusters.ledger.get("anna", "lab")
    with pytest.raises(Refused, match="there is a cluster 'lab' already"):
        clusters.create("anna", Wish("lab", 5, kernel="another"), may(16))
    there.state = "stopping"
    began, removed = threading.Event(), threading.Event()

    def remove() -> None:  # with the lock held all the time, as Clusters.end
        with there.lock:
            began.set()
            removed.wait(10)
            clusters.ledger.remove(there)

    there.lock.release()  # which hold() took
    with ThreadPoolExecutor() as pool:
        removal = pool.submit(remove)
        assert began.wait(10)
        asked = pool.submit(clusters.create, "anna", Wish("lab", 5, kernel="another"), may(16))
        wait.nap(0.2)
        assert not asked.done()
        removed.set()
        removal.result(10)
        with pytest.raises(DoesNotFit, match="do not fit"):  # the name is free
            asked.result(10)
