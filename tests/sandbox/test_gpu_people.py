"""People with GPUs: a course on two pretend hosts with two simulated GPUs each, from the start page to the way back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from occamctl import sandbox, wait
from occamctl.actions.student import Student
from occamctl.engine.client import Engine
from occamctl.plan.lending import visible

from .conftest import say

pytestmark = pytest.mark.sandbox

COURSE, STATE = "gpupeople", "/var/lib/nvidia-simulated"
LIST = "import subprocess; print(subprocess.run(['nvidia-smi', '-L'], capture_output=True, text=True).stdout)"
TASKS = """
import os, occam
spark = occam.spark(workers=1, gpu=1)
def seen(_):
    from pyspark import TaskContext
    return TaskContext.get().resources()["gpu"].addresses + [os.environ["CUDA_VISIBLE_DEVICES"]]
print(spark.sparkContext.parallelize(range(4), 4).map(seen).collect())
print(spark)
"""


@dataclass
class Stage:
    file: Path
    passwords: dict[str, str]
    url: str

    def ran(self, *words: str, seconds: int = 600) -> subprocess.CompletedProcess[str]:
        whole = [sys.executable, "-m", "occamctl", *words, "-c", str(self.file)]
        ran = subprocess.run(whole, capture_output=True, text=True, timeout=seconds, check=False)
        assert "Traceback" not in ran.stderr, ran.stderr
        return ran

    def occamctl(self, *words: str, code: int = 0, seconds: int = 600) -> str:
        ran = self.ran(*words, seconds=seconds)
        assert ran.returncode == code, f"{words}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stderr if code else ran.stdout

    def gpus(self) -> list[dict[str, Any]]:
        return list(json.loads(self.occamctl("gpu", "list", "-o", "json")))

    def held(self, by: str) -> list[str]:
        return [one["uuid"] for one in self.gpus() if one["holder"] and one["holder"]["user"] == by]

    def told(self, user: str) -> str:
        """What the gateway told somebody."""
        lines = self.occamctl("logs", "gateway", "-n", "0").splitlines()
        return "\n".join(line for line in lines if f"told {user}: " in line)

    def student(self, name: str) -> Student:
        made = Student(self.url, name)
        made.sign_in(self.passwords[name])
        return made


def brought_up(file: Path, course: str = COURSE) -> Stage:
    """The course of the file, which lends its hosts' GPUs."""
    made = Stage(file, {}, "")
    made.occamctl("host", "prepare", "--gpu")
    said = made.occamctl("course", "up", "-y", seconds=1800)
    start = "first password of "
    made.passwords = dict(line.removeprefix(start).split(": ", 1) for line in said.splitlines() if start in line)
    listed = file.with_name(f"{course}-passwords.csv")
    if listed.exists():
        made.passwords |= dict(line.split(",")[:2] for line in listed.read_text().splitlines()[1:])
    made.url = made.occamctl("course", "url").strip()
    return made


@pytest.fixture(scope="module")
def on(built: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    sandbox.down(COURSE)
    hosts = sandbox.up(2, name=COURSE, tags=built, say=say, gpus=2)
    file = tmp_path_factory.mktemp(COURSE) / "occam.yaml"
    file.write_text(
        f"version: 1\ncourse: {COURSE}\ninstructors: [prof]\nstudents: [ada, bo]\n{hosts.as_yaml()}"
        "notebook: {cpu_limit: 1, mem_limit: 2G}\nspark: {worker: {cpus: 1, memory: 1G}}\n"
        "quotas: {student: {workers: 2, gpus: 2}}\n"
    )
    yield brought_up(file)
    sandbox.down(COURSE)


def test_all_gpus_are_found_proven_and_free(on: Stage) -> None:
    assert [(one["state"], one["trouble"]) for one in on.gpus()] == [("free", "")] * 4
    assert on.occamctl("course", "up", "-y").startswith("Nothing to do")
    table = on.occamctl("gpu", "list")
    assert max(map(len, table.splitlines())) <= 80, table


def test_a_choice_at_the_start_page_and_spark_beside_it(on: Stage) -> None:
    ada = on.student("ada")
    ada.start_server(gpu="A100")
    (mine,) = on.held("ada")
    with ada.kernel() as kernel:
        assert visible(kernel.run(LIST).text) == {mine}, "she sees her GPU and no other"
        told = kernel.run(TASKS, seconds=240)
        assert not told.error, told.error
        (other,) = set(on.held("ada")) - {mine}
        assert told.text.count(f"['{other}', '{other}']") == 4, told.text
        assert "GPUs: 1 A100-SXM4-40GB (simulated)" in told.text
        more = kernel.run("occam.spark(workers=1, gpu=1, name='more')", seconds=60)
        assert "quota of 2 GPUs" in more.error
    wait.until(lambda: on.held("ada"), lambda held: held == [mine], "the worker's end", seconds=60)
    on.occamctl("notebook", "stop", "ada")
    assert on.held("ada") == []


def test_an_assignment_and_its_end(on: Stage) -> None:
    said = on.occamctl("gpu", "assign", "bo", "1", "--for", "2h")
    assert "bo" in said
    (mine,) = on.held("bo")
    bo = on.student("bo")
    bo.start_server()
    with bo.kernel() as kernel:
        assert visible(kernel.run(LIST).text) == {mine}
    on.occamctl("gpu", "release", "bo", "--restart")
    assert on.held("bo") == []


def test_the_courses_cluster_scales_to_gpus_and_says_who_holds_them(on: Stage) -> None:
    assert "900G" in on.occamctl("spark", "scale", "1", "--gpu-memory", "900G", code=4)
    on.occamctl("spark", "scale", "1", "--gpu-memory", "40G")
    status = json.loads(on.occamctl("spark", "status", "-o", "json"))
    (worker,) = status["executors"]
    assert (worker["gpus"], status["gpu"]) == (["A100-SXM4-40GB (simulated)"], "1 GPU with 40G")
    on.occamctl("gpu", "assign", "bo", "1")
    no = on.occamctl("spark", "scale", "4", "--gpu", code=4)
    assert re.search(r"(students hold|bo holds) 1 A100", no), no
    assert "the course has only 4" in on.occamctl("spark", "scale", "8", "--gpu", code=4)
    on.occamctl("gpu", "release", "bo")


def test_the_deep_check_says_that_simulated_gpus_compute_nothing(on: Stage) -> None:
    ran = on.ran("gpu", "check", "--deep", "-o", "json")
    assert ran.returncode == 3, ran.stderr
    speeds = [one for row in json.loads(ran.stdout) for one in row["speed"]]
    assert len(speeds) == 4
    held = [one for one in speeds if one["trouble"] == "somebody holds it"]
    assert [one["uuid"] for one in held] == on.held("course")
    others = [one for one in speeds if one not in held]
    assert all("sees no GPU" in one["trouble"] and one["cpu"] > 0 and one["gpu"] is None for one in others), others


@pytest.mark.soak
def test_an_idle_gpu_is_announced_and_taken_and_one_that_works_stays(on: Stage) -> None:
    """Seven minutes: the shortest time without use, and the five between the announcement and the end."""
    text = on.file.read_text()
    on.file.write_text(text.replace("notebook: {", "notebook: {gpu_idle_timeout: 1m, "))
    on.occamctl("course", "up", "-y")
    students = {name: on.student(name) for name in ("ada", "bo")}
    for name, student in students.items():
        on.occamctl("notebook", "stop", name)
        student.start_server(gpu="A100")
    (hers,), (his,) = on.held("ada"), on.held("bo")
    with students["ada"].kernel() as kernel:  # a kernel that does nothing with the GPU
        there = kernel.run("import time; time.sleep(170)", seconds=240)
    assert "unless it is used" in there.text, there
    wait.until(lambda: on.told("bo"), lambda told: "unless it is used" in told, "the announcement", seconds=180)
    where = next(one["host"] for one in on.gpus() if one["uuid"] == his)
    Engine.local().exec(where, ["sh", "-c", f"mkdir -p {STATE}/use; echo 60 20000 4711 >{STATE}/use/{his}"])
    wait.until(lambda: on.told("bo"), lambda told: "in use again, and stays" in told, "the pardon", seconds=120)
    wait.until(lambda: on.held("ada"), lambda held: not held, "the end of the idle one", seconds=420)
    assert hers in [one["uuid"] for one in on.gpus() if one["state"] == "free"]
    wait.until(lambda: on.told("ada"), lambda told: "was stopped" in told, "the reason", seconds=60)
    assert on.held("bo") == [his]
    running = {one["user"]: one["state"] for one in json.loads(on.occamctl("notebook", "list", "-o", "json"))}
    assert running["bo"] == "running"
    assert running.get("ada") != "running"
    assert "was stopped" not in on.told("bo")
    on.occamctl("notebook", "stop", "bo")
    Engine.local().exec(where, ["rm", f"{STATE}/use/{his}"])
    on.file.write_text(text)
    on.occamctl("course", "up", "-y")


def test_a_gpu_that_falls_off_the_bus_is_taken_from_its_holder(on: Stage) -> None:
    (lost,) = on.held("course")
    where = next(one["host"] for one in on.gpus() if one["uuid"] == lost)
    Engine.local().exec(where, ["sh", "-c", f"mkdir -p {STATE}/lost; : >{STATE}/lost/{lost}"])

    def look() -> tuple[str, list[str]]:
        return next(one["state"] for one in on.gpus() if one["uuid"] == lost), on.held("course")

    seen = wait.until(look, lambda one: one[0] == "out" and len(one[1]) == 1 and lost not in one[1], "it", seconds=120)
    assert seen
    trouble = next(one["trouble"] for one in on.gpus() if one["uuid"] == lost)
    assert "Unable to determine the device handle" in trouble
    on.occamctl("spark", "delete", "-y")


def test_down_leaves_the_hosts_as_they_were(on: Stage) -> None:
    on.occamctl("course", "down", "-y", "--discard-work", "--keep-images")
    for number in (1, 2):
        code, out, _ = Engine.local().exec(f"{COURSE}-host{number}", ["sh", "-c", "cat /etc/docker/daemon.json"])
        assert b"OCCAM_GPU" not in out, (code, out)
