"""The ledger: what is asked is checked and written in one step, whoever asks at the same time."""

from __future__ import annotations

import random
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest

from occamctl.errors import DoesNotFit, OccamError, Refused
from occamctl.gateway.cluster import Cluster
from occamctl.gateway.ledger import Change, Ledger, Worker
from occamctl.gateway.quotas import Amount, Limits, Quota, Quotas, Rights, Shared
from occamctl.gateway.refusals import NotKnown
from occamctl.plan.fit import Room
from occamctl.spark.clusters import Facts, Profile

GIB = 1 << 30
QUOTAS = Quotas(Quota(Limits(workers=9), guarantee=2), Quota(Limits(workers=16)))
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


def may(workers: int, **more: object) -> Rights:
    """The rights of somebody who may hold so many workers."""
    return replace(Rights(Limits(workers=workers)), **more)  # type: ignore[arg-type]


def admit(ledger: Ledger, asked: Facts, limit: int, rooms: object, lease: None = None) -> Cluster:
    return ledger.admit(asked, may(limit), rooms, lease)[0]  # type: ignore[arg-type]


def resize(ledger: Ledger, cluster: Cluster, wanted: int, limit: int, rooms: object) -> Change:
    return ledger.resize(cluster, {0: wanted}, may(limit), rooms)  # type: ignore[arg-type]


def narrow(*cpus: float) -> object:
    """Hosts a, b, … with so many CPUs free."""
    return lambda but: [Room(name, name, free, 100 * GIB) for name, free in zip("abcd", cpus, strict=False)]


def rooms(but: frozenset[str]) -> list[Room]:
    return WIDE


@pytest.fixture
def ledger() -> Ledger:
    return Ledger("ml", Worker(1, 2 * GIB), QUOTAS)


def test_workers_are_placed_and_counted(ledger: Ledger) -> None:
    made = admit(ledger, facts(wanted=3), 4, rooms)
    assert sorted(one.node for one in made.executors.values()) == ["a", "a", "b"]
    assert ledger.held("anna").workers == 3
    assert ledger.held("bob").workers == 0


@pytest.mark.parametrize(
    ("more", "limit", "says"),
    [
        (facts(name="two", wanted=3), 4, "3 workers are over the quota of 4, 2 held by other clusters; 2 would do"),
        (facts(name="two", wanted=1, cores=2), 3, "1 worker that counts 2 is over the quota of 3"),
        (facts(name="two", wanted=1, memory=5 * GIB), 4, "1 worker that counts 3 is over the quota of 4"),
    ],
)
def test_over_quota_says_what_would_do(ledger: Ledger, more: Facts, limit: int, says: str) -> None:
    admit(ledger, facts(), 4, rooms)
    with pytest.raises(DoesNotFit) as refused:
        admit(ledger, more, limit, rooms)
    assert says in refused.value.what
    assert ledger.held("anna").workers == 2
    assert len(list(ledger)) == 1


def test_who_holds_nothing_is_not_told_to_stop_something(ledger: Ledger) -> None:
    with pytest.raises(DoesNotFit, match="1 worker that counts 9 is over the quota of 4; 0 would do") as refused:
        admit(ledger, facts(wanted=1, cores=9), 4, rooms)
    assert refused.value.fix == "ask for smaller workers"
    admit(ledger, facts(wanted=4), 4, rooms)
    with pytest.raises(DoesNotFit) as refused:
        admit(ledger, facts(name="two", wanted=1), 4, rooms)
    assert refused.value.fix == "stop a cluster that you do not need"


def test_a_taken_name_is_refused_and_a_failed_cluster_takes_none(ledger: Ledger) -> None:
    first = admit(ledger, facts(), 4, rooms)
    with pytest.raises(Refused, match="already"):
        admit(ledger, facts(), 4, rooms)
    first.state = "failed"
    assert ledger.held("anna").workers == 0
    assert admit(ledger, facts(), 4, rooms) is not first


def test_no_room_leaves_nothing_entered(ledger: Ledger) -> None:
    with pytest.raises(DoesNotFit, match="do not fit"):
        admit(ledger, facts(wanted=2), 4, narrow(1))
    with pytest.raises(NotKnown):
        ledger.get("anna", "lab")


def test_what_the_ledger_placed_is_not_free_though_the_engine_does_not_show_it_yet(ledger: Ledger) -> None:
    def one_host(but: frozenset[str]) -> list[Room]:
        return [Room("a", "a", 3, 100 * GIB)]

    admit(ledger, facts(wanted=2), 9, one_host)
    with pytest.raises(DoesNotFit, match="1 would"):
        admit(ledger, facts("bob", wanted=2), 9, one_host)
    assert ledger.free(1, 2 * GIB, one_host) == 1


def test_resize_keeps_the_oldest_and_never_reuses_a_number(ledger: Ledger) -> None:
    made = admit(ledger, facts(wanted=3), 8, rooms)
    for one in made.executors.values():
        one.state = "running"
    change = resize(ledger, made, 1, 8, rooms)
    assert (change.new, sorted(one.number for one in change.gone)) == ([], [1, 2])
    change = resize(ledger, made, 3, 8, rooms)
    assert ([one.number for one in change.new], change.gone) == ([3, 4], [])
    assert made.facts.next_id == 5


def test_those_that_do_not_run_yet_go_first(ledger: Ledger) -> None:
    made = admit(ledger, facts(wanted=3), 8, rooms)
    made.executors[1].state = made.executors[2].state = "running"
    assert [one.number for one in resize(ledger, made, 2, 8, rooms).gone] == [0]


def test_a_refused_resize_changes_nothing(ledger: Ledger) -> None:
    made = admit(ledger, facts(wanted=2), 4, rooms)
    with pytest.raises(DoesNotFit):
        resize(ledger, made, 5, 4, rooms)
    with pytest.raises(DoesNotFit):
        resize(ledger, made, 500, 1000, rooms)
    assert made.facts.wanted == 2
    assert len(made.executors) == 2


def test_a_smaller_quota_takes_nothing_away_but_lets_scale_down(ledger: Ledger) -> None:
    made = admit(ledger, facts(wanted=4), 4, rooms)
    resize(ledger, made, 3, 1, rooms)
    assert made.facts.wanted == 3


def test_a_connect_driver_has_a_place_and_a_name(ledger: Ledger) -> None:
    made = admit(ledger, facts("course", "main", driver="connect", driver_host=""), 8, rooms)
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
                    admit(ledger, facts(owner, name, chance.randrange(6)), limit, rooms_of_hosts)
                elif chance.random() < 0.6:
                    resize(ledger, ledger.get(owner, name), chance.randrange(7), limit, rooms_of_hosts)
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


def test_a_refusal_says_who_holds_the_rest_and_names_nobody(ledger: Ledger) -> None:
    hosts = narrow(3, 2)
    ledger.admit(facts("anna", wanted=2), may(9, groups=("phd", "student")), hosts, None)
    ledger.admit(facts("carla", wanted=1), may(9, groups=("student",)), hosts, None)
    with pytest.raises(DoesNotFit) as refused:
        admit(ledger, facts("bob", wanted=3), 9, hosts)
    assert "2 would" in refused.value.what
    assert "held: group phd 2 workers, students 1 worker" in refused.value.what
    assert "anna" not in refused.value.what


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (
            Limits(workers=9, cpus=3),
            "2 workers with 2 CPUs are over the quota of 3 CPUs, 2 CPUs held by other",
        ),
        (Limits(workers=9, memory=5 * GIB), "with 4G of memory are over the quota of 5G of memory, 4G of memory held"),
        (Limits(workers=9, clusters=1), "one more cluster is over the quota of 1 cluster, 1 cluster held"),
        (Limits(workers=3, clusters=1), "one more cluster is over the quota of 1 cluster, 1 cluster held"),
    ],
)
def test_every_resource_has_a_limit(ledger: Ledger, limits: Limits, says: str) -> None:
    admit(ledger, facts(wanted=2), 9, rooms)
    with pytest.raises(DoesNotFit) as refused:
        ledger.admit(facts(name="two", wanted=2), Rights(limits), rooms, None)
    assert says in refused.value.what


def test_a_new_cluster_is_nobody_elses_before_it_is_made(ledger: Ledger) -> None:
    """One that was scaled between its admission and its making was answered that its secret is gone."""
    cluster, _ = ledger.admit(facts(), may(9), rooms, None)

    def locked() -> bool:
        return not cluster.lock.acquire(blocking=False) or bool(cluster.lock.release())

    with ThreadPoolExecutor(1) as another:
        assert another.submit(locked).result()
        cluster.lock.release()
        assert not another.submit(locked).result()


def test_a_group_and_the_course_have_limits_together(ledger: Ledger) -> None:
    phd = may(9, groups=("phd",), shared=(Shared("phd", Limits(workers=3)), Shared("", Limits(workers=4))))
    ledger.admit(facts("anna", wanted=2), phd, rooms, None)
    with pytest.raises(DoesNotFit, match="the quota of group phd, 3, 1 free; held: group phd 2 workers; 1 would do"):
        ledger.admit(facts("bob", wanted=2), phd, rooms, None)
    ledger.admit(facts("bob", wanted=1), phd, rooms, None)
    others = may(9, shared=(Shared("", Limits(workers=4)),))
    with pytest.raises(DoesNotFit, match="the quota of the course, 4, 1 free; held: group phd 3 workers; 1 would do"):
        ledger.admit(facts("carla", wanted=2), others, rooms, None)
    ledger.admit(facts("carla", wanted=1), others, rooms, None)
    assert ledger.quota("bob", phd)["workers"] == {
        "limit": 9,
        "held": 1,
        "guarantee": 0,
        "shared": [{"of": "group phd", "limit": 3, "held": 3}, {"of": "the course", "limit": 4, "held": 4}],
    }
    assert "shared" not in ledger.quota("bob", phd)["gpus"]


def test_notebooks_count_in_the_same_ledger(ledger: Ledger) -> None:
    rights = Rights(Limits(workers=9, memory=7 * GIB))
    ledger.hold_notebook("anna", Amount(cpus=2, memory=4 * GIB), rights)
    ledger.hold_notebook("anna", Amount(cpus=2, memory=4 * GIB), rights)  # it is the same one
    with pytest.raises(DoesNotFit, match="4G of memory held"):
        ledger.admit(facts(wanted=2), rights, rooms, None)
    ledger.admit(facts(wanted=1), rights, rooms, None)
    ledger.release_notebook("anna")
    with pytest.raises(DoesNotFit, match="your notebook needs 6G of memory"):
        ledger.hold_notebook("anna", Amount(cpus=2, memory=6 * GIB), rights)
    assert ledger.held("anna") == Amount(1, 1.0, 2 * GIB, 0, 1)


def test_within_the_guarantee_borrowed_workers_come_back_in_proportion(ledger: Ledger) -> None:
    hosts = narrow(6, 6)
    first = ledger.admit(facts("anna", wanted=8), may(9, guarantee=2), hosts, None)[0]
    second = ledger.admit(facts("bob", wanted=4), may(9, guarantee=2), hosts, None)[0]
    made, change = ledger.admit(facts("carla", wanted=2), may(9, guarantee=2), hosts, None)
    assert len(made.executors) == 2
    # Six and two are borrowed: three quarters of what is needed come from the first, in whole workers.
    assert {key[0]: len(executors) for key, (_, executors) in change.taken.items()} == {"anna": 2}
    assert (first.facts.wanted, second.facts.wanted) == (6, 4)
    ledger.admit(facts("dora", wanted=2), may(9, guarantee=2), hosts, None)
    assert (first.facts.wanted, second.facts.wanted) == (4, 4)  # four and two were left
    assert len(first.executors) == 4
    placed = [one.node for cluster in ledger for one in cluster.executors.values()]
    assert (placed.count("a"), placed.count("b")) == (6, 6)


def test_nobody_falls_below_the_guarantee(ledger: Ledger) -> None:
    hosts = narrow(2, 2)
    for owner in ("anna", "bob"):
        ledger.admit(facts(owner, wanted=2), may(9, guarantee=2), hosts, None)
    with pytest.raises(DoesNotFit):
        ledger.admit(facts("carla", wanted=1), may(9, guarantee=2), hosts, None)
    assert {cluster.facts.owner: cluster.facts.wanted for cluster in ledger} == {"anna": 2, "bob": 2}


def test_who_borrows_takes_nothing_from_others(ledger: Ledger) -> None:
    hosts = narrow(2, 2)
    ledger.admit(facts("anna", wanted=4), may(9, guarantee=2), hosts, None)
    with pytest.raises(DoesNotFit):
        ledger.admit(facts("bob", wanted=3), may(9, guarantee=2), hosts, None)
    assert ledger.get("anna", "lab").facts.wanted == 4


def test_what_is_guaranteed_is_had_over_the_courses_quota_too(ledger: Ledger) -> None:
    course = {"guarantee": 2, "shared": (Shared("", Limits(workers=10)),)}
    for owner in ("anna", "bob"):
        ledger.admit(facts(owner, wanted=5), may(9, **course), rooms, None)
    with pytest.raises(DoesNotFit, match="the quota of the course, 10, 0 free; held: students 10 workers; 2 would do"):
        ledger.admit(facts("carla", wanted=3), may(9, **course), rooms, None)
    made, change = ledger.admit(facts("carla", wanted=1), may(9, **course), rooms, None)
    assert [len(executors) for _, executors in change.taken.values()] == [1]
    change = ledger.resize(made, {0: 2}, may(9, **course), rooms)
    assert [len(executors) for _, executors in change.taken.values()] == [1]
    assert [ledger.held(owner).workers for owner in ("anna", "bob", "carla")] == [4, 4, 2]


def test_for_a_groups_quota_only_its_members_give_back(ledger: Ledger) -> None:
    phd = may(9, guarantee=2, groups=("phd",), shared=(Shared("phd", Limits(workers=6)),))
    ledger.admit(facts("anna", wanted=8), may(9, guarantee=2), rooms, None)
    ledger.admit(facts("bob", wanted=5), phd, rooms, None)
    ledger.admit(facts("carla", wanted=2), phd, rooms, None)
    assert [ledger.held(owner).workers for owner in ("anna", "bob", "carla")] == [8, 4, 2]
    ledger.admit(facts("dora", wanted=2), phd, rooms, None)
    with pytest.raises(DoesNotFit, match="the quota of group phd, 6, 0 free"):  # all have their guarantee, and no more
        ledger.admit(facts("eve", wanted=1), phd, rooms, None)
    assert [ledger.held(owner).workers for owner in ("anna", "bob", "carla", "dora")] == [8, 2, 2, 2]


def test_an_adaptive_cluster_grows_to_the_guarantee_on_full_hosts(ledger: Ledger) -> None:
    hosts = narrow(2, 3)
    made = ledger.admit(facts(wanted=1, adaptive=(1, 4)), may(9, guarantee=2), hosts, None)[0]
    ledger.admit(facts("bob", wanted=4), may(9, guarantee=2), hosts, None)
    change = ledger.grant(made, {0: 4}, {}, may(9, guarantee=2), hosts, 99)
    assert (made.facts.wanted, len(made.executors), len(change.new)) == (2, 2, 1)
    assert [(cluster.facts.owner, len(gone)) for cluster, gone in change.taken.values()] == [("bob", 1)]
    change = ledger.grant(made, {0: 4}, {}, may(9, guarantee=2), hosts, 99)
    assert (made.facts.wanted, change.new, change.taken) == (2, [], {})


def test_lost_workers_come_back_up_to_the_guarantee_on_full_hosts(ledger: Ledger) -> None:
    hosts = narrow(4, 4)
    made = ledger.admit(facts(wanted=4), may(9, guarantee=2), hosts, None)[0]
    ledger.admit(facts("bob", wanted=4), may(9, guarantee=2), hosts, None)
    ledger.take_out(made, [0, 1, 2])
    ledger.admit(facts("carla", wanted=2), may(9, guarantee=2), hosts, None)
    assert len(ledger.grow(made, hosts, guarantee=2).new) == 1  # there was room
    (one,) = ledger.take_out(made, [4])
    assert one.number == 4
    ledger.admit(facts("dora", wanted=1), may(9, guarantee=2), hosts, None)
    change = ledger.grow(made, hosts, guarantee=2)
    assert (len(made.executors), len(change.new)) == (2, 1)
    assert [(cluster.facts.owner, len(gone)) for cluster, gone in change.taken.values()] == [("bob", 1)]
    assert ledger.grow(made, hosts, guarantee=2).new == []  # what is beyond it comes when there is room


def test_while_others_wait_only_what_is_guaranteed_is_given(ledger: Ledger) -> None:
    rights = may(9, guarantee=2)
    with pytest.raises(DoesNotFit, match="one request waits for room on the hosts already") as refused:
        ledger.admit(facts(wanted=3), rights, rooms, None, 1)
    assert refused.value.fix == 'ask for 2, within your guarantee; wait="5m" waits in turn'
    made = ledger.admit(facts(wanted=2), rights, rooms, None, 1)[0]
    with pytest.raises(DoesNotFit, match="2 requests wait for room") as refused:
        ledger.resize(made, {0: 3}, rights, rooms, waiting=2)
    assert refused.value.fix == "scale it when they have had their turn"
    ledger.resize(made, {0: 3}, rights, rooms)
    ledger.resize(made, {0: 3}, rights, rooms, waiting=1)  # nothing more
    ledger.resize(made, {0: 1}, rights, rooms, waiting=1)
    assert len(made.executors) == 1


def test_on_full_hosts_what_is_guaranteed_would_do(ledger: Ledger) -> None:
    hosts = narrow(2, 2)
    ledger.admit(facts("anna", wanted=4), may(9, guarantee=2), hosts, None)
    with pytest.raises(DoesNotFit) as refused:
        ledger.admit(facts("bob", wanted=3), may(9, guarantee=2), hosts, None)
    assert refused.value.what == (
        "3 workers of 1 CPU and 2G do not fit on the hosts now, 2 would (a has 0 CPU and 96G free; "
        "b has 0 CPU and 96G free); held: students 4 workers; your quota is 9 workers (2 guaranteed)"
    )
    assert refused.value.fix == "ask for 2, or wait until others are done"


def test_more_workers_are_asked_for_in_all(ledger: Ledger) -> None:
    made = admit(ledger, facts(wanted=2), 9, narrow(4))
    with pytest.raises(DoesNotFit, match="3 more workers of 1 CPU and 2G do not fit on the hosts now, 2 would") as no:
        resize(ledger, made, 5, 9, narrow(4))
    assert no.value.fix == "ask for 4, or wait until others are done"


def test_over_the_quota_would_do_what_the_hosts_take(ledger: Ledger) -> None:
    with pytest.raises(DoesNotFit, match="7 workers are over the quota of 6; 4 would do, more find no room now") as no:
        admit(ledger, facts(wanted=7), 6, narrow(2, 2))
    assert no.value.fix == "ask for 4"
    admit(ledger, facts("bob", wanted=4), 6, narrow(2, 2))
    with pytest.raises(DoesNotFit, match="0 would do, more find no room now") as no:
        admit(ledger, facts(wanted=7), 6, narrow(2, 2))
    assert no.value.fix == "wait until others are done"


def test_fewer_workers_can_be_asked_for_on_full_hosts(ledger: Ledger) -> None:
    made = admit(ledger, facts(wanted=4), 9, narrow(4))
    ledger.take_out(made, [0, 1])
    assert resize(ledger, made, 3, 9, narrow(2)).new == []
    assert (made.facts.wanted, len(made.executors)) == (3, 2)


def test_other_bounds_that_are_refused_change_nothing(ledger: Ledger) -> None:
    made = admit(ledger, facts(wanted=1, adaptive=(1, 2)), 3, rooms)
    with pytest.raises(DoesNotFit):
        ledger.resize(made, {0: 4}, may(3), rooms, bounds=(4, 9))
    assert (made.facts.adaptive, made.facts.wanted) == ((1, 2), 1)
    ledger.resize(made, {0: 2}, may(3), rooms, bounds=(2, 9))
    assert (made.facts.adaptive, made.facts.wanted) == ((2, 9), 2)


def test_what_would_do_is_granted_and_more_is_not() -> None:
    """Whoever asks for how much, among whomever: the number in a refusal is true."""
    chance, refused = random.Random(3), 0
    for _ in range(300):
        ledger, hosts = Ledger("ml", Worker(1, 2 * GIB), QUOTAS), narrow(*(chance.randrange(6) for _ in range(3)))
        course, phd = Shared("", Limits(workers=chance.randrange(4, 14))), Shared("phd", Limits(workers=5))
        kinds = [may(6, guarantee=2, shared=(course,)), may(6, guarantee=2, groups=("phd",), shared=(phd, course))]
        for owner in "abc":
            with suppress(DoesNotFit):
                ledger.admit(facts(owner, wanted=chance.randrange(7)), chance.choice(kinds), hosts, None)
        asked, rights, waiting = facts("d", wanted=chance.randrange(1, 9)), chance.choice(kinds), chance.choice([0, 1])
        try:
            ledger.admit(asked, rights, hosts, None, waiting)
        except DoesNotFit as no:
            refused += 1
            said = re.search(r"(\d+) would", no.what) or re.search(r"ask for (\d+),", no.fix)
            many = int(said[1]) if said else 0
            with pytest.raises(DoesNotFit):
                ledger.admit(replace(asked, wanted=many + 1), rights, hosts, None, waiting)
            ledger.admit(replace(asked, wanted=many), rights, hosts, None, waiting)
            assert ledger.held("d").workers == many
    assert refused > 50


def test_spark_is_granted_what_fits(ledger: Ledger) -> None:
    hosts = narrow(2, 2)
    made = admit(ledger, facts(wanted=1), 9, hosts)
    change = ledger.grant(made, {0: 7}, {}, may(9), hosts, 99)
    assert (made.facts.wanted, len(change.new)) == (4, 3)
    assert ledger.grant(made, {0: 7}, {}, may(9), hosts, 99).new == []
    change = ledger.grant(made, {0: 2}, {}, may(9), hosts, 99)
    assert (made.facts.wanted, len(change.gone)) == (2, 2)
    ledger.grant(made, {0: 4}, {}, may(3), hosts, 99)
    assert made.facts.wanted == 3
    ledger.grant(made, {0: 9}, {}, may(9), hosts, 0)  # others wait
    assert made.facts.wanted == 3


def test_profiles_have_sizes_of_their_own(ledger: Ledger) -> None:
    made = admit(ledger, facts(wanted=1, profiles=(Profile(1, 0, 2, 4 * GIB),)), 9, rooms)
    change = ledger.grant(made, {0: 1, 1: 2}, {}, may(9), rooms, 99)
    assert [one.profile for one in change.new] == [1, 1]
    assert ledger.held("anna") == Amount(5, 5.0, 10 * GIB, 0, 1)
    ledger.grant(made, {0: 1, 1: 9}, {}, may(9), rooms, 99)
    assert made.facts.size(1).wanted == 4
    ledger.grant(made, {0: 1, 1: 9}, {1: Profile(1, 0, 1, 2 * GIB)}, may(6), rooms, 99)
    assert made.facts.size(1) == Profile(1, 5, 1, 2 * GIB)  # a driver that was restarted has numbered them anew
    change = ledger.grant(made, {0: 1}, {}, may(9), rooms, 99)
    assert [one.profile for one in change.gone] == [1] * 5
    assert len(made.executors) == 1


def test_where_a_worker_was_lost_the_next_one_goes_last() -> None:
    ledger = Ledger("ml", Worker(1, 2 * GIB), QUOTAS)
    cluster = admit(ledger, facts(wanted=2), 4, rooms)
    (lost,) = ledger.take_out(cluster, [0])
    cluster.lost.append(replace(lost, lost_at=time.monotonic()))
    (there,) = cluster.executors.values()
    assert [one.node for one in ledger.grow(cluster, rooms).new] == [there.node]
    ledger.take_out(cluster, [2])
    cluster.lost[0] = replace(cluster.lost[0], lost_at=time.monotonic() - 301)
    assert [one.node for one in ledger.grow(cluster, rooms).new] == [lost.node]
