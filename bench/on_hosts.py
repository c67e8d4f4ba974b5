"""A course on pretend hosts with one student signed in: the stage of the bench's Spark parts."""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import footprint

from occamctl import sandbox
from occamctl.actions.student import Kernel, Student
from occamctl.engine import images
from occamctl.engine.client import Engine
from occamctl.spec.course import Image

OCCAMCTL = str(Path(sys.executable).with_name("occamctl"))
NAME, STUDENT = "benchspark", "anna"
HOSTS, WORKERS = 3, 4
_FILE = """\
version: 1
course: {course}
instructors: [instructor]
students: [{student}]
{hosts}
notebook: {{cpu_limit: 2, mem_limit: 2G}}
spark: {{worker: {{cpus: 1, memory: 1G}}}}
quotas: {{student: {{workers: {workers}}}}}
"""
DEFINE = """
import time
def _on_all(sc, workers):
    def where(_):
        import socket, time
        time.sleep(0.1)
        return socket.gethostname() + str(os.getppid())
    import os
    seen = set()
    while len(seen) < workers:
        seen |= set(sc.parallelize(range(workers), workers).map(where).collect())
"""
OURS = """
_began = time.time()
import occam
spark = occam.spark(workers={workers})
_on_all(spark.sparkContext, {workers})
print("TOOK", time.time() - _began)
"""


@dataclass(frozen=True)
class Start:
    """From a call until a task has run on all executors: seconds, seconds of CPU, bytes of all JVMs at the end."""

    seconds: float
    cpu: float = 0
    memory: float = 0


@dataclass
class Stage:
    """A course on pretend hosts, with one student signed in. `name` is the sandbox's and the course's."""

    name: str
    there: sandbox.Sandbox
    student: Student
    image: str

    def on_host(self, *command: str, host: int = 1, stdin: str = "", seconds: float = 120) -> str:
        """What a command prints on a host."""
        at = sandbox.hosts.host_name(self.name, host)
        return inside(at, *command, stdin=stdin, seconds=seconds)

    def started(self, run: Callable[[], str]) -> Start:
        """What it took until the cell of `run` printed TOOK and its seconds."""
        before = footprint.look(self.name)
        text = run()
        after = footprint.look(self.name)
        return Start(took(text)[0][0], after.since(before), after.jvms)


@contextmanager
def stage(*more: images.Built) -> Iterator[Stage]:
    """A course on pretend hosts that have `more` images too; nothing of it is left at the end."""
    wanted = (images.hub_image(), images.notebook_image(Image()), *more)
    for image in wanted:
        images.ensure_built(Engine.local(), image, lambda text: None)
    with tempfile.TemporaryDirectory() as folder:
        sandbox.down(NAME)  # of a bench that was killed
        try:
            options = {number: {"OCCAM_DOCKER_GROUP": "1"} for number in range(1, HOSTS + 1)}
            there = sandbox.up(HOSTS, name=NAME, tags=[image.tag for image in wanted], options=options)
            yield _course(Path(folder), there, wanted[1].tag)
        finally:
            sandbox.down(NAME)


def _course(folder: Path, there: sandbox.Sandbox, image: str) -> Stage:
    file = folder / "occam.yaml"
    file.write_text(_FILE.format(course=NAME, student=STUDENT, hosts=there.as_yaml(), workers=WORKERS))
    subprocess.run([OCCAMCTL, "course", "up", "-y", "-c", file], check=True, stdout=subprocess.DEVNULL, timeout=900)
    with (folder / f"{NAME}-passwords.csv").open() as rows:
        password = next(row["password"] for row in csv.DictReader(rows) if row["username"] == STUDENT)
    url = subprocess.run([OCCAMCTL, "course", "url", "-c", file], capture_output=True, text=True, check=True).stdout
    student = Student(url.strip(), STUDENT)
    student.sign_in(password)
    student.start_server()
    return Stage(NAME, there, student, image)


def inside(container: str, *command: str, stdin: str = "", seconds: float = 120) -> str:
    """What a command prints in a container of this machine's engine."""
    code, out, err = Engine.local().exec(container, list(command), stdin.encode(), seconds=seconds)
    if code:
        told = f"{out.decode(errors='replace')[-500:]}{err.decode(errors='replace')[-1500:]}"
        raise SystemExit(f"{' '.join(command)[:80]}: {code}\n{told}")
    return out.decode()


def run(kernel: Kernel, cell: str) -> str:
    ran = kernel.run(cell, seconds=600)
    if ran.error:
        raise SystemExit(f"a cell of the bench failed: {ran.error[-2000:]}\n{ran.text[-1000:]}")
    return ran.text


def took(text: str) -> list[list[float]]:
    """The numbers after each TOOK."""
    lines: Sequence[str] = [line for line in text.splitlines() if line.startswith("TOOK ")]
    return [[float(one) for one in line.split()[1:]] for line in lines]


def until_no_jvm(on: Stage, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while footprint.look(on.name).jvms:
        if time.monotonic() > end:
            raise SystemExit("JVMs are left that nobody needs")
        time.sleep(0.5)
