"""Many connections over the two pipes of one process, which stands for a command in a container."""

from __future__ import annotations

import http.server
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import requests

from occamctl.engine import relay_inside
from occamctl.engine.relay import Relay


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        text = self.path.encode() * 20_000
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Quiet."""


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A test cuts a connection."""


class Pipes:
    """A process in place of a command in a container."""

    def __init__(self, port: int) -> None:
        command = [sys.executable, "-IS", relay_inside.__file__, str(port)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def send(self, content: bytes) -> None:
        assert self.process.stdin
        with suppress(ValueError):  # closed meanwhile
            self.process.stdin.write(content)
            self.process.stdin.flush()

    def receive(self) -> bytes:
        assert self.process.stdout
        return self.process.stdout.read1(1 << 16)  # type: ignore[attr-defined]

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(5)


@pytest.fixture
def page() -> Iterator[int]:
    server = Server(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def forwarded(relay: Relay) -> tuple[socket.socket, str]:
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=relay.carry, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_thirty_requests_on_ten_connections_come_whole(page: int) -> None:
    pipes: Any = Pipes(page)
    relay = Relay(pipes)
    listener, url = forwarded(relay)

    def browse(number: int) -> bool:
        with requests.Session() as browser:
            return all(
                browser.get(f"{url}/{number}.{again}", timeout=20).text == f"/{number}.{again}" * 20_000
                for again in range(3)
            )

    with ThreadPoolExecutor(10) as pool:
        assert all(pool.map(browse, range(10)))
    listener.close()
    pipes.close()
    assert relay.over.wait(5)


def test_nobody_listening_is_an_end_and_not_a_hang() -> None:
    with socket.create_server(("127.0.0.1", 0)) as asking:
        port = asking.getsockname()[1]
    pipes: Any = Pipes(port)
    listener, url = forwarded(Relay(pipes))
    began = time.monotonic()
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=10)
    assert time.monotonic() - began < 5
    listener.close()
    pipes.close()


def test_the_end_of_the_far_side_ends_every_connection(page: int) -> None:
    pipes: Any = Pipes(page)
    relay = Relay(pipes)
    listener, url = forwarded(relay)
    connection = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 5)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")  # and no end of it
    time.sleep(0.3)
    pipes.process.kill()
    assert relay.over.wait(5)
    assert connection.recv(10) == b""
    listener.close()
