"""Every lab and every solution, as a student goes through them in a notebook of a course on two pretend hosts.

One kernel does both: at each exercise it runs what the student was given, and the check must say that it is wrong; then
the solution, and the check must pass. `make test` has few rows; `make labs` as many as a class; it writes docs/labs.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from occamctl import sandbox
from occamctl.actions.student import Student

from . import lab_pages
from .conftest import say
from .lab_cells import LABS, QUICK, go_through, read, solution

pytestmark = pytest.mark.sandbox

COURSE, PERSON = "labs", "ada"


@pytest.fixture(scope="module")
def student(built: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Student]:
    """Signed in, with the notebook and the quota that the labs are written for."""
    sandbox.down(COURSE)
    hosts = sandbox.up(2, name=COURSE, tags=built, say=say)
    file = tmp_path_factory.mktemp(COURSE) / "occam.yaml"
    file.write_text(
        f"version: 1\ncourse: {COURSE}\ninstructors: [prof]\nstudents: [{PERSON}]\n{hosts.as_yaml()}"
        "notebook: {cpu_limit: 2, mem_limit: 4G}\nspark: {worker: {cpus: 1, memory: 2G}}\n"
        "quotas: {student: {workers: 4}}\n"
    )
    said = _occamctl(file, "course", "up", "-y")
    password = re.search(rf"first password of {PERSON}: (\S+)", said)
    listed = file.with_name(f"{COURSE}-passwords.csv")
    kept = listed.read_text().splitlines() if listed.exists() else []
    passwords = dict(line.split(",")[:2] for line in kept[1:]) | ({PERSON: password[1]} if password else {})
    made = Student(_occamctl(file, "course", "url").strip(), PERSON)
    made.sign_in(passwords[PERSON])
    made.start_server()
    yield made
    sandbox.down(COURSE)


def _occamctl(file: Path, *words: str) -> str:
    whole = [sys.executable, "-m", "occamctl", *words, "-c", str(file)]
    ran = subprocess.run(whole, capture_output=True, text=True, timeout=900, check=False)
    assert ran.returncode == 0, f"{words}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def delivered(student: Student, name: str) -> dict[str, Any]:
    """The lab that lies in the student's home."""
    answer = student.api("GET", f"contents/labs/{name}.ipynb")
    answer.raise_for_status()
    return dict(answer.json()["content"])


@pytest.mark.parametrize("name", LABS)
def test_a_lab_and_its_solution(student: Student, name: str) -> None:
    began = time.monotonic()
    with student.kernel() as kernel:
        kernel.run(QUICK)
        go_through(kernel, read(delivered(student, name), solution(name)), seconds=300)
    say(f"lab {name}: {time.monotonic() - began:.1f} s")


@pytest.mark.labs
@pytest.mark.parametrize("name", LABS)
def test_as_large_as_in_a_class(student: Student, name: str) -> None:
    cells = read(delivered(student, name), solution(name))
    stated = re.search(r"\*\*Time:\*\* (\d+) minutes", cells[0].source)
    assert stated, "the first cell states how long the lab takes"
    began = time.monotonic()
    with student.kernel() as kernel:
        page = lab_pages.write(name, go_through(kernel, cells, seconds=1200))
    minutes = (time.monotonic() - began) / 60
    say(f"lab {name}: {minutes:.1f} of {stated[1]} minutes, {page}")
    assert minutes < int(stated[1])
