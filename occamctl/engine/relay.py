"""The near end of a relay: TCP connections of this machine, carried to a port on the loopback of a container.

All of them share one command in the container and one SSH channel: a browser opens six connections and more, and an
SSH connection has ten channels for everything.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import SHUT_RDWR, socket

from occamctl.engine import relay_inside
from occamctl.engine.client import Engine
from occamctl.engine.streams import Conversation, conversation

_PIECE = 1 << 16
Rewrite = Callable[[bytes], bytes]


class Relay:
    """`over` is set when the far end is gone."""

    def __init__(self, talk: Conversation) -> None:
        self.over = threading.Event()
        self._talk, self._turn = talk, threading.Lock()
        self._open: dict[int, socket] = {}
        self._newest = 0
        threading.Thread(target=self._back, daemon=True).start()

    def carry(self, connection: socket, rewrite: Rewrite = lambda content: content) -> None:
        """Carry one connection until either side closes it; what it sends passes through `rewrite`."""
        number = 0
        with suppress(OSError):
            while content := connection.recv(_PIECE):
                if content := rewrite(content):
                    number = self._send(number, content, connection)
        if self._open.pop(number, None):
            with suppress(OSError):
                self._send(number, b"", connection)
        connection.close()

    def _send(self, number: int, content: bytes, connection: socket) -> int:
        """The connection's number. It gets one with its first piece, so that first pieces arrive in numbers' order."""
        with self._turn:
            if not number:
                self._newest += 1
                number = self._newest
                self._open[number] = connection
            self._talk.send(struct.pack(">II", number, len(content)) + content)
            return number

    def _back(self) -> None:
        for number, content in _messages(self._talk.receive):
            there = self._open.get(number)
            if there is None:
                continue
            with suppress(OSError):
                if content:
                    there.sendall(content)
                else:
                    del self._open[number]
                    there.shutdown(SHUT_RDWR)
        self.over.set()
        for there in list(self._open.values()):
            with suppress(OSError):
                there.shutdown(SHUT_RDWR)


def _messages(receive: Callable[[], bytes]) -> Iterator[tuple[int, bytes]]:
    buffer = bytearray()
    while piece := receive():
        buffer += piece
        while len(buffer) >= 8:
            number, length = struct.unpack(">II", buffer[:8])
            if len(buffer) < 8 + length:
                break
            yield number, bytes(buffer[8 : 8 + length])
            del buffer[: 8 + length]


@contextmanager
def relay(engine: Engine, container: str, port: int, *, user: str) -> Iterator[Relay]:
    """A relay to `port` of the container's loopback; it needs a Python there. Raises EngineError."""
    command = ["python3", "-ISc", Path(relay_inside.__file__).read_text(), str(port)]
    with conversation(engine, container, command, user=user) as talk:
        yield Relay(talk)
