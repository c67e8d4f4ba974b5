"""The gateway's process: `python -m occamctl.gateway.app`."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from tornado.httpserver import HTTPServer

from occamctl.engine.client import Engine
from occamctl.errors import OccamError
from occamctl.gateway import settings as told
from occamctl.gateway.api import Parts
from occamctl.gateway.auth import Hub
from occamctl.gateway.clusters import Clusters
from occamctl.gateway.gpu_care import Care
from occamctl.gateway.gpus import FRESH, Gpus
from occamctl.gateway.ledger import Ledger, Worker
from occamctl.gateway.notebooks import Notebooks
from occamctl.gateway.reconcile import Loop
from occamctl.gateway.routes import MOST_BODY, application
from occamctl.gateway.settings import Settings
from occamctl.gateway.sight import Sight
from occamctl.gateway.subnets import Networks

log = logging.getLogger("occam.gateway")
THREADS = 64
"""Requests that wait for the engine at the same time; most of them wait for a removal."""


def assemble(engine: Engine, settings: Settings) -> tuple[Parts, Loop]:
    """What requests work with, and the loop that cares for it, over what the engine shows already."""
    sight = Sight(engine, settings.course)
    networks = Networks(engine, settings.course, settings.pool, settings.hub_subnet)
    ledger = Ledger(settings.course, Worker(settings.worker_cpus, settings.worker_memory), settings.quotas)
    notebooks = Notebooks(engine, settings, sight, networks, ledger)
    clusters = Clusters(engine, settings, ledger, sight=sight, networks=networks, notebooks=notebooks)
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="work")
    loop = Loop(engine, settings, sight, clusters=clusters, notebooks=notebooks, pool=pool)
    loop.remember()
    gpus = Gpus(engine, settings, ledger, sight=sight, notebooks=notebooks)
    gpus.remember(sight.look(FRESH))
    hub = Hub(settings.hub_api, settings.token())
    return Parts(settings, hub, sight, clusters, notebooks, gpus, pool), loop


async def serve(settings: Settings) -> None:
    """Answer until told to end. Raises OccamError when the engine does not answer at the start."""
    parts, loop = assemble(Engine.local(settings.engine), settings)
    server = HTTPServer(application(parts), max_body_size=MOST_BODY, xheaders=False)
    server.listen(settings.port)
    stop = threading.Event()
    caring = threading.Thread(target=loop.run, args=(stop,), name="loop", daemon=True)
    caring.start()
    gpus = asyncio.create_task(Care(parts).run())
    log.info("gateway %s of %s answers on port %d", settings.version, settings.course, settings.port)
    await _told_to_end()
    log.info("told to end; what runs goes on")
    server.stop()
    stop.set()
    gpus.cancel()
    parts.pool.shutdown(wait=False, cancel_futures=True)


async def _told_to_end() -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stdout)
    try:
        asyncio.run(serve(told.read()))
    except OccamError as error:
        log.error("%s", error)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
