"""`occam.spark()` and its companions: Spark with its driver in this kernel and containers of the course as workers."""

from __future__ import annotations

import atexit
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, overload

from occam import cluster as clusters_of
from occam import dynamic, held, kernel, lookout, show, starting
from occam import gateway as api
from occam.classic import Session
from occam.cluster import Clusters
from occam.errors import Refused
from occam.held import Held
from occam.meter import Progress
from occam.quotas import Quota
from occam.watch import Watch
from occam.wish import Gpu, Wish, seconds

if TYPE_CHECKING:
    from occam.join import Joined

_LAST = 6.0
"""Seconds that a kernel's end waits for its clusters' end; Jupyter waits 8 s for the kernel's."""


@overload
def spark(workers: Literal["course"], *, name: str = "main") -> Joined: ...
@overload
def spark(
    workers: int | None = None,
    cores: int | None = None,
    memory: str | int | None = None,
    name: str = "lab",
    conf: Mapping[str, object] | None = None,
    packages: Iterable[str] = (),
    jars: Iterable[str] = (),
    gpu: Gpu = None,
    wait: str | float = 0,
    adaptive: tuple[int, int] | None = None,
    timeout: float = 180,
) -> Session: ...
def spark(
    workers: int | Literal["course"] | None = None,
    cores: int | None = None,
    memory: str | int | None = None,
    name: str | None = None,
    conf: Mapping[str, object] | None = None,
    packages: Iterable[str] = (),
    jars: Iterable[str] = (),
    gpu: Gpu = None,
    wait: str | float = 0,
    adaptive: tuple[int, int] | None = None,
    timeout: float = 180,
) -> Session | Joined:
    """A Spark session with `workers` workers; the one that is running when there is one of this `name`.

    workers        2 when left away, or as many as it has already; "course" joins the course's own cluster, which an
                   instructor started for everybody, and takes nothing but a `name` besides
    cores, memory  of one worker; memory as "2G" or in bytes. The course's own sizes when left away
    name           of the cluster: "lab" when left away, and "main" of the course's own
    conf           more of Spark's settings
    packages       Java libraries as "group:artifact:version"; jars: files of your own
    gpu            GPUs of each worker: 1, "A100", "1g.10gb" (a MIG profile) or {"count": 2, "memory": "40G"}
    wait           how long to queue when there is no room now: "5m", or seconds
    adaptive       (1, 6): Spark itself takes and gives back workers, between 1 and 6
    timeout        seconds that the workers may take to come; a new cluster that has fewer by then is given back

    Called again with another number of workers it scales; another `name` is another cluster, and the one asked for last
    is the current one. Raises Refused, NotEnough, NotReached, NotStarted.
    """
    if workers == "course":
        return _joined(name)
    name = "lab" if name is None else name
    wish = Wish.of(name, workers, cores, memory, conf, packages=packages, jars=jars, gpu=gpu, adaptive=adaptive)
    queue = seconds(wait)
    with held.lock:
        _must_have_left()
        gateway = api.here()
        one = held.of(name)
        if one is None:
            lookout.begin()
            one = _again(gateway, wish) or starting.start(gateway, wish, queue, timeout)
        else:
            one.must_suit(wish)
        held.make_current(one)
        return _adjusted(one, wish, timeout)


def _joined(name: str | None) -> Joined:
    with held.lock:
        if held.current() is not None:
            raise Refused("this kernel has Spark of its own", "stop it first, spark.stop(), or use another notebook")
        # With it comes pyspark's other half, which those who never join need not wait for.
        from occam import join

        return join.join(join.OWN if name is None else name)


def _must_have_left() -> None:
    """pyspark's functions work for one kind of session at a time."""
    if (module := sys.modules.get("occam.join")) and module.joined() is not None:
        raise Refused("this kernel is on the course's cluster", "leave it first, spark.stop(), or use another notebook")


def clusters() -> Clusters:
    """Your Spark clusters, of all notebooks."""
    gateway = api.here()
    return Clusters(clusters_of.from_answer(one, gateway) for one in gateway.ask("GET", "clusters"))


def quota() -> Quota:
    """What you may have at a time (limit), have now (held), and what would find room now."""
    return Quota(api.here().ask("GET", "quota"))


def stop(name: str | None = None) -> None:
    """Stop the current cluster, or your cluster `name` wherever its notebook is."""
    one = held.of(name) if name else held.current()
    if one is None and kernel.ident():
        one = starting.attach(api.here(), name or "lab")
    if one is not None:
        one.session.stop()
    elif name is not None:
        api.here().ask("DELETE", f"clusters/{api.piece(name)}", timeout=90)


def current() -> Session | None:
    """The session of this kernel that was asked for last, if one runs."""
    with held.lock:
        one = held.current()
        return one.session if one else None


def scale(one: Held, workers: int, timeout: float = 180) -> Session:
    """Give a fixed cluster `workers` workers, and wait for them."""
    if one.wish.adaptive:
        raise Refused(*show.is_adaptive(one.wish.name, one.wish.adaptive))
    if one.session.cluster.workers == workers == one.registered():
        return one.session
    progress = Progress(one.wish.name, workers)
    said = one.gateway.ask("PUT", f"{one.path}/workers", {"workers": workers}, timeout=90)
    watch = Watch(one.gateway, clusters_of.from_answer(said, one.gateway), progress)
    watch.driver_ready(one.registered)
    try:
        missing = watch.wait_for(workers, timeout)
    except BaseException:
        progress.failed()
        raise
    finally:
        watch.stop()
    one.wish = replace(one.wish, workers=workers)
    starting.remember_again(one)
    starting.tell(one, progress, missing)
    return one.session


def adapt(one: Held, bounds: tuple[int, int]) -> Session:
    """Change the bounds of an adaptive cluster while it runs."""
    one.must_suit(Wish(one.wish.name, adaptive=bounds))
    dynamic.adapt(one, bounds)
    return one.session


def _again(gateway: api.Gateway, wish: Wish) -> Held | None:
    one = starting.attach(gateway, wish.name)
    if one is not None:
        one.must_suit(wish)
        Progress(wish.name, one.registered()).done(one.session.cluster, one.registered(), one.link, again=True)
    return one


def _adjusted(one: Held, wish: Wish, timeout: float) -> Session:
    """The cluster with the number of workers that was asked for, if one was."""
    if wish.adaptive:
        return adapt(one, wish.adaptive)
    return one.session if wish.workers is None else scale(one, wish.workers, timeout)


@atexit.register
def _at_exit() -> None:
    """The kernel ends in order: so does its cluster. One that is only restarted finds it again."""
    there = held.known()
    if kernel.restarts():
        for one in there:
            one.driver.kept.leave()
        return
    for one in there:
        one.driver.kept.stop(seconds=0)
    end = time.monotonic() + _LAST
    for one in there:
        # The JVM gives it back too, but on a busy host later than the next notebook asks for one of the same name.
        one.give_back(max(0.5, end - time.monotonic()))
    for one in there:
        one.driver.kept.stop(seconds=max(0.5, end - time.monotonic()))
