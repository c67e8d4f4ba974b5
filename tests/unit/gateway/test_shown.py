"""The gateway's page as HTML: whatever names and messages hold, it is text; and who does not see finds everything."""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from occamctl.gateway import shown
from occamctl.gateway.shown import Around, Overview, Printed, Said, Shown

HOSTILE = "</pre><script>alert(1)</script>\"'><img src=x onerror=y>&amp;{{ 7*7 }}"
GPU: dict[str, Any] = {
    "gpus": [{"uuid": "GPU-1", "model": HOSTILE, "memory": 1 << 34, "profile": ""}],
    "host": HOSTILE,
    "until": "2026-10-05T12:00:00+00:00",
    "for_group": HOSTILE,
    "message": HOSTILE,
    "notices": [{"number": number, "text": f"{number} {HOSTILE}"} for number in range(5)],
}
NOW = datetime(2026, 10, 5, 8, 12, tzinfo=UTC)
GIB = 1 << 30
QUOTA: dict[str, dict[str, Any]] = {
    "workers": {"limit": 4, "held": 2, "guarantee": 1, "free_on_hosts": 9},
    "cpus": {"limit": None, "held": 2},
    "memory": {"limit": 8 * GIB, "held": 3 * GIB},
    "gpus": {"limit": 0, "held": 0},
    "clusters": {"limit": None, "held": 0},
    HOSTILE: {"limit": 2, "held": 1},
}
VOID = {"meta", "link", "input", "br", "img"}


def view(**more: Any) -> dict[str, Any]:
    """A cluster as the API answers it."""
    executors = [
        {"id": "0", "node": "host-a", "state": "running", "message": ""},
        {"id": "1", "node": "host-b", "state": "running", "message": ""},
        {"id": "2", "node": "host-b", "state": "lost", "message": "gone"},
        {"id": "3", "node": "", "state": "pending", "message": ""},
    ]
    return {
        "name": "lab",
        "owner": "anna",
        "app_id": "app-1",
        "driver": "notebook",
        "state": "running",
        "wanted": 3,
        "gpu": "",
        "gpu_workers": 0,
        "cores": 1,
        "memory": 2 * GIB,
        "executors": executors,
        "registered": 2,
        "driver_service": "",
        "ui_port": 20001,
        "adaptive": None,
        "notices": [],
        "message": "",
        "since": "2026-10-05T08:00:00+00:00",
        **more,
    }


def one(number: int = 1, most: int | None = 4, *, own: bool = True, **more: Any) -> Shown:
    return Shown(view(**more), number, most, own, NOW)


@dataclass
class Element:
    name: str
    attributes: dict[str, str]
    text: str = ""
    inside: list[str] = field(default_factory=list)


class Reader(HTMLParser):
    """All elements of a page with their text, and what is wrong with its nesting."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(page.decode())
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        made = Element(tag, {key: value or "" for key, value in attributes}, inside=[one.name for one in self._open])
        self.elements.append(made)
        if tag not in VOID:
            self._open.append(made)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().name == tag

    def handle_data(self, text: str) -> None:
        for one in self._open:
            one.text += text

    def all(self, *names: str) -> list[Element]:
        return [one for one in self.elements if one.name in names]

    def called(self, name: str) -> list[str]:
        """The words of these elements, as a screen reader says them."""
        return [" ".join(one.text.split()) for one in self.all(name)]


def everything(text: str = HOSTILE) -> Overview:
    """A page with all that there can be on one, and `text` wherever somebody else chooses it."""
    host = {"name": text, "state": text, "availability": text, "cpus": 8.0, "cpus_used": 2.5}
    return Overview(
        [
            one(message=text, name=text, notices=[{"number": 1, "text": text}], adaptive=[1, 6]),
            one(2, state="failed", message=text),
            one(3, state="starting", ui_port=None),
        ],
        shown.bars(QUOTA),
        GPU,
        [one(4, None, own=False, owner=text, name=text, state=text), one(5, None, own=False, owner="course")],
        [host | {"memory": 16 * GIB, "memory_used": 4 * GIB}],
        shown.people([{"user": text, "state": "running", "node": text}], [view(owner=text)]),
    )


def pages(text: str = HOSTILE) -> dict[str, bytes]:
    around = Around(text, text, instructor=True, xsrf=text)
    bad = one(owner=text, name=text, message=text, app_id=text)
    return {
        "overview": shown.overview(around, everything(text), Said(text, wrong=True)),
        "empty": shown.overview(Around("ml", "anna", instructor=True), Overview([], [])),
        "stop": shown.stop(around, bad),
        "logs": shown.logs(around, bad, [Printed(text, f"0: {text}"), Printed(text, "")]),
        "trouble": shown.trouble(Around(text, ""), text, text),
    }


@pytest.mark.parametrize("name", pages())
def test_hostile_text_stays_text(name: str) -> None:
    page = Reader(pages()[name])
    assert page.all("script", "img", "iframe", "object") == []
    handlers = [key for one in page.elements for key in one.attributes if key.startswith("on")]
    assert handlers == []
    links = [one.attributes[key] for one in page.elements for key in ("href", "action") if key in one.attributes]
    assert [link for link in links if not link.startswith(("/", "#"))] == []
    if name != "empty":
        assert HOSTILE in "".join(one.text for one in page.all("html"))


@pytest.mark.parametrize("name", pages())
def test_a_page_can_be_used_without_eyes(name: str) -> None:
    page = Reader(pages("Anna")[name])
    assert [one.attributes["lang"] for one in page.all("html")] == ["en"]
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert page.called("title")[0].partition(" – ")[0]
    ids = Counter(one.attributes["id"] for one in page.elements if "id" in one.attributes)
    assert [key for key, many in ids.items() if many > 1] == []
    labels = {one.attributes["for"] for one in page.all("label")}
    seen = [one for one in page.all("input") if one.attributes["type"] != "hidden"]
    assert {one.attributes["id"] for one in seen} == labels
    named = [one.attributes["aria-labelledby"] for one in page.elements if "aria-labelledby" in one.attributes]
    assert set(named) <= set(ids)
    # Every table has a caption, and every head of a column or row says which it is.
    assert len(page.all("table")) == len(page.all("caption"))
    assert {one.attributes.get("scope") for one in page.all("th")} <= {"col", "row"}
    assert "" not in page.called("a") + page.called("button")
    levels = [int(one.name[1]) for one in page.all("h1", "h2", "h3")]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_every_form_is_ours_and_every_control_names_its_cluster() -> None:
    page = Reader(shown.overview(Around("ml", "anna", xsrf="token"), Overview([one(), one(2, name="two")], [])))
    forms = page.all("form")
    assert [one.attributes["method"] for one in forms] == ["post", "post"]
    tokens = [one.attributes["value"] for one in page.all("input") if one.attributes["name"] == "_xsrf"]
    assert tokens == ["token", "token"]
    assert forms[0].attributes["action"] == "/services/gateway/clusters/anna/lab/workers?app_id=app-1"
    assert page.called("button") == ["Scale cluster lab of anna", "Scale cluster two of anna"]
    said = page.called("a")
    for words in ("Spark’s page of lab of anna", "Logs of two of anna", "Stop cluster two of anna…"):
        assert words in said


def test_a_path_holds_any_name() -> None:
    assert one(owner="a/b@x.it+c?d").path == "/services/gateway/clusters/a%2Fb%40x.it%2Bc%3Fd/lab"


@pytest.mark.parametrize(
    ("more", "link"),
    [
        ({"owner": "anna@x.it"}, "/user/anna@x.it/proxy/20001/jobs/"),
        ({"ui_port": None}, ""),
        ({"state": "failed"}, ""),
        ({"own": False}, ""),
    ],
)
def test_sparks_page_is_for_whom_it_opens(more: dict[str, Any], link: str) -> None:
    assert one(**more).ui == link


def test_what_a_cluster_has() -> None:
    assert one().workers == "2 of 3"
    assert one(registered=None, executors=[]).workers == "0 of 3"
    assert one().hosts == [("host-a", "1 running"), ("host-b", "1 lost, 1 running"), ("not placed yet", "1 pending")]
    assert one().size == "1 core, 2G"
    assert one(owner="course").title == "lab of the course"
    assert [one(state=state).lives for state in ("starting", "running", "stopping", "failed")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("since", "words"),
    [
        ("2026-10-05T08:12:00+00:00", "less than a minute ago"),
        ("2026-10-05T08:11:00+00:00", "1 minute ago"),
        ("2026-10-05T08:00:00+00:00", "12 minutes ago"),
        ("2026-10-05T05:00:00+00:00", "3 hours ago"),
        ("2026-10-03T08:00:00+00:00", "2 days ago"),
        ("2026-10-05T09:00:00+00:00", "less than a minute ago"),
    ],
)
def test_how_long_ago(since: str, words: str) -> None:
    assert shown.ago(since, NOW) == words


def test_own_gpus_and_what_was_told_of_them() -> None:
    gpu = {"uuid": "GPU-1", "model": "NVIDIA A100-SXM4-40GB", "memory": 40 * GIB, "profile": ""}
    mine = {
        **{"gpus": [gpu, gpu], "host": "host-a", "until": "2026-10-05T12:00:00+00:00", "for_group": "phd"},
        **{"message": "the notebook runs with it", "notices": [{"number": one, "text": f"n{one}"} for one in range(5)]},
    }
    told = Overview([], [], mine)
    assert told.gpus == (
        "2 A100-SXM4-40GB on host-a until 2026-10-05 12:00 UTC, when group phd has reserved it: "
        "the notebook runs with it."
    )
    assert told.gpu_notices == ["n4", "n3", "n2"]
    page = Reader(shown.overview(Around("ml", "anna"), told))
    assert "My GPUs" in page.called("h2")
    assert "n4" in page.called("p")
    gone = Reader(shown.overview(Around("ml", "anna"), Overview([], [], {**mine, "gpus": []})))
    assert "You have none." in gone.called("p")
    assert "My GPUs" not in Reader(shown.overview(Around("ml", "anna"), Overview([], []))).called("h2")


def test_a_quota_of_any_resources_in_words_and_bars() -> None:
    bars = {bar.key: bar for bar in shown.bars(QUOTA)}
    assert bars["workers"].text == "2 of 4 in use; 1 kept for you; the hosts have room for 9 more"
    assert (bars["cpus"].text, bars["cpus"].most) == ("2 in use, no limit", 0)
    assert bars["memory"].text == "3G of 8G in use"
    assert bars["gpus"].text == "0 of 0 in use"
    assert "clusters" not in bars  # no limit and none in use: nothing to say
    page = Reader(shown.overview(Around("ml", "anna"), Overview([], list(bars.values()))))
    meters = [one.attributes["max"] for one in page.all("meter")]
    assert meters == ["4", str(8 * GIB), "2"]


def test_what_is_limited_for_many_together_has_a_bar_of_its_own() -> None:
    phd = {"of": "group phd", "limit": 8 * GIB, "held": 6 * GIB}
    own, together = shown.bars({"memory": {"limit": None, "held": GIB, "shared": [phd]}})
    assert own.text == "1G in use, no limit"
    assert (together.label, together.text) == ("Memory, group phd", "6G of 8G in use by all of group phd")
    page = Reader(shown.overview(Around("ml", "anna"), Overview([], [own, together])))
    assert [one.attributes["value"] for one in page.all("meter")] == [str(6 * GIB)]


@pytest.mark.parametrize(
    ("quota", "most"),
    [(QUOTA, 5), ({"workers": {"limit": 1, "held": 3}}, 3), ({"workers": {"limit": None}}, None), ({}, None)],
)
def test_how_many_workers_a_form_offers(quota: dict[str, dict[str, Any]], most: int | None) -> None:
    assert shown.most(view(), quota) == most


def test_who_holds_what() -> None:
    notebooks = [
        {"user": "anna", "state": "running", "node": "host-a"},
        {"user": "bob", "state": "stopped", "node": "host-b"},
    ]
    failed = view(owner="bob", state="failed")
    anna, bob, course = shown.people(notebooks, [view(), view(wanted=1, cores=2), failed, view(owner="course")])
    assert (anna.name, anna.notebook, anna.clusters, anna.workers, anna.cpus) == ("anna", "running on host-a", 2, 4, 5)
    assert anna.memory == 8 * GIB
    assert (bob.name, bob.notebook, bob.clusters, bob.workers) == ("bob", "stopped", 0, 0)
    assert (course.name, course.notebook, course.workers) == ("course", "none", 3)


@pytest.mark.parametrize(
    ("state", "still", "loads"),
    [("starting", False, True), ("stopping", False, True), ("starting", True, False), ("running", False, False)],
)
def test_a_page_loads_itself_again_only_while_something_changes(state: str, still: bool, loads: bool) -> None:
    told = Overview([], [], others=[one(state=state)])
    page = Reader(shown.overview(Around("ml", "prof", instructor=True), told, still=still))
    assert any(one.attributes.get("http-equiv") == "refresh" for one in page.all("meta")) is loads
    assert ("keep it still" in page.called("a")) is loads


def test_a_student_sees_nothing_of_others() -> None:
    page = Reader(shown.overview(Around("ml", "anna"), Overview([one()], [])))
    assert page.called("h2") == ["What I may use", "My clusters"]


def test_the_style_is_the_one_that_the_policy_allows() -> None:
    page = Reader(shown.trouble(Around("ml", ""), "x", ""))
    (style,) = page.all("style")
    assert base64.b64encode(hashlib.sha256(style.text.encode()).digest()).decode() in shown.POLICY
    assert "script-src" not in shown.POLICY
    assert "default-src 'none'" in shown.POLICY


def test_logs_are_cleared_of_what_a_browser_does_not_show() -> None:
    told = "3: \x1b[31mred\x1b[0m\r\n3: \x00\x07tab\t\u202eevil\x85é: 😀\n"
    assert Printed("x", told).text == "red\ntab\tevilé: 😀"
    assert Printed("x", "").text == ""
    assert len(Printed("x", "3: " + "x" * 10**6).text) == shown.LONGEST


def test_which_containers_have_logs() -> None:
    assert shown.containers(view(driver_service="d")) == {
        "driver": "Driver",
        "0": "Worker 0 on host-a",
        "1": "Worker 1 on host-b",
        "2": "Worker 2 on host-b, lost",
        "3": "Worker 3 on no host yet",
    }
    assert list(shown.containers(view(executors=[]))) == []


def test_an_adaptive_cluster_is_given_its_bounds() -> None:
    around = Around("ml", "anna")
    page = Reader(shown.overview(around, Overview([one(adaptive=[1, 6], wanted=2, most=6)], [])))
    assert page.called("label") == ["Most workers for lab of anna (0 to 6)"]
    assert [one.attributes["value"] for one in page.all("input") if one.attributes["name"] == "workers"] == ["6"]
    assert "Spark chooses between 1 and 6" in page.all("dl")[0].text
    assert shown.most(view(adaptive=[1, 9], wanted=2), {"workers": {"limit": 4, "held": 2}}) == 9
