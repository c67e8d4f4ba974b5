"""The Python face: errors come out as they are, nothing is printed. What it does is tried on real hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from occamctl.api import Course
from occamctl.errors import SpecError


def test_a_wrong_file_is_an_error_with_its_place_and_no_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "occam.yaml"
    file.write_text("version: 1\ncourse: ml\nhub: {prt: 1}\n")
    for call in (lambda course: course.plan(), lambda course: course.spark.list(), lambda course: course.users.list()):
        with pytest.raises(SpecError, match="unknown key") as wrong:
            call(Course(file))
        assert wrong.value.where.endswith("occam.yaml:3:7")
        assert wrong.value.fix
    with pytest.raises(SpecError), Course(tmp_path / "nowhere.yaml"):
        pass
    assert capsys.readouterr() == ("", "")


def test_a_size_that_is_none_is_said_before_anybody_is_asked(tmp_path: Path) -> None:
    file = tmp_path / "occam.yaml"
    file.write_text("version: 1\ncourse: ml\n")
    course = Course(file)
    with pytest.raises(SpecError, match="memory"):
        course.spark.create("demo", memory="lots")
    course.close()


def test_a_number_of_workers_is_all_that_the_courses_own_cluster_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def scale(session: object, *wish: object) -> tuple[int, dict[str, object]]:
        asked.append(wish)
        return 0, {"name": "main"}

    monkeypatch.setattr("occamctl.actions.clusters.scale", scale)
    monkeypatch.setattr("occamctl.actions.session.connect_all", lambda course, only=None: ({}, {}))
    file = tmp_path / "occam.yaml"
    file.write_text("version: 1\ncourse: ml\n")
    with Course(file) as course:
        assert course.spark(8) == course.spark.scale(8) == {"name": "main"}
        course.spark(2, gpu=1, user="anna", cluster="lab")
    assert asked == [("", "", 8, None), ("", "", 8, None), ("anna", "lab", 2, 1)]
