"""A stand-in for the gateway, for tests of the hub alone: runs in the hub's image, notebooks are small servers by.

    gateway_for_the_hub.py               the gateway's API for notebooks, on port 8080
    gateway_for_the_hub.py notebook      one notebook: JupyterHub's own OAuth before a page that shows a number

The number is made when the notebook starts: the same number later means that nobody restarted it.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from urllib.parse import unquote, urlsplit

from jupyterhub.services.auth import HubOAuthCallbackHandler, HubOAuthenticated
from tornado.ioloop import IOLoop
from tornado.web import Application, RequestHandler, authenticated

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
        environment = os.environ | json.loads(self.request.body)["environment"]
        command = [sys.executable, __file__, "notebook", str(port)]
        running[user] = subprocess.Popen(command, env=environment), port
        self.answer(user)

    def delete(self, user: str) -> None:
        process, _ = running.pop(unquote(user), (None, 0))
        if process:
            process.terminate()
            process.wait(10)
        self.answer(unquote(user))


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


def open_port() -> None:
    global server
    server = application.listen(8080)


application = Application(
    [
        ("/services/gateway/api/users/([^/]+)/notebook", Notebook),
        ("/asked", Asked),
        ("/quiet/([0-9]+)", Quiet),
        ("/.*", Health),
    ]
)

if __name__ == "__main__":
    if sys.argv[1:2] == ["notebook"]:
        notebook(int(sys.argv[2]))
    else:
        open_port()
    IOLoop.current().start()
