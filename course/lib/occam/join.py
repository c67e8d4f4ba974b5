"""Into the course's own Spark, which an instructor started for everybody: a session on its Spark Connect server.

The server has no sign-in, so nobody reaches it: it has a door, which lets each connection in that comes with a ticket,
and the gateway gives tickets to people of the course. Here a port of this notebook's loopback is carried to the door.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from html import escape
from typing import Any

from pyspark.sql.connect.session import SparkSession

from occam import gateway as api
from occam.errors import NotReached, OccamError, Refused

OWN = "main"
"""The course's own cluster, when no other is named."""
_SECONDS = 20
_MODE = "SPARK_CONNECT_MODE_ENABLED"


class Joined(SparkSession):
    """A session on the course's cluster: its data and settings are one's own, its workers everybody's."""

    _tunnel: Tunnel | None = None

    def __repr__(self) -> str:
        if self._tunnel is None:
            return "<Spark session, stopped>"
        return f"<Spark {self.version} on the course's cluster {self._tunnel.name}>"

    def _repr_html_(self) -> str:
        return f"<div>{escape(repr(self)[1:-1])}</div>"

    def stop(self) -> None:
        """Leave it; the cluster goes on. Calling it twice is fine."""
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is None:
            return
        super().stop()
        tunnel.close()
        # pyspark's functions ask this variable which of its two kinds of session they work for.
        os.environ.pop(_MODE, None)


class Tunnel:
    """A port of this notebook's loopback whose connections lead into the course's cluster `name`."""

    def __init__(self, gateway: api.Gateway, name: str) -> None:
        self._gateway, self.name = gateway, name
        self.trouble: OccamError | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, name="occam-join", daemon=True).start()

    def enter(self) -> socket.socket:
        """A connection to the server behind the door. Raises OccamError."""
        said = self._gateway.ask("POST", f"clusters/{api.piece(self.name)}/join", owner="course")
        try:
            there = socket.create_connection((said["host"], int(said["port"])), timeout=_SECONDS)
            there.sendall(f"{said['ticket']}\n".encode())
            if there.recv(3, socket.MSG_WAITALL) != b"in\n":
                there.close()
                raise Refused(f"the course's cluster {self.name!r} let nobody in", "try again in a minute")
        except OSError as error:
            raise NotReached(
                f"the course's cluster {self.name!r} does not answer ({error})", "try again in a minute"
            ) from None
        there.settimeout(None)
        return there

    def close(self) -> None:
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                mine, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._carry, args=(mine,), name="occam-join", daemon=True).start()

    def _carry(self, mine: socket.socket) -> None:
        try:
            there = self.enter()
        except OccamError as trouble:
            self.trouble = trouble
            mine.close()
            return
        back = threading.Thread(target=_pipe, args=(there, mine), name="occam-join", daemon=True)
        back.start()
        _pipe(mine, there)
        back.join()
        mine.close()
        there.close()


def _pipe(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


_held: Joined | None = None


def joined() -> Joined | None:
    """The session of this kernel on the course's cluster, if there is one."""
    return _held if _held is not None and _held._tunnel is not None else None


def join(name: str = OWN) -> Joined:
    """A Spark session on the course's cluster `name`; the one of this kernel if there is one.

    Raises Refused when there is no such cluster, and NotReached.
    """
    global _held
    there = joined()
    if there is not None and there._tunnel is not None:
        if there._tunnel.name == name:
            return there
        raise Refused(f"this kernel is on the course's cluster {there._tunnel.name!r}", "leave it first: spark.stop()")
    gateway = api.here()
    tunnel = Tunnel(gateway, name)
    try:
        tunnel.enter().close()  # what is wrong is said here, and not by gRPC after minutes
        session: Any = SparkSession.builder.remote(f"sc://127.0.0.1:{tunnel.port}/;user_id={gateway.user}").create()
    except BaseException:
        tunnel.close()
        raise
    os.environ[_MODE] = "1"
    session.__class__, session._tunnel = Joined, tunnel
    _held = session
    return _held
