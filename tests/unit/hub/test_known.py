"""The running hub is told who came, also one that starts just then."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from occamctl.hub import known
from occamctl.hub.settings import Settings


class Answers(BaseHTTPRequestHandler):
    told: ClassVar[list[object]] = []

    def do_POST(self):
        assert self.headers["Authorization"] == "token t0"
        self.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(201)
        self.end_headers()

    def log_message(self, *words):
        """Nothing: it would be printed among the tests."""


@pytest.fixture
def hub(tmp_path) -> Settings:
    (tmp_path / "roster-token").write_text("t0\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    return Settings("c", "c", "http://gateway", "http://hub", "http://proxy", data=tmp_path, bind_url=url)


def test_a_hub_that_only_begins_to_listen_is_told_all_the_same(hub):
    Answers.told.clear()
    answer = []
    tells = threading.Thread(target=lambda: answer.append(known.add(hub, ["ada", "bo"])))
    tells.start()
    tells.join(0.5)
    assert tells.is_alive(), "it waits"
    with HTTPServer(("127.0.0.1", int(hub.bind_url.rpartition(":")[2])), Answers) as server:
        server.handle_request()
        tells.join(10)
    assert answer == [""]
    assert Answers.told == [{"usernames": ["ada", "bo"]}]


def test_a_hub_that_never_answers_is_said(hub, monkeypatch):
    monkeypatch.setattr(known, "STARTING", 0.5)
    assert "the hub does not answer" in known.add(hub, ["ada"])
    assert known.add(hub, []) == ""
