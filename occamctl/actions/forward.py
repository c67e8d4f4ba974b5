"""Spark's own page of a driver, at an address of this machine: carried over the connection that we have."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from occamctl import wait
from occamctl.actions import clusters
from occamctl.actions.clusters import Cluster
from occamctl.actions.pieces import host_of_node
from occamctl.actions.session import Session
from occamctl.engine import swarm
from occamctl.engine.client import Engine
from occamctl.engine.relay import Relay, relay
from occamctl.errors import OccamError, Refused, SpecError
from occamctl.spark.clusters import UI_PORT

HERE = "127.0.0.1"
_STUDENT = "1000:1000"
_ANSWER = 60
"""Seconds until the page must answer: a driver that has just started is still busy."""
_MOST = 64
_PROBE = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 3)"
_PROXIED = re.compile(rb"\A([A-Z]+) /user/[^/ ]+/proxy/\d+/?")
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_MOST_HEAD = 1 << 16


@dataclass(frozen=True)
class Forward:
    """`url` answers for as long as the block is open. `wait` ends when the driver does."""

    url: str
    relay: Relay

    def wait(self) -> None:
        """Wait until the driver's container is gone. Raises OccamError then; a Ctrl-C comes through."""
        while not self.relay.over.wait(1):
            pass
        raise OccamError("Spark's page is gone: its driver has ended", fix="see: occamctl spark list")


@contextmanager
def forward(session: Session, owner: str, name: str, port: int = 0) -> Iterator[Forward]:
    """Spark's page of a cluster at a port of this machine's loopback, a free one for 0.

    Raises NotThere, SpecError when the port is taken, Refused when there is no page, HostError, TookTooLong.
    """
    there = clusters.find(session, owner, name)
    engine, container, inside = _page(session, there)
    with relay(engine, container, inside, user=_STUDENT) as carrying, at_port(port, carrying) as url:
        yield Forward(url, carrying)


@contextmanager
def at_port(port: int, carrying: Relay) -> Iterator[str]:
    """The relay at a port of this machine's loopback: its address. Raises SpecError when the port is taken."""
    with _listener(port) as listener:
        threading.Thread(target=_accept, args=(listener, carrying), daemon=True).start()
        yield f"http://{HERE}:{listener.getsockname()[1]}/"


def _page(session: Session, there: Cluster) -> tuple[Engine, str, int]:
    """Where Spark's page of the cluster is: an engine, a container, a port of its loopback."""
    called = f"{there['owner']}/{there['name']}"
    port = UI_PORT if there["driver_service"] else int(there.get("ui_port") or 0)
    if not port:
        raise Refused(
            "where Spark's page is in its notebook is not known yet", where=called, fix="try again in a moment"
        )
    service = there["driver_service"] or session.names.notebook(there["owner"])
    running = [
        one for one in swarm.tasks(session.manager, service_name=service) if one.state == one.wanted == "running"
    ]
    if not running:
        raise Refused("its driver does not run", where=called, fix="see: occamctl spark status")
    engine, container = session.engine(host_of_node(session, running[0].node_id)), running[0].container_id
    probe = ["python3", "-ISc", _PROBE, str(port)]
    wait.until(
        lambda: engine.exec(container, probe, user=_STUDENT, seconds=20)[0],
        (0).__eq__,
        f"Spark's page of {called}",
        seconds=_ANSWER,
        every=1,
        describe=lambda _: "not listening",
        fix="its Spark session may not have begun, or has ended",
    )
    return engine, container, port


def _listener(port: int) -> socket.socket:
    try:
        return socket.create_server((HERE, port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SpecError(f"port {port} of this machine: {reason}", where="--port", fix="take another, or 0") from None


def _accept(listener: socket.socket, carrying: Relay) -> None:
    places = threading.BoundedSemaphore(_MOST)

    def carry(connection: socket.socket) -> None:
        with places:
            carrying.carry(connection, Requests())

    with suppress(OSError):  # the listener is closed
        while True:
            threading.Thread(target=carry, args=(listener.accept()[0],), daemon=True).start()


class Requests:
    """Takes the path below the hub, which a notebook's Spark writes into its links, off the requests of a connection.

    Called with what a browser sends, piece by piece; returns what Spark should get. Raises OSError for what is no HTTP.
    """

    def __init__(self) -> None:
        self._head, self._body = b"", 0

    def __call__(self, content: bytes) -> bytes:
        done = b""
        while content:
            if self._body:
                body, content = content[: self._body], content[self._body :]
                self._body -= len(body)
                done += body
                continue
            head, end, content = (self._head + content).partition(b"\r\n\r\n")
            if not end:
                self._head = head
                break
            length = _LENGTH.search(head)
            self._head, self._body = b"", int(length[1]) if length else 0
            done += _PROXIED.sub(rb"\1 /", head) + end
        if len(self._head) > _MOST_HEAD:
            raise OSError("no end of the request's head")
        return done
