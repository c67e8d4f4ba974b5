"""The ledger: what is asked is checked and written in one step, whoever asks at the same time."""

from __future__ import annotations

import random
import threading
from dataclasses import replace

import pytest

from occamctl.errors import DoesNotFit, OccamError, Refused
from occamctl.gateway.ledger import Cluster, Ledger
from occamctl.gateway.refusals import NotKnown
from occamctl.plan.fit import Room
from occamctl.spark.clusters import Facts

GIB = 1 << 30
WIDE = [Room("a", "a", 100, 200 * GIB), Room("b", "b", 100, 200 * GIB)]


def facts(owner: str = "anna", name: str = "lab", wanted: int = 2, **more: object) -> Facts:
    made = Facts(
        owner=owner,
        name=name,
        app_id="app-1",
        nonce="0000",
        driver="notebook",
        driver_host="10.0.0.2",
        driver_port=4000,
        cores=1,
        memory=2 * GIB,
        wanted=wanted,
        since="2026-10-05T08:00:00+00:00",
    )
    return replace(made, **more)  # type: ignore[arg-type]


def rooms(but: frozenset[str]) -> list[Room]:
    return WIDE


@pytest.fixture
def ledger() -> Ledger:
    return Ledger("ml", worker_cpus=1, worker_memory=2 * GIB)


def test_workers_are_placed_and_counted(ledger: Ledger) -> None:
    made = ledger.admit(facts(wanted=3), 4, rooms, None)
    assert sorted(one.node for one in made.executors.values()) == ["a", "a", "b"]
    assert ledger.held("anna") == 3
    assert ledger.held("bob") == 0


@pytest.mark.parametrize(
    ("more", "limit", "says"),
    [
        (facts(name="two", wanted=3), 4, "3 workers are over the quota of 4, 2 held by other clusters; 2 would do"),
        (facts(name="two", wanted=1, cores=2), 3, "1 workers that count 2 each are over the quota of 3"),
        (facts(name="two", wanted=1, memory=5 * GIB), 4, "1 workers that count 3 each are over the quota of 4"),
    ],
)
def test_over_quota_says_what_would_do(ledger: Ledger, more: Facts, limit: int, says: str) -> None:
    ledger.admit(facts(), 4, rooms, None)
    with pytest.raises(DoesNotFit) as refused:
        ledger.admit(more, limit, rooms, None)
    assert says in refused.value.what
    assert ledger.held("anna") == 2
    assert len(list(ledger)) == 1


def test_a_taken_name_is_refused_and_a_failed_cluster_takes_none(ledger: Ledger) -> None:
    first = ledger.admit(facts(), 4, rooms, None)
    with pytest.raises(Refused, match="already"):
        ledger.admit(facts(), 4, rooms, None)
    first.state = "failed"
    assert ledger.held("anna") == 0
    assert ledger.admit(facts(), 4, rooms, None) is not first


def test_no_room_leaves_nothing_entered(ledger: Ledger) -> None:
    def narrow(but: frozenset[str]) -> list[Room]:
        return [Room("a", "a", 1, 8 * GIB)]

    with pytest.raises(DoesNotFit, match="do not fit"):
        ledger.admit(facts(wanted=2), 4, narrow, None)
    with pytest.raises(NotKnown):
        ledger.get("anna", "lab")


def test_what_the_ledger_placed_is_not_free_though_the_engine_does_not_show_it_yet(ledger: Ledger) -> None:
    def one_host(but: frozenset[str]) -> list[Room]:
        return [Room("a", "a", 3, 100 * GIB)]

    ledger.admit(facts(wanted=2), 9, one_host, None)
    with pytest.raises(DoesNotFit, match="1 would"):
        ledger.admit(facts("bob", wanted=2), 9, one_host, None)
    assert ledger.free(1, 2 * GIB, one_host) == 1


def test_resize_keeps_the_oldest_and_never_reuses_a_number(ledger: Ledger) -> None:
    made = ledger.admit(facts(wanted=3), 8, rooms, None)
    for one in made.executors.values():
        one.state = "running"
    new, gone = ledger.resize(made, 1, 8, rooms)
    assert (new, sorted(one.number for one in gone)) == ([], [1, 2])
    new, gone = ledger.resize(made, 3, 8, rooms)
    assert ([one.number for one in new], gone) == ([3, 4], [])
    assert made.facts.next_id == 5


def test_those_that_do_not_run_yet_go_first(ledger: Ledger) -> None:
    made = ledger.admit(facts(wanted=3), 8, rooms, None)
    made.executors[1].state = made.executors[2].state = "running"
    _, gone = ledger.resize(made, 2, 8, rooms)
    assert [one.number for one in gone] == [0]


def test_a_refused_resize_changes_nothing(ledger: Ledger) -> None:
    made = ledger.admit(facts(wanted=2), 4, rooms, None)
    with pytest.raises(DoesNotFit):
        ledger.resize(made, 5, 4, rooms)
    with pytest.raises(DoesNotFit):
        ledger.resize(made, 500, 1000, rooms)
    assert made.facts.wanted == 2
    assert len(made.executors) == 2


def test_a_smaller_quota_takes_nothing_away_but_lets_scale_down(ledger: Ledger) -> None:
    made = ledger.admit(facts(wanted=4), 4, rooms, None)
    ledger.resize(made, 3, 1, rooms)
    assert made.facts.wanted == 3


def test_a_connect_driver_has_a_place_and_a_name(ledger: Ledger) -> None:
    made = ledger.admit(facts("course", "main", driver="connect", driver_host=""), 8, rooms, None)
    assert made.driver_node in ("a", "b")
    assert made.facts.driver_host == "tasks.ml-course-main-driver"
    assert "ml-course-main-driver" in ledger.services()


def test_twenty_threads_never_get_more_than_quota_or_room(ledger: Ledger) -> None:
    limit, cpus = 5, 12
    most: dict[str, int] = {}
    wrong: list[str] = []

    def rooms_of_hosts(but: frozenset[str]) -> list[Room]:
        return [Room(name, name, cpus / 3, 1000 * GIB) for name in "abc"]

    def check() -> None:
        clusters: list[Cluster] = list(ledger)
        for owner in "xyz":
            held = sum(one.facts.wanted for one in clusters if one.facts.owner == owner)
            most[owner] = max(most.get(owner, 0), held)
            if held > limit:
                wrong.append(f"{owner} holds {held}")
        placed = [one.node for cluster in clusters for one in list(cluster.executors.values())]
        wrong.extend(f"{node} has {placed.count(node)}" for node in "abc" if placed.count(node) > cpus / 3)

    def student(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(150):
            owner, name = chance.choice("xyz"), chance.choice(["p", "q"])
            try:
                if chance.random() < 0.5:
                    ledger.admit(facts(owner, name, chance.randrange(6)), limit, rooms_of_hosts, None)
                elif chance.random() < 0.6:
                    ledger.resize(ledger.get(owner, name), chance.randrange(7), limit, rooms_of_hosts)
                else:
                    ledger.remove(ledger.get(owner, name))
            except OccamError:
                pass
            with ledger._lock:
                check()

    threads = [threading.Thread(target=student, args=(seed,)) for seed in range(20)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong
    assert max(most.values()) == limit  # the twin: what a quota allows was really given
