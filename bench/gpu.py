"""GPUs on pretend hosts with simulated ones: what listing them costs, and how soon a worker with one is there."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import Line, interleaved

from occamctl import sandbox
from occamctl.actions import clusters
from occamctl.actions.session import Session, open_course
from occamctl.engine import images
from occamctl.engine.client import Engine
from occamctl.spec.course import Image

OCCAMCTL = str(Path(sys.executable).with_name("occamctl"))
NAME, HOSTS, GPUS = "benchgpu", 3, 2
ROUNDS, JOINS = 5, 15
HEARTBEAT = 5
"""Seconds between two of a driver."""
_FILE = """\
version: 1
course: {course}
students: [anna]
{hosts}
spark: {{worker: {{cpus: 1, memory: 1G}}}}
"""


def measure() -> list[Line]:
    tags = []
    for image in (images.hub_image(), images.notebook_image(Image())):
        images.ensure_built(Engine.local(), image, lambda text: None)
        tags.append(image.tag)
    with tempfile.TemporaryDirectory() as folder:
        sandbox.down(NAME)  # of a bench that was killed
        try:
            there = sandbox.up(HOSTS, name=NAME, tags=tags, gpus=GPUS)
            file = Path(folder) / "occam.yaml"
            file.write_text(_FILE.format(course=NAME, hosts=there.as_yaml()))
            for words in (["host", "prepare", "--gpu"], ["course", "up", "-y"]):
                command = [OCCAMCTL, *words, "-c", str(file)]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=900)
            return [_list(file), _join(file)]
        finally:
            sandbox.down(NAME)


def _list(file: Path) -> Line:
    commands = {what: [OCCAMCTL, what, "list", "-c", str(file)] for what in ("gpu", "host")}
    took = interleaved(commands, ROUNDS)
    detail = ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in took.items())
    return Line(f"gpu list on {HOSTS} hosts to host list", took["gpu"] / took["host"], 1.5, detail=detail)


def _join(file: Path) -> Line:
    """From the request until Spark counts the worker, with its driver there already; the first round does not count.

    The driver says it with its heartbeat: times come in steps, so means are taken, and each request comes at another
    moment between two heartbeats. Without that pause the two kinds fell into step with them, one always just too late;
    with pauses drawn for each by itself the ratio was between 0.88 and 1.22. So both have the same ones, evenly spread.
    """
    pauses = [HEARTBEAT * (number + 0.5) / JOINS for number in range(JOINS)]
    took: dict[str, list[float]] = {"with": [], "without": []}
    with open_course(file, manager_only=True) as session:
        session.all_here()
        clusters.scale(session, "", "", 0)
        for pause in (0, *random.Random(1).sample(pauses, JOINS)):
            for kind, gpu in (("without", None), ("with", 1)):
                time.sleep(pause)
                took[kind].append(_joined(session, gpu))
    means = {name: statistics.fmean(times[1:]) for name, times in took.items()}
    detail = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in means.items())
    return Line(
        "a worker with a GPU to one without, until Spark counts it",
        means["with"] / means["without"],
        1.2,
        detail=detail,
    )


def _joined(session: Session, gpu: int | None) -> float:
    began = time.perf_counter()
    clusters.scale(session, "", "", 1, gpu)
    took = time.perf_counter() - began
    clusters.scale(session, "", "", 0, gpu)
    return took
