"""A Docker engine that only remembers: what the gateway asks of a swarm's manager, answered from memory.

    simulated_engine.py SOCKET     a process of its own, so that its memory is not the gateway's

Services, secrets and networks are kept as they were sent, every task runs at once, and lists are as long as a real
manager's: a task carries its service's whole template.
"""

from __future__ import annotations

import json
import re
import secrets
import socketserver
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

NODES = 10
CPUS, MEMORY = 128, 1 << 40
"""Of each node: room for everybody."""


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def fits(one: dict[str, Any], filters: dict[str, list[str]]) -> bool:
    """Whether the engine would list `one` for these filters: label, name (its beginning), service."""
    spec = one.get("Spec", one)
    labels, name = spec.get("Labels") or one.get("Labels") or {}, spec.get("Name") or one.get("Name", "")
    for label in filters.get("label", ()):
        key, _, value = label.partition("=")
        if key not in labels or (value and labels[key] != value):
            return False
    wanted = filters.get("name", ())
    return not wanted or any(part in name for part in wanted)


class Swarm:
    """What there is, by kind and id."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.kept: dict[str, dict[str, dict[str, Any]]] = {"services": {}, "secrets": {}, "networks": {}, "tasks": {}}
        self.nodes = [_node(number) for number in range(1, NODES + 1)]

    def create(self, kind: str, spec: dict[str, Any]) -> str:
        number = secrets.token_hex(12)
        made = {"ID": number, "Version": {"Index": 1}, "CreatedAt": now(), "UpdatedAt": now(), "Spec": spec}
        if kind == "networks":
            made = spec | {"Id": number, "Options": {"com.docker.network.driver.overlay.vxlanid_list": "4097"}}
        if kind == "secrets":
            spec.pop("Data", None)
        self.kept[kind][number] = made
        if kind == "services":
            self._start(number, spec)
        return number

    def _start(self, service: str, spec: dict[str, Any]) -> None:
        template = spec["TaskTemplate"]
        pinned = [one.partition("==")[2] for one in template["Placement"]["Constraints"]]
        number = secrets.token_hex(12)
        status = {"Timestamp": now(), "State": "running", "Message": "started"}
        status["ContainerStatus"] = {"ContainerID": secrets.token_hex(32), "PID": 4242, "ExitCode": 0}  # type: ignore[assignment]
        self.kept["tasks"][number] = {
            "ID": number, "Version": {"Index": 1}, "CreatedAt": now(), "UpdatedAt": now(), "Labels": spec["Labels"],
            "Spec": template, "ServiceID": service, "Slot": 1, "NodeID": (pinned or ["node1"])[0],
            "Status": status, "DesiredState": "running", "NetworksAttachments": [],
        }  # fmt: skip

    def list(self, kind: str, filters: dict[str, list[str]]) -> list[dict[str, Any]]:
        found = list(self.kept[kind].values())
        if kind == "tasks" and (names := filters.pop("service", None)):
            ids = {key for key, one in self.kept["services"].items() if one["Spec"]["Name"] in names}
            found = [one for one in found if one["ServiceID"] in ids]
        return [one for one in found if fits(one, filters)]

    def update(self, kind: str, number: str, spec: dict[str, Any]) -> None:
        there = self.kept[kind][number]
        there["Spec"], there["Version"] = spec, {"Index": there["Version"]["Index"] + 1}

    def remove(self, kind: str, known: str) -> bool:
        """By id or name; a service's tasks go with it."""
        for number, one in list(self.kept[kind].items()):
            if known in (number, one.get("Name"), one.get("Spec", {}).get("Name")):
                del self.kept[kind][number]
                gone = [key for key, task in self.kept["tasks"].items() if task["ServiceID"] == number]
                for key in gone:
                    del self.kept["tasks"][key]
                return True
        return False


def _node(number: int) -> dict[str, Any]:
    return {
        "ID": f"node{number}",
        "Spec": {"Role": "manager" if number == 1 else "worker", "Availability": "active", "Labels": {}},
        "Description": {
            "Hostname": f"host{number}",
            "Resources": {"NanoCPUs": CPUS * 10**9, "MemoryBytes": MEMORY},
        },
        "Status": {"State": "ready", "Addr": f"10.0.0.{number}"},
        "ManagerStatus": {"Leader": number == 1},
    }


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    swarm = Swarm()

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"null")
        parts = urlsplit(self.path)
        path = re.sub(r"^/v[\d.]+", "", parts.path).strip("/").split("/")
        filters = json.loads(parse_qs(parts.query).get("filters", ["{}"])[0])
        with self.swarm.lock:
            status, said = self.route(self.command, [unquote(one) for one in path], filters, body)
        data = b"" if said is None else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = answer

    def route(self, method: str, path: list[str], filters: Any, body: Any) -> tuple[int, Any]:
        if path == ["version"]:
            return 200, {"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}
        if path == ["info"]:
            return 200, {"Swarm": {"LocalNodeState": "active", "NodeID": "node1"}}
        if path == ["nodes"]:
            return 200, self.swarm.nodes
        kind = path[0]
        if kind not in self.swarm.kept:
            return 404, {"message": f"no {kind} here"}
        if path[1:] == ["create"]:
            return 201, {"ID": (number := self.swarm.create(kind, body)), "Id": number}
        if path[2:] == ["update"]:
            self.swarm.update(kind, path[1], body)
            return 200, {}
        if method == "DELETE":
            return (200, None) if self.swarm.remove(kind, path[1]) else (404, {"message": "not found"})
        return 200, self.swarm.list(kind, filters)

    def log_message(self, *_words: object) -> None:
        """Nobody reads it."""


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads, request_queue_size = True, 128

    def get_request(self) -> tuple[Any, Any]:
        connection, _ = super().get_request()
        return connection, ("engine", 0)


if __name__ == "__main__":
    Server(sys.argv[1], Answers).serve_forever()
