"""`occam.spark()`: a SparkSession whose driver is in this kernel and whose workers are containers of the course."""

from __future__ import annotations

import atexit
import os
import re
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

from occam import cluster as clusters_of
from occam import driver as jvm
from occam import gateway as api
from occam import show
from occam.cluster import Cluster
from occam.errors import NotReached, NotStarted, OccamError, Refused
from occam.progress import Progress

HEARTBEAT = 5.0
"""Seconds between two signs of life while the driver starts; from then on the driver's JVM gives them."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([MG]?)(?:i?B)?", re.IGNORECASE)


class Session(SparkSession):
    """A SparkSession that knows its cluster: how it looks, and what has to go when it stops."""

    _occam: _Running | None = None

    def __repr__(self) -> str:
        return _shown(self, show.session_text) or super().__repr__()

    def _repr_html_(self) -> str:
        return _shown(self, show.session_html) or str(super()._repr_html_())

    @property
    def cluster(self) -> Cluster:
        """The cluster as the gateway sees it now: workers, hosts, cores, memory. Raises OccamError."""
        if self._occam is None:
            raise Refused("this session has stopped", "start one with occam.spark()")
        return clusters_of.from_answer(self._occam.gateway.ask("GET", f"clusters/{self._occam.name}"))

    def stop(self) -> None:
        """Stop Spark and give the workers back."""
        running, self._occam = self._occam, None
        if running is None:
            return
        try:
            super().stop()
        finally:
            running.end()


@dataclass
class _Running:
    """What this kernel holds: one cluster, and the JVM that drives it."""

    gateway: api.Gateway
    name: str
    asked: tuple[int | None, int | None, tuple[tuple[str, str], ...]]
    driver: jvm.Driver
    link: str
    session: Session | None = None

    @property
    def alive(self) -> bool:
        if self.driver.jvm.poll() is not None or self.session is None:
            return False
        context = self.session.sparkContext._jsc
        return context is not None and not context.sc().isStopped()

    def registered(self) -> int:
        """Workers that the driver has; it counts itself as one more."""
        if self.session is None:
            return 0
        return int(self.session.sparkContext._jsc.sc().getExecutorMemoryStatus().size()) - 1

    def end(self) -> None:
        jvm.detach()
        self.driver.stop()


_lock = threading.RLock()
_current: list[_Running] = []


def spark(
    workers: int = 2,
    cores: int | None = None,
    memory: str | int | None = None,
    name: str = "lab",
    conf: Mapping[str, str] | None = None,
    timeout: float = 180,
) -> Session:
    """A Spark session with `workers` workers; the one that is running when there is one of this `name`.

    cores, memory  of one worker; memory as "2G" or in bytes. The course's own sizes when left away
    conf           more of Spark's settings
    timeout        seconds that the workers may take to come

    Called again with another number of workers it scales. Raises Refused, NotEnough, NotReached, NotStarted.
    """
    asked = (cores, _bytes(memory), tuple(sorted((conf or {}).items())))
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise Refused(f"workers must be a whole number of at least 1, not {workers!r}")
    with _lock:
        running = _here()
        if running is None:
            return _start(api.here(), workers, asked, name, timeout)
        if running.name != name:
            raise Refused(f"this kernel already has the cluster {running.name!r}", "spark.stop() ends it; one kernel has one cluster")
        if running.asked != asked:
            raise Refused(f"the cluster {name!r} runs with other sizes or settings", "spark.stop() ends it, then ask again")
        return _scale(running, workers, timeout)


def clusters() -> list[Cluster]:
    """Your Spark clusters, of all notebooks."""
    return [clusters_of.from_answer(one) for one in api.here().ask("GET", "clusters")]


def quota() -> dict[str, int]:
    """Workers that you may have at a time (limit), have now (held), and that would find room (free_on_hosts)."""
    return dict(api.here().ask("GET", "quota")["workers"])


def stop(name: str | None = None) -> None:
    """Stop this kernel's cluster, or your cluster `name` wherever its notebook is."""
    with _lock:
        running = _here()
        if running is not None and name in (None, running.name):
            assert running.session is not None
            running.session.stop()
        elif name is not None:
            api.here().ask("DELETE", f"clusters/{name}", timeout=60)


def current() -> Session | None:
    """The session of this kernel, if there is one."""
    with _lock:
        running = _here()
        return running.session if running else None


def _here() -> _Running | None:
    """What this kernel holds; what died meanwhile is cleared away."""
    if _current and not _current[0].alive:
        gone = _current.pop()
        if gone.session is not None and gone.session._occam is not None:
            gone.session._occam = None
            gone.end()
    return _current[0] if _current else None


def _start(
    gateway: api.Gateway, workers: int, asked: tuple[int | None, int | None, tuple[tuple[str, str], ...]], name: str, timeout: float
) -> Session:
    if SparkSession.getActiveSession() is not None:
        raise Refused("this kernel already has a Spark session of its own", "stop it first, or restart the kernel")
    host = os.environ.get("OCCAM_DRIVER_HOST") or "127.0.0.1"
    ports = [jvm.free_port(host), jvm.free_port("127.0.0.1")]
    progress = Progress(name, workers)
    progress.update(None, now=True)
    cores, memory, more = asked
    wish = {"name": name, "workers": workers, "cores": cores, "memory": memory, "driver": "notebook"}
    wish |= {"driver_host": host, "driver_port": ports[0], "kernel": _kernel()}
    try:
        said = gateway.ask("POST", "clusters", {key: value for key, value in wish.items() if value is not None}, timeout=60)
        watch = _Watch(gateway, name, clusters_of.from_answer(said), progress)
        try:
            session = _drive(gateway, said, asked, ports[1], dict(more), watch)
            _wait_for_workers(session._occam, workers, watch, timeout)  # type: ignore[arg-type]
        except BaseException:
            _give_up(gateway, name)
            raise
        finally:
            watch.stop()
    except BaseException:
        progress.failed()
        raise
    progress.done(repr(session), session._repr_html_())
    return session


def _drive(
    gateway: api.Gateway, said: dict[str, Any], asked: tuple[Any, Any, Any], ui_port: int, more: dict[str, str], watch: _Watch
) -> Session:
    """Start the JVM on the cluster that the gateway has `said` to be ours, and make it this kernel's."""
    conf = {str(key): str(value) for key, value in (said.get("conf") or {}).items()} | more
    page = _page(gateway.user, ui_port)
    conf |= {"spark.authenticate.secret": str(said["secret"]), "spark.ui.port": str(ui_port), "spark.ui.proxyBase": page}
    running = _Running(gateway, str(said["name"]), asked, jvm.start(conf, gateway.token, watch.check), f"{page}/jobs/")
    try:
        running.session = SparkSession.builder.getOrCreate()
    except BaseException:
        running.end()
        raise
    running.session.__class__ = Session
    running.session._occam = running
    _current.append(running)
    watch.driver_ready(running)
    return running.session


def _scale(running: _Running, workers: int, timeout: float) -> Session:
    assert running.session is not None
    now = clusters_of.from_answer(running.gateway.ask("GET", f"clusters/{running.name}"))
    if now.workers == workers:
        return running.session
    progress = Progress(running.name, workers)
    now = clusters_of.from_answer(running.gateway.ask("PUT", f"clusters/{running.name}/workers", {"workers": workers}, timeout=60))
    watch = _Watch(running.gateway, running.name, now, progress)
    watch.driver_ready(running)
    try:
        _wait_for_workers(running, workers, watch, timeout)
    finally:
        watch.stop()
    progress.done(repr(running.session), running.session._repr_html_())
    return running.session


def _wait_for_workers(running: _Running, workers: int, watch: _Watch, timeout: float) -> None:
    end = time.monotonic() + timeout
    while (there := running.registered()) != workers:
        watch.check()
        if time.monotonic() > end:
            if there == 0:
                raise NotStarted(f"no worker came within {timeout:g} s{watch.reasons}", "occam.quota() shows what is free")
            print(f"occam: {there} of {workers} workers within {timeout:g} s{watch.reasons}", file=sys.stderr)
            return
        time.sleep(0.1)


def _give_up(gateway: api.Gateway, name: str) -> None:
    """Nothing stays behind of a start that failed or was interrupted."""
    held = _current.pop() if _current else None
    if held is not None and held.session is not None:
        held.session._occam = None
        held.end()
    try:
        gateway.ask("DELETE", f"clusters/{name}", timeout=60)
    except OccamError:
        pass  # its lease ends it


class _Watch:
    """A thread that keeps the lease while the driver starts, and shows how far the start is."""

    def __init__(self, gateway: api.Gateway, name: str, first: Cluster, progress: Progress) -> None:
        self._gateway, self._name, self._progress = gateway, name, progress
        self.cluster = first
        self._running: _Running | None = None
        self._over = threading.Event()
        self._trouble: OccamError | None = None
        self._thread = threading.Thread(target=self._watch, name="occam-watch", daemon=True)
        self._thread.start()

    def driver_ready(self, running: _Running) -> None:
        self._running, self._progress.driver_ready = running, True

    def check(self) -> None:
        """Raises NotStarted or Refused when the gateway says that nothing will come of it."""
        if self._trouble is not None:
            raise self._trouble
        if self.cluster.state == "failed":
            raise NotStarted(f"the cluster {self._name!r} failed{self.reasons}")

    @property
    def reasons(self) -> str:
        """What gateway and workers say, each line once."""
        told = [self.cluster.message, *(f"worker {one.id}: {one.message}" for one in self.cluster.executors if one.message)]
        return "".join(f"\n  {line}" for line in dict.fromkeys(told) if line)

    def stop(self) -> None:
        self._over.set()
        self._thread.join(HEARTBEAT)

    def _watch(self) -> None:
        renewed = 0.0
        while not self._over.wait(0.5):
            try:
                if time.monotonic() - renewed >= (1.0 if self._running is None else HEARTBEAT):
                    self._look()
                    renewed = time.monotonic()
                self._progress.update(self.cluster, self._count())
            except NotReached:
                continue  # it may restart at any time; its lease outlives that
            except Refused as refused:
                self._trouble = refused

    def _look(self) -> None:
        said = self._gateway.ask("PUT", f"clusters/{self._name}/lease", {"registered": self._count(), "jobs": False}, timeout=5)
        self.cluster = clusters_of.from_answer(said)

    def _count(self) -> int:
        return self._running.registered() if self._running is not None else 0


def _shown(session: Session, how: Any) -> str:
    running = session._occam
    if running is None or not running.alive:
        return ""
    try:
        return str(how(session.cluster, running.registered(), session.version, running.link))
    except OccamError:
        return ""


def _kernel() -> str:
    """The id of this notebook's kernel, or "" outside of one."""
    if "ipykernel" not in sys.modules:
        return ""
    from ipykernel.connect import get_connection_file

    try:
        found = re.search(r"kernel-(.+)\.json$", get_connection_file())
    except RuntimeError:
        return ""
    return found[1] if found else ""


def _page(user: str, port: int) -> str:
    """Where the Spark UI on `port` is in the student's browser, through the hub."""
    prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX") or f"/user/{user}/"
    return f"{prefix.rstrip('/')}/proxy/{port}"


def _bytes(memory: str | int | None) -> int | None:
    if memory is None or isinstance(memory, int):
        return memory
    found = _SIZE.fullmatch(memory.strip())
    if not found:
        raise Refused(f"{memory!r} is not a size", 'write "2G" or "1500M"')
    return int(float(found[1]) * {"": 1, "M": 1 << 20, "G": 1 << 30}[found[2].upper()])


@atexit.register
def _at_exit() -> None:
    """The kernel ends in order: so does its cluster."""
    for running in _current:
        running.driver.stop()
