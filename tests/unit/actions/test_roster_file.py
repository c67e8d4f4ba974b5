"""A line more, a line less, and every other byte as it was."""

from __future__ import annotations

import pytest

from occamctl.actions import roster_file
from occamctl.actions.users import person
from occamctl.errors import SpecError
from occamctl.spec import roster
from occamctl.spec.course import Student
from occamctl.spec.tree import Problems

ANNA = Student(username="anna", name="Anna", email="a@x", group="phd")


def names(path) -> list[str]:
    problems = Problems()
    people = roster.read(path, problems)
    problems.raise_if_any()
    return [person.entries["username"].text for person in people]


@pytest.mark.parametrize(
    ("before", "line"),
    [
        (b"username,name,email,group\nbob,,,\n", b"anna,Anna,a@x,phd\n"),
        (b"username,name,email,group\nbob,,,", b"\nanna,Anna,a@x,phd\n"),
        (b"\xef\xbb\xbfusername;name;email;group\r\nbob;;;\r\n", b"anna;Anna;a@x;phd\r\n"),
        (b"# who\n\nGroup\tUserName\tname\temail\tx-room\n", b"phd\tanna\tAnna\ta@x\t\n"),
    ],
)
def test_append_in_the_files_own_form(tmp_path, before, line):
    path = tmp_path / "roster.csv"
    path.write_bytes(before)
    path.chmod(0o640)
    roster_file.append(path, ANNA, lambda: None)
    assert path.read_bytes() == before + line
    assert path.stat().st_mode & 0o777 == 0o640
    assert names(path)[-1] == "anna"
    assert roster_file.drop(path, "anna")
    assert names(path) == ([] if b"bob" not in before else ["bob"])


def test_append_quotes_what_needs_it(tmp_path):
    path = tmp_path / "roster.csv"
    path.write_text("username,name\n")
    roster_file.append(path, Student(username="anna", name='Rossi, "Anna"'), lambda: None)
    assert path.read_text().endswith('anna,"Rossi, ""Anna"""\n')


def test_append_is_undone_when_the_course_does_not_load(tmp_path):
    path = tmp_path / "roster.csv"
    path.write_text("username\nbob\n")

    def refuse() -> None:
        raise SpecError("twice")

    with pytest.raises(SpecError, match="twice"):
        roster_file.append(path, Student(username="bob"), refuse)
    assert path.read_text() == "username\nbob\n"


def test_append_says_which_column_is_missing(tmp_path):
    path = tmp_path / "roster.csv"
    path.write_text("username\n")
    with pytest.raises(SpecError, match="no column name"):
        roster_file.append(path, ANNA, lambda: None)
    assert path.read_text() == "username\n"


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("username,name\n# keep me\nbob,B\nanna,A\n\ncarl,C\n", "username,name\n# keep me\nbob,B\n\ncarl,C\n"),
        ('username,name\nanna,"two\nlines"\nbob,B\n', "username,name\nbob,B\n"),
        ("username,name\nbob,anna\nanna,A", "username,name\nbob,anna\n"),
        ('name,username\n"x","anna"\n', "name,username\n"),
    ],
)
def test_drop_takes_one_person_out(tmp_path, text, rest):
    path = tmp_path / "roster.csv"
    path.write_text(text)
    assert roster_file.drop(path, "anna")
    assert path.read_text() == rest
    assert not roster_file.drop(path, "anna")


def test_drop_leaves_a_broken_roster_alone(tmp_path):
    path = tmp_path / "roster.csv"
    path.write_text('username,name\nanna,"A\n')
    with pytest.raises(SpecError):
        roster_file.drop(path, "anna")
    assert path.read_text() == 'username,name\nanna,"A\n'


@pytest.mark.parametrize(
    ("wrong", "fix"),
    [({"username": "José"}, "letters, digits and"), ({"username": "anna", "group": "student"}, "it is a role")],
)
def test_who_cannot_be_added_is_told_what_could_be(wrong: dict[str, str], fix: str) -> None:
    with pytest.raises(SpecError) as caught:
        person(**wrong)
    assert fix in caught.value.fix
