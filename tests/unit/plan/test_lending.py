"""What hosts lend: labels, the proof, the watcher, and the steps that bring them about."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from occamctl.plan import gpus, steps
from occamctl.plan.diff import diff
from occamctl.plan.gpu_setup import config_toml
from occamctl.plan.lending import Lending, lend, lending, lends_label, probe, probes, verdict, visible
from occamctl.plan.observed import EngineGpus, Gpu, GpuSupport, HostFacts, HostFile
from occamctl.plan.seen import Observed, SeenHost, SeenService
from occamctl.plan.wanted import Tags, want
from occamctl.spec.course import Course

ONE, TWO = Gpu("GPU-a", "NVIDIA A100", 40 << 30), Gpu("GPU-b", "NVIDIA A100", 40 << 30)
SUPPORT = GpuSupport(2, tool=True, driver="570", toolkit="1.19.1", config=HostFile(config_toml(None, (ONE, TWO))))
PLAIN = HostFacts("10.0.0.2", 2, 8 << 30, 6 << 30, 100 << 30, 50 << 30, 0.1, "debian 12", "27.0")
READY = replace(PLAIN, gpus=(ONE, TWO), support=SUPPORT)
ENGINE = EngineGpus("nvidia", frozenset({"nvidia"}), gpus.resources("GPU-a") | gpus.resources("GPU-b"))
PRINT = gpus.fingerprint(("GPU-a", "GPU-b"), "570", "1.19.1")
LENDS = lends_label("ml")
TAGS = Tags("occam/hub:1", "occam/notebook:1")
COURSE = Course.model_validate({"version": 1, "course": "ml", "hosts": ["a", "b"], "students": ["anna"]})


def labels(*lent: Gpu, proven: str = PRINT, **out: str) -> dict[str, str]:
    made = {gpus.LENT: gpus.label(lent), gpus.PROVEN: proven, LENDS: "true"}
    return made | ({gpus.OUT: json.dumps(out)} if out else {})


def of(facts: HostFacts, there: dict[str, str] | None = None, engine: EngineGpus | None = ENGINE) -> Lending:
    return lending("auto", facts, engine, there or {}, "ml")


def trouble(*said: str, hangs: bool = False, found: tuple[Gpu, ...] = (ONE, TWO)) -> HostFacts:
    return replace(READY, gpus=found, support=replace(SUPPORT, trouble=said, hangs=hangs))


def test_a_host_without_gpus_has_none_of_the_labels() -> None:
    assert of(PLAIN) == Lending(labels=dict.fromkeys((gpus.LENT, gpus.OUT, gpus.PROVEN, LENDS)))
    assert lending("none", READY, ENGINE, {}, "ml").gpus == ()


def test_a_ready_host_lends_and_must_be_proven_once() -> None:
    made = of(READY)
    assert (made.gpus, made.ready, made.prove, made.fingerprint) == ((ONE, TWO), True, True, PRINT)
    assert gpus.lent(made.labels) == (ONE, TWO)  # type: ignore[arg-type]
    assert made.labels[LENDS] == "true"
    assert not of(READY, labels(ONE, TWO)).prove
    assert of(READY, labels(ONE, TWO, proven="another")).prove


def test_an_unprepared_host_shows_what_it_has_and_lends_nothing() -> None:
    made = of(READY, engine=EngineGpus("runc"))
    assert (made.ready, made.prove, made.labels[LENDS]) == (False, False, None)
    assert gpus.lent(made.labels) == (ONE, TWO)  # type: ignore[arg-type]


def test_a_lost_gpu_stays_lent_and_out_of_service() -> None:
    made = of(trouble("handle for GPU1: Unknown Error", found=(ONE,)), labels(ONE, TWO))
    assert gpus.lent(made.labels) == (ONE, TWO)  # type: ignore[arg-type]
    assert json.loads(made.labels[gpus.OUT] or "") == {"GPU-b": "handle for GPU1: Unknown Error"}
    assert made.ready
    assert made.prove, "with another set of GPUs"


@pytest.mark.parametrize("facts", [trouble(hangs=True, found=()), trouble("NVML: version mismatch", found=())])
def test_a_broken_driver_takes_all_out_of_service(facts: HostFacts) -> None:
    made = of(facts, labels(ONE, TWO))
    assert gpus.lent(made.labels) == (ONE, TWO)  # type: ignore[arg-type]
    assert set(json.loads(made.labels[gpus.OUT] or "")) == {gpus.EVERY}
    assert (made.ready, made.prove, made.labels[LENDS]) == (False, False, None)


def test_one_that_is_gone_without_a_word_is_lent_no_more() -> None:
    made = of(replace(READY, gpus=(ONE,)), labels(ONE, TWO))
    assert gpus.lent(made.labels) == (ONE,)  # type: ignore[arg-type]
    assert gpus.OUT not in made.labels


def test_what_was_out_of_service_is_probed_again() -> None:
    made = of(READY, labels(ONE, TWO, **{gpus.EVERY: "a container sees too many"}))
    assert made.prove
    assert made.keep == {}
    lost = labels(ONE, TWO, **{"GPU-b": "lost"}) | {
        gpus.PROVEN: gpus.fingerprint(("GPU-a",), "570", "1.19.1"),
    }
    assert not of(trouble("lost", found=(ONE,)), lost).prove, "what is known to be lost is not asked again"


def test_what_the_course_file_lends_no_more_leaves_the_labels() -> None:
    made = lending("none", READY, ENGINE, labels(ONE, TWO), "ml")
    assert made.labels == dict.fromkeys((gpus.LENT, gpus.OUT, gpus.PROVEN, LENDS))
    listed = lending(["gpu-B"], READY, ENGINE, labels(ONE, TWO), "ml")
    assert gpus.lent({gpus.LENT: listed.labels[gpus.LENT] or ""}) == (TWO,)
    assert (listed.ready, listed.prove, listed.fingerprint) == (True, True, "GPU-b|570|1.19.1")


def test_a_new_gpu_is_not_given_out_before_its_own_proof() -> None:
    before = labels(ONE, proven=gpus.fingerprint(("GPU-a",), "570", "1.19.1"))
    made = of(READY, before)
    told = {key: value for key, value in {**before, **made.labels}.items() if value is not None}
    assert made.prove
    assert gpus.usable(told, ENGINE.generic) == (ONE,)


def test_a_new_driver_ends_the_proof_and_one_that_hangs_does_not() -> None:
    before = labels(ONE, TWO, proven=gpus.fingerprint(("GPU-a", "GPU-b"), "560", "1.19.1"))
    assert of(READY, before).labels[gpus.PROVEN] is None
    assert gpus.PROVEN not in of(trouble(hangs=True, found=()), before).labels


# Steps --------------------------------------------------------------------------------------------------------------


def seen(**more: object) -> Observed:
    """Hosts of a swarm, of which `a` lends two GPUs; nothing of the course is there yet."""
    base = want(COURSE, TAGS)
    hosts = {
        "a": SeenHost("a", READY, in_swarm=True, node_id="node-a", engine_gpus=ENGINE),
        "b": SeenHost("b", PLAIN, in_swarm=True, node_id="node-b", engine_gpus=EngineGpus("runc")),
    }
    there = Observed(hosts=hosts, swarm_nodes=frozenset({"node-a", "node-b"}), node_labels=dict(base.node_labels))
    return replace(there, **more)  # type: ignore[arg-type]


def planned(there: Observed) -> list[steps.Step]:
    return diff(lend(want(COURSE, TAGS), COURSE, there, "print()"), there)


def test_only_the_host_with_gpus_has_steps_for_them() -> None:
    mine = [step for step in planned(seen()) if step.stage is steps.Stage.GPUS]
    assert [(step.host, step.what) for step in mine] == [
        ("a", "lend 2 GPUs"),
        ("a", "prove that containers see the GPUs that they are given"),
    ]
    assert "start service ml-gpus" in [step.what for step in planned(seen())]


def test_once_labelled_and_proven_nothing_is_left() -> None:
    there = seen()
    done = dict(there.node_labels) | {"a": dict(there.node_labels["a"]) | labels(ONE, TWO)}
    assert not [step for step in planned(seen(node_labels=done)) if step.stage is steps.Stage.GPUS]


def test_one_command_probes_once() -> None:
    there = seen(probed=frozenset({"a"}))
    assert not [step for step in planned(there) if isinstance(step, steps.ProveGpus)]


def test_the_watcher_runs_where_gpus_are_lent_and_goes_with_them() -> None:
    made = lend(want(COURSE, TAGS), COURSE, seen(), "print()")
    watcher = made.services[-1]
    assert (watcher.name, watcher.mode, made.unawaited) == ("ml-gpus", "global", {"ml-gpus"})
    assert watcher.constraints == (f"node.labels.{LENDS} == true",)
    runs = SeenService(watcher.spec_hash, 1, 1, nodes=frozenset({"node-a"}))
    there = seen(services={"ml-gpus": runs})
    assert not [step for step in planned(there) if isinstance(step, steps.AwaitService)]
    bare = replace(there, hosts=dict(there.hosts) | {"a": replace(there.hosts["a"], facts=PLAIN)})
    assert "service ml-gpus, no longer needed" in [step.what for step in planned(bare)]


def test_only_hosts_that_lend_get_the_image_with_cuda() -> None:
    tags = replace(TAGS, gpu="occam/notebook:cuda")
    made = lend(want(COURSE, tags), COURSE, seen(), "print()")
    assert made.images == {"a": ("occam/hub:1", "occam/notebook:1", "occam/notebook:cuda"), "b": ("occam/notebook:1",)}
    assert made.services[-1].image == "occam/notebook:1"
    assert "deliver image occam/notebook:cuda" in [
        step.what for step in diff(made, seen(builder="x", builder_images=frozenset({"occam/notebook:cuda"})))
    ]


def test_a_course_without_gpus_is_as_it_was() -> None:
    there = seen()
    bare = replace(there, hosts={"a": replace(there.hosts["a"], facts=PLAIN), "b": there.hosts["b"]})
    base = want(COURSE, TAGS)
    made = lend(base, COURSE, bare, "print()")
    assert (made.services, made.configs) == (base.services, base.configs)


# The proof ----------------------------------------------------------------------------------------------------------


def test_what_probes_are_assigned() -> None:
    assert probes(["GPU-b", "GPU-a", "GPU-c"]) == [("GPU-a",), ("GPU-b", "GPU-c"), ()]
    assert probes(["GPU-a"]) == [("GPU-a",), ()]


def test_a_probe_asks_for_its_gpus_and_nothing_else() -> None:
    some, none = probe("ml", 0, "node", "image", ("GPU-a",)), probe("ml", 1, "node", "image", ())
    assert (some.generic, none.generic) == (("OCCAM_GPU_GPU_A",), ())
    assert {one.env["NVIDIA_VISIBLE_DEVICES"] for one in (some, none)} == {"void"}


LISTED = """GPU 0: NVIDIA A100 (UUID: GPU-a)
  MIG 1g.10gb     Device  0: (UUID: MIG-x)
  MIG 1g.10gb     Device  1: (UUID: MIG-y)
GPU 1: NVIDIA A100 (UUID: GPU-b)
exit 0
"""


def test_visible() -> None:
    assert visible(LISTED) == {"MIG-x", "MIG-y", "GPU-b"}


@pytest.mark.parametrize(
    ("assigned", "printed", "why"),
    [
        (("GPU-b", "MIG-x", "MIG-y"), LISTED, ""),
        ((), "sh: 1: nvidia-smi: not found\nexit 127\n", ""),
        ((), "No devices were found\nexit 6\n", ""),
        (("GPU-a",), LISTED, "a container that was assigned GPU-a sees GPU-b, MIG-x, MIG-y"),
        ((), "GPU 0: X (UUID: GPU-a)\nexit 0\n", "a container that was assigned none sees GPU-a"),
        (
            ("GPU-a",),
            "timeout: failed to run command 'nvidia-smi': No such file or directory\nexit 127\n",
            "a container that was assigned GPU-a sees none; nvidia-smi there says: timeout: failed to run command "
            "'nvidia-smi': No such file or directory",
        ),
        (("GPU-a",), "exit 124\n", "nvidia-smi in a container does not end within 20 s"),
    ],
)
def test_verdicts(assigned: tuple[str, ...], printed: str, why: str) -> None:
    assert verdict(assigned, printed) == why
