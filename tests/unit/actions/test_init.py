"""What `occamctl init` writes is right at once, and nothing that is there is ever written over."""

from __future__ import annotations

from pathlib import Path

import pytest

from occamctl.actions.init import start
from occamctl.errors import OccamError, Refused, SpecError
from occamctl.spec.load import load


@pytest.mark.parametrize(("target", "hosts"), [("machine", 0), ("hosts", 2)])
def test_what_it_writes_is_a_course(target: str, hosts: int, tmp_path: Path) -> None:
    made = start(tmp_path / "new" / "ML 2026!", target)  # type: ignore[arg-type]
    course = load(made.file)
    assert (course.course, len(course.hosts), len(course.students)) == ("ml-2026", hosts, 2)
    assert not made.kept_roster
    assert "@" not in made.file.read_text().replace("ops@", "")


def test_a_course_file_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "occam.yaml").write_text("mine")
    with pytest.raises(Refused, match="there is a course file already") as caught:
        start(tmp_path, "machine")
    assert caught.value.exit_code == 5
    assert (tmp_path / "occam.yaml").read_text() == "mine"
    assert not (tmp_path / "roster.csv").exists()


def test_a_file_in_the_folder_s_place(tmp_path: Path) -> None:
    (tmp_path / "ml").write_text("mine")
    with pytest.raises(OccamError, match="cannot write: Not a directory"):
        start(tmp_path / "ml", "machine")


def test_a_roster_that_is_there_is_used(tmp_path: Path) -> None:
    (tmp_path / "roster.csv").write_text("username\ncarla\n")
    made = start(tmp_path, "machine", "ml")
    assert made.kept_roster
    assert [one.username for one in load(made.file).students] == ["carla"]


@pytest.mark.parametrize("folder", ["2026", "_", "日本"])
def test_a_folder_whose_name_is_no_course_s_gets_another(folder: str, tmp_path: Path) -> None:
    assert load(start(tmp_path / folder, "machine").file).course == "my-course"


def test_a_bad_name_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be a course's name"):
        start(tmp_path / "x", "machine", "My Course")
    assert not (tmp_path / "x").exists()


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OccamError, match="cannot write"):
        start(tmp_path / "file" / "x", "machine")
