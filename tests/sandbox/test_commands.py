"""The command line and its twin in Python on the journey's course: real Spark applications, Spark's page, clusters."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from occamctl import wait
from occamctl.api import Course
from occamctl.engine import ground, swarm
from occamctl.errors import DoesNotFit, OccamError, SpecError
from occamctl.spec import names

from .conftest import Run

pytestmark = pytest.mark.sandbox

ROOT = Path(__file__).parents[2]
PI = """
import sys, time
from operator import add
from pyspark.sql import SparkSession
from shape import inside
spark = SparkSession.builder.appName("pi").getOrCreate()
print("began with", sys.argv[2], flush=True)
points = int(sys.argv[1])
hit = spark.sparkContext.parallelize(range(points), 4).map(inside).reduce(add)
print("pi is about", 4 * hit / points)
time.sleep(float(sys.argv[3]))
sys.exit(3)
"""
SHAPE = """
from random import Random
def inside(number):
    chance = Random(number)
    return int(chance.random() ** 2 + chance.random() ** 2 < 1)
"""
POINTS = 20_000


def pi() -> str:
    """The line that the application prints, computed here."""
    shape: dict[str, Callable[[int], int]] = {}
    exec(SHAPE, shape)
    return f"pi is about {4 * sum(map(shape['inside'], range(POINTS))) / POINTS}"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "pi.py").write_text(PI)
    (tmp_path / "shape.py").write_text(SHAPE)
    return tmp_path / "pi.py"


def command(course: Path, *words: str) -> list[str]:
    """`-c` before the program's own words."""
    return [sys.executable, "-m", "occamctl", *words[:2], "-c", str(course), *words[2:]]


def submitted(course: Path, program: Path, *words: str, wait_for: str = "0") -> list[str]:
    files = ("--py-files", str(program.with_name("shape.py")))
    return command(course, "spark", "submit", *files, *words, str(program), str(POINTS), "two words", wait_for)


def left(there: Course) -> list[str]:
    """What is on the engine of clusters of the course."""
    session = there._here()
    ours = {names.COURSE: session.course.course, names.OWNER: names.COURSE_OWNER}
    found = [*swarm.services(session.manager, ours), *ground.secrets(session.manager, ours)]
    return [one["Spec"]["Name"] for one in found if names.CLUSTER in one["Spec"]["Labels"]]


def test_an_application_gives_its_output_and_its_exit_code(course: Path, passwords: object, program: Path) -> None:
    ran = subprocess.run(submitted(course, program), capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 3, ran.stderr
    assert ran.stdout == f"began with two words\n{pi()}\n"
    assert "the application ended with exit code 3 (its own, not occamctl's)" in ran.stderr
    with Course(course) as there:
        assert there.spark.list("course") == []
        assert left(there) == []


def begin(words: list[str]) -> subprocess.Popen[str]:
    """A command that hears Ctrl-C, also when these tests run in the background of a shell, where nobody does."""
    listening = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, preexec_fn=listening)


@contextmanager
def page(course: Path, *words: str) -> Iterator[str]:
    """The address of Spark's page, forwarded; ended by Ctrl-C, which is no failure."""
    running = begin(command(course, "spark", "ui", *words))
    try:
        assert running.stdout
        yield running.stdout.readline().strip()
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0
    finally:
        running.kill()


def test_a_page_logs_and_the_end_of_one_that_runs(course: Path, passwords: object, program: Path) -> None:
    submit = submitted(course, program, "--detach", "--name", "long", "-w", "1", wait_for="600")
    assert subprocess.run(submit, capture_output=True, text=True, timeout=60, check=True).stdout == "long\n"
    with Course(course) as there:
        wait.until(
            lambda: there.spark.logs(cluster="long", worker="driver"),
            lambda seen: f"driver: {pi()}" in seen, "its last line", seconds=120, every=1,
        )  # fmt: skip
        assert there.spark.status(cluster="long")["state"] == "running"
        assert "executor 0" in there.spark.logs(cluster="long", worker="0")
        with page(course, "--cluster", "long") as url, requests.Session() as browser:
            jobs = browser.get(url, timeout=20)
            assert jobs.url == f"{url}jobs/"
            assert "reduce at" in jobs.text
            linked = re.findall(r'(?:src|href)="(/static/[^"]+)"', jobs.text)
            assert len(linked) > 10
            assert {browser.get(url.rstrip("/") + one, timeout=20).status_code for one in linked} == {200}
            assert browser.get(f"{url}api/v1/applications", timeout=20).json()[0]["name"] == "pi"
        with pytest.raises(requests.ConnectionError):
            requests.get(url, timeout=5)
        there.spark.delete(cluster="long")
        assert left(there) == []


def test_ctrl_c_ends_the_application(course: Path, passwords: object, program: Path) -> None:
    running = begin(submitted(course, program, "-w", "1", wait_for="600"))
    assert running.stdout
    assert running.stdout.readline() == "began with two words\n"
    running.send_signal(signal.SIGINT)
    assert running.wait(100) == 130
    with Course(course) as there:
        assert left(there) == []


def test_declared_clusters_come_and_go_with_the_file(course: Path, occamctl: Run, passwords: object) -> None:
    before = course.read_text()

    def declare(clusters: str) -> None:
        course.write_text(before.replace("memory: 1G}}", f"memory: 1G}}, clusters: {clusters}}}"))

    occamctl("spark", "create", "--cluster", "ours", "--workers", "0")
    occamctl("spark", "create", "hand", "--workers", "0")
    try:
        declare("[{name: ours, workers: 1}, {name: demo, workers: 0}]")
        planned = [one["what"] for one in json.loads(occamctl("course", "plan", "-o", "json"))]
        assert planned == ["Spark cluster ours: 0 → 1 workers, was made by hand", "Spark cluster demo: 0 workers"]
        occamctl("course", "up", "-y")
        assert json.loads(occamctl("course", "plan", "-o", "json")) == []
        with Course(course) as there:
            assert {one["name"]: one["declared"] for one in there.spark.list("course")} == {
                "demo": True,
                "hand": False,
                "ours": True,
            }
            there.spark.scale(0, cluster="ours")
            assert [step.what for step in there.plan()] == ["Spark cluster ours: 0 → 1 workers"]
        declare("[]")
        occamctl("course", "up", "-y")
        assert [one["name"] for one in json.loads(occamctl("spark", "list", "-u", "course", "-o", "json"))] == ["hand"]
    finally:
        course.write_text(before)
        occamctl("course", "up", "-y")
        occamctl("spark", "delete", "--cluster", "hand", "-y")
    assert json.loads(occamctl("course", "plan", "-o", "json")) == []


def test_the_page_about_scripts_runs(
    course: Path, passwords: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Python of docs/howto/script.md, as it stands there."""
    text = (ROOT / "docs" / "howto" / "script.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "train.py").write_text("import sys\nprint('trained', *sys.argv[1:])\n")
    (tmp_path / "example.py").write_text(example.replace('"occam.yaml"', repr(str(course))))
    ran = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split("\n")[0] == "0 trained --epochs 10"


def test_python_raises_what_the_command_line_says(course: Path, passwords: object) -> None:
    with Course(course) as there:
        with pytest.raises(DoesNotFit, match="99 workers are over the quota"):
            there.spark.create("much", 99)
        with pytest.raises(SpecError, match="cannot be read"):
            there.spark.submit("nowhere.py")
        with pytest.raises(OccamError, match="there is no cluster"):
            there.spark.status(cluster="nothing")
        assert [one["state"] for one in there.hosts()] == ["ready"] * 3
        assert [one["username"] for one in there.users.list()][-1] == "prof"
        assert "prof" not in [one["user"] for one in there.notebooks.list()]
        assert there.status().wrong == []
