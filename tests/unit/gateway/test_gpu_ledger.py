"""Who holds which GPU: nobody gets one that somebody has, nothing leaks, and a refusal says who has it until when."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import replace

import pytest

from occamctl.errors import DoesNotFit, OccamError, Refused
from occamctl.gateway import gpu_words
from occamctl.gateway.cluster import Cluster
from occamctl.gateway.gpu_grants import Grant, grant_of, iso, label, reservations_of
from occamctl.gateway.ledger import Ledger, Worker
from occamctl.gateway.quotas import Amount, Limits, Quota, Quotas, Rights, Shared
from occamctl.gateway.refusals import NeverFits, NotKnown
from occamctl.plan.fit import Room
from occamctl.plan.gpus import GpuWish
from occamctl.plan.observed import Gpu

from .test_ledger import facts

GIB = 1 << 30
NOON = 1_791_201_600.0
"""12:00 UTC on 5 October 2026."""
HOUR = 3600
A100S = tuple(Gpu(f"GPU-a{number}", "NVIDIA A100-SXM4-40GB", 40 * GIB) for number in range(2))
T4 = Gpu("GPU-t", "Tesla T4", 16 * GIB)
SLICE = Gpu("MIG-1", "NVIDIA A100-SXM4-40GB", 5 * GIB, "1g.5gb")
ONE = GpuWish()
PHD = Rights(Limits(), groups=("phd", "student"))
STUDENT = Rights(Limits(), groups=("student",))


class Clock:
    """A clock that stands still until it is told to go on."""

    now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> Ledger:
    return Ledger("ml", Worker(1, 2 * GIB), Quotas(Quota(Limits(workers=9)), Quota(Limits(workers=16))), clock)


def room(name: str, *gpus: Gpu) -> Room:
    return Room(name, f"host-{name}", 100, 200 * GIB, gpus=gpus, lent=gpus)


def rooms(but: frozenset[str]) -> list[Room]:
    return [room("a", *A100S), room("b", T4, SLICE), room("c")]


def test_gpus_come_from_the_host_of_the_home(ledger: Ledger) -> None:
    made = ledger.gpus.assign("anna", ONE, None, STUDENT, rooms, home="b")
    assert (made.node, made.gpus) == ("b", (SLICE,)), "the smallest that will do"
    assert ledger.gpus.assign("bob", ONE, None, STUDENT, rooms, home="b").gpus == (T4,)
    assert ledger.held("anna") == Amount(gpus=1)
    with pytest.raises(DoesNotFit, match=r"1 GPU is not free on host-b: students hold 1 A100.* MIG 1g.5gb, 1 Tesla T4"):
        ledger.gpus.assign("carla", ONE, None, STUDENT, rooms, home="b")
    assert ledger.gpus.of("carla") is None


def test_without_a_home_the_host_with_most_of_them_is_taken(ledger: Ledger) -> None:
    assert ledger.gpus.assign("anna", ONE, None, STUDENT, rooms).node == "a"
    assert ledger.gpus.assign("bob", GpuWish(model="T4"), None, STUDENT, rooms).gpus == (T4,)


@pytest.mark.parametrize(
    ("want", "home", "says"),
    [
        (GpuWish(3, model="A100"), "a", "3 GPUs A100 are asked for, and the course has only 2 such GPUs"),
        (GpuWish(9), "", "9 GPUs are asked for, and the course has only 4 such GPUs"),
        (GpuWish(model="H100"), "a", "the course has no H100; it has 2 A100-SXM4-40GB, 1 A100-SXM4-40GB MIG 1g.5gb"),
        (GpuWish(profile="3g.20gb"), "a", "the course has no 3g.20gb; it has"),
        (GpuWish(memory=80 * GIB), "a", "the course has no GPU with 80G; it has"),
        (GpuWish(3), "", "3 GPUs have to be in one host: host-a has 2, host-b has 2"),
        (GpuWish(model="A100"), "b", "on host-b, which has not 1 GPU A100; host-a has 2"),
        (ONE, "c", "on host-c, which has not 1 GPU; host-a has 2, host-b has 2"),
        (ONE, "lost", "on a host that is not ready"),
    ],
)
def test_what_no_waiting_brings_is_said(ledger: Ledger, want: GpuWish, home: str, says: str) -> None:
    with pytest.raises(NeverFits) as no:
        ledger.gpus.assign("anna", want, None, STUDENT, rooms, home=home)
    assert says in no.value.what
    assert no.value.exit_code == 4
    assert ledger.gpus.grants == []


def test_those_out_of_service_are_named_where_they_are_missed(ledger: Ledger) -> None:
    lost = Gpu("GPU-h", "NVIDIA H100 80GB HBM3", 80 * GIB)
    out = [("host-c", lost, "its host is down"), ("host-a", T4, "lost")]
    with pytest.raises(NeverFits) as no, gpu_words.those_out_named(GpuWish(model="H100"), out):
        ledger.gpus.assign("anna", GpuWish(model="H100"), None, STUDENT, rooms)
    assert no.value.what.endswith("; out of service: 1 H100 80GB HBM3 on host-c (its host is down)")


def test_a_course_without_gpus_says_so(ledger: Ledger) -> None:
    with pytest.raises(NeverFits, match="no host of this course has a GPU to give"):
        ledger.gpus.assign("anna", ONE, None, STUDENT, lambda but: [room("a")])


def test_several_come_from_a_host_that_has_them_alike(ledger: Ledger) -> None:
    three = [
        room("a", A100S[0], T4, SLICE),
        room("b", *A100S[:1], SLICE),
        room("d", Gpu("GPU-u", T4.model, T4.memory), T4),
    ]
    assert ledger.gpus.assign("anna", GpuWish(2), None, STUDENT, lambda but: three).node == "d"


def test_only_the_operator_moves_an_end_that_was_set_further_away(ledger: Ledger) -> None:
    def again(seconds: float | None, *, prolong: bool) -> float | None:
        return ledger.gpus.assign("anna", ONE, seconds, STUDENT, rooms, prolong=prolong).until

    assert again(HOUR, prolong=True) == NOON + HOUR
    assert again(None, prolong=False) == NOON + HOUR
    assert again(2 * HOUR, prolong=False) == NOON + HOUR
    assert again(HOUR / 2, prolong=False) == NOON + HOUR / 2
    assert again(2 * HOUR, prolong=True) == NOON + 2 * HOUR
    assert again(None, prolong=True) is None
    assert again(HOUR, prolong=False) == NOON + HOUR, "one that has no end may be given one"


def test_a_refusal_names_groups_and_to_admins_people(ledger: Ledger) -> None:
    ledger.gpus.assign("anna", GpuWish(2), 2 * HOUR, PHD, rooms, home="a")
    with pytest.raises(DoesNotFit) as no:
        ledger.gpus.assign("bob", ONE, None, STUDENT, rooms, home="a")
    assert no.value.what == "1 GPU is not free on host-a: group phd holds 2 A100-SXM4-40GB until 14:00 UTC"
    assert no.value.fix == "ask again then"
    with pytest.raises(DoesNotFit, match="anna holds 2 A100-SXM4-40GB until 14:00 UTC"):
        ledger.gpus.assign("bob", ONE, None, STUDENT, rooms, home="a", named=True)


def test_a_then_is_one_of_the_gpus_that_are_asked_for(ledger: Ledger) -> None:
    ledger.gpus.assign("anna", GpuWish(2, model="A100"), None, PHD, rooms)
    ledger.gpus.assign("carla", GpuWish(model="T4"), HOUR, PHD, rooms)
    with pytest.raises(DoesNotFit, match=r"holds 2 A100-SXM4-40GB \(") as no:
        ledger.gpus.assign("bob", GpuWish(model="A100"), None, STUDENT, rooms)
    assert no.value.fix == "ask again later"


def test_a_time_that_is_over_is_not_told_as_one_to_come(ledger: Ledger, clock: Clock) -> None:
    """Whoever is told to save keeps them for some minutes more."""
    ledger.gpus.assign("anna", GpuWish(2), HOUR, PHD, rooms, home="a")
    clock.now += HOUR + 60
    with pytest.raises(DoesNotFit, match="group phd holds 2 A100-SXM4-40GB, whose time is over") as no:
        ledger.gpus.assign("bob", ONE, None, STUDENT, rooms, home="a")
    assert no.value.fix == "ask again later"


def test_a_quota_counts_notebooks_and_executors(ledger: Ledger) -> None:
    some = Rights(Limits(gpus=2), shared=(Shared("phd", Limits(gpus=3)),), groups=("phd",))
    ledger.gpus.assign("anna", ONE, None, some, rooms)
    ledger.admit(facts(wanted=1, gpus=1), some, rooms, None)
    with pytest.raises(DoesNotFit, match="1 GPU is over the quota of 0 GPUs; 0 would do"):
        ledger.gpus.assign("bob", ONE, None, replace(some, limits=Limits(gpus=0)), rooms)
    with pytest.raises(
        DoesNotFit, match="2 workers with 2 GPUs are over the quota of 2 GPUs, 2 GPUs held already; 0 would do"
    ):
        ledger.admit(facts("anna", "two", wanted=2, gpus=1), some, rooms, None)
    ledger.gpus.assign("bob", ONE, None, some, rooms)
    with pytest.raises(DoesNotFit, match="over the quota of group phd, 3 GPUs, 3 held by all; 0 would do"):
        ledger.gpus.assign("carla", ONE, None, some, rooms)


def test_who_has_such_gpus_keeps_them_longer_and_other_ones_are_refused(ledger: Ledger, clock: Clock) -> None:
    ledger.gpus.assign("anna", GpuWish(model="A100"), HOUR, STUDENT, rooms)
    clock.now += 60
    longer = ledger.gpus.assign("anna", ONE, HOUR, STUDENT, rooms)
    assert longer.until == clock.now + HOUR
    with pytest.raises(Refused, match="holds 1 A100-SXM4-40GB already"):
        ledger.gpus.assign("anna", GpuWish(model="T4"), HOUR, STUDENT, rooms)
    assert ledger.gpus.of("anna") == longer


def test_a_running_notebook_keeps_its_gpus_until_it_ends(ledger: Ledger) -> None:
    ledger.gpus.assign("anna", ONE, None, STUDENT, rooms, home="a")
    ledger.hold_notebook("anna", Amount(cpus=1), STUDENT)
    assert ledger.gpus.release("anna"), "it was started before, without them"
    assert ledger.gpus.of("anna") is None
    ledger.gpus.assign("anna", GpuWish(2), None, STUDENT, rooms, home="a")
    ledger.gpus.use("anna")
    for _ in range(2):
        left = ledger.gpus.release("anna")
        assert left
        assert left.once
    with pytest.raises(DoesNotFit):
        ledger.gpus.assign("bob", ONE, None, STUDENT, rooms, home="a")
    ledger.gpus.notebook_ended("anna", seen=1e12)
    assert ledger.gpus.of("anna"), "its service is just being made: what was seen before tells nothing"
    ledger.gpus.use("anna", 5.0)
    ledger.gpus.notebook_ended("anna", seen=4.0)
    assert ledger.gpus.of("anna")
    ledger.release_notebook("anna")
    assert ledger.gpus.release("anna") is None
    ledger.gpus.assign("bob", ONE, None, STUDENT, rooms, home="a")


def test_executors_get_none_that_a_notebook_has_and_the_other_way_round(ledger: Ledger) -> None:
    ledger.gpus.assign("anna", ONE, HOUR, PHD, rooms, home="a")
    made, _ = ledger.admit(facts("bob", wanted=1, gpus=1, gpu_model="A100"), STUDENT, rooms, None)
    (held,) = made.executors.values()
    assert held.gpus == (A100S[1],)
    with pytest.raises(DoesNotFit) as no:
        ledger.admit(facts("carla", wanted=1, gpus=1, gpu_model="A100"), STUDENT, rooms, None)
    assert no.value.what == (
        "1 GPU A100 is not free: group phd holds 1 A100-SXM4-40GB until 13:00 UTC; students hold 1 A100-SXM4-40GB"
    )
    with pytest.raises(NeverFits, match="the course has only 2 such GPUs"):
        ledger.resize(made, {0: 3}, STUDENT, rooms)
    with pytest.raises(NeverFits, match="the course has no H100"):
        ledger.admit(facts("carla", wanted=1, gpus=1, gpu_model="H100"), STUDENT, rooms, None)
    assert [one.gpu for one in ledger.gpus.holders()] == [A100S[0], A100S[1]]


def test_what_is_reserved_is_for_the_group_from_the_moment_on(ledger: Ledger, clock: Clock) -> None:
    mine, _ = ledger.admit(facts("bob", wanted=2, gpus=1, gpu_model="A100"), STUDENT, rooms, None)
    kept = ledger.gpus.reserve("phd", GpuWish(3), NOON + HOUR, NOON + 3 * HOUR, rooms)
    assert {one.uuid for one in kept.gpus} >= {"GPU-t", "MIG-1"}, "those that nobody holds come first"
    made = ledger.gpus.assign("carla", ONE, 2 * HOUR, STUDENT, rooms, home="b")
    end = ledger.gpus.end_of(made)
    assert end
    assert (end.at, end.group) == (NOON + HOUR, "phd"), "earlier than was asked for"
    assert ledger.gpus.take_reserved(mine) == []
    clock.now += HOUR
    (gone,) = ledger.gpus.take_reserved(mine)
    assert gone.gpus[0] in kept.gpus
    assert (mine.facts.wanted, len(mine.executors)) == (1, 1)
    with pytest.raises(DoesNotFit, match=r"1 Tesla T4 reserved for group phd until 15:00 UTC"):
        ledger.gpus.assign("dora", ONE, None, STUDENT, rooms, home="b")
    ledger.gpus.assign("eva", GpuWish(model="T4"), None, PHD, rooms, home="b")
    clock.now += 2 * HOUR
    assert ledger.gpus.over() == [kept]
    assert ledger.gpus.reservations == []
    with pytest.raises(NotKnown):
        ledger.gpus.unreserve(kept.id)


def test_nothing_is_reserved_twice(ledger: Ledger) -> None:
    ledger.gpus.reserve("phd", GpuWish(3), NOON, NOON + HOUR, rooms)
    with pytest.raises(
        DoesNotFit, match="2 GPUs cannot be reserved then, 1 can; reserved already: group phd from 12:00"
    ):
        ledger.gpus.reserve("msc", GpuWish(2), NOON + 60, NOON + 2 * HOUR, rooms)
    ledger.gpus.reserve("msc", GpuWish(4), NOON + HOUR, NOON + 2 * HOUR, rooms)
    with pytest.raises(NeverFits, match="only 4 such"):
        ledger.gpus.reserve("msc", GpuWish(5), NOON + 3 * HOUR, NOON + 4 * HOUR, rooms)


def test_labels_say_it_all_again(ledger: Ledger) -> None:
    for made in (
        Grant("anna", ("phd",), "a", A100S, NOON + 7),
        Grant("anna", ("phd",), "a", (SLICE,)),
        Grant("anna", ("phd",), "a", (T4,), NOON, once=True),
    ):
        assert grant_of(made.labels(), "anna", ("phd",), "a") == made
    assert grant_of({}, "anna", (), "a") is None
    assert grant_of({"occam.gpus.held": "nonsense"}, "anna", (), "a") is None
    assert iso(NOON) == "2026-10-05T12:00:00+00:00"
    kept = ledger.gpus.reserve("phd", GpuWish(3), NOON, NOON + HOUR, rooms)
    assert reservations_of(label([kept])) == [kept]
    assert reservations_of("[{}]") == reservations_of(None) == []


class Engine:
    """What the swarm would show: containers with their GPUs, also of services that were just removed."""

    def __init__(self) -> None:
        self.live: dict[str, tuple[str, ...]] = {}
        self.nodes = {"a": [*A100S, SLICE], "b": [T4, Gpu("GPU-t2", "Tesla T4", 16 * GIB)], "c": []}

    def rooms(self, but: frozenset[str]) -> list[Room]:
        taken = {uuid for name, held in self.live.items() if name not in but for uuid in held}
        return [
            Room(name, name, 40, 100 * GIB, gpus=tuple(g for g in gpus if g.uuid not in taken), lent=tuple(gpus))
            for name, gpus in self.nodes.items()
        ]


class Course:
    """People who do anything in any order, and the check that nobody has what another has."""

    def __init__(self, seed: int, clock: Clock) -> None:
        self.chance, self.clock, self.engine = random.Random(seed), clock, Engine()
        quotas = Quotas(Quota(Limits(workers=9)), Quota(Limits(workers=9)))
        self.ledger = Ledger("ml", Worker(1, 2 * GIB), quotas, clock)
        self.running: dict[str, str] = {}
        self.done, self.refused = Counter[str](), Counter[str]()

    def step(self) -> None:
        deeds = [self.assign, self.release, self.start, self.stop, self.create, self.scale, self.kill, self.end]
        deeds += [self.expire, self.reserve, self.unreserve, self.swarm]
        deed = self.chance.choice(deeds)
        try:
            deed(self.chance.choice(["anna", "bob", "carla", "dora"]))
            self.done[deed.__name__] += 1
        except OccamError:
            self.refused[deed.__name__] += 1
        self.clock.now += self.chance.random() * 300
        self.check()

    def rights(self, owner: str) -> Rights:
        return Rights(Limits(workers=9, gpus=3), groups=("phd",) if owner == "anna" else ())

    def wish(self) -> GpuWish:
        return self.chance.choice([ONE, ONE, GpuWish(2), GpuWish(model="T4"), GpuWish(profile="1g.5gb")])

    def assign(self, owner: str) -> None:
        seconds = self.chance.choice([None, 600, 3600])
        home = self.chance.choice("ab")
        self.ledger.gpus.assign(owner, self.wish(), seconds, self.rights(owner), self.engine.rooms, home=home)

    def release(self, owner: str) -> None:
        self.ledger.gpus.release(owner)

    def start(self, owner: str) -> None:
        if owner in self.running:
            return
        self.ledger.hold_notebook(owner, Amount(cpus=1), self.rights(owner))
        grant = self.ledger.gpus.of(owner)
        self.running[owner] = f"{owner}-notebook"
        if grant:
            self.ledger.gpus.use(owner)
            self.engine.live[f"{owner}-notebook"] = tuple(one.uuid for one in grant.gpus)

    def stop(self, owner: str) -> None:
        if self.running.pop(owner, ""):
            self.engine.live.pop(f"{owner}-notebook", None)
            self.ledger.release_notebook(owner)

    def create(self, owner: str) -> None:
        wanted = self.chance.randrange(4)
        made = facts(owner, wanted=wanted, gpus=self.chance.randrange(3), gpu_model=self.chance.choice(["", "T4"]))
        self.ledger.admit(made, self.rights(owner), self.engine.rooms, None)

    def scale(self, owner: str) -> None:
        cluster = self.ledger.get(owner, "lab")
        self.ledger.resize(cluster, {0: self.chance.randrange(5)}, self.rights(owner), self.engine.rooms)

    def kill(self, owner: str) -> None:
        cluster = self.ledger.get(owner, "lab")
        self.ledger.take_out(cluster, list(cluster.executors)[:1])
        self.ledger.grow(cluster, self.engine.rooms)

    def end(self, owner: str) -> None:
        self.ledger.remove(self.ledger.get(owner, "lab"))

    def expire(self, owner: str) -> None:
        self.clock.now += 1200
        self.ledger.gpus.over()
        for cluster in self.ledger:
            self.ledger.gpus.take_reserved(cluster)
        for grant in self.ledger.gpus.grants:
            end = self.ledger.gpus.end_of(grant)
            if end and end.at <= self.clock.now:
                self.ledger.gpus.release(grant.owner)
                self.stop(grant.owner)

    def reserve(self, owner: str) -> None:
        begins = self.clock.now + self.chance.random() * 1200
        self.ledger.gpus.reserve(
            self.chance.choice(["phd", "msc"]), self.wish(), begins, begins + 900, self.engine.rooms
        )

    def unreserve(self, owner: str) -> None:
        for one in self.ledger.gpus.reservations[:1]:
            self.ledger.gpus.unreserve(one.id)

    def swarm(self, owner: str) -> None:
        """Containers of executors begin, and end some time after they were taken out."""
        names = {
            f"ml-{cluster.facts.owner}-lab-e{one.number}": tuple(gpu.uuid for gpu in one.gpus)
            for cluster in self.ledger
            for one in cluster.executors.values()
        }
        for name in [one for one in self.engine.live if "-lab-e" in one and one not in names]:
            del self.engine.live[name]
        self.engine.live |= names

    def check(self) -> None:
        held = Counter(one.gpu.uuid for one in self.ledger.gpus.holders())
        assert max(held.values(), default=0) <= 1, held
        live = Counter(uuid for uuids in self.engine.live.values() for uuid in uuids)
        assert max(live.values(), default=0) <= 1, live
        for one in self.ledger.gpus.holders():
            assert one.gpu in self.engine.nodes[one.node]
        counted = sum(self.ledger.held(owner).gpus for owner in ("anna", "bob", "carla", "dora"))
        wanted = sum(cluster.facts.wanted * cluster.facts.gpus for cluster in self.ledger)
        assert counted == sum(len(one.gpus) for one in self.ledger.gpus.grants) + wanted
        for cluster in self.ledger:
            assert all(len(one.gpus) == cluster.facts.gpus for one in cluster.executors.values())


@pytest.mark.parametrize("seed", range(4))
def test_two_thousand_deeds_never_give_one_gpu_to_two(seed: int, clock: Clock) -> None:
    course = Course(seed, clock)
    for _ in range(2000):
        course.step()
    assert all(course.done[deed] > 20 for deed in ("assign", "release", "create", "scale", "kill", "reserve", "stop"))
    assert course.refused["assign"] > 20, "the twin: there were not always enough"
    for owner in ("anna", "bob", "carla", "dora"):
        course.stop(owner)
        course.ledger.gpus.release(owner)
    for cluster in list(course.ledger):
        course.ledger.remove(cluster)
    for one in course.ledger.gpus.reservations:
        course.ledger.gpus.unreserve(one.id)
    course.swarm("")
    free = [gpu.uuid for room in course.ledger.left(course.engine.rooms, ()) for gpu in room.gpus]
    assert sorted(free) == ["GPU-a0", "GPU-a1", "GPU-t", "GPU-t2", "MIG-1"], "nothing leaked"


def test_twenty_threads_never_get_the_same_gpu(ledger: Ledger) -> None:
    wrong: list[object] = []

    def student(number: int) -> None:
        chance = random.Random(number)
        for _ in range(100):
            try:
                if chance.random() < 0.5:
                    ledger.gpus.assign(f"s{number}", ONE, None, STUDENT, rooms)
                elif chance.random() < 0.5:
                    made: Cluster = ledger.admit(facts(f"s{number}", wanted=1, gpus=1), STUDENT, rooms, None)[0]
                    ledger.remove(made)
                else:
                    ledger.gpus.release(f"s{number}")
            except OccamError:
                pass
            held = Counter(one.gpu.uuid for one in ledger.gpus.holders())
            wrong.extend(uuid for uuid, many in held.items() if many > 1)

    threads = [threading.Thread(target=student, args=(number,)) for number in range(20)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong
