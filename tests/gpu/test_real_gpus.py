"""What can only be seen on a machine with an NVIDIA GPU: `pytest -m gpu -s`. Elsewhere they skip, with the reason.

The printed lines go into docs/reference/gpu-record.md, with their date.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from occamctl.hosts.facts import gather
from occamctl.hosts.machine import LocalMachine
from occamctl.plan import gpu_setup, gpus, lending
from occamctl.plan.observed import HostFacts

pytestmark = pytest.mark.gpu

LIB = Path(__file__).parents[2] / "course" / "lib"


def run(*words: str, seconds: float = 60) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def facts() -> HostFacts:
    if shutil.which("nvidia-smi") is None:
        pytest.skip("no nvidia-smi here: this machine has no NVIDIA GPU, or no driver")
    found = gather(LocalMachine())
    if not found.gpus:
        pytest.skip(f"nvidia-smi shows no GPU: {'; '.join(found.support.trouble) or 'none'}")
    return found


def test_facts_are_what_the_driver_lists(facts: HostFacts) -> None:
    assert {one.uuid for one in facts.gpus} == lending.visible(run("nvidia-smi", "-L"))
    assert all(one.memory > 1 << 30 for one in facts.gpus)
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?", facts.support.driver)
    models = ", ".join(f"{gpus.called(one)} ({one.memory / 2**30:.1f} GiB)" for one in facts.gpus)
    print(f"\n{date.today()}: {models}; driver {facts.support.driver}, CUDA {facts.support.cuda}")


def test_what_is_missing_is_said_with_what_to_do(facts: HostFacts) -> None:
    missing = gpu_setup.lacks("auto", facts, None)
    assert all(one.what and one.fix for one in missing)
    print("\n" + "\n".join(f"missing: {one.what} (fix: {one.fix})" for one in missing))


def test_tensorflow_computes_on_it(facts: HostFacts) -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed here")
    told = ["env", f"PYTHONPATH={LIB}", sys.executable, "-m", "occam.gpu_speed"]
    said = json.loads(run(*told, seconds=300).splitlines()[-1])
    print(f"\n{date.today()}: {said}")
    if said["gpu"] is None:
        pytest.skip(f"TensorFlow {said['tensorflow']} here is not made for GPUs")
    assert said["gpu"] > said["cpu"]


def test_a_container_sees_exactly_the_gpu_that_it_is_assigned(facts: HostFacts) -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no container engine answers here")
    if not facts.support.toolkit:
        pytest.skip("NVIDIA's container toolkit is not installed here")
    first = sorted(one.uuid for one in facts.gpus)[0]
    seen = run(
        "docker", "run", "--rm", "--runtime", "nvidia", "-e", f"NVIDIA_VISIBLE_DEVICES={first}",
        "-e", "NVIDIA_DRIVER_CAPABILITIES=compute,utility", "debian:bookworm-slim", "nvidia-smi", "-L",
    )  # fmt: skip
    assert lending.verdict((first,), seen + "exit 0\n") == ""
