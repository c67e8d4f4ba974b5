"""A user's server by way of the hub: so the hub and its proxy know of it, and its owner sees why it ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from occamctl.errors import EngineError, TookTooLong
from occamctl.gateway.auth import Hub

SECONDS = 120
Look = Callable[[], Awaitable[dict[str, Any]]]
"""The notebook as the API shows it; {} when there is none."""


async def start(hub: Hub, user: str, look: Look) -> None:
    """Start it and wait until it answers; one that runs is fine.

    Raises NotKnown, HostError, EngineError, TookTooLong.
    """
    await hub.start_server(user)
    deadline = time.monotonic() + SECONDS
    while not ((server := await hub.server(user)) and server.get("ready")):
        notebook = await look()
        if server is None:
            raise EngineError(
                f"the notebook did not start: {notebook.get('message') or 'see the hub’s log'}", where=user
            )
        if time.monotonic() > deadline:
            raise TookTooLong(
                f"the notebook is still {notebook.get('state', 'not there')} after {SECONDS} s", where=user
            )
        await asyncio.sleep(0.5)


async def stop(hub: Hub, user: str) -> None:
    """Stop it with its kernels and wait; one that does not run is fine. Raises NotKnown, HostError, TookTooLong."""
    deadline = time.monotonic() + SECONDS
    await hub.stop_server(user)
    while await hub.server(user) is not None:
        if time.monotonic() > deadline:
            raise TookTooLong(f"the notebook still ends after {SECONDS} s", where=user)
        await asyncio.sleep(0.5)
