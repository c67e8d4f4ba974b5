"""The stand-ins for NVIDIA's tools on pretend hosts: read by the same parsers as the real ones, and as choosy."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from occamctl.hosts import gpu
from occamctl.plan.gpu_setup import config_toml
from occamctl.plan.observed import Gpu

STAND_INS = Path(__file__).parents[3] / "templates" / "images" / "host" / "nvidia"
MODEL = "NVIDIA A100-SXM4-40GB (simulated)"
ONE, TWO = Gpu("GPU-a", MODEL, 40 << 30), Gpu("GPU-b", MODEL, 40 << 30)
SLICE = Gpu("MIG-y", MODEL, 19968 << 20, "3g.20gb")


class Host:
    """A folder as the root of a pretend host."""

    def __init__(self, root: Path) -> None:
        self.root, self.state = root, root / "var" / "lib" / "nvidia-simulated"
        for folder in (self.state / "lost", self.state / "use", root / "bin", root / "bundle"):
            folder.mkdir(parents=True)
        for name in ("nvidia-smi", "nvidia-container-runtime"):
            text = (STAND_INS / name).read_text().replace("/var/lib/", f"{root}/var/lib/")
            (root / "bin" / name).write_text(text.replace("/etc/nvidia-container-runtime", str(root)))
            (root / "bin" / name).chmod(0o755)
        (root / "bin" / "runc").write_text('#!/bin/sh\necho "runc $*"\n')
        (root / "bin" / "runc").chmod(0o755)
        self.write("gpus", f"0|GPU-a|{MODEL}|40960\n1|GPU-b|{MODEL}|40960\n")

    def write(self, name: str, text: str) -> None:
        (self.state / name).write_text(text)

    def run(self, *command: str) -> str:
        path = {"PATH": f"{self.root / 'bin'}:{os.environ['PATH']}"}
        return subprocess.run(command, capture_output=True, text=True, timeout=20, env=os.environ | path).stdout

    def facts(self) -> dict[str, str]:
        script = "part() { printf '\\n== %s\\n' \"$1\"; }\n" + gpu.LOOK
        return dict(re.findall(r"^== (\w+)\n(.*?)(?=^== |\Z)", self.run("sh", "-c", script), re.MULTILINE | re.DOTALL))

    def sees(self, *env: str) -> str | None:
        """What a container with these variables may see; None when it gets no driver."""
        config = self.root / "bundle" / "config.json"
        config.write_text(json.dumps({"process": {"env": env}, "mounts": [{"destination": "/proc"}]}))
        said = self.run("nvidia-container-runtime", "create", "--bundle", str(config.parent), "id")
        assert said == f"runc create --bundle {config.parent} id\n"
        mounts = {one["destination"]: one.get("source") for one in json.loads(config.read_text())["mounts"]}
        visible = mounts.get(f"{self.state}.visible")
        return Path(visible).read_text().strip() if visible else None


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_gpus_are_read_as_from_the_real_tool_and_say_that_they_are_simulated(host: Host) -> None:
    assert gpu.gpus(host.facts()) == (ONE, TWO)
    there = gpu.support(host.facts())
    assert (there.driver, there.cuda, there.trouble) == ("570.00-simulated", "12.8", ())
    assert there.toolkit == "1.19.1-simulated"


def test_mig_faults_and_lost_gpus(host: Host) -> None:
    host.write("gpus", (host.state / "gpus").read_text() + "1/0|MIG-x|1g.5gb|4864\n1/1|MIG-y|3g.20gb|19968\n")
    assert gpu.gpus(host.facts()) == (ONE, Gpu("MIG-x", MODEL, 4864 << 20, "1g.5gb"), SLICE)
    host.write("lost/GPU-a", "")
    assert gpu.gpus(host.facts())[-1] == SLICE
    assert gpu.support(host.facts()).trouble == (
        "Unable to determine the device handle for GPU0: 0000:01:00.0: Unknown Error",
    )
    host.write("fault", "mismatch\n")
    assert gpu.gpus(host.facts()) == ()
    assert "version mismatch" in gpu.support(host.facts()).trouble[0]


def test_use_and_processes(host: Host) -> None:
    host.write("use/GPU-b", "57 1234 4711 4712\n")
    asked = "--query-gpu=uuid,utilization.gpu,memory.used", "--format=csv,noheader,nounits"
    assert host.run("nvidia-smi", *asked) == "GPU-a, 0, 0\nGPU-b, 57, 1234\n"
    asked = "--query-compute-apps=gpu_uuid,pid", "--format=csv,noheader,nounits"
    assert host.run("nvidia-smi", *asked) == "GPU-b, 4711\nGPU-b, 4712\n"


@pytest.mark.skipif(not shutil.which("perl"), reason="no perl here; the pretend hosts have it")
def test_a_container_sees_what_it_was_assigned(host: Host) -> None:
    (host.root / "config.toml").write_text(config_toml((STAND_INS / "config.toml").read_text(), (ONE, TWO)))
    void = "NVIDIA_VISIBLE_DEVICES=void"
    assert host.sees("A=b", void, "DOCKER_RESOURCE_OCCAM_GPU_GPU_B=GPU-b") == "GPU-b"
    assert host.sees(void) is None
    assert host.sees("X=NVIDIA_VISIBLE_DEVICES=all") is None
    assert host.sees("NVIDIA_VISIBLE_DEVICES=all", 'Y="],b\\') == "all"
    assert host.sees("NVIDIA_VISIBLE_DEVICES=none") == ""
    assert host.sees(void, "DOCKER_RESOURCE_OCCAM_GPU_GPU_C=GPU-c") is None, "not in swarm-resource"
    host.write("deaf", "")
    assert host.sees(void, "DOCKER_RESOURCE_OCCAM_GPU_GPU_B=GPU-b") == "all"
