"""What the notebook and the ranks of a training say to each other, over one connection for each rank.

The notebook listens; each rank's process calls, shows that it knows the key of this training (HMAC, as
multiprocessing.connection does it), and says Hello. Messages are pickles: both ends run the same student's code.
"""

from __future__ import annotations

import os
import pickle
import queue
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

BEAT = 3.0
"""Seconds between two signs of life of a rank."""
SILENCE = 30.0
"""Seconds without one after which a rank counts as lost."""
ORDERS = 900.0
"""Seconds that a rank waits for the notebook, whose callbacks may take their time between two epochs."""


@dataclass(frozen=True)
class State:
    """A network's weights and its optimizer's variables, as arrays in Keras' own order."""

    weights: list[Any]
    optimizer: list[Any]


# What a rank says ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hello:
    rank: int
    pid: int


@dataclass(frozen=True)
class Alive:
    """`doing` is what it is at, in words."""

    doing: str


@dataclass(frozen=True)
class Step:
    """`done` of the epoch's steps; `loss` is the mean over the epoch so far, of all ranks; rows of all ranks."""

    epoch: int
    done: int
    steps: int
    loss: float
    rows: int


@dataclass(frozen=True)
class Score:
    """Of one pass over data: the loss summed over `rows`, and the states of the metrics, which add up over ranks."""

    loss: float
    rows: int
    metrics: list[Any]


@dataclass(frozen=True)
class Epoch:
    """What a rank has of a finished epoch. `seconds` are those of its training; `losses` are those of each step, of all
    ranks; `state` is rank 0's only."""

    number: int
    seconds: float
    rows: int
    trained: Score
    validated: Score | None
    digest: str
    losses: list[float] = field(repr=False, default_factory=list)
    state: State | None = field(repr=False, default=None)


@dataclass(frozen=True)
class NotFinite:
    """The loss of this rank's rows, or its gradient, is no number any more; `rows` says what is wrong with these."""

    epoch: int
    step: int
    loss: float
    rows: str = ""


@dataclass(frozen=True)
class Alone:
    """The sum over ranks failed: another one is gone."""


@dataclass(frozen=True)
class Failed:
    """An exception of the student's code or of a library, with its traceback."""

    what: str
    trace: str = ""


# What the notebook says ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """Some rows of arrays that the notebook has: for `part`, and for each of x, y, w the bytes of its rows."""

    part: str
    pieces: Mapping[str, bytes]


@dataclass(frozen=True)
class NoMoreRows:
    pass


@dataclass(frozen=True)
class Train:
    """Train one epoch; `state` when the ranks' own is not the one to begin with; the rate when it is a plain number."""

    epoch: int
    learning_rate: float | None = None
    state: State | None = field(repr=False, default=None)


@dataclass(frozen=True)
class Done:
    """There are no more epochs."""


class Line:
    """One end of a connection: what comes is read by a thread of its own, so that an end is noticed at once."""

    def __init__(self, connection: Connection, room: int = 0) -> None:
        self._connection, self._sending = connection, threading.Lock()
        self._came: queue.Queue[bytes] = queue.Queue(room)

    def read_into(self, take: Callable[[Any], object], ended: Callable[[], object]) -> None:
        """From now on call `take` with each message and `ended` at the end, in a thread."""
        self._read(lambda words: take(pickle.loads(words)), ended)

    def keep(self, ended: Callable[[], object]) -> None:
        """Keep what comes for `next`, which unpickles it: a thread of its own must not import NumPy, with the arrays
        of a message, while TensorFlow imports it."""
        self._read(self._came.put, ended)

    def _read(self, take: Callable[[bytes], object], ended: Callable[[], object]) -> None:
        def read() -> None:
            try:
                while True:
                    take(self._connection.recv_bytes())
            except (EOFError, OSError):
                ended()
            finally:
                self._connection.close()

        threading.Thread(target=read, name="occam-train-line", daemon=True).start()

    def next(self, seconds: float = ORDERS) -> Any:
        """The next message. Raises TimeoutError."""
        try:
            return pickle.loads(self._came.get(timeout=seconds))
        except queue.Empty:
            raise TimeoutError(f"the notebook said nothing for {seconds:g} s") from None

    def say(self, message: Any) -> None:
        """Raises OSError when the other end is gone."""
        with self._sending:
            self._connection.send(message)

    def close(self) -> None:
        """Both ends notice at once; a mere close() would wait for the thread that reads."""
        with suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)
