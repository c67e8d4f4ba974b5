"""What a person sees."""

from __future__ import annotations

import json

import pytest
import yaml

from occamctl import render
from occamctl.errors import SpecError
from occamctl.plan import steps

ROWS = [{"host": "node1", "cores": 4}, {"host": "node2", "cores": 8}]


def test_a_table_has_its_columns(capsys):
    render.table("Hosts", ["host", "cores"], ROWS)
    shown = capsys.readouterr().out
    assert "HOST" in shown
    assert "node2" in shown


def test_a_table_is_folded_for_a_screen_only(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    render.table("", ["host", "state"], [{"host": "a" * 90, "state": "b" * 90}])
    assert f"{'a' * 90}  {'b' * 90}" in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "80")
    render.table("", ["host", "state"], [{"host": "a" * 90, "state": "b" * 90}])
    assert max(map(len, capsys.readouterr().out.splitlines())) == 80


@pytest.mark.parametrize(("output", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_rows_for_scripts_are_complete(capsys, output, read):
    render.table("Hosts", ["host"], ROWS, output)
    assert read(capsys.readouterr().out) == ROWS


def test_no_rows_say_so(capsys):
    render.table("Notebooks", ["user"], [])
    assert "none" in capsys.readouterr().out


def test_a_terminal_is_not_harmed_by_a_name():
    assert render.printable("a\x1b[2Jb") == "a\\x1b[2Jb"


def test_every_error_of_a_file_is_shown(capsys):
    failure = SpecError("a: unknown key", where="occam.yaml:1:1", fix="did you mean 'b'?")
    failure.others = [SpecError("c: unknown key", where="occam.yaml:2:1")]
    render.error(failure)
    shown = capsys.readouterr().err
    assert "occam.yaml:1:1: a: unknown key" in shown
    assert "fix: did you mean 'b'?" in shown
    assert "occam.yaml:2:1: c: unknown key" in shown


def test_a_plan_shows_stages_once(capsys):
    render.plan([steps.SendImage("node1", "occam/hub:1"), steps.SendImage("node2", "occam/hub:1")])
    shown = capsys.readouterr().out
    assert shown.count("Images") == 1
    assert "deliver image occam/hub:1 on node2" in shown
    assert "2 steps" in shown


def test_progress_without_a_terminal_is_plain_lines_each_once(capsys):
    with render.progress() as say:
        say("node1", "building")
        say("node1", "building")
        say("node1", "done")
    shown = capsys.readouterr().err
    assert shown.count("building") == 1
    assert "node1: done" in shown
