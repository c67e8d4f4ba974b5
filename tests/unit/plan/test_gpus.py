"""GPUs: names for the swarm, labels, and which one a wish gets."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from occamctl.errors import DoesNotFit
from occamctl.plan import gpus
from occamctl.plan.fit import Room, Seat, capacity, place
from occamctl.plan.gpus import GpuWish
from occamctl.plan.observed import Gpu

GIB = 1 << 30
A100 = Gpu("GPU-a1", "NVIDIA A100-SXM4-40GB", 40536 << 20)
A100_TOO = Gpu("GPU-a2", "NVIDIA A100-SXM4-40GB", 40536 << 20)
A10 = Gpu("GPU-b1", "NVIDIA A10", 23028 << 20)
GAMER = Gpu("GPU-c1", "NVIDIA GeForce RTX 4090", 24564 << 20)
SLICE = Gpu("MIG-d1", "NVIDIA A100-SXM4-40GB MIG 1g.5gb", 4864 << 20, "1g.5gb")
BIGGER = Gpu("MIG-d2", "NVIDIA A100-SXM4-40GB MIG 3g.20gb", 19968 << 20, "3g.20gb")
MIXED = (A100, A100_TOO, A10, GAMER, SLICE, BIGGER)


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (None, None),
        (False, None),
        (0, None),
        (True, GpuWish()),
        (2, GpuWish(2)),
        ("2", GpuWish(2)),
        ("A100", GpuWish(model="A100")),
        ("1g.10gb", GpuWish(profile="1g.10gb")),
        ("1G.10GB+ME", GpuWish(profile="1g.10gb+me")),
        ({"count": 2, "memory": "40G"}, GpuWish(2, memory=40 * GIB)),
        ({"model": "A100"}, GpuWish(model="A100")),
        ({"profile": "3g.20gb", "count": "2"}, GpuWish(2, profile="3g.20gb")),
    ],
)
def test_what_a_wish_means(said: Any, means: GpuWish | None) -> None:
    assert gpus.wish(said) == means


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (-1, "from 1 to 64"),
        (65, "from 1 to 64"),
        (4090, "as in 'RTX 4090'"),
        (1.5, "is not a number of GPUs"),
        ("", "is not a number of GPUs"),
        ([], "is not a number of GPUs"),
        ({"coutn": 1}, "unknown key 'coutn'"),
        ({"count": True}, "is not a whole number"),
        ({"count": "two"}, "is not a whole number"),
        ({"model": 3}, "not texts"),
        ({"model": "A100", "profile": "1g.5gb"}, "not both"),
        ({"profile": "small"}, "is not a MIG profile"),
        ({"memory": "much"}, "is not a size"),
    ],
)
def test_what_is_no_wish(said: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        gpus.wish(said)


@pytest.mark.parametrize(
    ("want", "gets"),
    [
        (GpuWish(), [SLICE]),  # the smallest that will do: the large ones stay for those who need them
        (GpuWish(memory=10 * GIB), [BIGGER]),
        (GpuWish(memory=40 * GIB), [A100]),  # it reports 39.6 GiB
        (GpuWish(memory=24 * GIB), [A10]),  # it reports 22.5 GiB
        (GpuWish(memory=48 * GIB), []),
        (GpuWish(2, memory=40 * GIB), [A100, A100_TOO]),
        (GpuWish(3, memory=40 * GIB), []),
        (GpuWish(model="a100"), [A100]),  # and no instance of one
        (GpuWish(model="A10"), [A10]),  # and no A100
        (GpuWish(model="rtx 4090"), [GAMER]),
        (GpuWish(model="A100-SXM4-40GB"), [A100]),
        (GpuWish(model="-"), []),
        (GpuWish(model="H100"), []),
        (GpuWish(profile="1g.5gb"), [SLICE]),
        (GpuWish(profile="1g.10gb"), []),
        (GpuWish(2), [A100, A100_TOO]),  # alike, and no instance: a CUDA program sees one of those only
        (GpuWish(4), [A10, GAMER, A100, A100_TOO]),
        (GpuWish(5), [SLICE, BIGGER, A10, GAMER, A100]),
        (GpuWish(2, memory=20 * GIB), [A100, A100_TOO]),
    ],
)
def test_which_gpus_a_wish_gets(want: GpuWish, gets: list[Gpu]) -> None:
    free = list(MIXED)
    random.Random(1).shuffle(free)
    assert list(gpus.pick(free, want)) == gets


def test_the_swarm_has_a_kind_for_each_gpu() -> None:
    assert gpus.kind("GPU-7f0c1c2e-6a51") == "OCCAM_GPU_GPU_7F0C1C2E_6A51"
    assert gpus.variable("MIG-GPU-7f/1/0") == "DOCKER_RESOURCE_OCCAM_GPU_MIG_GPU_7F_1_0"
    assert gpus.resources("GPU-a1") == {"OCCAM_GPU_GPU_A1": "GPU-a1", "OCCAM_HOLD_GPU_A1": "3"}
    assert gpus.uuids({gpus.kind("GPU-a1"): "GPU-a1", "FPGA": "x"}) == {"GPU-a1"}


def test_labels_say_what_is_lent_and_why_something_is_not_given_out() -> None:
    labels = {gpus.LENT: gpus.label([A100, SLICE]), gpus.PROVEN: "GPU-a1|MIG-d1|570|1.19.1"}
    generic = gpus.resources(A100.uuid) | gpus.resources(SLICE.uuid)
    assert gpus.lent(labels) == (A100, SLICE)
    assert gpus.usable(labels, generic) == (A100, SLICE)
    assert gpus.usable(labels, gpus.resources(SLICE.uuid)) == (SLICE,)
    assert gpus.usable(labels, {gpus.kind(SLICE.uuid): SLICE.uuid}) == (), "old managers could not hold it"
    assert gpus.usable({gpus.LENT: labels[gpus.LENT]}, generic) == ()
    assert gpus.trouble(A100, {}, generic) == "not proven yet"
    only_one = labels | {gpus.PROVEN: "MIG-d1|570|1.19.1"}
    assert gpus.usable(only_one, generic) == (SLICE,), "a card that was put in later"
    one_out = labels | {gpus.OUT: json.dumps({"GPU-a1": "fell off the bus (XID 79)"})}
    assert gpus.trouble(A100, one_out, generic) == "fell off the bus (XID 79)"
    assert gpus.usable(one_out, generic) == (SLICE,)
    assert gpus.usable(labels | {gpus.OUT: json.dumps({gpus.EVERY: "its probe saw others"})}, generic) == ()
    assert gpus.usable(labels | {gpus.OUT: "{"}, generic) == ()
    assert gpus.lent({gpus.LENT: '[{"uuid": 1}]'}) == gpus.lent({gpus.LENT: "no"}) == gpus.lent({}) == ()


@pytest.mark.parametrize(
    ("proof", "good"),
    [
        ("a|b|570|1.19", {"a"}),
        ("a|580|1.19", set()),
        ("a|570|1.18", set()),
        ("", set()),
    ],
)
def test_a_proof_is_of_gpus_behind_one_driver_and_runtime(proof: str, good: set[str]) -> None:
    assert gpus.proven(proof, "a|c|570|1.19") == good
    assert gpus.narrowed("a|c|570|1.19", good) == ("a|570|1.19" if good else "570|1.19")


def test_workers_with_gpus_go_where_such_gpus_are() -> None:
    one, two, none = (
        Room("1", "one", 8, 64 * GIB, gpus=(A100, SLICE)),
        Room("2", "two", 8, 64 * GIB, gpus=(A100_TOO, A10)),
        Room("3", "none", 8, 64 * GIB),
    )
    want = GpuWish(model="A100")
    assert place(2, 1, GIB, [none, one, two], want) == [Seat("1", (A100,)), Seat("2", (A100_TOO,))]
    assert capacity([none, one, two], 1, GIB, GpuWish()) == 4
    assert place(1, 1, GIB, [one, two], GpuWish(2)) == [Seat("2", (A10, A100_TOO))], "whole ones"
    assert place(1, 1, GIB, [one], GpuWish(2)) == [Seat("1", (SLICE, A100))], "where there are no others"
    with pytest.raises(DoesNotFit) as refused:
        place(3, 1, GIB, [none, one, two], want)
    assert refused.value.what == (
        "3 workers of 1 CPU, 1G and 1 GPU A100 do not fit on the hosts now, 2 would"
        " (none has 8 CPU and 64G, 0 such GPUs free; one has 8 CPU and 64G, 1 such GPUs free;"
        " two has 8 CPU and 64G, 1 such GPUs free)"
    )


def test_workers_without_gpus_leave_hosts_with_gpus_alone_while_there_are_others() -> None:
    rooms = [Room("1", "one", 8, 64 * GIB, gpus=(A100,)), Room("2", "two", 2, 8 * GIB)]
    assert place(1, 1, GIB, rooms) == [Seat("2")]
    assert [seat.node for seat in place(3, 1, GIB, rooms)] == ["2", "1", "2"]


def test_no_gpu_is_ever_given_twice() -> None:
    dice = random.Random(7)
    for _ in range(200):
        rooms = [
            Room(str(number), str(number), 16, 64 * GIB, gpus=tuple(dice.sample(MIXED, dice.randint(0, 6))))
            for number in range(3)
        ]
        want = dice.choice([GpuWish(), GpuWish(2), GpuWish(model="A100"), GpuWish(memory=20 * GIB)])
        most = capacity(rooms, 1, GIB, want)
        seats = place(most, 1, GIB, rooms, want)
        held = [(seat.node, one.uuid) for seat in seats for one in seat.gpus]
        assert len(held) == len(set(held)) == most * want.count
        with pytest.raises(DoesNotFit):
            place(most + 1, 1, GIB, rooms, want)
