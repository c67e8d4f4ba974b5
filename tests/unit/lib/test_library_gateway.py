"""The gateway's side of the library, against a real HTTP server that records and answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from occam import gateway
from occam.cluster import from_answer
from occam.errors import NotEnough, NotReached, Refused
from occam.gateway import Gateway


class Answering(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, self.path, self.headers["Authorization"], body))  # type: ignore[attr-defined]
        status, said = self.server.says  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_PUT = do_DELETE = do_POST

    def log_message(self, *_words: object) -> None:
        """Silent."""


@pytest.fixture
def server() -> Iterator[Any]:
    web: Any = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    web.asked, web.says = [], (200, b"{}")
    threading.Thread(target=web.serve_forever, daemon=True).start()
    yield web
    web.shutdown()
    web.server_close()


def mine(server: Any, user: str = "anna") -> Gateway:
    return Gateway(f"http://127.0.0.1:{server.server_port}/services/gateway/api", user, "t0ken")


def test_a_request_carries_the_token_and_an_encoded_name(server: Any) -> None:
    server.says = (201, b'{"name": "lab"}')
    said = mine(server, "anna.rossi@unito.it").ask("POST", "clusters", {"workers": 2})
    assert said == {"name": "lab"}
    method, path, token, body = server.asked[0]
    assert (method, path) == ("POST", "/services/gateway/api/users/anna.rossi%40unito.it/clusters")
    assert token == "token t0ken"
    assert json.loads(body) == {"workers": 2}


def test_what_somebody_typed_is_one_piece_of_a_path_whatever_it_holds(server: Any) -> None:
    server.says = (200, b'{"text": "log"}')
    from_answer({"name": "lab"}, mine(server)).logs("1 a&tail=9/..")
    assert server.asked[0][1].endswith("/clusters/lab/logs?worker=1%20a%26tail%3D9%2F..&tail=200")


def error(exit_code: int) -> bytes:
    said = {"what": "8 workers are over the quota of 4", "where": "anna", "fix": "ask for 4", "exit_code": exit_code}
    return json.dumps({"error": said}).encode()


def test_a_no_for_lack_of_room_says_what_would_fit(server: Any) -> None:
    server.says = (409, error(4))
    with pytest.raises(NotEnough) as refused:
        mine(server).ask("POST", "clusters", {})
    assert str(refused.value) == "8 workers are over the quota of 4\n  → ask for 4"
    assert refused.value._render_traceback_() == ["NotEnough: 8 workers are over the quota of 4\n  → ask for 4"]


def test_any_other_no_is_refused_and_not_called_a_lack_of_room(server: Any) -> None:
    server.says = (403, error(1))
    with pytest.raises(Refused) as refused:
        mine(server).ask("GET", "clusters")
    assert not isinstance(refused.value, NotEnough)


@pytest.mark.parametrize("said", [b"", b"<html>502 Bad Gateway</html>", b"[]", b'{"error": "text"}'])
def test_an_answer_that_is_no_json_is_still_one_line(server: Any, said: bytes) -> None:
    server.says = (502, said)
    with pytest.raises(Refused, match="the gateway answered 502"):
        mine(server).ask("GET", "clusters")


def test_a_gateway_that_is_down_is_not_reached(server: Any) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(NotReached, match="does not answer"):
        mine(server).ask("GET", "quota", timeout=2)


def test_a_proxy_of_the_environment_never_sees_the_token(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert mine(server).ask("GET", "quota") == {}


def test_where_it_is_comes_from_the_notebooks_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OCCAM_GATEWAY_URL", "http://gateway")
    monkeypatch.setenv("OCCAM_USER", "anna")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "from-variable")
    monkeypatch.delenv("OCCAM_TOKEN_FILE", raising=False)
    assert gateway.here() == Gateway("http://gateway", "anna", "from-variable")
    (tmp_path / "token").write_text("from-file\n")
    monkeypatch.setenv("OCCAM_TOKEN_FILE", str(tmp_path / "token"))
    assert gateway.here().token == "from-file"


def test_outside_of_a_course_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OCCAM_GATEWAY_URL", raising=False)
    with pytest.raises(Refused, match="not a notebook of a course"):
        gateway.here()
