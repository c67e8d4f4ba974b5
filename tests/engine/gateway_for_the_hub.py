"""A stand-in for the gateway, for tests of the hub alone: runs in the hub's image, notebooks are small servers by.

    gateway_for_the_hub.py               the gateway's API for notebooks, and its page, on port 8080
    gateway_for_the_hub.py notebook      one notebook: JupyterHub's own OAuth before a page that shows a number

The number is made when the notebook starts: the same number later means that nobody restarted it. The page is the
gateway's own, over clusters that the ledger has and no engine: `/make` makes one.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from urllib.parse import unquote, urlsplit

from jupyterhub.services.auth import HubOAuthCallbackHandler, HubOAuthenticated
from tornado.ioloop import IOLoop
from tornado.web import Application, RequestHandler, authenticated

from occamctl.engine.swarm import Node
from occamctl.gateway import page
from occamctl.gateway.api import Parts
from occamctl.gateway.auth import Hub
from occamctl.gateway.cluster import Cluster
from occamctl.gateway.clusters import Clusters
from occamctl.gateway.gpus import Gpus
from occamctl.gateway.ledger import Change, Ledger, Worker
from occamctl.gateway.notebooks import Notebooks
from occamctl.gateway.quotas import Limits, Quota, Quotas, Rights
from occamctl.gateway.settings import Settings
from occamctl.gateway.sight import Seen, Sight
from occamctl.spark.clusters import Facts

NUMBER = secrets.token_hex(8)
TOKEN = open("/run/secrets/gateway-token").read().strip()  # noqa: SIM115
FIRST_PORT = 9000
running: dict[str, tuple[subprocess.Popen[bytes], int]] = {}
asked: list[str] = []


class Page(HubOAuthenticated, RequestHandler):
    """Only for whom the hub lets in, as in a real notebook server."""

    @authenticated
    def get(self, _: str) -> None:
        self.write(
            {"jupyter": NUMBER, "user": self.get_current_user()["name"], "token": os.environ["JUPYTERHUB_API_TOKEN"]}
        )


class Up(RequestHandler):
    """What the hub asks to see whether a server is up."""

    def get(self) -> None:
        self.set_header("X-JupyterHub-Version", "6.1.1")
        self.write({"version": "2"})


def notebook(port: int) -> None:
    prefix = os.environ["JUPYTERHUB_SERVICE_PREFIX"]
    routes = [(prefix + "oauth_callback", HubOAuthCallbackHandler), (prefix + "api", Up), (prefix + "(.*)", Page)]
    Application(routes, cookie_secret=secrets.token_bytes(32)).listen(port)


class Notebook(RequestHandler):
    """GET looks, PUT starts, DELETE stops one notebook."""

    def prepare(self) -> None:
        asked.append(f"{self.request.method} {self.request.path}")
        if self.request.headers.get("Authorization") != f"token {TOKEN}":
            self.set_status(403)
            self.finish({"error": {"what": "not you", "where": "", "fix": "", "exit_code": 1}})

    def answer(self, user: str) -> None:
        process, port = running.get(user, (None, 0))
        state = "stopped" if process is None else "running" if process.poll() is None else "failed"
        url = f"http://{os.environ['HOSTNAME']}:{port}" if port else ""
        self.write({"user": user, "state": state, "url": url, "service": f"t-{user}", "message": "assigned to a node"})

    def get(self, user: str) -> None:
        self.answer(unquote(user))

    def put(self, user: str) -> None:
        user = unquote(user)
        if user == "unlucky":
            self.set_status(409)
            self.write({"error": {"what": "no host has 4G left", "where": "", "fix": "wait a bit", "exit_code": 4}})
            return
        port = FIRST_PORT + len(asked)
        said = json.loads(self.request.body)
        asked.append(f"gpu of {user}: {said.get('gpu')}")
        environment = os.environ | said["environment"]
        command = [sys.executable, __file__, "notebook", str(port)]
        running[user] = subprocess.Popen(command, env=environment), port
        self.answer(user)

    def delete(self, user: str) -> None:
        process, _ = running.pop(unquote(user), (None, 0))
        if process:
            process.terminate()
            process.wait(10)
        self.answer(unquote(user))


class Gpu(RequestHandler):
    """Only one person has GPUs to choose from."""

    def get(self, user: str) -> None:
        choices = [{"gpu": {"model": "Tesla T4"}, "label": "1 Tesla T4 (2 free)"}]
        self.write({"lends": unquote(user) == "has-gpus", "left": 1, "gpus": [], "choices": choices, "why_none": ""})


class Asked(RequestHandler):
    def get(self) -> None:
        self.write({"asked": asked})


class Quiet(RequestHandler):
    """The port is closed for so many seconds, as while a gateway restarts; notebooks live on."""

    def get(self, seconds: str) -> None:
        self.finish("closed")
        server.stop()
        IOLoop.current().call_later(float(seconds), open_port)


class Health(RequestHandler):
    def get(self) -> None:
        self.write({"version": "test", "path": urlsplit(self.request.uri or "").path})


GIB = 1 << 30
SETTINGS = Settings(
    course="t",
    version="test",
    hub_api="http://tasks.t-hub:8081/hub/api",
    hub_net="t-net",
    pool="10.0.0.0/16",
    hub_subnet="10.0.0.0/22",
    image="none",
    notebook_cpus=1,
    notebook_memory=GIB,
    worker_cpus=1,
    worker_memory=GIB,
    quotas=Quotas(Quota(Limits(workers=4, memory=8 * GIB), guarantee=1), Quota(Limits(workers=16))),
)


class Hosts(Sight):
    """Two hosts on which nothing else runs."""

    def look(self, max_age: float = 0.5) -> Seen:
        nodes = [
            Node(name, name, "", "worker", "ready", "active", 8, 16 * GIB, {}) for name in ("host-one", "host-two")
        ]
        self._last = Seen(time.monotonic(), {node.id: node for node in nodes}, {}, {})
        return self._last


class Imagined(Clusters):
    """Clusters whose workers run as soon as they are asked for."""

    def settle(self, cluster: Cluster, change: Change) -> None:
        cluster.state = "running"
        for one in cluster.executors.values():
            one.state = "running"

    def _clear(self, cluster: Cluster) -> None:
        time.sleep(float(cluster.facts.kernel or 0))

    def _leave_network(self, owner: str) -> None:
        """There is none."""

    def logs(self, owner: str, name: str, worker: str, tail: int) -> str:
        return f"{worker}: <b>hello</b>\n{worker}: {'a long line ' * 40}\n" if worker == "0" else ""


class Make(RequestHandler):
    """A cluster, as JSON tells it: some of the fields of `Facts`, and `state` and `message` of `Cluster`."""

    def post(self) -> None:
        said = json.loads(self.request.body)
        state, message = said.pop("state", "running"), said.pop("message", "")
        since = datetime.now(UTC).isoformat(timespec="seconds")
        driver = {"driver": "notebook", "driver_host": "", "driver_port": 0, "ui_port": 20001}
        size = {"cores": 1, "memory": GIB, "wanted": 2, "since": since}
        facts = Facts(**{"app_id": f"app-{secrets.token_hex(4)}", "nonce": "0", **driver, **size, **said})
        rights = Rights(Limits())
        cluster, _ = clusters.ledger.admit(facts, rights, lambda but: sight.look().rooms(but=but), None)
        clusters.settle(cluster, Change())
        cluster.state, cluster.message = state, message
        cluster.lock.release()
        self.write({"app_id": facts.app_id})

    def delete(self) -> None:
        """All clusters are gone."""
        for one in clusters.ledger:
            clusters.ledger.remove(one)


def open_port() -> None:
    global server
    server = application.listen(8080)


def everything() -> Application:
    parts = Parts(
        settings=SETTINGS,
        hub=Hub(SETTINGS.hub_api, TOKEN),
        sight=sight,
        clusters=clusters,
        notebooks=notebooks,
        gpus=Gpus(None, SETTINGS, clusters.ledger, sight=sight, notebooks=notebooks),
        pool=ThreadPoolExecutor(8),
    )
    return Application(
        [
            ("/services/gateway/api/users/([^/]+)/notebook", Notebook),
            ("/services/gateway/api/users/([^/]+)/gpu", Gpu),
            ("/asked", Asked),
            ("/quiet/([0-9]+)", Quiet),
            ("/make", Make),
            *page.paths(parts),
            ("/.*", Health),
        ],
        **page.signed_in(parts),
    )


async def gateway() -> None:
    global sight, notebooks, clusters, application
    sight = Hosts(None, "t")
    sight.look()
    ledger = Ledger("t", Worker(1, GIB), SETTINGS.quotas)
    notebooks = Notebooks(None, SETTINGS, sight, None, ledger)
    clusters = Imagined(None, SETTINGS, ledger, sight=sight, networks=None, notebooks=notebooks)
    application = everything()
    open_port()
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["notebook"]:
        notebook(int(sys.argv[2]))
        IOLoop.current().start()
    else:
        asyncio.run(gateway())
