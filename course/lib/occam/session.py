"""`occam.spark()`: a SparkSession whose driver is in this kernel and whose workers are containers of the course."""

from __future__ import annotations

import atexit
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

from occam import cluster as clusters_of
from occam import driver as jvm
from occam import gateway as api
from occam import show
from occam.cluster import Cluster
from occam.errors import OccamError, Refused
from occam.progress import Progress
from occam.watch import Watch
from occam.wish import Wish


class Session(SparkSession):
    """A SparkSession that knows its cluster: how it looks, and what has to go when it stops."""

    _held: Held | None = None

    def __repr__(self) -> str:
        return self._shown(show.session_text) or "<Spark session, stopped>"

    def _repr_html_(self) -> str:
        return self._shown(show.session_html) or "<div>Spark session, stopped</div>"

    def _shown(self, how: Callable[[Cluster, int, str, str], str]) -> str:
        held = self._held
        if held is None or not held.alive:
            return ""
        try:
            return how(self.cluster, held.registered(), self.version, held.link)
        except OccamError as error:
            return f"Spark session ({error.what})"

    @property
    def cluster(self) -> Cluster:
        """The cluster as the gateway sees it now: workers, hosts, cores, memory. Raises OccamError."""
        if self._held is None:
            raise Refused("this session has stopped", "start one with occam.spark()")
        return clusters_of.from_answer(self._held.gateway.ask("GET", self._held.path))

    def stop(self) -> None:
        """Stop Spark and give the workers back. Calling it twice is fine."""
        held, self._held = self._held, None
        if held is None:
            return
        with _lock:
            try:
                if held.alive:
                    super().stop()
            finally:
                held.end()


@dataclass
class Held:
    """What this kernel holds: one cluster, and the JVM that drives it."""

    gateway: api.Gateway
    wish: Wish
    driver: jvm.Driver
    link: str
    """The Spark UI in the student's browser, through the hub."""
    session: Session | None = None

    @property
    def path(self) -> str:
        return f"clusters/{self.wish.name}"

    @property
    def alive(self) -> bool:
        if self.session is None or self.driver.jvm.poll() is not None:
            return False
        context = self.session.sparkContext._jsc
        return context is not None and not context.sc().isStopped()

    def registered(self) -> int:
        """Workers that the driver has; in its own count it is one more."""
        if self.session is None:
            return 0
        return int(self.session.sparkContext._jsc.sc().getExecutorMemoryStatus().size()) - 1

    def end(self) -> None:
        """Nothing stays behind, whatever state it is in."""
        if self in _holds:
            _holds.remove(self)
        jvm.detach()
        if self.driver.stop() != 0:  # it was killed, or ran out of memory, and could not say good-bye
            with suppress(OccamError):  # else its lease ends it
                self.gateway.ask("DELETE", self.path, timeout=60)


_lock = threading.RLock()
_holds: list[Held] = []
"""At most one: a kernel has one SparkContext."""


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
    wish = Wish.of(name, workers, cores, memory, conf or {})
    with _lock:
        held = _here()
        if held is None:
            return _start(api.here(), wish, timeout)
        if held.wish.name != name:
            raise Refused(f"this kernel already has the cluster {held.wish.name!r}", "end it first: spark.stop()")
        if not held.wish.same_size(wish):
            raise Refused(f"the cluster {name!r} runs with other sizes or settings", "end it first: spark.stop()")
        return _scale(held, workers, timeout)


def clusters() -> list[Cluster]:
    """Your Spark clusters, of all notebooks."""
    return [clusters_of.from_answer(one) for one in api.here().ask("GET", "clusters")]


def quota() -> dict[str, int]:
    """Workers that you may have at a time (limit), have now (held), and that would find room (free_on_hosts)."""
    return dict(api.here().ask("GET", "quota")["workers"])


def stop(name: str | None = None) -> None:
    """Stop this kernel's cluster, or your cluster `name` wherever its notebook is."""
    session = current()
    if session is not None and session._held is not None and name in (None, session._held.wish.name):
        session.stop()
    elif name is not None:
        api.here().ask("DELETE", f"clusters/{name}", timeout=90)


def current() -> Session | None:
    """The session of this kernel, if one runs."""
    with _lock:
        held = _here()
        return held.session if held else None


def _here() -> Held | None:
    """What this kernel holds; what died meanwhile is cleared away."""
    for held in list(_holds):
        if held.alive:
            return held
        if held.session is not None:
            held.session._held = None
        held.end()
    return None


def _start(gateway: api.Gateway, wish: Wish, timeout: float) -> Session:
    if SparkSession.getActiveSession() is not None:
        raise Refused("this kernel already has a Spark session of its own", "stop it first, or restart the kernel")
    host = os.environ.get("OCCAM_DRIVER_HOST") or "127.0.0.1"
    asked = wish.request(host, jvm.free_port(host), _kernel())
    progress = Progress(wish.name, wish.workers)
    progress.update(None, now=True)
    try:
        said = gateway.ask("POST", "clusters", asked, timeout=60)
        try:
            held, missing = _bring_up(gateway, wish, said, progress, timeout)
        except BaseException:
            with suppress(OccamError):  # else its lease ends it
                gateway.ask("DELETE", f"clusters/{wish.name}", timeout=60)
            raise
    except BaseException:
        progress.failed()
        raise
    return _tell(held, progress, missing)


def _bring_up(
    gateway: api.Gateway, wish: Wish, said: dict[str, Any], progress: Progress, timeout: float
) -> tuple[Held, str]:
    """Start the driver of the cluster that the gateway `said` is ours, and wait for its workers.

    Returns what this kernel holds now, and what is missing, in words. An interrupt leaves no JVM behind.
    """
    watch = Watch(gateway, clusters_of.from_answer(said), progress)
    port = jvm.free_port("127.0.0.1")
    page = _page(gateway.user, port)
    conf = {**(said.get("conf") or {}), **wish.conf, "spark.authenticate.secret": said["secret"]}
    conf |= {"spark.ui.port": port, "spark.ui.proxyBase": page, "spark.ui.proxyRedirectUri": "/"}
    try:
        driver = jvm.start(conf, gateway.token, watch.check)
        held = Held(gateway, wish, driver, f"{page}/jobs/")
        try:
            session: Any = SparkSession.builder.getOrCreate()
            session.__class__ = Session
            held.session, session._held = session, held
            watch.driver_ready(held.registered)
            missing = watch.wait_for(wish.workers, timeout)
        except BaseException:
            if held.session is not None:
                held.session._held = None
            held.end()
            raise
    finally:
        watch.stop()
    _holds.append(held)
    return held, missing


def _scale(held: Held, workers: int, timeout: float) -> Session:
    assert held.session is not None
    if held.session.cluster.workers == workers == held.registered():
        return held.session
    progress = Progress(held.wish.name, workers)
    said = held.gateway.ask("PUT", f"{held.path}/workers", {"workers": workers}, timeout=90)
    watch = Watch(held.gateway, clusters_of.from_answer(said), progress)
    watch.driver_ready(held.registered)
    try:
        missing = watch.wait_for(workers, timeout)
    except BaseException:
        progress.failed()
        raise
    finally:
        watch.stop()
    return _tell(held, progress, missing)


def _tell(held: Held, progress: Progress, missing: str) -> Session:
    assert held.session is not None
    progress.done(repr(held.session), held.session._repr_html_())
    if missing:
        print(f"occam: {missing}", file=sys.stderr)
    return held.session


def _page(user: str, port: int) -> str:
    """Where the Spark UI on `port` is in the student's browser, through the hub."""
    prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX") or f"/user/{user}/"
    return f"{prefix.rstrip('/')}/proxy/{port}"


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


@atexit.register
def _at_exit() -> None:
    """The kernel ends in order: so does its cluster."""
    for held in _holds:
        held.driver.stop()
