"""A stage for tests of the hub: hub and proxy as their image runs them, and a stand-in for the gateway."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from occamctl import wait
from occamctl.actions.student import Student
from occamctl.engine import images
from occamctl.engine.client import Engine

COURSE = "t"
STAND_IN = Path(__file__).with_name("gateway_for_the_hub.py")


class Stage:
    """Hub, proxy and stand-in gateway on a network of their own."""

    def __init__(self, engine: Engine, image: str, folder: Path) -> None:
        self.engine, self.image, self.folder = engine, image, folder
        self.name = f"occam-test-hub-{secrets.token_hex(3)}"
        self.network = engine.client.networks.create(self.name, labels={"occam.test": "hub"})
        self._write()
        self.gateway = self._run("gateway", ["python", "/stand_in.py"])
        self.proxy = self._run(
            "proxy",
            [
                "occam-proxy",
                *("--ip=0.0.0.0", "--port=8000", "--api-ip=0.0.0.0", "--api-port=8001"),
                *("--default-target=http://tasks.t-hub:8081", "--error-target=http://tasks.t-hub:8081/hub/error"),
            ],
            ports={"8000/tcp": ("127.0.0.1", None)},
        )
        self.hub = self._run("hub", ["occam-hub"])
        self.proxy.reload()
        self.url = f"http://127.0.0.1:{self.proxy.ports['8000/tcp'][0]['HostPort']}"
        self.await_hub()

    def _write(self) -> None:
        """Files of the containers, for their user (uid 1000)."""
        (self.folder / "secrets").mkdir()
        (self.folder / "data").mkdir()
        self.tokens = {name: secrets.token_hex(16) for name in ("proxy-token", "gateway-token")}
        for name, token in self.tokens.items():
            (self.folder / "secrets" / name).write_text(token)
        told = {
            "course": COURSE,
            "title": "Trees & <forests>",
            "gateway_url": "http://tasks.t-gateway:8080/services/gateway/api",
            "hub_url": "http://tasks.t-hub:8081",
            "proxy_api": "http://tasks.t-proxy:8001",
            "notebook": {"idle_timeout": 7200},
        }
        (self.folder / "hub.json").write_text(json.dumps(told))
        self.engine.client.containers.run(
            self.image, ["chown", "-R", "1000:1000", "/f"], user="0", remove=True, volumes=[f"{self.folder}:/f"]
        )

    def _run(self, piece: str, command: list[str], **more: Any) -> Any:
        made = self.engine.client.containers.create(
            self.image,
            command,
            name=f"{self.name}-{piece}",
            hostname=f"{self.name}-{piece}",
            user="1000",
            cap_drop=["ALL"],
            labels={"occam.test": "hub"},
            volumes=[
                f"{self.folder}/secrets:/run/secrets:ro",
                f"{self.folder}/data:/srv/hub",
                f"{self.folder}/hub.json:/etc/occam/hub.json:ro",
                f"{STAND_IN}:/stand_in.py:ro",
            ],
            network=self.name,
            **more,
        )
        self.network.disconnect(made)
        self.network.connect(made, aliases=[f"tasks.t-{piece}"])
        made.start()
        return made

    def await_hub(self) -> None:
        def look() -> int:
            try:
                return requests.get(f"{self.url}/hub/login", timeout=5).status_code
            except requests.RequestException:
                return 0

        wait.until(look, lambda seen: seen == 200, "the hub", seconds=90)

    def replace(self, piece: Any) -> None:
        """Stop the piece and start it at another address, as when its task is replaced."""
        before = self._address(piece)
        piece.stop(timeout=5)
        other = self.engine.client.containers.run(
            self.image, ["sleep", "60"], network=self.name, detach=True, labels={"occam.test": "hub"}
        )
        piece.start()
        other.remove(force=True)
        assert self._address(piece) != before

    def _address(self, piece: Any) -> str:
        piece.reload()
        return str(piece.attrs["NetworkSettings"]["Networks"][self.name]["IPAddress"])

    def accounts(self, command: dict[str, Any]) -> dict[str, Any]:
        asked = ["python", "-m", "occamctl.hub.accounts"]
        code, out, err = self.engine.exec(self.hub.id, asked, json.dumps(command).encode())
        assert code == 0, (out, err)
        return json.loads(out)

    def put(self, *people: dict[str, str]) -> None:
        self.accounts({"command": "put", "people": list(people)})

    def api(self, token: str, method: str, path: str) -> requests.Response:
        headers = {"Authorization": f"token {token}"}
        return requests.request(method, f"{self.url}/hub/api{path}", headers=headers, timeout=20)

    def signed_in(self, username: str, password: str) -> Student:
        student = Student(self.url, username)
        student.sign_in(password)
        return student

    def cluster(self, owner: str, name: str = "lab", **more: Any) -> None:
        """A cluster on the gateway's page."""
        self._make("POST", json.dumps({"owner": owner, "name": name, **more}))

    def no_clusters(self) -> None:
        self._make("DELETE")

    def _make(self, method: str, body: str = "") -> None:
        ask = "import sys, urllib.request as r; at, how = sys.argv[1:]; body = sys.stdin.buffer.read()"
        ask += "; r.urlopen(r.Request(at, body, method=how))"
        command = ["python", "-c", ask, "http://127.0.0.1:8080/make", method]
        code, _, err = self.engine.exec(self.gateway.id, command, body.encode())
        assert code == 0, err

    def close(self) -> None:
        for one in (self.hub, self.proxy, self.gateway):
            one.remove(force=True)
        self.network.remove()
        self.engine.client.containers.run(
            self.image, ["sh", "-c", "rm -rf /f/*"], user="0", remove=True, volumes=[f"{self.folder}:/f"]
        )


@contextmanager
def on(folder: Path) -> Iterator[Stage]:
    """The stage, with the images that it needs; nothing of it is left at the end."""
    engine = Engine.local()
    built = images.hub_image()
    images.ensure_built(engine, built, lambda _: None)
    made = Stage(engine, built.tag, folder)
    try:
        yield made
    finally:
        made.close()
        engine.close()
