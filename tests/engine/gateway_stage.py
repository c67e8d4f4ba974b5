"""A stage for the gateway's tests: two hosts in a swarm of their own, the gateway as a process, and a hub's answers.

This machine's own engine joins nothing: the swarm is inside the pretend hosts, and its socket comes out through SSH.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from occamctl import sandbox, wait
from occamctl.engine import context, ground, images, nodes, swarm
from occamctl.engine.client import Engine
from occamctl.plan import desired
from occamctl.spec.names import Names

from .. import image_build

COURSE, SANDBOX = "gwt", "gwtest"
ADMIN = "token-of-hub-and-operator"
ANNA, BOB, PROF = "token-of-anna", "token-of-bob", "token-of-prof"
PEOPLE: dict[str, tuple[str, list[str]]] = {
    ANNA: ("Anna.Rossi@unito.it", []),
    BOB: ("bob", []),
    PROF: ("prof", ["instructor"]),
}
GROUP = "lab3"
"""A group of the roster that has no quota."""
LEASE, QUOTA = 6, 3
HUB_SUBNET = "10.186.0.0/22"
HERE = Path(__file__).parent
NAMES = Names(COURSE)


def free_port() -> int:
    with socket.socket() as asking:
        asking.bind(("127.0.0.1", 0))
        return int(asking.getsockname()[1])


def write_settings(
    folder: Path, image: str, *, hub_port: int = 1, port: int = 1, more: Mapping[str, object] | None = None
) -> Path:
    """The gateway's settings and its token, for a gateway outside of the course's network. `more`: other settings."""
    (folder / "gateway-token").write_text(ADMIN)
    told = {
        "course": COURSE,
        "version": "0",
        "hub_api": f"http://127.0.0.1:{hub_port}/hub/api",
        "hub_net": NAMES.hub_net,
        "network": {"pool": "10.186.0.0/16", "hub_subnet": HUB_SUBNET},
        "images": {"notebook": image},
        "notebook": {"cpu_limit": 1, "mem_limit": 1 << 30},
        "spark": {"worker": {"cpus": 1, "memory": 768 << 20}, "lease": LEASE, "idle_timeout": 0},
        "quotas": {"student": {"workers": QUOTA, "guarantee": 2}, "instructor": {"workers": 4}, "groups": {}},
        "port": port,
        "engine": str(folder / "docker.sock"),
        "secrets": str(folder),
        "kept_after": 4,
        **(more or {}),
    }
    (folder / "gateway.json").write_text(json.dumps(told))
    return folder / "gateway.json"


class HubsAnswers(BaseHTTPRequestHandler):
    """The answers of JupyterHub 6.1 that the gateway's decisions rest on; the journeys ask a real hub."""

    def do_GET(self) -> None:
        token, last = self.headers.get("Authorization", "").partition(" ")[2], self.path.rpartition("/")[2]
        names = dict(PEOPLE.values())
        if last == "user":
            name, groups = PEOPLE.get(token, ("", []))
            self._say(200 if name else 403, {"kind": "user", "name": name, "groups": groups, "admin": False})
        elif token == ADMIN and self.path.endswith(f"/groups/{GROUP}"):
            self._say(200, {"kind": "group", "name": GROUP})
        elif token == ADMIN and requests.utils.unquote(last) in names:
            user = requests.utils.unquote(last)
            self._say(200, {"kind": "user", "name": user, "groups": names[user], "servers": {}})
        else:
            self._say(404, {"status": 404, "message": "Not Found"})

    def _say(self, status: int, answer: object) -> None:
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@dataclass
class Stage:
    """`engine` is the manager's; `ask` speaks to the gateway as whoever has the token."""

    folder: Path
    engine: Engine
    hub_port: int
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    more: Mapping[str, object] = field(default_factory=dict)
    """Other settings than the usual ones."""

    @property
    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    def start(self, image: str) -> None:
        write_settings(self.folder, image, hub_port=self.hub_port, port=self.port, more=self.more)
        self.up()

    def up(self) -> None:
        """Start the gateway's process and wait until it answers."""
        environment = {**os.environ, "OCCAM_GATEWAY_JSON": str(self.folder / "gateway.json")}
        with (self.folder / "gateway.log").open("ab") as log:
            command = [sys.executable, "-m", "occamctl.gateway.app"]
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

        def health() -> int:
            try:
                return self.ask("GET", "/health").status_code
            except requests.ConnectionError:
                return 0

        wait.until(health, lambda status: status == 200, "the gateway", seconds=20, fix=self.log)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the gateway's process; its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=20)

    def ask(self, method: str, path: str, body: object = None, token: str = ADMIN) -> requests.Response:
        url = f"http://127.0.0.1:{self.port}/services/gateway/api{path}"
        answer = requests.request(method, url, json=body, headers={"Authorization": f"token {token}"}, timeout=120)
        if answer.status_code >= 500:
            print(method, path, answer.text)  # shown with a test that fails
        return answer

    def services(self, kind: str) -> list[str]:
        found = swarm.services(self.engine, {"occam.course": COURSE, "occam.kind": kind})
        return sorted(one["Spec"]["Name"] for one in found)

    def secrets(self) -> list[str]:
        return sorted(one["Spec"]["Name"] for one in ground.secrets(self.engine, {"occam.course": COURSE}))

    def until(self, path: str, good: Any, what: str, seconds: float = 40) -> dict[str, Any]:
        """Ask until `good` accepts the answer."""
        return wait.until(lambda: self.ask("GET", path).json(), good, what, seconds=seconds)  # type: ignore[no-any-return]


@contextmanager
def two_hosts(
    folder: Path, name: str = SANDBOX, before: Callable[[], None] = lambda: None
) -> Iterator[tuple[Engine, str]]:
    """A swarm of two pretend hosts with the hub's network: the manager's engine, and the light image's tag.

    before  what is done to the hosts before they form a swarm
    """
    made = context.read((one, HERE / "light_image" / one) for one in os.listdir(HERE / "light_image"))
    image = f"localhost/occam/{name}:{made.digest()}"
    image_build.base()
    images.ensure_built(Engine.local(), images.Built(image, "light image", made), lambda text: None)
    tunnel: subprocess.Popen[bytes] | None = None
    try:
        options = {1: {"OCCAM_DOCKER_GROUP": "1"}, 2: {"OCCAM_DOCKER_GROUP": "1"}}
        hosts = sandbox.up(2, name=name, tags=(image,), options=options)
        before()
        tunnel = _tunnel(hosts, folder)
        engine = Engine.local(str(folder / "docker.sock"))
        _form(engine, hosts.addresses, name)
        labels = desired.labels(COURSE, "network")
        ground.ensure_network(engine, desired.Network(NAMES.hub_net, HUB_SUBNET, labels))
        yield engine, image
    finally:
        if tunnel:
            tunnel.kill()
        sandbox.down(name)
        images.remove(Engine.local(), [image])


@contextmanager
def stage(
    folder: Path,
    *,
    hubs: type[HubsAnswers] = HubsAnswers,
    before: Callable[[], None] = lambda: None,
    more: Mapping[str, object] | None = None,
) -> Iterator[Stage]:
    """Hosts, swarm, network, hub and gateway; everything is gone at the end. `before` and `more` as above."""
    hub = ThreadingHTTPServer(("127.0.0.1", 0), hubs)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    try:
        with two_hosts(folder, before=before) as (engine, image):
            on = Stage(folder, engine, hub.server_port, more=more or {})
            on.start(image)
            yield on
            on.end()
    finally:
        hub.shutdown()


def _tunnel(hosts: sandbox.Sandbox, folder: Path) -> subprocess.Popen[bytes]:
    at = folder / "docker.sock"
    command = [
        "ssh",
        "-N",
        "-i",
        str(hosts.key),
        "-o",
        f"UserKnownHostsFile={hosts.known_hosts}",
        "-o",
        "BatchMode=yes",
    ]
    made = subprocess.Popen(
        [*command, "-L", f"{at}:/var/run/docker.sock", f"{sandbox.hosts.USER}@{hosts.addresses[0]}"]
    )
    wait.until(at.exists, bool, "the manager's socket", seconds=20)
    return made


def _form(engine: Engine, addresses: Sequence[str], name: str) -> None:
    """A swarm that notices a lost host within seconds, not within a minute."""
    spec = engine.api.create_swarm_spec(dispatcher_heartbeat_period=2 * 10**9)
    engine.api.init_swarm(advertise_addr=addresses[0], swarm_spec=spec)
    token = engine.api.inspect_swarm()["JoinTokens"]["Worker"]
    local = Engine.local()
    join = ["docker", "swarm", "join", "--token", token, f"{addresses[0]}:2377"]
    code, _, err = local.exec(host(2, name), join)
    assert code == 0, err
    wait.until(
        lambda: sum(node.usable for node in swarm.nodes(engine)), lambda many: many == 2, "two nodes", seconds=20
    )
    assert nodes.own_id(engine)


def host(number: int, name: str = SANDBOX) -> str:
    return sandbox.hosts.host_name(name, number)
