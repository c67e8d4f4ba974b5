"""What `gpu check` tells a person."""

from __future__ import annotations

import pytest

from occamctl.actions.gpus import _state, lines, taken_out, unwatched
from occamctl.plan.gpu_setup import Said
from occamctl.plan.gpus import OUT
from occamctl.plan.observed import Gpu, HostFacts
from occamctl.plan.seen import Observed, SeenHost, SeenService
from occamctl.spec.course import Course

GPU = {"uuid": "GPU-a", "model": "NVIDIA A100-SXM4-40GB", "memory": 40 << 30, "profile": ""}
SLICE = {"uuid": "MIG-x", "model": "NVIDIA A100-SXM4-40GB", "memory": 4864 << 20, "profile": "1g.5gb"}
ROW = {
    "host": "lab1",
    "gpus": [GPU, SLICE],
    "lends": ["GPU-a"],
    "driver": "570.133.20",
    "cuda": "",
    "toolkit": "1.19.1",
    "missing": [
        {"what": "no NVIDIA container toolkit", "fix": "run: occamctl host prepare --gpu"},
        {"what": "its engine's default runtime is runc", "fix": "run: occamctl host prepare --gpu"},
    ],
    "state": "not ready",
}


def test_a_host_in_words() -> None:
    assert lines(ROW) == [
        "lab1: not ready (driver 570.133.20, toolkit 1.19.1)",
        "  A100-SXM4-40GB, 40G, GPU-a",
        "  A100-SXM4-40GB MIG 1g.5gb, 4.8G, MIG-x (not lent)",
        "  missing: no NVIDIA container toolkit",
        "  missing: its engine's default runtime is runc",
        "    fix: run: occamctl host prepare --gpu",
    ]


def test_a_host_without_gpus_is_one_line() -> None:
    bare = ROW | {"gpus": [], "lends": [], "driver": "", "toolkit": "", "missing": [], "state": "no GPU"}
    assert lines(bare) == ["lab1: no GPU"]


@pytest.mark.parametrize(
    ("said", "state"), [("auto", "ready"), ("none", "not lent (gpus: none)"), ([], "not lent (gpus: [])")]
)
def test_a_host_that_lends_none_is_not_called_ready(said: Said, state: str) -> None:
    has = HostFacts(
        "10.0.0.2", 2, 8 << 30, 6 << 30, 9 << 30, 5 << 30, 0.1, "debian 12", "27.0", gpus=(Gpu("a", "b", 1),)
    )
    assert _state(said, has, lacking=False) == state


def test_a_watcher_that_cannot_start_is_told_with_its_words() -> None:
    course = Course.model_validate({"version": 1, "course": "ml", "hosts": ["a", "b"], "students": ["anna"]})
    hosts = {name: SeenHost(name, node_id=f"node-{name}") for name in "ab"}
    watcher = SeenService("", replicas=2, running=1, failing={"node-b": "cannot create: no device GPU-x"})
    lends = {name: {"occam.lends.ml": "true"} for name in "ab"}
    (line,) = unwatched(course, Observed(hosts, services={"ml-gpus": watcher}, node_labels=lends))
    assert line.startswith("b: nobody looks at what its GPUs do")
    assert "cannot create: no device GPU-x" in line
    assert unwatched(course, Observed(hosts, services={"ml-gpus": watcher}, node_labels=lends), but={"b"}) == ()
    assert unwatched(course, Observed(hosts, node_labels=lends)) == ()
    assert unwatched(course, Observed(hosts, services={"ml-gpus": watcher})) == (), "it lends none any more"


def test_gpus_out_of_service_are_told_by_host() -> None:
    labels = {"a": {OUT: '{"*": "its driver hangs"}'}, "b": {OUT: '{"GPU-x": "lost", "GPU-y": "lost"}'}, "c": {}}
    told = taken_out(Observed({}, node_labels=labels))
    assert told == ("a: its GPUs out of service: its driver hangs", "b: GPU-x out of service: lost")
