"""GPUs from what nvidia-smi printed on real machines; recorded/gpus/README.md says what of it is real."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from occamctl.hosts import gpu
from occamctl.hosts.facts import parse
from occamctl.plan.observed import Gpu, GpuSupport, HostFacts

RECORDED = Path(__file__).parent / "recorded"


def facts(name: str) -> HostFacts:
    """Facts of a machine without GPUs, with the GPUs of a recording."""
    return parse((RECORDED / "debian-12-vm.txt").read_text() + (RECORDED / "gpus" / f"{name}.txt").read_text())


def test_eight_gpus() -> None:
    found = facts("eight-a100")
    assert len(found.gpus) == 8
    assert found.gpus[3] == Gpu("GPU-a6f9dc55-48b4-4fc1-c2fe-f1a59f718a03", "NVIDIA A100-SXM4-80GB", 80 << 30)
    there = found.support
    assert (there.cards, there.driver, there.cuda, there.toolkit) == (8, "570.133.20", "12.8", "1.17.8")
    assert (there.tool, there.hangs, there.trouble) == (True, False, ())


def test_mig_instances_stand_for_their_gpu() -> None:
    found = facts("h100-seven-mig")
    assert {one.profile for one in found.gpus} == {"1g.12gb"}
    assert {one.memory for one in found.gpus} == {10880 << 20}, "from the table, not from the profile's name"
    assert {one.model for one in found.gpus} == {"NVIDIA H100 NVL"}
    assert len({one.uuid for one in found.gpus}) == 7
    assert all(one.uuid.startswith("MIG-") for one in found.gpus)
    assert found.support.cuda == "", "this driver serves guests only"


def test_some_gpus_in_mig_mode_and_some_whole() -> None:
    found = facts("four-a100-mixed")
    assert [one.profile for one in found.gpus] == ["", "", "7g.80gb", "2g.20gb", "1g.20gb", "2g.20gb"]
    assert [one.memory >> 30 for one in found.gpus] == [80, 80, 80, 20, 20, 20], "by name where no table tells it"
    assert not found.support.daemon.readable


def test_mig_mode_without_instances_lends_nothing_and_says_so() -> None:
    found = facts("a100-mig-without-instances")
    assert (found.gpus, found.support.trouble) == ((), ("GPU 0 is in MIG mode and has no instance",))


def test_a_gpu_that_fell_off_the_bus_hides_no_other() -> None:
    found = facts("one-of-eight-lost")
    assert len(found.gpus) == 7
    assert found.support.trouble == ("Unable to determine the device handle for GPU3: 0000:04:00.0: Unknown Error",)


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("driver-mismatch", "Failed to initialize NVML: Driver/library version mismatch"),
        ("driver-not-loaded", "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."),
        ("the-only-one-lost", "Unable to determine the device handle for GPU 0000:02:00.0: GPU is lost."),
        ("no-devices", "No devices were found"),
    ],
)
def test_words_of_a_broken_driver_are_no_gpus(name: str, begins: str) -> None:
    found = facts(name)
    assert (found.gpus, found.support.hangs, found.support.driver) == ((), False, "")
    assert found.support.trouble[0].startswith(begins)


def test_a_driver_that_hangs() -> None:
    found = facts("hanging")
    assert (found.gpus, found.support.hangs, found.support.trouble) == ((), True, ())


def test_cards_without_a_driver_and_a_host_without_any() -> None:
    found = facts("card-without-driver")
    assert (found.gpus, found.support) == ((), GpuSupport(cards=2))
    assert parse((RECORDED / "debian-12-vm.txt").read_text()).support == GpuSupport()


def test_a_gpu_that_does_not_tell_its_memory() -> None:
    said = {"gpus": "query: 0, GPU-1, NVIDIA GB10, [N/A], 580.95.05\nquery: exit 0\n"}
    assert gpu.gpus(said) == ()
    assert gpu.support(said).trouble == ("GPU-1 (NVIDIA GB10) does not tell its memory",)


def test_the_files_as_they_are() -> None:
    there = facts("eight-a100").support
    assert there.config.text is not None
    assert '#swarm-resource = "DOCKER_RESOURCE_GPU"\n' in there.config.text
    assert '"default-shm-size": "1G"' in (there.daemon.text or "")
    assert "1G" not in repr(there)


# The command itself, with stand-ins for nvidia-smi ------------------------------------------------------------------


def look(folder: Path, script: str, deadline: int = 1) -> dict[str, str]:
    """What the command prints where nvidia-smi is this script."""
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    command = gpu.LOOK.replace(f"KILL {gpu.DEADLINE + 2} ", f"KILL {deadline + 2} ").replace(
        f"-k 1 {gpu.DEADLINE} ", f"-k 1 {deadline} "
    )
    whole = f"part() {{ printf '\\n== %s\\n' \"$1\"; }}\nPATH={folder}:$PATH\n{command}"
    ran = subprocess.run(["sh", "-c", whole], capture_output=True, text=True, timeout=20, check=True)
    return dict(re.findall(r"^== (\w+)\n(.*?)(?=^== |\Z)", ran.stdout, re.MULTILINE | re.DOTALL))


def test_the_command_reads_both_streams_and_ends_a_last_line(tmp_path: Path) -> None:
    parts = look(tmp_path, "printf 'GPU is lost' >&2; exit 15")
    assert gpu.support(parts).trouble == ("GPU is lost",)
    assert sorted(parts["gpus"].split("\n")).count("query: exit 15") == 1


def test_the_command_ends_where_nvidia_smi_does_not(tmp_path: Path) -> None:
    """It ignores every signal that it can, and a child of it keeps the output open."""
    began = time.monotonic()
    parts = look(tmp_path, "trap '' TERM; setsid sleep 8 & sleep 8")
    assert time.monotonic() - began < 6
    assert gpu.support(parts).hangs
