"""A stand-in for the gateway, for tests of Spark's side alone: it records what is asked and starts real executors.

    stand_in_gateway.py PORT     runs inside the notebook image; executors are processes beside it

Every request is kept and shown at GET /requests. What it is asked next it takes as PUT /answer says:

    {}                               as usual
    {"status": 409, "error": {…}}    it refuses all but the lease and the end of a cluster
    {"away": true}                   it does not answer at all, as while it restarts
    {"room": 2}                      it grants so many executors and no more

PUT /settings sets {"room": workers of a new cluster, "missing": how many of them never come, "grace": how long a driver
waits for its kernel, "slow": seconds until a cluster is granted}, PUT /notice {"name", "text"} tells a cluster's
owner something.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from occamctl.spark import settings

PORT = int(sys.argv[1])


@dataclass
class Executor:
    profile: str
    process: subprocess.Popen[bytes]
    log: Path

    def lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()

    def last_words(self) -> str:
        return (self.lines() or [""])[-1]


class Cluster:
    """One cluster and its executors: of each resource profile as many as were granted."""

    def __init__(self, owner: str, asked: dict[str, Any]) -> None:
        self.owner, self.asked = owner, asked
        self.secret, self.next_id = secrets.token_hex(16), 0
        self.app_id, self.registered = f"app-{secrets.token_hex(4)}", None
        self.adaptive, self.notices = asked.get("adaptive"), list[dict[str, Any]]()
        self.granted: dict[str, int] = {}
        self.sizes: dict[str, dict[str, int]] = {}
        self.executors: dict[str, Executor] = {}
        self.lost: dict[str, Executor] = {}

    @property
    def wanted(self) -> int:
        return sum(self.granted.values())

    def answer(self) -> dict[str, Any]:
        executors = [*((key, one, "lost") for key, one in self.lost.items())]
        executors += [(key, one, "running") for key, one in self.executors.items()]
        return {
            "name": self.asked["name"], "owner": self.owner, "app_id": self.app_id, "driver": "notebook",
            "state": "running", "wanted": self.wanted, "granted": self.granted, "cores": self.asked.get("cores", 1),
            "memory": self.asked.get("memory", 1 << 30), "registered": self.registered, "message": "",
            "adaptive": self.adaptive, "notices": self.notices, "ui_port": self.asked.get("ui_port"),
            "executors": [
                {
                    "id": key, "node": f"node{int(key) % 2 + 1}", "state": state, "profile": one.profile,
                    "message": one.last_words() if state == "lost" else "",
                }
                for key, one, state in executors
            ],
        }  # fmt: skip

    def logs(self, worker: str, tail: int) -> str:
        there = self.lost | self.executors
        wanted = {worker: there[worker]} if worker else there
        lines = [f"{key}: {line}" if not worker else line for key, one in wanted.items() for line in one.lines()]
        return "\n".join(lines[-tail:])

    def grant(self, profiles: dict[str, int], room: int) -> None:
        """What Spark itself asks for, all of it: a profile that is not named is no longer wanted."""
        self.granted = {}
        low, high = self.adaptive or (0, 10_000)
        for profile, count in profiles.items():
            count = min(max(count, low if profile == "0" else 0), high)
            self.granted[profile] = min(count, room)
            room -= self.granted[profile]
        self.fill()

    def scale(self, workers: int) -> None:
        self.granted["0"] = workers
        self.fill()
        self.kill([key for key, one in self.executors.items() if one.profile == "0"][workers:])

    def fill(self) -> None:
        """Start what is missing; whatever ended by itself is lost, and its number is never used again."""
        for key, one in list(self.executors.items()):
            if one.process.poll() is not None:
                self.lost[key] = self.executors.pop(key)
        for profile, count in self.granted.items():
            for _ in range(count - sum(one.profile == profile for one in self.executors.values())):
                self.next_id += 1
                self.executors[str(self.next_id)] = self._start(self.next_id, profile)

    def kill(self, ids: list[str]) -> None:
        for one in ids:
            if one in self.executors:
                self.executors.pop(one).process.send_signal(signal.SIGPWR)

    def _start(self, number: int, profile: str) -> Executor:
        folder = Path(tempfile.mkdtemp())
        (folder / "args").write_text(settings.executor_args(self.secret))
        size = {"cores": self.asked.get("cores") or 1, "memory": self.asked.get("memory", 1 << 30)}
        size |= {"gpus": int(self.asked.get("gpu") or 0)} | self.sizes.get(profile, {})
        variables = {
            "OCCAM_DRIVER_HOST": self.asked["driver_host"], "OCCAM_DRIVER_PORT": str(self.asked["driver_port"]),
            "OCCAM_EXECUTOR_ID": str(number), "OCCAM_APP_ID": self.app_id, "OCCAM_EXECUTOR_ARGS": str(folder / "args"),
            "OCCAM_RESOURCE_PROFILE": profile, **{f"OCCAM_{key.upper()}": str(value) for key, value in size.items()},
        }  # fmt: skip
        for one in range(size["gpus"]):  # as Swarm says it
            variables[f"DOCKER_RESOURCE_OCCAM_GPU_GPU_{number}_{one}"] = f"GPU-{number}-{one}"
        log = Path(f"/tmp/executor-{self.asked['name']}-{number}.log")
        with log.open("wb") as out:
            process = subprocess.Popen(["occam-executor"], env=os.environ | variables, stderr=out, stdout=out)
        return Executor(profile, process, log)


class Gateway(BaseHTTPRequestHandler):
    clusters: dict[str, Cluster] = {}  # noqa: RUF012
    requests: list[dict[str, Any]] = []  # noqa: RUF012
    mood: dict[str, Any] = {}  # noqa: RUF012
    settings: dict[str, Any] = {}  # noqa: RUF012

    def answer(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        if self.mood.get("away") and self.headers.get("Authorization"):  # tests ask without a token
            return
        status, said = self.route(self.command, self.path, body)
        self.send_response(status)
        data = json.dumps(said).encode()
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = answer

    def route(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        path, _, asked = path.partition("?")
        query = dict(parse_qsl(asked))
        app_id = query.get("app_id", "")
        if path == "/requests":
            return 200, self.requests
        if path == "/answer":
            Gateway.mood = body
            return 200, {}
        if path == "/settings":
            self.settings.update(body)
            return 200, {}
        if path == "/notice":
            notices = self.clusters[body["name"]].notices
            notices.append({"number": len(notices) + 1, "text": body["text"]})
            return 200, {}
        self.requests.append({"method": method, "path": path, "body": body, "token": self.headers.get("Authorization")})
        if "status" in self.mood and not (method == "DELETE" or path.endswith("/lease")):
            return self.mood["status"], {"error": self.mood["error"]}
        _, _, owner, *rest = path.split("/")
        if rest == ["quota"]:
            held = sum(one.wanted for one in self.clusters.values())
            return 200, {
                "workers": {"limit": 4, "held": held, "guarantee": 1, "free_on_hosts": 8},
                "cpus": {"limit": None, "held": float(held)},
                "memory": {"limit": 8 << 30, "held": held << 30},
            }
        if rest[0] == "queue":
            return 200, {}
        if rest == ["clusters"] and method == "POST":
            return self.create(unquote(owner), body)
        if rest == ["clusters"]:
            return 200, [one.answer() for one in self.clusters.values()]
        if rest[1] not in self.clusters:
            return 404, {"error": {"what": f"no cluster {rest[1]}", "where": "", "fix": "", "exit_code": 1}}
        if app_id and app_id != self.clusters[rest[1]].app_id:
            return 404, {"error": {"what": f"{rest[1]} is another one", "where": "", "fix": "", "exit_code": 1}}
        if rest[2:] == ["logs"]:
            return 200, {"text": self.clusters[rest[1]].logs(query.get("worker", ""), int(query["tail"]))}
        return self.act(method, self.clusters[rest[1]], "/".join(rest[2:]), body)

    def create(self, owner: str, body: dict[str, Any]) -> tuple[int, Any]:
        if body["workers"] > self.settings.get("room", 100):
            full = "the hosts are full; the group phd holds the rest"
            if body.get("wait"):
                return 202, {"queued": {"ticket": "t1", "position": 1, "of": 3, "message": full}}
            return 409, {"error": {"what": full, "where": "", "fix": "ask for 1 worker", "exit_code": 4}}
        time.sleep(self.settings.get("slow", 0))
        cluster = self.clusters[body["name"]] = Cluster(owner, body)
        cluster.scale(int(body["workers"]) - self.settings.get("missing", 0))
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
        adaptive = tuple(cluster.adaptive) if cluster.adaptive else None
        conf = settings.driver_conf(
            driver,
            workers=cluster.wanted,
            cores=body.get("cores") or 1,
            memory=1 << 30,
            adaptive=adaptive,
            gpus=int(body.get("gpu") or 0),
        )
        if "grace" in self.settings:
            conf["spark.occam.grace"] = self.settings["grace"]
        return 201, cluster.answer() | {"secret": cluster.secret, "token": "the-clusters-token", "conf": conf}

    def act(self, method: str, cluster: Cluster, piece: str, body: dict[str, Any]) -> tuple[int, Any]:
        if method == "DELETE":
            cluster.kill(list(cluster.executors))
            del self.clusters[cluster.asked["name"]]
            return 200, {}
        if piece == "lease":
            cluster.registered = body["registered"]
            cluster.fill()
        if piece == "adaptive":
            cluster.adaptive = [body["min"], body["max"]]
        if piece == "workers":
            cluster.scale(body["workers"])
        if piece == "executors":
            cluster.sizes.update(body["sizes"])
            never = {key: self.mood["never"] for key in body["profiles"] if key != "0" and "never" in self.mood}
            cluster.grant(
                {key: 0 if key in never else n for key, n in body["profiles"].items()}, self.mood.get("room", 100)
            )
            return 200, cluster.answer() | {"never": never}
        if piece == "executors/kill":
            cluster.kill(body["ids"])
        return 200, cluster.answer()

    def log_message(self, *_words: object) -> None:
        """Requests are recorded."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", PORT), Gateway).serve_forever()
