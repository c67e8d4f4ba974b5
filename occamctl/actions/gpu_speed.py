"""`occamctl gpu check --deep`: a small computation on every GPU that nobody holds, and on its host's CPUs."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from occamctl import wait
from occamctl.actions.gpu_proof import held, until_ended
from occamctl.actions.session import Session, each
from occamctl.engine import images, nodes, swarm
from occamctl.engine.swarm import Node
from occamctl.errors import EngineError, OccamError
from occamctl.plan import desired, gpus
from occamctl.plan.observed import Gpu
from occamctl.spec.units import size

Say = Callable[[str, str], None]
SECONDS = 300
"""For one computation: TensorFlow takes most of a minute to start on a GPU that it sees for the first time."""


def measure(session: Session, only: str, say: Say) -> list[dict[str, Any]]:
    """One row for each GPU that the hosts lend; hosts at the same time, the GPUs of one host one after another.

    `gpu` and `cpu` are GFLOP/s of float32 products; `trouble` says why there are none.

    only  one host of the course; "" means all

    Raises EngineError when the course is not up.
    """
    manager = session.manager
    if swarm.in_swarm(manager) is None:
        raise EngineError("the course is not up", where=manager.name, fix="run: occamctl course up")
    by_id = {node.id: node for node in swarm.nodes(manager)}
    hosts = [host for host in session.hosts if only in ("", host)]

    def on(host: str) -> list[dict[str, Any]]:
        node = by_id[nodes.own_id(session.engine(host))]
        return [_row(session, host, node, gpu, say) for gpu in gpus.lent(node.labels)]

    found, errors = each(hosts, on)
    session.errors.update(errors)
    return [row for host in hosts for row in found.get(host, [])]


def _row(session: Session, host: str, node: Node, gpu: Gpu, say: Say) -> dict[str, Any]:
    row = {"host": host, "uuid": gpu.uuid, "model": gpus.called(gpu), "gpu": None, "cpu": None, "trouble": ""}
    why = gpus.trouble(gpu, node.labels, node.generic)
    if not why and gpu.uuid in held(session.manager, node.id):
        why = "somebody holds it"
    if why:
        return row | {"trouble": why}
    say(host, f"computing on {gpu.uuid}")
    try:
        said = _computed(session, node, gpu)
    except OccamError as error:
        return row | {"trouble": error.what}
    seen = row | {"gpu": said["gpu"], "cpu": said["cpu"]}
    if said["gpu"] is None:
        hint = "" if session.course.image.gpu else "; image: {gpu: true} brings CUDA"
        return seen | {"trouble": f"TensorFlow {said['tensorflow']} sees no GPU{hint}"}
    return seen


def _computed(session: Session, node: Node, gpu: Gpu) -> dict[str, Any]:
    """What the program printed. The swarm keeps the GPU from others meanwhile, and nothing is left."""
    manager, wanted = session.manager, _service(session, node, gpu)
    try:
        swarm.remove_service(manager, wanted.name)  # a command that was killed left it
        swarm.ensure_service(manager, wanted)
        _until_ended(session, wanted.name)
        return dict(json.loads(_printed(session, wanted.name)))
    finally:
        with suppress(OccamError):
            swarm.remove_service(manager, wanted.name)


def _service(session: Session, node: Node, gpu: Gpu) -> desired.Service:
    course = session.course
    return desired.Service(
        name=f"{course.course}-gpu-speed-{node.id[:8]}",
        image=images.of_course(course.image)[-1].tag,
        labels=desired.labels(course.course, "probe"),
        command=("python", "-m", "occam.gpu_speed"),
        env=gpus.visible(True) | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        user="1000",
        constraints=(f"node.id == {node.id}",),
        mem_limit=size("8G"),
        pids_limit=1024,
        stop_grace=2,
        restart="none",
        generic=(gpus.kind(gpu.uuid),),
    )


def _until_ended(session: Session, name: str) -> None:
    state, message = until_ended(session.manager, name, "the computation's end", SECONDS)
    if state != "complete":
        last = swarm.service_logs(session.manager, name, tail=3).strip().splitlines()
        raise EngineError(f"{message}{': ' + last[-1] if last else ''}")


def _printed(session: Session, name: str) -> str:
    """The line of JSON; it may come a moment after the container's end. Raises TookTooLong."""

    def lines() -> list[str]:
        printed = swarm.service_logs(session.manager, name).splitlines()
        return [line for line in printed if line.startswith("{")]

    return wait.until(lines, bool, "what the computation printed", seconds=15)[-1]


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row for people."""

    def speed(value: float | None) -> str:
        return "" if value is None else f"{value:,.0f} GFLOP/s"

    times = f"{row['gpu'] / row['cpu']:.1f}x" if row["gpu"] and row["cpu"] else ""
    return {**row, "gpu": speed(row["gpu"]), "cpu": speed(row["cpu"]), "times": times}
