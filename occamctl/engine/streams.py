"""What an engine tells for as long as it lasts: a container's log as it grows, a conversation with a command in one.

Neither has a deadline. Each is read in a thread of its own by callers that look now and then whether it makes sense to
wait on (`actions/follow.py`, `actions/forward.py`).
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from occamctl.engine.client import STDOUT, Engine, Raw, frames, speaking_to


def log(engine: Engine, container: str) -> Iterator[tuple[int, bytes]]:
    """Everything that the container printed and prints, until it ends: (1 for standard output or 2, piece).

    Raises EngineError when there is no such container.
    """
    api = engine.api
    asked = {"stdout": 1, "stderr": 1, "follow": 1, "tail": "all"}
    with speaking_to(engine.name):
        answer = api._get(api._url("/containers/{0}/logs", container), params=asked, stream=True, timeout=None)
        try:
            api._raise_for_status(answer)
            pieces = answer.iter_content(chunk_size=None)
            yield from frames(lambda: next(pieces, b""))
        finally:
            answer.close()


class Conversation:
    """A running command: what it prints on standard output, and its standard input. Two threads may use it."""

    def __init__(self, answer: Any) -> None:
        self._raw = Raw(answer)
        self._raw.socket.settimeout(None)
        self._heard = frames(self._raw.next)

    def send(self, content: bytes) -> None:
        """Raises OSError when the command is gone."""
        self._raw.socket.sendall(content)

    def receive(self) -> bytes:
        """The next piece, b"" at the end."""
        with suppress(OSError):
            for stream, piece in self._heard:
                if stream == STDOUT:
                    return piece
        return b""

    def close(self) -> None:
        """End the command's input; whoever waits in `receive` gets the end."""
        with suppress(OSError, EOFError):
            self._raw.socket.shutdown(socket.SHUT_RDWR)
        self._raw.socket.close()


@contextmanager
def conversation(engine: Engine, container: str, command: Sequence[str], *, user: str) -> Iterator[Conversation]:
    """Run a command in a container and talk with it; its input ends with the block. Raises EngineError."""
    with speaking_to(engine.name):
        answer = engine.start_exec(container, command, stdin=True, user=user)[1]
        talk = Conversation(answer)
    try:
        yield talk
    finally:
        talk.close()
        answer.close()
