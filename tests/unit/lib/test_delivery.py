"""What a notebook says when no material can come. What comes, and how: tests/engine/test_material.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from occam import delivery

KEPT = ".local/share/occam/delivered.json"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "environ", os.environ.copy() | {"HOME": str(tmp_path)})
    monkeypatch.setattr(delivery.time, "sleep", lambda _: None)
    return tmp_path


def test_a_course_without_material_says_so(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    delivery.main("start")
    assert capsys.readouterr().out == "This course delivers no material.\n"
    assert list(home.iterdir()) == []


def test_a_keeper_that_is_away_is_said_beside_the_folders(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    os.environ[delivery.URL] = f"file://{home}/nothing.git"
    note = home / delivery.NOTE
    delivery.main("new")
    assert not note.exists(), "a minute's absence is no news"
    delivery.main("start")
    assert "cannot be reached at the moment" in note.read_text()
    assert "not updated: the course's material cannot be reached" in capsys.readouterr().out


def test_the_line_goes_when_all_is_well(home: Path) -> None:
    subprocess.run(["git", "init", "-q", "--bare", str(home / "empty.git")], check=True)
    os.environ[delivery.URL] = f"file://{home}/empty.git"
    (home / delivery.NOTE).write_text("something")
    delivery.main("new")
    assert not (home / delivery.NOTE).exists()


def test_a_list_that_cannot_be_read_is_an_empty_one(home: Path) -> None:
    for text in ("", "[]", "{", json.dumps({"commits": 1}), '{"commits": {}, "files": {"a": null}}'):
        (home / KEPT).parent.mkdir(parents=True, exist_ok=True)
        (home / KEPT).write_text(text)
        assert delivery.Home(home, "file:///x").known == {"commits": {}, "files": {}}


@pytest.mark.parametrize(
    ("name", "text", "readable"),
    [("a.ipynb", "{}", True), ("a.ipynb", "<<<<", False), ("a.txt", "<<<<", True), ("gone.ipynb", None, True)],
)
def test_a_notebook_must_be_json(home: Path, name: str, text: str | None, readable: bool) -> None:
    if text is not None:
        (home / name).write_text(text)
    assert delivery._readable(home / name) is readable


def test_the_students_own_packages_have_no_part_in_it() -> None:
    assert delivery.command("new")[-5:] == [sys.executable, "-I", "-m", "occam.delivery", "new"]
