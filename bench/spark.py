"""A student's Spark on pretend hosts, beside stock Spark standalone and Ray on the same hosts, in turns.

ours        `occam.spark(workers=4)` in a notebook of a course, as a student has it; then the same after the kernel was
            restarted, and once more in the kernel that has it.
standalone  stock Spark: a master and four workers of the same image by `docker stack deploy`, on the student's own
            network, with the limits and heaps that ours have; the driver is `SparkSession.builder` in a new kernel of
            the same notebook, begins at the same moment as the stack, and waits for nothing but the master's port.
            Class path, scripts and JVM options are Spark's own.
ray         `ray up` with the local provider: a head with two CPUs and two workers with one on the same hosts,
            containers of the same image with ray[default] in a layer on top, which is there before; then a program on
            the head that ends when tasks have run in four workers. Ray's containers have no limits.

The clock starts with the call and ends when a Python task has run on each of the four. CPU seconds are those of all
containers on the hosts meanwhile (hub, gateway and proxy too); memory is the PSS of all JVMs at the end.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import ray_up
import stock
from on_hosts import DEFINE, HOSTS, NAME, OURS, STUDENT, WORKERS, Stage, Start, inside, run, stage, took, until_no_jvm
from side_by_side import Line

from occamctl import sandbox
from occamctl.actions.student import Kernel
from occamctl.engine import images
from occamctl.engine.client import Engine
from occamctl.engine.context import Context
from occamctl.errors import OccamError
from occamctl.spec.course import Image
from occamctl.spec.names import Names

ROUNDS, REFUSALS = 3, 11
OPERATOR = f"{NAME}-operator"
GB = 1_000_000_000
_STOCK = """
_began = {began}
{driver}
_on_all(spark.sparkContext, {workers})
print("TOOK", time.time() - _began)
"""
_REFUSED = """
import occam
for _ in range({times}):
    _began = time.time()
    try:
        occam.spark(workers=99)
    except occam.NotEnough:
        print("TOOK", time.time() - _began)
"""


def measure() -> list[Line]:
    ray, why_no_ray = _ray_image(), ""
    try:
        images.ensure_built(Engine.local(), ray, lambda text: None)
    except OccamError as error:
        why_no_ray = f"the image with Ray cannot be built: {error.what}"
    _no_operator()  # of a bench that was killed
    try:
        with stage(*([] if why_no_ray else [ray])) as on:
            return [*_starts(on, why_no_ray), _refusals(on)]
    finally:
        images.remove(Engine.local(), [ray.tag])


def _starts(on: Stage, why_no_ray: str) -> list[Line]:
    seen: dict[str, list[Start]] = {name: [] for name in ("ours", "warm", "restarted", "standalone", "ray")}
    with ExitStack() as closing:
        ray: _Ray | None = None
        for number in range(ROUNDS + 1):
            now = {**ours(on), "standalone": standalone(on)}
            if not why_no_ray:
                try:
                    ray = ray or closing.enter_context(_ray(on))
                    now["ray"] = Start(ray.up())
                except (SystemExit, OccamError) as failed:
                    why_no_ray = str(failed)[-300:]
            if number:  # the first one fills caches, and does not count
                for name, one in now.items():
                    seen[name].append(one)
    return _compared(seen, why_no_ray)


def _compared(seen: dict[str, list[Start]], why_no_ray: str) -> list[Line]:
    def middle(name: str, what: str) -> float:
        return float(statistics.median(getattr(one, what) for one in seen[name]))

    def line(what: str, field: str, mine: str, peer: str, limit: float, unit: str, scale: float = 1) -> Line:
        one, other = middle(mine, field) / scale, middle(peer, field) / scale
        return Line(what, one / other, limit, detail=f"{one:.2f} {unit} to {other:.2f} {unit}")

    to_four = "a task has run on all 4 workers"
    stock_ = "stock standalone by docker stack deploy"
    beside_ray = Line(f"cold, until {to_four}, to ray up", 0, 0.7, skipped=why_no_ray)
    if seen["ray"]:
        beside_ray = line(beside_ray.what, "seconds", "ours", "ray", 0.7, "s")
    return [
        line(f"cold, until {to_four}, to {stock_}", "seconds", "ours", "standalone", 0.45, "s"),
        beside_ray,
        line(f"CPU seconds to that point, to {stock_}", "cpu", "ours", "standalone", 0.45, "s"),
        line(f"memory of all JVMs at that point, to {stock_}", "memory", "ours", "standalone", 0.55, "GB", GB),
        line("a cluster that the kernel has, to our own cold", "seconds", "warm", "ours", 0.2, "s"),
        line("a cluster found again by a restarted kernel, to our own cold", "seconds", "restarted", "ours", 0.2, "s"),
    ]


def ours(on: Stage) -> dict[str, Start]:
    """Our cluster from nothing in a new kernel, once more there, and after a restart of it; it is gone afterwards."""
    cell = OURS.format(workers=WORKERS)
    with on.student.kernel() as kernel:
        run(kernel, DEFINE)
        cold = on.started(lambda: run(kernel, cell))
        warm = on.started(lambda: run(kernel, cell))
        on.student.api("POST", f"kernels/{kernel.id}/restart").raise_for_status()
        again = Kernel(on.student, kernel.id)
        run(again, DEFINE)
        restarted = on.started(lambda: run(again, cell))
        run(again, "spark.stop()")
        again.close()
    until_no_jvm(on)
    return {"ours": cold, "warm": warm, "restarted": restarted}


def standalone(on: Stage) -> Start:
    """Stock Spark in a new kernel of the same notebook; it is gone afterwards."""
    network = Names(on.name).net(STUDENT)
    stack = stock.STACK.format(image=on.image, network=network, workers=WORKERS)
    with on.student.kernel() as kernel, ThreadPoolExecutor(1) as pool:
        run(kernel, DEFINE)

        def both() -> str:
            driver = stock.DRIVER.format(master="spark-master", workers=WORKERS)
            cell = _STOCK.format(began=time.time(), driver=driver, workers=WORKERS)
            deployed = pool.submit(on.on_host, "docker", "stack", "deploy", "-c", "-", "stock", stdin=stack)
            text = run(kernel, cell)
            deployed.result()
            return text

        try:
            start = on.started(both)
            run(kernel, "spark.stop()")
        finally:
            on.on_host("docker", "stack", "rm", "stock")
    until_no_jvm(on)
    return start


@dataclass
class _Ray:
    """`ray up` in a container of its own, as an operator's machine would be."""

    on: Stage
    operator: str

    def up(self) -> float:
        """Seconds from `ray up` until tasks have run in four workers; it is gone afterwards."""
        began = time.time()
        try:
            inside(self.operator, "/opt/ray/bin/ray", "up", "-y", "--no-config-cache", "/work/cluster.yaml")
            self.on.on_host("docker", "exec", "-i", "ray", "/opt/ray/bin/python", "-", stdin=ray_up.TASK)
            return time.time() - began
        finally:
            for host in range(1, HOSTS + 1):
                with suppress(SystemExit):
                    self.on.on_host("docker", "rm", "-f", "ray", host=host)
            inside(self.operator, "rm", "-rf", "/tmp/ray")


@contextmanager
def _ray(on: Stage) -> Iterator[_Ray]:
    engine = Engine.local()
    for host in range(1, HOSTS + 1):
        on.on_host("sh", "-c", "apt-get update -q && apt-get install -qy rsync", host=host, seconds=300)
    first, *others = on.there.addresses
    told = ray_up.CLUSTER.format(head=first, workers=", ".join(others), many=len(others), image=_ray_image().tag)
    made = engine.api.create_container(
        _ray_image().tag,
        ["sleep", "infinity"],
        name=OPERATOR,
        environment=ray_up.ENVIRONMENT,
        host_config=engine.api.create_host_config(
            network_mode=sandbox.hosts._network(on.name), binds=[f"{on.there.folder}:/keys:ro"]
        ),
    )["Id"]
    try:
        engine.api.start(made)
        keep = "mkdir /work && install -m 0600 /keys/id_ed25519 /work && cat > /work/cluster.yaml"
        inside(OPERATOR, "sh", "-c", keep, stdin=told)
        yield _Ray(on, OPERATOR)
    finally:
        _no_operator()


def _no_operator() -> None:
    engine = Engine.local()
    for one in engine.api.containers(all=True, filters={"name": f"^/{OPERATOR}$"}):
        engine.api.remove_container(one["Id"], force=True, v=True)


def _ray_image() -> images.Built:
    """The notebook image with Ray in one layer more."""
    parent = images.notebook_image(Image())
    text = ray_up.DOCKERFILE.format(ray=ray_up.RAY)
    made = Context({"Dockerfile": (text.encode(), False)})
    return images.Built(f"{images.PREFIX}/bench-ray:{made.digest(parent.tag)}", "notebook image with Ray", made, parent)


def _refusals(on: Stage) -> Line:
    with on.student.kernel() as kernel:
        first, *later = [one[0] for one in took(run(kernel, DEFINE + _REFUSED.format(times=REFUSALS)))]
    detail = f"the first in a kernel {first * 1000:.0f} ms"
    return Line("a refused request in a notebook", statistics.median(later) * 1000, 200, "ms", detail=detail)
