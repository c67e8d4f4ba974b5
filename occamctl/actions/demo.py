"""`occamctl demo`: a whole course on this machine, and a student who runs a real lab in it.

What it makes is under one folder and one course name, so that `occamctl demo --down` finds and removes all of it: the
course, the pretend hosts, and an engine that was not there before.
"""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from occamctl import sandbox
from occamctl.actions import down as takedown
from occamctl.actions import up as bringup
from occamctl.actions.first_passwords import file_of, kept
from occamctl.actions.session import Session, open_course
from occamctl.actions.student import Student, cells
from occamctl.engine import images, leftovers
from occamctl.engine.client import Engine
from occamctl.errors import OccamError
from occamctl.hosts import prepare
from occamctl.hosts.connection import LocalMachine
from occamctl.spec import load
from occamctl.spec.course import Image

Say = Callable[[str, str], None]
COURSE = "demo"
STUDENT = "anna.rossi@unito.it"
LAB = "flights.ipynb"
RESULT = "OCCAM-LAB "
FIRST_PORT = 8000
_FILE = """\
# Written by `occamctl demo`. A course of your own begins with: occamctl init
version: 1
course: {course}
title: Machine learning on HPC resources
instructors: [{{username: instructor, name: The Instructor}}]
students: roster.csv
{hosts}hub: {{port: {port}}}
notebook: {{cpu_limit: 2, mem_limit: 3G}}
spark: {{worker: {{cpus: 1, memory: 1536M}}}}
quotas: {{student: {{workers: 4}}}}
"""
_ROSTER = f"""\
username,name,email,group
{STUDENT},Anna Rossi,{STUDENT},
b_bianchi,Bruno Bianchi,,
"""


@dataclass
class Demo:
    """What the demo did and what is there now."""

    url: str = ""
    username: str = STUDENT
    password: str = field(default="", repr=False)
    lab: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    pieces: list[dict[str, Any]] = field(default_factory=list)
    folder: Path = Path()


def state_folder() -> Path:
    return sandbox.state_folder().parent / "demo"


@contextmanager
def _step(demo: Demo, say: Say, title: str) -> Iterator[None]:
    say("", title)
    start = time.monotonic()
    yield
    demo.seconds[title] = round(time.monotonic() - start, 1)


def demo(hosts: int, say: Say, told: Callable[[str], None]) -> Demo:
    """Run the demo on this machine's engine (0), or on so many pretend hosts over SSH.

    told  gets what the lab prints, as it prints it
    """
    made = Demo(folder=state_folder())
    start = time.monotonic()
    with _step(made, say, "a container engine"):
        prepare.prepare(LocalMachine(), lambda text: say("", text))
    with _step(made, say, "images"):
        engine = Engine.local()
        built = (images.hub_image(), images.notebook_image(Image()))
        for image in built:
            images.ensure_built(engine, image, lambda text: say("", text))
    with _step(made, say, "a course file" + (f" and {hosts} hosts over SSH" if hosts else "")):
        config = _course_file(made.folder, hosts, [image.tag for image in built], say)
    with _step(made, say, "the course: hub, gateway, proxy"), open_course(config) as session:
        up = bringup.up(session, say, bringup.plan(session))
        made.url, made.password = up.url, _password(config)
    student = Student(made.url, STUDENT)
    with _step(made, say, f"{STUDENT} signs in and gets a notebook"):
        student.sign_in(made.password)
        student.start_server()
    with _step(made, say, "the lab: Spark on two workers, real flights"):
        made.lab = run_lab(student, told)
    with open_course(config) as session:
        made.pieces = _pieces(session)
    made.seconds["all of it"] = round(time.monotonic() - start, 1)
    return made


def _course_file(folder: Path, hosts: int, tags: list[str], say: Say) -> Path:
    """The demo's course file; one that is there stays, so that a second demo is the same course."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "occam.yaml"
    there = load.load(config) if config.exists() else None
    if there and len(there.hosts) != hosts:
        raise OccamError(
            f"a demo with {len(there.hosts) or 'no'} hosts is there already",
            where=str(folder),
            fix="occamctl demo --down",
        )
    text = ""
    if hosts:
        made = sandbox.up(hosts, name=COURSE, tags=tags, say=say)
        text = made.as_yaml()
    if not there:
        (folder / "roster.csv").write_text(_ROSTER)
        config.write_text(_FILE.format(course=COURSE, hosts=text, port=FIRST_PORT if hosts else _free_port()))
    return config


def _free_port() -> int:
    for port in range(FIRST_PORT, FIRST_PORT + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise OccamError(f"no free port from {FIRST_PORT} on")


def _password(config: Path) -> str:
    """The student's first password, from where `up` wrote it before the account was made: also one that broke off."""
    path = file_of(config, COURSE)
    known = kept(path) if path else {}
    if STUDENT not in known:
        raise OccamError(
            f"the password of {STUDENT} is not there any more", where=str(path), fix="run: occamctl demo --down"
        )
    return known[STUDENT]


def run_lab(student: Student, told: Callable[[str], None]) -> dict[str, Any]:
    """Run every cell of the lab in a kernel of the student's. Raises OccamError when a cell fails."""
    answer = student.api("GET", f"contents/labs/{LAB}")
    answer.raise_for_status()
    printed = ""
    with student.kernel() as kernel:
        for code in cells(json.dumps(answer.json()["content"])):
            ran = kernel.run(code, told=told)
            if ran.error:
                raise OccamError(f"the lab failed: {ran.error[-1500:]}", where=LAB)
            printed += ran.text
    result = next((line for line in printed.splitlines() if line.startswith(RESULT)), None)
    if result is None:
        raise OccamError("the lab printed no result", where=LAB)
    found: dict[str, Any] = json.loads(result.removeprefix(RESULT))
    return found


def _pieces(session: Session) -> list[dict[str, Any]]:
    """What runs where."""
    from occamctl.engine import swarm
    from occamctl.spec import names

    nodes = {node.id: node.hostname for node in swarm.nodes(session.manager)}
    tasks = swarm.tasks(session.manager)
    return [
        {
            "piece": one["Spec"]["Name"],
            "kind": one["Spec"]["Labels"].get(names.KIND, ""),
            "host": ", ".join(nodes.get(task.node_id, "?") for task in tasks if _of(task, one)) or "-",
        }
        for one in sorted(
            swarm.services(session.manager, {names.COURSE: session.course.course}), key=lambda one: one["Spec"]["Name"]
        )
    ]


def _of(task: Any, service: dict[str, Any]) -> bool:
    return bool(task.service_id == service["ID"] and task.state == "running" and task.wanted == "running")


def undo(say: Say) -> list[str]:
    """Take the demo away; returns what was done. An engine or a swarm that was there before stays."""
    folder, did = state_folder(), []
    config = folder / "occam.yaml"
    if config.exists() and prepare.engine_runs(LocalMachine()):
        if load.load(config).hosts:
            sandbox.down(COURSE, say)
            leftovers.remove_images(Engine.local())
            did.append("sandbox")
        else:
            with open_course(config) as session:
                takedown.down(session, say)
            did.append("course")
    undone = prepare.undo_prepare(LocalMachine(), lambda text: say("", text))
    did += undone
    shutil.rmtree(folder, ignore_errors=True)
    return did
