"""A student at work, as a browser would do it: the hub's own sign-in form, a notebook server, a kernel.

`occamctl demo` shows a course with it, and the tests try one. Cookies and redirects are the browser's; nothing here has
a token that a student does not have.
"""

from __future__ import annotations

import html
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import Cookie
from typing import Any
from urllib.parse import quote, urlsplit

import requests
import websocket

from occamctl import wait
from occamctl.errors import OccamError, TookTooLong

REQUEST_SECONDS = 30
SERVER_SECONDS = 240
CELL_SECONDS = 600
IDLE_SECONDS = 20
"""A kernel's connection is made anew after so long between two cells: meanwhile nobody here answers the server's pings,
and it closes one after a minute of that."""


@dataclass
class Ran:
    """What a cell did: the text that it printed or showed, and its error."""

    text: str = ""
    error: str = ""
    displays: list[dict[str, Any]] = field(default_factory=list)
    shown: list[dict[str, Any]] = field(default_factory=list)
    """What stays below the cell, in order: displays that do not change, and prints as {"text/plain": …}."""


class SignInFailed(OccamError):
    """The hub said no."""


class Student:
    """One person's browser. `url` is the course's address."""

    def __init__(self, url: str, username: str, *, verify: bool | str = True) -> None:
        self.url, self.username = url.rstrip("/"), username
        self.path = f"/user/{quote(username, safe='@')}"
        self.browser = requests.Session()
        self.browser.verify = verify
        self.browser.trust_env = False  # a proxy of this machine's environment is not the students'

    def get(self, path: str, **more: Any) -> requests.Response:
        return self.browser.get(self.url + path, timeout=REQUEST_SECONDS, **more)

    def sign_in(self, password: str) -> None:
        """Through the form. Raises SignInFailed with what the page says."""
        page = self.get("/hub/login")
        token = re.search(r'name="_xsrf"\s+value="([^"]*)"', page.text)
        answer = self.browser.post(
            f"{self.url}/hub/login",
            data={"username": self.username, "password": password, "_xsrf": token[1] if token else ""},
            headers={"Referer": f"{self.url}/hub/login"},
            timeout=REQUEST_SECONDS,
            allow_redirects=False,
        )
        if answer.status_code != 302:
            said = re.search(r'class="login_error"[^>]*>\s*([^<]+?)\s*<', answer.text)
            raise SignInFailed(said[1] if said else f"sign-in answered {answer.status_code}", where=self.url)

    def start_server(self, gpu: str = "") -> None:
        """Ask for the notebook and wait until JupyterLab answers. Raises TookTooLong with the hub's last words.

        gpu  what is chosen where the hub asks for a GPU: a part of the choice's words; "" for none
        """
        answer = self.get("/hub/spawn")
        if form := re.search(r'<form[^>]*id="spawn_form"[^>]*action="([^"]*)"', answer.text):
            answer = self._choose(html.unescape(form[1]), answer.text, gpu)
        elif gpu:
            raise OccamError("the hub asks for no GPU", where=self.username)
        if answer.status_code >= 500:
            raise OccamError(f"the notebook does not start: {_words(answer.text)}", where=self.username)

        def look() -> requests.Response:
            return self.get(f"/hub/spawn-pending/{quote(self.username, safe='@')}")

        wait.until(
            look,
            lambda seen: urlsplit(seen.url).path.startswith(self.path),
            f"notebook of {self.username}",
            seconds=SERVER_SECONDS,
            every=0.5,
            describe=lambda seen: f"{seen.status_code} {_words(seen.text)}",
        )
        wait.until(
            lambda: self.get(f"{self.path}/lab"),
            lambda seen: seen.status_code == 200 and "jupyter" in seen.text.lower(),
            f"JupyterLab of {self.username}",
            seconds=60,
            every=0.5,
            describe=lambda seen: f"{seen.status_code} {seen.url}",
        )

    def _choose(self, action: str, page: str, gpu: str) -> requests.Response:
        """Send the form that the hub shows before a server starts. Raises OccamError when it offers no such GPU."""
        offered = [(value, html.unescape(words)) for value, words in re.findall(r'value="([^"]*)">([^<]*)<', page)]
        value = next((html.unescape(value) for value, words in offered if value and gpu in words), None) if gpu else ""
        if value is None:
            raise OccamError(f"the hub offers no GPU {gpu}", where=self.username)
        return self.browser.post(
            f"{self.url}{action}",
            files={"gpu": (None, value)},
            headers={"Referer": f"{self.url}/hub/spawn"},
            timeout=REQUEST_SECONDS,
        )

    def api(self, method: str, path: str, body: object = None) -> requests.Response:
        """Jupyter Server's own API, with the cross-site token that its page has."""
        return self.browser.request(
            method,
            f"{self.url}{self.path}/api/{path}",
            json=body,
            headers={"X-XSRFToken": self._xsrf(), "Referer": f"{self.url}{self.path}/lab"},
            timeout=REQUEST_SECONDS,
        )

    def _xsrf(self) -> str:
        mine = [one for one in self.browser.cookies if one.name == "_xsrf" and self._for_server(one)]
        return max(mine, key=lambda one: len(one.path)).value or "" if mine else ""

    def _for_server(self, cookie: Cookie) -> bool:
        return f"{self.path}/".startswith(cookie.path)

    @contextmanager
    def kernel(self) -> Iterator[Kernel]:
        """A new Python kernel; it is shut down at the end."""
        answer = self.api("POST", "kernels", {"name": "python3"})
        answer.raise_for_status()
        number = answer.json()["id"]
        kernel = Kernel(self, number)
        try:
            yield kernel
        finally:
            kernel.close()
            self.api("DELETE", f"kernels/{number}")

    def socket(self, path: str) -> websocket.WebSocket:
        parts = urlsplit(self.url)
        cookies = "; ".join(f"{one.name}={one.value}" for one in self.browser.cookies if self._for_server(one))
        scheme = "wss" if parts.scheme == "https" else "ws"
        return websocket.create_connection(
            f"{scheme}://{parts.netloc}{self.path}/{path}",
            timeout=REQUEST_SECONDS,
            cookie=cookies,
            origin=self.url,
            http_no_proxy=["*"],
        )


class Kernel:
    """A kernel's channels, over the websocket that JupyterLab uses."""

    def __init__(self, student: Student, number: str) -> None:
        self.id, self._session = number, uuid.uuid4().hex
        self._student = student
        self._socket, self._used = self._connected(), time.monotonic()

    def _connected(self) -> websocket.WebSocket:
        return self._student.socket(f"api/kernels/{self.id}/channels?session_id={self._session}")

    def run(self, code: str, *, seconds: float = CELL_SECONDS, told: Callable[[str], None] | None = None) -> Ran:
        """Run a cell to its end. `told` gets what it prints while it runs. Raises TookTooLong."""
        if time.monotonic() - self._used > IDLE_SECONDS:
            self._socket.close()
            self._socket = self._connected()
        number = uuid.uuid4().hex
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        content["stop_on_error"] = False  # nothing is queued behind it, and what comes next shall run
        header = {
            "msg_id": number,
            "username": "",
            "session": self._session,
            "msg_type": "execute_request",
            "version": "5.3",
        }
        self._socket.send(
            json.dumps(
                {
                    "header": header,
                    "parent_header": {},
                    "metadata": {},
                    "content": content,
                    "channel": "shell",
                    "buffers": [],
                }
            )
        )
        ran, deadline = Ran(), time.monotonic() + seconds
        for message in self._messages(number, deadline, seconds):
            if _take(message, ran, told):
                break
        self._used = time.monotonic()
        return ran

    def _messages(self, number: str, deadline: float, seconds: float) -> Iterator[dict[str, Any]]:
        while time.monotonic() < deadline:
            self._socket.settimeout(max(0.1, min(REQUEST_SECONDS, deadline - time.monotonic())))
            try:
                said = self._socket.recv()
            except websocket.WebSocketTimeoutException:
                self._socket.ping()
                continue
            if not said:
                raise OccamError("the kernel's connection was closed", where=self._student.username)
            message = json.loads(said)
            if message.get("parent_header", {}).get("msg_id") == number:
                yield message
        raise TookTooLong(f"a cell of {self._student.username} did not end in {seconds:g} s")

    def close(self) -> None:
        self._socket.close()


def _take(message: dict[str, Any], ran: Ran, told: Callable[[str], None] | None) -> bool:
    """Add one message to what a cell did; True when it was the last one."""
    content, kind = message["content"], message["msg_type"]
    text = ""
    if kind == "stream" and content["name"] == "stdout":
        text = content["text"]
        ran.shown.append({"text/plain": text})
    elif kind in ("display_data", "execute_result", "update_display_data"):
        ran.displays.append(content["data"])
        if "display_id" not in content.get("transient", {}):  # one that changes, such as a progress bar, is no text
            text = content["data"].get("text/plain", "") + "\n"
            ran.shown.append(content["data"])
    elif kind == "error":
        ran.error = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(content["traceback"]) or content["evalue"])
    ran.text += text
    if text and told:
        told(text)
    return bool(kind == "status" and content["execution_state"] == "idle")


def _words(page: str) -> str:
    """The text of an error page, shortened."""
    text = re.sub(r"<(script|style|head)\b.*?</\1>", " ", page, flags=re.DOTALL | re.IGNORECASE)
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())[:300]


def cells(notebook: str) -> list[str]:
    """The code cells of a notebook file."""
    return [
        "".join(cell["source"])
        for cell in json.loads(notebook)["cells"]
        if cell["cell_type"] == "code" and cell["source"]
    ]
