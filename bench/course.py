"""A course on pretend hosts: what a second `course up` costs, and how much memory the pieces take."""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from side_by_side import Line, interleaved

from occamctl import sandbox
from occamctl.actions.pieces import container_of
from occamctl.actions.session import Session, open_course
from occamctl.actions.student import Student
from occamctl.engine import images, swarm
from occamctl.engine.client import Engine
from occamctl.spec.course import Image

OCCAMCTL = str(Path(sys.executable).with_name("occamctl"))
STUDENTS = ("anna", "bruno", "carla")
ROUNDS = 7
MB = 1_000_000
_FILE = """\
version: 1
course: {course}
instructors: [instructor]
students: roster.csv
{hosts}
notebook: {{cpu_limit: 2, mem_limit: 2G}}
spark: {{worker: {{cpus: 1, memory: 1G}}}}
"""


def measure() -> list[Line]:
    with _pretend_hosts(4) as there, tempfile.TemporaryDirectory() as folder:
        three = _up(Path(folder) / "three", "bench3", there, there.addresses[:3])
        one = _up(Path(folder) / "one", "bench1", there, there.addresses[3:])
        return [*_second_up(there, one, three), *_memory(three)]


@contextmanager
def _pretend_hosts(count: int) -> Iterator[sandbox.Sandbox]:
    tags = []
    for image in (images.hub_image(), images.notebook_image(Image())):
        images.ensure_built(Engine.local(), image, lambda text: None)
        tags.append(image.tag)
    try:
        yield sandbox.up(count, name="bench", tags=tags)
    finally:
        sandbox.down("bench")


def _up(folder: Path, course: str, there: sandbox.Sandbox, addresses: tuple[str, ...]) -> Path:
    folder.mkdir()
    file = folder / "occam.yaml"
    hosts = sandbox.Sandbox(there.name, addresses, there.folder).as_yaml()
    file.write_text(_FILE.format(course=course, hosts=hosts))
    (folder / "roster.csv").write_text("username\n" + "".join(f"{name}\n" for name in STUDENTS))
    subprocess.run([OCCAMCTL, "course", "up", "-y", "-c", file], check=True, stdout=subprocess.DEVNULL, timeout=900)
    return file


def _second_up(there: sandbox.Sandbox, one: Path, three: Path) -> list[Line]:
    host = there.addresses[0]
    ssh = ["ssh", "-o", f"UserKnownHostsFile={there.known_hosts}", "-i", str(there.key), f"ops@{host}"]
    took = interleaved(
        {
            "start": [OCCAMCTL, "--help"],
            "ssh": [*ssh, "sudo", "docker", "info"],
            "one": [OCCAMCTL, "course", "up", "-y", "-c", str(one)],
            "three": [OCCAMCTL, "course", "up", "-y", "-c", str(three)],
        },
        ROUNDS,
    )
    detail = ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in took.items())
    return [
        Line(
            "second course up, less the command's own start, to ssh HOST docker info",
            (took["one"] - took["start"]) / took["ssh"],
            3,
            detail=detail,
        ),
        Line("second course up on three hosts to the same on one", took["three"] / took["one"], 4 / 3),
    ]


def _memory(file: Path) -> list[Line]:
    with (file.parent / "bench3-passwords.csv").open() as rows:
        passwords = {row["username"]: row["password"] for row in csv.DictReader(rows)}
    url = subprocess.run([OCCAMCTL, "course", "url", "-c", file], capture_output=True, text=True, check=True).stdout
    for name in STUDENTS:
        student = Student(url.strip(), name)
        student.sign_in(passwords[name])
        student.start_server()
    with open_course(file) as session:
        front = sum(
            _resident(session.manager, container_of(session.manager, f"bench3-{piece}"))
            for piece in ("hub", "gateway", "proxy")
        )
        notebook = max(_notebook(session, name) for name in STUDENTS)
    return [
        Line("hub, gateway and proxy with 3 students signed in", front / MB, 400, "MB"),
        Line("the largest of 3 idle notebooks", notebook / MB, 250, "MB"),
    ]


def _notebook(session: Session, user: str) -> int:
    container = container_of(session.manager, session.names.notebook(user))
    node = next(
        task.node_id
        for task in swarm.tasks(session.manager, service_name=session.names.notebook(user))
        if task.state == "running"
    )
    return next(
        _resident(engine, container) for engine in session.engines.values() if swarm.in_swarm(engine)["NodeID"] == node
    )


def _resident(engine: Engine, container: str) -> int:
    """Bytes of anonymous memory of a container, as its control group counts them."""
    counted = engine.api.stats(container, stream=False)["memory_stats"]["stats"]
    return int(counted.get("rss", counted.get("anon", 0)))
