"""Workers with GPUs: placed where such GPUs are, counted, and no GPU given to two."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from occamctl.errors import DoesNotFit
from occamctl.gateway.cluster import Cluster
from occamctl.gateway.ledger import Ledger, Worker
from occamctl.gateway.quotas import Limits, Quota, Quotas, Rights
from occamctl.gateway.sight import Seen
from occamctl.plan import gpus
from occamctl.plan.fit import Room
from occamctl.plan.gpus import GpuWish
from occamctl.plan.observed import Gpu
from occamctl.spark import clusters
from occamctl.spark.clusters import GPU_WORKERS, Facts, Profile

from .test_ledger import GIB, facts
from .test_services import SETTINGS
from .test_sight import node, task

A100 = tuple(Gpu(f"GPU-{name}", "NVIDIA A100-SXM4-40GB", 40 * GIB) for name in "abcd")
SLICE = Gpu("MIG-e", "NVIDIA A100-SXM4-40GB MIG 1g.5gb", 5 * GIB, "1g.5gb")
HOSTS = [
    Room("1", "one", 16, 64 * GIB, gpus=(A100[0], A100[1], SLICE), lent=(A100[0], A100[1], SLICE)),
    Room("2", "two", 16, 64 * GIB, gpus=(A100[2], A100[3]), lent=(A100[2], A100[3])),
    Room("3", "none", 16, 64 * GIB),
]
ALL = Rights(Limits(workers=50))


@pytest.fixture
def ledger() -> Ledger:
    free = Quota(Limits(workers=50))
    return Ledger("ml", Worker(1, 2 * GIB), Quotas(free, free))


def rooms(but: frozenset[str]) -> list[Room]:
    return HOSTS


def admit(ledger: Ledger, asked: Facts, rights: Rights = ALL) -> Cluster:
    return ledger.admit(asked, rights, rooms, None)[0]


def held(ledger: Ledger) -> list[str]:
    return [gpu.uuid for cluster in ledger for one in cluster.executors.values() for gpu in one.gpus]


def test_each_worker_gets_gpus_of_its_own(ledger: Ledger) -> None:
    made = admit(ledger, facts(wanted=3).with_gpus(GpuWish(model="A100")))
    assert sorted(held(ledger)) == ["GPU-a", "GPU-b", "GPU-c"]
    assert {one.node for one in made.executors.values()} == {"1", "2"}
    assert ledger.held("anna").gpus == 3
    admit(ledger, facts("bob", wanted=1).with_gpus(GpuWish(model="A100")))
    with pytest.raises(DoesNotFit, match="1 GPU A100 is not free: students hold 4 A100-SXM4-40GB"):
        admit(ledger, facts("eve", wanted=1).with_gpus(GpuWish(model="A100")))
    admit(ledger, facts("eve", wanted=1).with_gpus(GpuWish()))  # the slice
    assert sorted(held(ledger)) == ["GPU-a", "GPU-b", "GPU-c", "GPU-d", "MIG-e"]


def test_gpus_have_a_quota(ledger: Ledger) -> None:
    rights = Rights(Limits(workers=9, gpus=1))
    with pytest.raises(DoesNotFit, match="2 workers with 2 GPUs are over the quota of 1 GPU; 1 would do"):
        admit(ledger, facts(wanted=2).with_gpus(GpuWish()), rights)
    assert held(ledger) == []


def test_workers_with_gpus_beside_those_without(ledger: Ledger) -> None:
    made = admit(ledger, facts(wanted=2))
    size = Profile(GPU_WORKERS, 0, 1, 2 * GIB).with_gpus(GpuWish())
    change = ledger.resize(made, {GPU_WORKERS: 2}, ALL, rooms, size=size)
    assert [(one.profile, len(one.gpus)) for one in change.new] == [(GPU_WORKERS, 1)] * 2
    assert made.facts.total == 4
    change = ledger.resize(made, {0: 1}, ALL, rooms)
    assert [one.profile for one in change.gone] == [0]
    assert Facts.read(made.facts.label()) == made.facts
    # Spark, which takes all of them for executors of its default profile, takes none of them away.
    ledger.grant(made, {0: 1}, {}, ALL, rooms, 99)
    assert made.facts.size(GPU_WORKERS).wanted == 2
    assert len(ledger.resize(made, {GPU_WORKERS: 0}, ALL, rooms, size=size).gone) == 2
    assert held(ledger) == []


def test_a_stage_gets_gpu_workers_while_it_needs_them(ledger: Ledger) -> None:
    made = admit(ledger, facts(wanted=1, adaptive=(1, 9)))
    ledger.grant(made, {0: 1, 1: 9}, {1: Profile(1, 0, 1, GIB, gpus=1)}, ALL, rooms, 99)
    assert made.facts.size(1).wanted == 5  # all that there are
    assert len(set(held(ledger))) == 5
    ledger.grant(made, {0: 1}, {}, ALL, rooms, 99)
    assert held(ledger) == []


def test_whatever_happens_no_gpu_is_held_twice(ledger: Ledger) -> None:
    dice = random.Random(3)
    wishes = [None, GpuWish(), GpuWish(2), GpuWish(model="A100"), GpuWish(profile="1g.5gb")]
    for step in range(400):
        there = list(ledger)
        if not there or dice.random() < 0.4:
            asked = facts(f"user{step}", wanted=dice.randint(1, 3)).with_gpus(dice.choice(wishes))
            try:
                admit(ledger, asked)
            except DoesNotFit:
                assert f"user{step}" not in {one.facts.owner for one in ledger}
        elif dice.random() < 0.5:
            one = dice.choice(there)
            try:
                ledger.resize(one, {0: dice.randint(0, 4)}, ALL, rooms)
            except DoesNotFit:
                assert sum(len(each.gpus) for each in one.executors.values()) == one.facts.wanted * one.facts.gpus
        elif dice.random() < 0.5:  # some are lost, and others come in their place
            one = dice.choice(there)
            ledger.take_out(one, list(one.executors)[:1])
            ledger.grow(one, rooms)
        else:
            ledger.remove(dice.choice(there))
        now = held(ledger)
        assert len(now) == len(set(now)) == sum(len(one.executors) * one.facts.gpus for one in ledger)


def test_an_executor_asks_the_swarm_for_exactly_its_gpus() -> None:
    asked = facts().with_gpus(GpuWish())
    made = clusters.executor(SETTINGS.site, asked, 1, "n", "10.0.0.0/26", 0, (A100[0],))
    assert made.generic == ("OCCAM_GPU_GPU_A",)
    assert gpus.held(made.labels) == (A100[0],)
    assert (made.env["OCCAM_GPUS"], made.env["NVIDIA_VISIBLE_DEVICES"]) == ("1", "void")
    beside = asked.having(Profile(GPU_WORKERS, 1, 1, GIB, gpus=1))
    made = clusters.executor(SETTINGS.site, beside, 2, "n", "10.0.0.0/26", GPU_WORKERS, (A100[1],))
    assert made.env["OCCAM_RESOURCE_PROFILE"] == "0"
    assert made.image == SETTINGS.image
    cuda = replace(SETTINGS, gpu_image="localhost/occam/notebook:cuda").site
    assert clusters.executor(cuda, asked, 1, "n", "10.0.0.0/26", 0, (A100[0],)).image == "localhost/occam/notebook:cuda"
    assert clusters.executor(cuda, facts(), 1, "n", "10.0.0.0/26").image == SETTINGS.image
    plain = clusters.executor(SETTINGS.site, facts(), 1, "n", "10.0.0.0/26")
    assert (plain.generic, plain.env["NVIDIA_VISIBLE_DEVICES"]) == ((), "void")


def test_only_gpus_that_are_proven_and_that_no_task_has_are_free() -> None:
    labels = {gpus.LENT: gpus.label(A100[:2]), gpus.PROVEN: "GPU-a|GPU-b|570|1.19.1"}
    generic = gpus.resources("GPU-a") | gpus.resources("GPU-b")
    there = replace(node("1"), labels=labels, generic=generic)
    mine = replace(task("1"), generic={gpus.kind("GPU-a"): "GPU-a"})
    seen = Seen(0, {"1": there, "2": replace(node("2"), labels={gpus.LENT: labels[gpus.LENT]})}, {}, {"s": (mine,)})
    assert [(room.node, room.gpus) for room in seen.rooms()] == [("1", (A100[1],)), ("2", ())]
    assert seen.rooms(but=frozenset({"s"}))[0].gpus == A100[:2]
    ended = Seen(0, {"1": there}, {}, {"s": (replace(mine, state="complete"),)})
    assert ended.rooms()[0].gpus == A100[:2]
