"""Addresses of the course's pieces, asked anew for every connection.

A container that was replaced has another address. JupyterHub's HTTP client asks through c-ares, which keeps an answer
as long as the engine's name server allows: ten minutes, in which the hub would find neither a proxy nor a notebook that
was restarted.
"""

from __future__ import annotations

import socket
from typing import Any

from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver


class SystemNames(AbstractResolver):
    """The system's resolver, which keeps nothing. It belongs to no event loop, so that a configuration can hold it."""

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[Any]:
        return await ThreadedResolver().resolve(host, port, family)

    async def close(self) -> None:
        """Nothing is open."""
