"""A server extension: a notebook that runs looks every minute for material that was released."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from tornado.ioloop import PeriodicCallback

from occam.delivery import URL, command

EVERY = 60
"""Seconds; a look takes some milliseconds, and nothing is pulled unless something is new."""


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "occam.rounds"}]


def _load_jupyter_server_extension(server: Any) -> None:
    async def look() -> None:
        running = await asyncio.create_subprocess_exec(*command("new"), stdout=asyncio.subprocess.PIPE)
        said, _ = await running.communicate()
        for line in said.decode(errors="replace").splitlines():
            server.log.info("material: %s", line)

    if not os.environ.get(URL):
        return
    server.occam_rounds = PeriodicCallback(look, EVERY * 1000)
    server.occam_rounds.start()
