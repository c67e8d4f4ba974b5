"""How clusters look, and what the gateway's answer becomes."""

from __future__ import annotations

from typing import Any

import occam
import pytest
from occam import cluster, show
from occam.meter import Progress


def answer(**more: Any) -> dict[str, Any]:
    executors = [
        {"id": "1", "node": "node1", "state": "running", "message": ""},
        {"id": "2", "node": "node2", "state": "running", "message": ""},
        {"id": "3", "node": "node2", "state": "pending", "message": "no suitable node"},
    ]
    said = {"name": "lab", "state": "running", "wanted": 3, "cores": 1, "memory": 2 << 30, "executors": executors}
    return said | {"registered": None, "message": ""} | more


def test_hosts_are_those_of_running_workers_each_once() -> None:
    made = cluster.from_answer(answer())
    assert (made.hosts, made.running, made.workers) == (["node1", "node2"], 2, 3)


def test_an_answer_with_nothing_in_it_is_an_empty_cluster() -> None:
    assert repr(cluster.from_answer({})) == "<cluster , ; workers: 0, 1 core and ? each; hosts: –>"


def test_a_cluster_as_text_says_what_is_missing() -> None:
    assert repr(cluster.from_answer(answer())) == (
        "<cluster lab, running; workers: 2 of 3, 1 core and 2 GB each; hosts: node1, node2>"
    )


def test_a_session_as_text_has_the_link() -> None:
    text = show.session_text(cluster.from_answer(answer(wanted=2)), 2, "4.3.0", "/user/anna/proxy/20001/jobs/")
    assert text == (
        "<Spark 4.3.0 on cluster lab; workers: 2, 1 core and 2 GB each; hosts: node1, node2; "
        "UI: /user/anna/proxy/20001/jobs/>"
    )


def test_html_shows_words_and_runs_none() -> None:
    made = cluster.from_answer(answer(message="<script>alert(1)</script>"))
    html = show.session_html(made, 3, "4.3.0", '/user/"><b>/jobs/')
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert '"><b>' not in html


@pytest.mark.parametrize(("amount", "text"), [(2 << 30, "2 GB"), (3 << 29, "1.5 GB"), (0, "?")])
def test_sizes(amount: int, text: str) -> None:
    assert show.size(amount) == text


def test_progress_outside_of_a_notebook_prints_what_changed_once(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("lab", 3)
    progress.update(None, now=True)
    for _ in range(3):
        progress.update(cluster.from_answer(answer()), 1, now=True)
    progress.driver_ready = True
    progress.update(cluster.from_answer(answer()), 2, now=True)
    progress.done(cluster.from_answer(answer()), 2, "/user/anna/proxy/20001/jobs/")
    assert capsys.readouterr().err.splitlines() == [
        "lab: asking for 3 workers",
        "lab: driver starting · 1 of 3 workers · no suitable node",
        "lab: driver ready · 2 of 3 workers · no suitable node",
        "lab: 2 workers on node1, node2, after 0 s",
    ]


def test_importing_the_library_does_not_load_pyspark() -> None:
    import subprocess
    import sys
    from pathlib import Path

    script = "import sys, occam; sys.exit('pyspark' in sys.modules or 'pandas' in sys.modules)"
    folder = Path(occam.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", script], cwd=folder, timeout=30).returncode == 0
    assert {"spark", "clusters", "quota", "stop", "data", "progress"} <= set(dir(occam))
