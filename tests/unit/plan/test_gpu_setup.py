"""What a host lacks for its GPUs, and its two files as they should be."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from occamctl.errors import HostError
from occamctl.hosts.facts import parse
from occamctl.plan.gpu_setup import Said, concerned, config_toml, daemon_json, engine_gpus, lacks, lent
from occamctl.plan.gpus import resources, variable
from occamctl.plan.observed import EngineGpus, Gpu, GpuSupport, HostFacts, HostFile

ONE = Gpu("GPU-7f0c", "NVIDIA A100-SXM4-40GB", 40 << 30)
TWO = Gpu("MIG-1d0c", "NVIDIA A100-SXM4-40GB", 5 << 30, "1g.5gb")
OURS = "DOCKER_RESOURCE_OCCAM_GPU_GPU_7F0C"
RECORDED = Path(__file__).parents[1] / "hosts" / "recorded"
PACKAGED = next(iter((RECORDED / "gpus" / "eight-a100.txt").read_text().split("== gpuconfig\ntext\n")[1:])).split(
    "\n== "
)[0]
BARE = parse((RECORDED / "debian-12-vm.txt").read_text())
READY = replace(
    BARE,
    gpus=(ONE, TWO),
    support=GpuSupport(
        cards=1,
        tool=True,
        driver="570.133.20",
        toolkit="1.19.1",
        config=HostFile(config_toml(None, (ONE, TWO))),
        daemon=HostFile(daemon_json(None, (ONE, TWO))),
    ),
)
ENGINE = EngineGpus("nvidia", frozenset({"runc", "nvidia"}), resources(ONE.uuid) | resources(TWO.uuid))


def recorded(name: str) -> HostFacts:
    return parse((RECORDED / "debian-12-vm.txt").read_text() + (RECORDED / "gpus" / f"{name}.txt").read_text())


def with_(**support: object) -> HostFacts:
    return replace(READY, support=replace(READY.support, **support))  # type: ignore[arg-type]


def whats(said: Said, facts: HostFacts, engine: EngineGpus | None = ENGINE) -> list[str]:
    return [one.what for one in lacks(said, facts, engine)]


def test_a_host_that_is_ready_lacks_nothing() -> None:
    assert lacks("auto", READY, ENGINE) == []


def test_a_host_without_gpus_is_no_concern() -> None:
    assert not concerned("auto", BARE)
    assert lacks("auto", BARE, EngineGpus("runc")) == []
    assert not concerned("auto", recorded("no-devices")), "nvidia-smi alone is no GPU"
    assert lacks("none", recorded("driver-mismatch"), None) == [], "nobody asked for them"


@pytest.mark.parametrize(
    ("name", "what", "fix"),
    [
        ("driver-mismatch", "Driver/library version mismatch; NVML library version: 580.173", "restart the host"),
        ("driver-not-loaded", "couldn't communicate with the NVIDIA driver", "install or repair NVIDIA's driver"),
        ("the-only-one-lost", "GPU is lost", "off the bus"),
        ("hanging", "the driver hangs", "restart the host"),
        ("card-without-driver", "2 NVIDIA cards, and no driver", "install NVIDIA's driver"),
        ("a100-mig-without-instances", "GPU 0 is in MIG mode and has no instance", "nvidia-smi mig -cgi"),
    ],
)
def test_a_broken_driver_is_told_first_and_alone(name: str, what: str, fix: str) -> None:
    (only,) = lacks("auto", recorded(name), EngineGpus("runc"))
    assert what in only.what
    assert fix in only.fix
    assert (only.ours, only.fatal) == (False, True)


def test_one_lost_gpu_of_eight_does_not_bar_the_others() -> None:
    first = lacks("auto", recorded("one-of-eight-lost"), EngineGpus("runc"))[0]
    assert "GPU3" in first.what
    assert not first.fatal


def test_a_fresh_host_lacks_everything_that_prepare_does() -> None:
    found = lacks(
        "auto", replace(READY, support=GpuSupport(cards=1, tool=True)), EngineGpus("runc", frozenset({"runc"}))
    )
    assert [one.what for one in found] == [
        "no NVIDIA container toolkit",
        "swarm-resource in /etc/nvidia-container-runtime/config.toml does not name GPU-7f0c and 1 more",
        "its engine has no runtime nvidia",
        "its engine's default runtime is runc",
        "its engine does not know GPU-7f0c and 1 more as generic resource",
    ]
    assert all(one.ours and one.fix == "run: occamctl host prepare --gpu" for one in found)


@pytest.mark.parametrize(
    ("version", "word"),
    [("1.11.0", "too old"), ("1.18.2", "#1599"), ("1.12.0", ""), ("1.17.8", ""), ("1.19.0~rc.1", ""), ("1.20.1", "")],
)
def test_toolkits_that_are_too_old_or_deaf(version: str, word: str) -> None:
    found = lacks("auto", with_(toolkit=version), ENGINE)
    assert bool(found) == bool(word)
    assert all(word in one.what and not one.ours for one in found)


def test_an_engine_that_was_not_restarted() -> None:
    (only,) = lacks("auto", READY, EngineGpus("runc", frozenset({"runc"})))
    assert "was not restarted" in only.what
    assert only.fix.endswith("--restart-engine")


def test_an_engine_that_was_told_otherwise_needs_no_file() -> None:
    assert lacks("auto", with_(daemon=HostFile(None)), ENGINE) == []
    assert lacks("auto", with_(daemon=HostFile(None, readable=False)), ENGINE) == []
    assert lacks("auto", with_(daemon=HostFile("{broken")), ENGINE) == []


def test_no_engine() -> None:
    assert whats("auto", READY, None)[0] == "no container engine answers"


def test_gpus_by_hand() -> None:
    assert lent(["gpu-7F0C"], READY) == (ONE,)
    assert lent("none", READY) == ()
    assert lacks(["GPU-7f0c"], READY, ENGINE) == []
    (only,) = lacks(["GPU-7f0c", "GPU-other"], READY, ENGINE)
    assert (only.what, only.fix) == (
        "the course file lends GPU-other, which it does not have",
        "it has: GPU-7f0c, MIG-1d0c",
    )
    assert not only.fatal
    assert whats(["GPU-other"], BARE) == [
        "GPUs are asked for, and no driver: nvidia-smi is not there",
        "the course file lends GPU-other, which it does not have",
    ]


def test_what_an_engine_tells_of_itself() -> None:
    told = {
        "DefaultRuntime": "nvidia",
        "Runtimes": {"runc": {"path": "runc"}, "nvidia": {"path": "nvidia-container-runtime"}},
        "GenericResources": [
            {"NamedResourceSpec": {"Kind": "OCCAM_GPU_GPU_7F0C", "Value": "GPU-7f0c"}},
            {"DiscreteResourceSpec": {"Kind": "SSD", "Value": 3}},
        ],
    }
    assert engine_gpus(told) == EngineGpus(
        "nvidia", frozenset({"runc", "nvidia"}), {"OCCAM_GPU_GPU_7F0C": "GPU-7f0c", "SSD": "3"}
    )
    assert engine_gpus({"DefaultRuntime": "runc", "Runtimes": None, "GenericResources": None}) == EngineGpus("runc")


# daemon.json --------------------------------------------------------------------------------------------------------


def test_daemon_json_is_merged() -> None:
    there = {
        "log-driver": "local",
        "proxies": {"http-proxy": "http://ü"},
        "runtimes": {"crun": {"path": "crun"}, "nvidia": {"path": "/opt/nvidia-container-runtime"}},
        "node-generic-resources": ["FPGA=1", "OCCAM_GPU_GPU_GONE=GPU-gone", "OCCAM_HOLD_GPU_GONE=3"],
    }
    made = json.loads(daemon_json(json.dumps(there), (TWO, ONE)))
    assert made == there | {
        "default-runtime": "nvidia",
        "node-generic-resources": [
            "FPGA=1",
            "OCCAM_GPU_GPU_7F0C=GPU-7f0c",
            "OCCAM_HOLD_GPU_7F0C=3",
            "OCCAM_GPU_MIG_1D0C=MIG-1d0c",
            "OCCAM_HOLD_MIG_1D0C=3",
        ],
    }
    assert daemon_json(json.dumps(made), (ONE, TWO)) == daemon_json(json.dumps(there), (ONE, TWO)), "twice is once"


@pytest.mark.parametrize("text", [None, "", " \n", "{}"])
def test_daemon_json_from_nothing(text: str | None) -> None:
    made = json.loads(daemon_json(text, (ONE,)))
    assert made["runtimes"] == {"nvidia": {"path": "nvidia-container-runtime", "runtimeArgs": []}}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"a": 1,}', "is not JSON"),
        ("[]", "not a JSON object"),
        ('\ufeff{"a": 1}', "is not JSON"),
        ('{"runtimes": []}', "runtimes is not an object"),
        ('{"node-generic-resources": "GPU=1"}', "node-generic-resources is not a list"),
    ],
)
def test_a_daemon_json_that_cannot_be_right_is_refused(text: str, what: str) -> None:
    with pytest.raises(HostError, match=what) as refused:
        daemon_json(text, (ONE,))
    assert refused.value.exit_code == 3
    assert any(what in one for one in whats("auto", with_(daemon=HostFile(text)), EngineGpus("runc")))


# config.toml --------------------------------------------------------------------------------------------------------


def test_the_packaged_config_toml_changes_in_one_line() -> None:
    made = config_toml(PACKAGED, (ONE, TWO))
    new = f'swarm-resource = "{OURS},{variable(TWO.uuid)}"'
    assert made == PACKAGED.replace('#swarm-resource = "DOCKER_RESOURCE_GPU"', new)
    assert config_toml(made, (ONE, TWO)) == made
    assert tomllib.loads(made) == tomllib.loads(PACKAGED) | {"swarm-resource": f"{OURS},{variable(TWO.uuid)}"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f'swarm-resource = "{OURS}"\n'),
        ("a = 1", f'a = 1\nswarm-resource = "{OURS}"\n'),
        ("[x]\nb = 1\n", f'swarm-resource = "{OURS}"\n[x]\nb = 1\n'),
        (
            'swarm-resource = "DOCKER_RESOURCE_GPU, DOCKER_RESOURCE_OCCAM_GPU_GONE" # mine\n',
            f'swarm-resource = "DOCKER_RESOURCE_GPU,{OURS}"\n',
        ),
        (
            '# swarm-resource = "A"\nswarm-resource = "B"\n[x]\nswarm-resource = "C"\n',
            f'# swarm-resource = "A"\nswarm-resource = "B,{OURS}"\n[x]\nswarm-resource = "C"\n',
        ),
    ],
)
def test_config_toml_keeps_the_rest(before: str, after: str) -> None:
    assert config_toml(before, (ONE,)) == after
    tomllib.loads(after)


@pytest.mark.parametrize("text", ["a = ", 'swarm-resource = ["A"]\n'])
def test_a_config_toml_that_cannot_be_right_is_refused(text: str) -> None:
    with pytest.raises(HostError, match="not TOML"):
        config_toml(text, (ONE,))
    assert any("is not TOML" in one for one in whats("auto", with_(config=HostFile(text))))


def test_a_config_toml_that_the_user_may_not_read() -> None:
    (only,) = lacks("auto", with_(config=HostFile(None, readable=False)), ENGINE)
    assert "cannot be read" in only.what
