"""Where material comes from: folders with all that can be wrong in them, and real git repositories."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from occamctl.actions import sources
from occamctl.actions.sources import Sources, commit_of, files_of
from occamctl.errors import HostError, OccamError, SpecError, TookTooLong
from occamctl.spec.load import load_text

HEAD = "version: 1\ncourse: ml\n"


def of(text: str, folder: Path) -> Sources:
    return Sources(load_text(HEAD + text, folder=folder), "occam.yaml")


@pytest.fixture
def labs(tmp_path: Path) -> Path:
    folder = tmp_path / "labs"
    (folder / "sub" / "__pycache__").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("[core]")
    (folder / "sub" / "__pycache__" / "x.pyc").write_text("")
    (folder / "01.ipynb").write_text("{}")
    (folder / "sub" / "Übung 1.txt").write_text("one")
    return folder


def test_a_folder_without_what_git_and_notebooks_keep_there(labs: Path) -> None:
    (labs / "again.ipynb").symlink_to("01.ipynb")
    assert list(files_of(labs, "labs")) == ["01.ipynb", "again.ipynb", "sub/Übung 1.txt"]


def test_a_folder_behind_a_link_is_that_folder(labs: Path) -> None:
    link = labs.with_name("link")
    link.symlink_to(labs)
    assert list(files_of(link, "link")) == ["01.ipynb", "sub/Übung 1.txt"]


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (lambda at: (at / "x").symlink_to("/etc/passwd"), "a link that leads out of the folder"),
        (lambda at: (at / "x").symlink_to("../.."), "a link that leads out of the folder"),
        (lambda at: (at / "x").symlink_to("sub"), "a link to a folder"),
        (lambda at: (at / "x").symlink_to("x"), "a link that leads nowhere"),
        (lambda at: (at / "x").symlink_to("gone"), "a link that leads nowhere"),
        (lambda at: os.mkfifo(at / "x"), "not a file"),
        (lambda at: (at / "a\nb").write_text(""), "not plain text"),
        (lambda at: (at / 'a"b').write_text(""), "not plain text"),
        (lambda at: Path(os.fsdecode(bytes(at) + b"/\xff")).write_text(""), "not plain text"),
    ],
)
def test_what_cannot_be_delivered_is_named(labs: Path, harm: object, what: str) -> None:
    harm(labs)  # type: ignore[operator]
    with pytest.raises(SpecError, match=what):
        files_of(labs, "labs")


def test_too_much_is_refused_with_the_limit(labs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (labs / "large").open("wb") as sparse:
        sparse.truncate(sources.MOST_BYTES)
    with pytest.raises(SpecError, match="at most 200M and 5000 files"):
        files_of(labs, "labs")
    (labs / "large").unlink()
    monkeypatch.setattr(sources, "MOST_FILES", 1)
    with pytest.raises(SpecError, match="and 1 files"):
        files_of(labs, "labs")


def test_an_empty_folder_and_none(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no files in it"):
        files_of(tmp_path, "here")
    with pytest.raises(SpecError, match="no such folder"):
        files_of(tmp_path / "gone", "here")


def test_a_manifest_stays_the_same_until_something_changes(labs: Path) -> None:
    text = "material: [{folder: labs, into: labs, release: {'01*': 2026-11-02T09:00}}]\n"
    before = of(text, labs.parent).manifest()
    assert before.digest == of(text, labs.parent).manifest().digest
    assert before.entries[0]["release"] == {"01*": 1793610000.0}
    (labs / "01.ipynb").touch()
    assert of(text, labs.parent).manifest().digest == before.digest
    later = of(text.replace("09:00", "10:00"), labs.parent).manifest()
    assert later.digest != before.digest
    assert later.entries[0]["content"] == before.entries[0]["content"], "nothing is sent again for a date"
    (labs / "01.ipynb").chmod(0o755)
    assert of(text, labs.parent).manifest().digest != before.digest


def test_dates_are_in_the_courses_time_zone(labs: Path) -> None:
    term = "term: {start: 2026-10-05, end: 2027-02-12, timezone: Europe/Rome}\n"
    text = "material: [{folder: labs, into: labs, release: 2026-11-02T09:00}]\n"
    rome, utc = (of(head + text, labs.parent).manifest().entries[0]["release"]["*"] for head in (term, ""))
    assert utc - rome == 3600
    offset = text.replace("09:00", "09:00+01:00")
    assert of(offset, labs.parent).manifest().entries[0]["release"]["*"] == rome


def test_a_pattern_that_means_nothing_is_told_with_what_there_is(labs: Path) -> None:
    text = "material: [{folder: labs, into: labs, release: {'03-*': 2026-11-02, '01*': 2026-11-02, x: 2026-11-02}}]\n"
    with pytest.raises(SpecError) as caught:
        of(text, labs.parent).check(fetch=False)
    told = [caught.value, *caught.value.others]
    assert [one.what for one in told] == [
        f"material[0].release: {pattern} means no file of {labs}" for pattern in ("03-*", "x")
    ]
    assert told[0].fix == "there are 01.ipynb, sub/Übung 1.txt"


def test_the_built_in_labs_are_there() -> None:
    made = of("", Path())
    made.check(fetch=True)
    assert any(path.endswith(".ipynb") for path in made.content(made.course.material[0]).files)


# git: a real repository, by file:// ------------------------------------------------------------------------


def git(at: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", *who, *words], cwd=at, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    at = tmp_path / "repository"
    at.mkdir()
    git(at, "init", "-q")
    (at / "01.ipynb").write_text("{}")
    git(at, "add", ".")
    git(at, "commit", "-qm", "one")
    git(at, "tag", "-a", "v1", "-m", "one")
    (at / "02.ipynb").write_text("{}")
    git(at, "add", ".")
    git(at, "commit", "-qm", "two")
    return at


def test_a_branch_a_tag_and_what_the_repository_names_itself(repository: Path) -> None:
    url, head = f"file://{repository}", git(repository, "rev-parse", "HEAD").strip()
    assert commit_of(url, "") == commit_of(url, "main") == head
    assert commit_of(url, "v1") == git(repository, "rev-parse", "HEAD~").strip()
    with pytest.raises(SpecError, match="no branch or tag dev"):
        commit_of(url, "dev")


def test_what_git_brings(repository: Path) -> None:
    text = f"material: [{{git: 'file://{repository}', branch: BRANCH, into: labs}}]\n"
    for branch, there in (("v1", ["01.ipynb"]), ("main", ["01.ipynb", "02.ipynb"])):
        made = of(text.replace("BRANCH", branch), Path())
        asked = made.manifest().digest
        assert list(made.content(made.course.material[0]).files) == there
        assert made.manifest().digest == asked, "what was asked for is what came"


def test_a_repository_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"git cannot read it: .*gone.*") as caught:
        commit_of(f"file://{tmp_path}/gone", "")
    assert caught.value.fix == f"try: git ls-remote file://{tmp_path}/gone"
    with pytest.raises(HostError, match="git cannot read it"):
        commit_of("https://localhost:9/x.git", "")


def test_what_was_delivered_stays_when_its_repository_is_away(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/gone"
    made = of(f"material: [{{git: '{url}', into: labs}}]\n", Path())
    there = {"into": "labs", "source": url, "content": "c1"}
    assert made.manifest([there]).entries[0]["content"] == "c1"
    assert made.stays["labs"].startswith("labs stays as it was delivered: ")
    made.check(fetch=True)
    other = of(f"material: [{{git: '{url}', branch: x, into: labs}}]\n", Path())
    with pytest.raises(HostError):
        other.manifest([there])


def test_a_git_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\nsleep 60\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(sources, "LOOK", 0.2)
    with pytest.raises(TookTooLong, match=r"git is not done after 0\.2 s"):
        commit_of("file:///x", "")


def test_a_machine_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OccamError, match="git is not installed"):
        commit_of("file:///x", "")
