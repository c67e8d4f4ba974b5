"""`up` and `down` that are killed go on when they are run again, and leave nothing twice or behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from occamctl import sandbox
from occamctl.actions.session import open_course
from occamctl.engine import leftovers, swarm
from occamctl.spec import names

from .conftest import say


@pytest.fixture(scope="module")
def course(built: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    sandbox.down("resume")
    hosts = sandbox.up(2, name="resume", tags=built, say=say)
    file = tmp_path_factory.mktemp("resume") / "occam.yaml"
    file.write_text("version: 1\ncourse: resume\nstudents: [ada, Bo_b]\n" + hosts.as_yaml())
    yield file
    sandbox.down("resume")


def begin(course: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "occamctl", *words, "-y", "-c", str(course)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(course: Path, *words: str) -> str:
    running = begin(course, *words)
    out, err = running.communicate(timeout=300)
    assert running.returncode == 0, out + err
    return out


def end_early(course: Path, how: signal.Signals, after: float, *words: str) -> int:
    """Send a signal after so many seconds; a command that was quicker is a pass as well. Returns its exit code."""
    running = begin(course, *words)
    try:
        running.wait(after)
    except subprocess.TimeoutExpired:
        running.send_signal(how)
    _, said = running.communicate(timeout=30)
    assert "Traceback" not in said, said
    return running.returncode


def test_up_killed_at_any_moment_is_finished_by_the_next(course: Path) -> None:
    for after in (0.7, 1.2, 1.8, 2.5, 3.5, 5):
        end_early(course, signal.SIGKILL, after, "course", "up")
    assert end_early(course, signal.SIGINT, 0.9, "course", "up") in (0, 130)
    finish(course, "course", "up")
    assert "Nothing to do" in finish(course, "course", "up")
    with open_course(course) as session:
        listed = [one["Spec"]["Name"] for one in swarm.services(session.manager, {names.COURSE: "resume"})]
        assert sorted(listed) == ["resume-gateway", "resume-hub", "resume-material", "resume-proxy", "resume-walls"]
    people = subprocess.run(
        [sys.executable, "-m", "occamctl", "user", "list", "-o", "json", "-c", str(course)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert sorted(one["username"] for one in json.loads(people.stdout)) == ["Bo_b", "ada"]


def test_down_killed_at_any_moment_is_finished_by_the_next(course: Path) -> None:
    for after in (0.6, 2):
        assert end_early(course, signal.SIGINT, after, "course", "down") in (0, 130)
    for after in (1, 3, 5):
        end_early(course, signal.SIGKILL, after, "course", "down")
    finish(course, "course", "down")
    with open_course(course) as session:
        for host, engine in session.engines.items():
            assert not leftovers.left(engine, "resume"), host
            assert swarm.in_swarm(engine) is None, host
