"""One course on three pretend hosts over SSH, for the journey and the browser."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from occamctl import sandbox
from occamctl.engine.client import Engine

from .. import image_build

STUDENTS = ("Anna-Maria.Rossi@unito.it", "b__bianchi.")
IN_A_BROWSER = "Clara.Verdi"
Run = Callable[..., str]


def say(*words: str) -> None:
    print(*words, flush=True)


@pytest.fixture(scope="session")
def built() -> list[str]:
    """Tags of the images, built on this machine's engine."""
    return image_build.course()


_TELL = """docker node ls; docker service ls; docker network ls
for one in $(docker service ls -q); do docker service ps --no-trunc "$one"; done
docker service logs journey-gateway --tail 60 2>&1; docker service logs journey-hub --tail 30 2>&1
grep -v -e level=info -e 'vs\\.' -e 'v2 registry' /var/log/dockerd.log | tail -40"""


@pytest.fixture(scope="session")
def spark_hosts(built: list[str], request: pytest.FixtureRequest) -> Iterator[sandbox.Sandbox]:
    """Three hosts over SSH; all begin with the images. When a test failed, what the hosts know is printed."""
    sandbox.down("journey")
    yield sandbox.up(3, name="journey", tags=built, say=say, options={1: {"OCCAM_DOCKER_GROUP": "1"}})
    if request.session.testsfailed:
        for number in (1, 2, 3):
            code, out, err = Engine.local().exec(f"journey-host{number}", ["sh", "-c", _TELL])
            say(f"--- journey-host{number} ({code})\n{(out + err).decode(errors='replace')}")
    sandbox.down("journey")


@pytest.fixture(scope="session")
def course(spark_hosts: sandbox.Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course file for three hosts, with students whose names are awkward."""
    folder = tmp_path_factory.mktemp("journey")
    people = (*STUDENTS, IN_A_BROWSER)
    (folder / "roster.csv").write_text("username,name,email,group\n" + "".join(f"{name},,,\n" for name in people))
    (folder / "occam.yaml").write_text(
        "version: 1\ncourse: journey\ntitle: The journey\ninstructors: [prof]\nstudents: roster.csv\n"
        + spark_hosts.as_yaml()
        + "notebook: {cpu_limit: 2, mem_limit: 2G}\nspark: {worker: {cpus: 1, memory: 1G}}\n"
    )
    return folder / "occam.yaml"


@pytest.fixture(scope="session")
def occamctl(course: Path) -> Run:
    """Run occamctl as a person does, with the course's file."""

    def run(*arguments: str, code: int = 0, seconds: int = 900, file: Path = course) -> str:
        """Standard output; standard error when another exit code than 0 is expected."""
        ran = subprocess.run(
            [sys.executable, "-m", "occamctl", *arguments, "-c", str(file)],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert ran.returncode == code, f"{arguments}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        assert "Traceback" not in ran.stderr
        return ran.stderr if code else ran.stdout

    return run


def first_passwords(course: Path, said: str = "") -> dict[str, str]:
    """First passwords, from the file (which only its owner can read) or as they were printed."""
    start = "first password of "
    printed = dict(line.removeprefix(start).split(": ", 1) for line in said.splitlines() if line.startswith(start))
    listed = course.with_name("journey-passwords.csv")
    if listed.exists():
        assert listed.stat().st_mode & 0o777 == 0o600
        printed |= dict(line.split(",")[:2] for line in listed.read_text().splitlines()[1:])
    return printed


@pytest.fixture(scope="session")
def passwords(course: Path, occamctl: Run) -> dict[str, str]:
    """The course is up; first passwords of everybody."""
    said = occamctl("course", "up", "-y")
    assert "The course is at http://" in said
    return first_passwords(course, said)


@pytest.fixture(scope="session")
def url(occamctl: Run, passwords: dict[str, str]) -> str:
    return occamctl("course", "url").strip()
