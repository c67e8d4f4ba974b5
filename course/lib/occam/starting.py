"""Bringing up a cluster and its driver, or taking back those that a former run of this kernel left."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JError

from occam import asking, cells, held, jvms, kept, kernel
from occam import cluster as clusters_of
from occam import driver as jvm
from occam.errors import NotStarted
from occam.gateway import Gateway
from occam.held import Held
from occam.meter import Progress
from occam.watch import Watch
from occam.wish import Wish, seconds

GRACE = 60.0
"""Seconds that a driver waits for its kernel to come back; the gateway may say another number."""


def start(gateway: Gateway, wish: Wish, wait: float, timeout: float) -> Held:
    """A new cluster with its driver in this kernel. An interrupt leaves nothing."""
    jvms.must_be_ours()
    host = os.environ.get("OCCAM_DRIVER_HOST") or "127.0.0.1"
    ui = jvm.free_port("127.0.0.1")
    asked = wish.request(host, jvm.free_port(host), ui, kernel.ident())
    progress = Progress(wish.name, wish.first_workers)
    progress.update(None, now=True)
    try:
        said = asking.ask_for(gateway, asked, wait, progress.queued)
        try:
            one = _bring_up(gateway, wish.granted(said), said, ui, progress, timeout)
        except BaseException:
            asking.give_back(gateway, said)
            raise
    except BaseException:
        progress.failed()
        raise
    tell(one, progress)
    return one


def _bring_up(gateway: Gateway, wish: Wish, said: dict[str, Any], ui: int, progress: Progress, timeout: float) -> Held:
    """Start the driver of the cluster that the gateway `said` is ours, its page on port `ui`, and wait for workers.

    An interrupt leaves no JVM behind, nor does a cluster that is not whole in time.
    """
    watch = Watch(gateway, clusters_of.from_answer(said, gateway), progress)
    given = said.get("conf") or {}
    conf = {**given, **wish.conf, "spark.authenticate.secret": said["secret"]}
    conf |= {"spark.ui.port": ui, "spark.ui.proxyBase": gateway.page(ui), "spark.ui.proxyRedirectUri": "/"}
    try:
        driver = jvm.start(conf, said["token"], watch.check)
        try:
            one = _hold(gateway, wish, driver, str(said.get("app_id", "")), ui, jvms.new_session(driver))
        except BaseException:
            driver.stop()
            held.as_it_was()
            raise
        try:
            watch.driver_ready(one.registered)
            missing = watch.wait_for(one.wish.first_workers, timeout, at_least=wish.adaptive is not None)
            if missing:
                raise NotStarted(
                    missing + watch.last_lines(), "occam.quota() shows what is free; timeout= waits longer"
                )
        except BaseException:
            one.end()
            raise
    finally:
        watch.stop()
    remember(one, _grace(given))
    return one


def attach(gateway: Gateway, name: str) -> Held | None:
    """The running cluster `name` that this kernel had before its restart, if it waits for it."""
    me = kernel.ident()
    there = kept.take(me, name) if me else None
    if there is None:
        return None
    state = there.state
    driver = jvm.Driver(there, Path(state["log"]), state["port"], state["secret"], state["heap"])
    wish = Wish.from_json(state["wish"])
    try:
        pair = jvms.session_again(driver)
        one = _hold(gateway, wish, driver, state["app_id"], state["ui"], pair)
    except (Py4JError, OSError):  # it is not well: a new one is better
        driver.stop()
        held.as_it_was()
        asking.give_back(gateway, {"name": name, "app_id": state["app_id"]})
        return None
    except BaseException:
        there.leave()
        held.as_it_was()
        raise
    one.told = state["told"]
    remember(one, state["grace"])
    return one


def remember(one: Held, grace: float) -> None:
    """Leave with the keeper what a next kernel needs to take the driver over."""
    state = {
        "port": one.driver.port, "secret": one.driver.secret, "heap": one.driver.heap, "log": str(one.driver.log),
        "app_id": one.app_id, "ui": one.ui, "wish": one.wish.as_json(), "grace": grace, "told": one.told,
    }  # fmt: skip
    one.driver.kept.state = state
    one.driver.kept.ready(kernel.ident(), one.wish.name, grace, state)


def remember_again(one: Held) -> None:
    """The same after something has changed."""
    remember(one, one.driver.kept.state.get("grace", GRACE))


def tell(one: Held, progress: Progress, missing: str = "") -> None:
    progress.done(one.session.cluster, one.registered(), one.link)
    if missing:
        print(f"occam: {missing}", file=sys.stderr)


def _hold(gateway: Gateway, wish: Wish, driver: jvm.Driver, app_id: str, ui: int, pair: tuple[Any, Any]) -> Held:
    java, session = pair
    one = Held(gateway, wish, driver, java, app_id, ui, session)
    session.sparkContext._held = one
    held.make_current(one)
    cells.listen_to_interrupts()
    return one


def _grace(conf: Mapping[str, Any]) -> float:
    text = str(conf.get("spark.occam.grace", ""))
    return seconds(text) if re.fullmatch(r"\d+(\.\d+)?[smh]?", text) else GRACE
