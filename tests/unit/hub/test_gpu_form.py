"""The question for a GPU before a server starts, and that there is none where there is nothing to choose."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from occamctl.gateway import gpu_wishes
from occamctl.gateway.gpu_words import choices
from occamctl.hub import gpu_form
from occamctl.hub.spawner import OccamSpawner
from occamctl.plan.gpus import GpuWish
from occamctl.plan.observed import Gpu

A100 = Gpu("GPU-a", "NVIDIA A100-SXM4-40GB", 40 << 30)
SLICE = Gpu("MIG-1", "NVIDIA A100-SXM4-40GB", 5 << 30, "1g.5gb")
HOSTILE = Gpu("GPU-x", "</select><script>alert(1)</script>\"'", 1 << 30)


def told(*free: Gpu, **more: Any) -> dict[str, Any]:
    return {"lends": True, "left": 1, "gpus": [], "choices": choices(free), "why_none": "", **more}


class Options(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.values: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "option":
            self.values.append(str(dict(attrs)["value"]))


@pytest.mark.parametrize(
    "said",
    [{}, told(A100, lends=False), told(A100, left=0), told(A100, gpus=[{"uuid": "GPU-a"}])],
    ids=["no answer", "no GPUs", "no quota", "given already"],
)
def test_no_question_without_a_choice(said: Mapping[str, Any]) -> None:
    assert gpu_form.form(said) == ""


def test_what_can_be_chosen_is_what_the_gateway_takes() -> None:
    listed = Options(gpu_form.form(told(A100, SLICE, SLICE))).values
    assert listed[0] == ""
    assert gpu_form.chosen({"gpu": [""]}) == gpu_form.chosen({}) == {}
    wishes = [gpu_wishes.of_notebook({"environment": {}, **gpu_form.chosen({"gpu": [one]})}) for one in listed[1:]]
    assert wishes == [GpuWish(), GpuWish(model="NVIDIA A100-SXM4-40GB"), GpuWish(profile="1g.5gb")]
    assert "1 A100-SXM4-40GB MIG 1g.5gb (2 free)" in gpu_form.form(told(A100, SLICE, SLICE))


def test_when_all_are_taken_it_says_by_whom() -> None:
    shown = gpu_form.form(told(why_none="group phd holds 2 A100 until 14:00 UTC"))
    assert "All GPUs are taken: group phd holds 2 A100 until 14:00 UTC" in shown
    assert Options(shown).values == [""]


def test_names_are_text() -> None:
    shown = gpu_form.form(told(HOSTILE, A100, why_none="<script>"))
    assert "script" not in Options(shown).tags
    assert Options(shown).tags.count("select") == 1


def test_nonsense_is_refused() -> None:
    for value in ("{", "[" * 9000):
        with pytest.raises(ValueError, match="no choice"):
            gpu_form.chosen({"gpu": [value]})


class Gateway(BaseHTTPRequestHandler):
    """Answers each question with what it is told to."""

    status, said = 200, b"{}"

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/users/anna%40x/gpu" else 404)
        self.end_headers()
        self.wfile.write(self.said)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.mark.parametrize(
    ("status", "said", "asks"),
    [
        (200, json.dumps(told(A100)).encode(), True),
        (200, json.dumps(told(A100, lends=False)).encode(), False),
        (200, b'{"version": "an older gateway"}', False),
        (404, b"{}", False),
        (500, b"oops", False),
    ],
)
def test_the_spawner_asks_only_when_the_gateway_says_so(status: int, said: bytes, asks: bool) -> None:
    answers = type("Answers", (Gateway,), {"status": status, "said": said})
    with HTTPServer(("127.0.0.1", 0), answers) as there:
        Thread(target=there.serve_forever, daemon=True).start()
        spawner = OccamSpawner(user=SimpleNamespace(name="anna@x"))
        spawner.gateway_url = f"http://127.0.0.1:{there.server_port}"
        shown = asyncio.run(spawner.get_options_form())
        there.shutdown()
    assert bool(shown) is asks


def test_a_gateway_that_is_away_keeps_nobody_from_starting() -> None:
    spawner = OccamSpawner(user=SimpleNamespace(name="anna@x"))
    spawner.gateway_url = "http://127.0.0.1:9"
    assert asyncio.run(spawner.get_options_form()) == ""
