"""The summary of a course file."""

from __future__ import annotations

from occamctl.actions.validate import rows, summary
from occamctl.spec.load import load_text

TEXT = """
version: 1
course: ml
instructors: [anna]
students: [{username: b, group: phd}, c, d]
hosts: [n1, {hostname: n2, manager: true}]
spark: {clusters: [{name: demo, workers: 3}], worker: {cpus: 2, memory: 1G}}
notebook: {cpu_limit: 0.5, mem_limit: 1G}
quotas: {student: {workers: 2}, instructor: {workers: 5}, groups: {phd: {workers: 8}}}
"""


def test_summary() -> None:
    said = summary(load_text(TEXT))
    assert said["manager"] == "n2"
    assert said["groups"] == {"phd": 1}
    # 4 notebooks; workers: 5 of anna, 8 of b, 2 of c, 2 of d, 3 of demo
    assert said["at_most"] == {"notebooks": 4, "workers": 20, "cpus": 42.0, "memory": "24G"}


def test_rows() -> None:
    shown = {row["of"]: row["what"] for row in rows(summary(load_text(TEXT)))}
    assert shown["hosts"] == "n1, n2 (manager)"
    assert shown["students"] == "3 (1 in phd)"
    assert shown["clusters"] == "demo (3 workers)"
    empty = {row["of"]: row["what"] for row in rows(summary(load_text("version: 1\ncourse: ml\n")))}
    assert (empty["hosts"], empty["students"]) == ("this machine's Docker engine", "0")


def test_what_is_guaranteed_to_all_at_once() -> None:
    text = TEXT.replace("student: {workers: 2}", "student: {workers: 2, guarantee: 1}, users: {d: {guarantee: 3}}")
    assert summary(load_text(text))["guaranteed"] == {"workers": 4, "cpus": 8, "memory": "4G"}  # of c and d
    shown = {row["of"]: row["what"] for row in rows(summary(load_text(text)))}
    assert shown["guaranteed"] == "4 workers: 8 CPUs, 4G"
    assert "guaranteed" not in {row["of"] for row in rows(summary(load_text(TEXT)))}
