"""The gateway with 200 people and 200 clusters: its memory, its lists, and how fast it refuses.

The gateway is the real one, a process as in its container. Under it is an engine that only remembers
(simulated_engine.py), beside it the two answers of a hub that its decisions rest on. Everybody has a notebook and a
cluster of two workers, whose driver renews its lease every five seconds all the while, as Spark's does.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import requests
from side_by_side import Line

PEOPLE, WORKERS, QUOTA = 200, 2, 3
ROUNDS = 30
MB = 1_000_000
TOKEN = "token-of-hub-and-operator"
HERE = Path(__file__).parent
HEARTBEAT = 5.0
"""Seconds between two renewals of a lease: that of the scheduler backend."""


def measure() -> list[Line]:
    with tempfile.TemporaryDirectory() as folder, _gateway(Path(folder)) as (gateway, process):
        _fill(gateway)
        with _heartbeats(gateway):
            time.sleep(2 * HEARTBEAT)
            one = f"/users/{_name(0)}"
            all_, mine, refused = (
                _median(lambda: _expect(gateway.ask("GET", "/clusters"), 200)),
                _median(lambda: _expect(gateway.ask("GET", f"{one}/clusters", token=f"of {_name(0)}"), 200)),
                _median(
                    lambda: _expect(gateway.ask("POST", f"{one}/clusters", _wish(0, "more"), f"of {_name(0)}"), 409)
                ),
            )
            used = _resident(process.pid)
    many = f"{PEOPLE} people, {PEOPLE} clusters"
    return [
        Line(f"gateway with {many}", used / MB, 250, "MB"),
        Line(f"list of all clusters with {many}", all_ * 1000, 300, "ms"),
        Line(f"list of one's own clusters with {many}", mine * 1000, 300, "ms"),
        Line(f"refusal by the gateway with {many}", refused * 1000, 200, "ms"),
    ]


class Gateway:
    """The gateway's API on this machine."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/services/gateway/api"
        self._own = threading.local()

    def ask(self, method: str, path: str, body: object = None, token: str = TOKEN) -> requests.Response:
        session = self._own.__dict__.setdefault("session", requests.Session())
        session.trust_env = False
        headers = {"Authorization": f"token {token}"}
        answer: requests.Response = session.request(method, self._url + path, json=body, headers=headers, timeout=120)
        return answer


class _HubsAnswers(BaseHTTPRequestHandler):
    """Whose token it is ("of NAME"), and that everybody is there and in no group."""

    def do_GET(self) -> None:
        token, last = self.headers.get("Authorization", "").partition(" ")[2], self.path.rpartition("/")[2]
        name = token.removeprefix("of ") if last == "user" else unquote(last)
        text = json.dumps({"kind": "user", "name": name, "groups": [], "admin": False, "servers": {}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_words: object) -> None:
        """Nobody reads it."""


@contextmanager
def _gateway(folder: Path) -> Iterator[tuple[Gateway, subprocess.Popen[bytes]]]:
    hub = ThreadingHTTPServer(("127.0.0.1", 0), _HubsAnswers)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    at, port = folder / "docker.sock", _free_port()
    started = [subprocess.Popen([sys.executable, HERE / "simulated_engine.py", at])]
    try:
        _until(at.exists)
        _write_settings(folder, hub.server_port, port)
        environment = os.environ | {"OCCAM_GATEWAY_JSON": str(folder / "gateway.json")}
        with (folder / "gateway.log").open("wb") as log:
            command = [sys.executable, "-m", "occamctl.gateway.app"]
            started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        gateway = Gateway(port)
        try:
            _until(lambda: _answers(gateway))
            yield gateway, started[-1]
        except SystemExit as failed:
            raise SystemExit(f"{failed}\n{(folder / 'gateway.log').read_text()[-2000:]}") from None
    finally:
        for one in started:
            one.kill()
            one.wait()
        hub.shutdown()


def _write_settings(folder: Path, hub_port: int, port: int) -> None:
    (folder / "gateway-token").write_text(TOKEN)
    told = {
        "course": "bench", "version": "0", "hub_api": f"http://127.0.0.1:{hub_port}/hub/api", "hub_net": "bench-hub",
        "network": {"pool": "10.64.0.0/12", "hub_subnet": "10.80.0.0/22"}, "images": {"notebook": "none"},
        "notebook": {"cpu_limit": 1, "mem_limit": 1 << 30}, "port": port, "engine": str(folder / "docker.sock"),
        "spark": {"worker": {"cpus": 1, "memory": 1 << 30}, "lease": 60, "idle_timeout": 0}, "secrets": str(folder),
        "quotas": {"student": {"workers": QUOTA}, "instructor": {"workers": QUOTA}, "groups": {}}, "kept_after": 1,
    }  # fmt: skip
    (folder / "gateway.json").write_text(json.dumps(told))


def _fill(gateway: Gateway) -> None:
    """A notebook and a cluster for everybody, and all of them as ready as they get."""

    def one(number: int) -> None:
        user = f"/users/{_name(number)}"
        _expect(gateway.ask("PUT", f"{user}/notebook", {"environment": {"JUPYTERHUB_API_TOKEN": "x" * 32}}), 200)
        _expect(gateway.ask("POST", f"{user}/clusters", _wish(number, "lab")), 201)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(PEOPLE)))
    _until(lambda: all(one["state"] == "running" for one in gateway.ask("GET", "/clusters").json()), 120)


@contextmanager
def _heartbeats(gateway: Gateway) -> Iterator[None]:
    """All drivers renew their leases, evenly spread over time."""
    over = threading.Event()

    def beat() -> None:
        number = 0
        while not over.wait(HEARTBEAT / PEOPLE):
            who = _name(number := (number + 1) % PEOPLE)
            body = {"registered": WORKERS, "jobs": True}
            _expect(gateway.ask("PUT", f"/users/{who}/clusters/lab/lease", body, f"of {who}"), 200)

    beating = threading.Thread(target=beat, daemon=True)
    beating.start()
    try:
        yield
    finally:
        over.set()
        beating.join(10)


def _name(number: int) -> str:
    return f"student-{number:03}@example.org"


def _wish(number: int, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "workers": WORKERS,
        "driver": "notebook",
        "driver_host": "10.64.0.2",
        "driver_port": 20000 + number,
    }


def _expect(answer: requests.Response, status: int) -> None:
    if answer.status_code != status:
        raise SystemExit(f"{answer.request.method} {answer.url}: {answer.status_code} {answer.text[:500]}")


def _median(ask: Callable[[], None]) -> float:
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _resident(pid: int) -> int:
    """Bytes that the process has in memory, shared libraries too."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("no VmRSS")


def _free_port() -> int:
    with socket.socket() as asking:
        asking.bind(("127.0.0.1", 0))
        return int(asking.getsockname()[1])


def _answers(gateway: Gateway) -> bool:
    try:
        return gateway.ask("GET", "/health").status_code == 200
    except requests.ConnectionError:
        return False


def _until(true: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise SystemExit("the gateway of the bench did not get ready")
        time.sleep(0.1)
