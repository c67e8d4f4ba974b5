"""A stand-in for the gateway, for tests of Spark's side alone: it records what is asked and starts real executors.

    stand_in_gateway.py PORT     runs inside the notebook image; executors are processes beside it

Every request is kept and shown at GET /requests. PUT /answer {"status": 409, …} makes it refuse what follows.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from occamctl.spark import settings

PORT = int(sys.argv[1])


class Cluster:
    """One cluster and its executors."""

    def __init__(self, owner: str, asked: dict[str, Any]) -> None:
        self.owner, self.asked = owner, asked
        self.secret, self.wanted, self.next_id = secrets.token_hex(16), int(asked["workers"]), 0
        self.app_id, self.registered = f"app-{secrets.token_hex(4)}", None
        self.executors: dict[str, subprocess.Popen[bytes]] = {}

    def answer(self) -> dict[str, Any]:
        states = {key: "running" if one.poll() is None else "lost" for key, one in self.executors.items()}
        return {
            "name": self.asked["name"], "owner": self.owner, "app_id": self.app_id, "driver": "notebook",
            "state": "running", "wanted": self.wanted, "cores": self.asked.get("cores", 1),
            "memory": self.asked.get("memory", 1 << 30), "registered": self.registered, "message": "",
            "executors": [
                {"id": key, "node": f"node{int(key) % 2 + 1}", "state": state, "message": ""}
                for key, state in states.items()
            ],
        }  # fmt: skip

    def scale(self, wanted: int) -> None:
        self.wanted = wanted
        while len(self.executors) < wanted:
            self.next_id += 1
            self.executors[str(self.next_id)] = self._start(self.next_id)
        self.kill(list(self.executors)[wanted:])

    def kill(self, ids: list[str]) -> None:
        for one in ids:
            if one in self.executors:
                self.executors.pop(one).send_signal(signal.SIGPWR)

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        folder = Path(tempfile.mkdtemp())
        (folder / "args").write_text(settings.executor_args(self.secret))
        variables = {
            "OCCAM_DRIVER_HOST": self.asked["driver_host"], "OCCAM_DRIVER_PORT": str(self.asked["driver_port"]),
            "OCCAM_EXECUTOR_ID": str(number), "OCCAM_APP_ID": self.app_id, "OCCAM_CORES": "1",
            "OCCAM_MEMORY": str(self.asked.get("memory", 1 << 30)), "OCCAM_EXECUTOR_ARGS": str(folder / "args"),
        }  # fmt: skip
        log = open(f"/tmp/executor-{self.asked['name']}-{number}.log", "wb")  # noqa: SIM115
        return subprocess.Popen(["occam-executor"], env=os.environ | variables, stderr=log, stdout=log)


class Gateway(BaseHTTPRequestHandler):
    clusters: dict[str, Cluster] = {}  # noqa: RUF012
    requests: list[dict[str, Any]] = []  # noqa: RUF012
    refusal: dict[str, Any] = {}  # noqa: RUF012

    def answer(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        status, said = self.route(self.command, self.path, body)
        self.send_response(status)
        data = json.dumps(said).encode()
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = answer

    def route(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        path, _, app_id = path.partition("?app_id=")
        if path == "/requests":
            return 200, self.requests
        if path == "/answer":
            Gateway.refusal = body
            return 200, {}
        self.requests.append({"method": method, "path": path, "body": body, "token": self.headers.get("Authorization")})
        if self.refusal and not (method == "DELETE" or path.endswith("/lease")):
            return self.refusal["status"], {"error": self.refusal["error"]}
        _, _, owner, *rest = path.split("/")
        if rest == ["quota"]:
            return 200, {
                "workers": {"limit": 4, "held": sum(one.wanted for one in self.clusters.values()), "free_on_hosts": 8}
            }
        if rest == ["clusters"] and method == "POST":
            return self.create(unquote(owner), body)
        if rest == ["clusters"]:
            return 200, [one.answer() for one in self.clusters.values()]
        if rest[1] not in self.clusters:
            return 404, {"error": {"what": f"no cluster {rest[1]}", "where": "", "fix": "", "exit_code": 1}}
        if app_id and app_id != self.clusters[rest[1]].app_id:
            return 404, {"error": {"what": f"{rest[1]} is another one", "where": "", "fix": "", "exit_code": 1}}
        return self.act(method, self.clusters[rest[1]], "/".join(rest[2:]), body)

    def create(self, owner: str, body: dict[str, Any]) -> tuple[int, Any]:
        cluster = self.clusters[body["name"]] = Cluster(owner, body)
        cluster.scale(cluster.wanted)
        driver = settings.Driver(
            "notebook",
            f"http://127.0.0.1:{PORT}",
            owner,
            body["name"],
            cluster.app_id,
            4 << 30,
            body["driver_host"],
            body["driver_port"],
        )
        conf = settings.driver_conf(driver, workers=cluster.wanted, cores=1, memory=1 << 30)
        return 201, cluster.answer() | {"secret": cluster.secret, "conf": conf}

    def act(self, method: str, cluster: Cluster, piece: str, body: dict[str, Any]) -> tuple[int, Any]:
        if method == "DELETE":
            cluster.scale(0)
            del self.clusters[cluster.asked["name"]]
            return 200, {}
        if piece == "lease":
            cluster.registered = body["registered"]
        if piece == "workers":
            cluster.scale(body["workers"])
        if piece == "executors":
            cluster.wanted = body["total"]
            cluster.scale(max(cluster.wanted, len(cluster.executors)))
        if piece == "executors/kill":
            cluster.kill(body["ids"])
        return 200, cluster.answer()

    def log_message(self, *_words: object) -> None:
        """Requests are recorded."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", PORT), Gateway).serve_forever()
