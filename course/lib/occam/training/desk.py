"""Where the ranks' words arrive in the notebook: a port on the cluster's network, opened by the key of one attempt."""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any

from occam import driver
from occam.training import wire


@dataclass(frozen=True)
class Lost:
    """The connection of a rank ended without a word."""

    rank: int


class Desk:
    """`close` ends every connection, and with it every rank's process."""

    def __init__(self) -> None:
        self.host = os.environ.get("OCCAM_DRIVER_HOST") or "127.0.0.1"
        self.key = os.urandom(32)
        self.came: queue.Queue[tuple[int, Any]] = queue.Queue()
        """(rank, message) as they come; (-1, error or None) when Spark's job has ended."""
        self.heard: dict[int, float] = {}
        """When each rank was last heard."""
        self._lines: dict[int, wire.Line] = {}
        self.address = (self.host, driver.free_port(self.host))
        self._listener = socket.create_server(self.address, backlog=64)
        threading.Thread(target=self._listen, name="occam-train-desk", daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # close() alone would leave the thread waiting, and the port open
        self._listener.close()
        for line in list(self._lines.values()):
            line.close()

    def next(self, seconds: float) -> tuple[int, Any] | None:
        """The next message and its rank; None when none came in this time."""
        try:
            rank, message = self.came.get(timeout=seconds)
        except queue.Empty:
            return None
        if rank >= 0 and not isinstance(message, Lost):
            self.heard[rank] = time.monotonic()
        return rank, message

    def silent(self) -> list[int]:
        """Ranks that were heard once, and not for too long a time now."""
        now = time.monotonic()
        return sorted(rank for rank, when in self.heard.items() if now - when > wire.SILENCE)

    def say(self, message: Any, rank: int | None = None) -> None:
        """To one rank, or to all. One that is gone is found out by its connection's end."""
        for number, line in list(self._lines.items()):
            if rank in (None, number):
                with suppress(OSError):
                    line.say(message)

    def _listen(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._greet, args=(caller,), name="occam-train-desk", daemon=True).start()

    def _greet(self, caller: socket.socket) -> None:
        """Whoever knows the key and says who it is gets in; anybody else is hung up on."""
        connection = Connection(caller.detach())
        try:
            deliver_challenge(connection, self.key)
            answer_challenge(connection, self.key)
            hello = connection.recv()
        except (EOFError, OSError, AuthenticationError):
            connection.close()
            return
        if not isinstance(hello, wire.Hello):
            connection.close()
            return
        rank = hello.rank
        line = self._lines[rank] = wire.Line(connection)
        self.came.put((rank, hello))
        line.read_into(lambda message: self.came.put((rank, message)), lambda: self.came.put((rank, Lost(rank))))
