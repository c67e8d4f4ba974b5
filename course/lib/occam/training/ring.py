"""Sums over ranks, around a ring of plain connections: each rank sends to the next and hears from the one before.

The vector has as many chunks as there are ranks. In n - 1 turns each chunk goes around and is added to, until one rank
has its sum; in n - 1 more the sums go around (Patarasuk and Yuan, Bandwidth optimal all-reduce algorithms for clusters
of workstations, 2009). Whatever a rank's place, it has the same bits in the end. TensorFlow's own collective does the
same over gRPC, whose copies take several times as long, on the one core that a rank has.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Sequence
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any

MEET = 60.0
"""Seconds that the other ranks have to come."""
PATIENCE = 120.0
"""Seconds that a rank waits in a step for the others; the notebook ends the training before, if one is lost."""
_BUFFER = 4 << 20
"""Bytes that the system may keep of what is on its way."""


class LostRank(Exception):
    """Another rank is gone, or did not come."""


class Ring:
    """peers: addresses (host:port) of all ranks, in order; `key` is known to those of this training only.

    Raises LostRank when they do not all come.
    """

    def __init__(self, peers: Sequence[str], rank: int, key: bytes) -> None:
        self._ranks, self._rank = len(peers), rank
        host, _, port = peers[rank].rpartition(":")
        with socket.create_server((host, int(port)), backlog=4) as listener:
            listener.settimeout(MEET)
            # All call before they answer: the listeners are there, and the system takes the calls.
            self._next = _called(peers[(rank + 1) % self._ranks])
            self._before = _answered(listener)
        try:
            # Half of the ring shows first that it knows the key, and half asks first: so nobody waits for everybody.
            for shown in (True, False) if rank % 2 else (False, True):
                _prove(self._next, key) if shown else _ask(self._before, key)
        except (OSError, EOFError, AuthenticationError) as error:
            raise LostRank(str(error)) from None
        for one in (self._next, self._before):
            one.setblocking(False)

    def sum(self, vector: Any) -> Any:
        """Over all ranks. `vector` is a NumPy array of the same size on all. Raises LostRank."""
        try:
            return self._sum(vector)
        except OSError as error:
            raise LostRank(str(error)) from None

    def _sum(self, vector: Any) -> Any:
        import numpy as np

        total = np.array(vector)
        ends = [total.size * number // self._ranks for number in range(self._ranks + 1)]
        chunks = [total[ends[one] : ends[one + 1]] for one in range(self._ranks)]
        came = np.empty(max(map(len, chunks)), total.dtype)
        for turn in range(self._ranks - 1):
            into = chunks[(self._rank - turn - 1) % self._ranks]
            heard = came[: len(into)]
            self._exchange(chunks[(self._rank - turn) % self._ranks], heard)
            into += heard
        for turn in range(self._ranks - 1):
            self._exchange(chunks[(self._rank - turn + 1) % self._ranks], chunks[(self._rank - turn) % self._ranks])
        return total

    def _exchange(self, out: Any, into: Any) -> None:
        """Send and receive at the same time. Raises LostRank."""
        rest, room = memoryview(out).cast("B"), memoryview(into).cast("B")
        while rest or room:
            moved = 0
            if rest:
                rest = rest[(sent := _now(self._next.send, rest)) :]
                moved += sent
            if room:
                room = room[(got := _now(self._before.recv_into, room, ends=True)) :]
                moved += got
            if not moved:
                self._await(reading=bool(room), writing=bool(rest))

    def _await(self, *, reading: bool, writing: bool) -> None:
        wanted = select.poll()
        if reading:
            wanted.register(self._before, select.POLLIN)
        if writing:
            wanted.register(self._next, select.POLLOUT)
        if not wanted.poll(PATIENCE * 1000):
            raise LostRank(f"nothing came for {PATIENCE:g} s")


def _now(move: Any, piece: memoryview, *, ends: bool = False) -> int:
    """Bytes that can be moved without waiting. ends: none at all means that the other end is gone."""
    try:
        moved: int = move(piece)
    except BlockingIOError:
        return 0
    if ends and not moved:
        raise LostRank("its connection ended")
    return moved


def _called(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    end = time.monotonic() + MEET
    while True:
        try:
            return _ready(socket.create_connection((host, int(port)), timeout=MEET))
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise LostRank(f"{address} did not come within {MEET:g} s") from None
            time.sleep(0.02)
        except OSError as error:
            raise LostRank(f"{address}: {error}") from None


def _answered(listener: socket.socket) -> socket.socket:
    try:
        return _ready(listener.accept()[0])
    except TimeoutError:
        raise LostRank(f"the rank before did not come within {MEET:g} s") from None


def _ready(one: socket.socket) -> socket.socket:
    one.settimeout(None)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for way in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        one.setsockopt(socket.SOL_SOCKET, way, _BUFFER)
    return one


def _prove(one: socket.socket, key: bytes) -> None:
    with Connection(os.dup(one.fileno())) as same:
        answer_challenge(same, key)


def _ask(one: socket.socket, key: bytes) -> None:
    with Connection(os.dup(one.fileno())) as same:
        deliver_challenge(same, key)
