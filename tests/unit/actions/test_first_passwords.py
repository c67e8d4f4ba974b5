"""First passwords and the file that keeps them."""

from __future__ import annotations

import csv
import re
import stat

import pytest

from occamctl.actions import first_passwords
from occamctl.actions.first_passwords import file_of, fresh, keep, kept
from occamctl.errors import OccamError
from occamctl.spec.course import Student


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_password_can_be_spoken_and_has_64_bits():
    made = {fresh() for _ in range(200)}
    assert len(made) == 200
    assert all(re.fullmatch(r"([bdfghjklmnprstvz][aiou]){2}[bdfghjklmnprstvz](-\w{5}){3}", one) for one in made)
    words = {first_passwords._word(bits) for bits in range(1 << 16)}
    assert len(words) == 1 << 16


def test_kept_for_the_owner_alone_and_replaced_by_name(tmp_path):
    path = tmp_path / "ml-passwords.csv"
    anna, bob = Student(username="anna", name='Rossi, "Anna"', email="a@x"), Student(username="bob")
    keep(path, [anna, bob], {"anna": "one", "bob": "two"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keep(path, [anna, bob], {"anna": "new"})
    assert [(row["username"], row["password"]) for row in rows(path)] == [("bob", "two"), ("anna", "new")]
    assert rows(path)[1]["name"] == 'Rossi, "Anna"'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_what_was_kept_can_be_read_again(tmp_path):
    path = tmp_path / "ml-passwords.csv"
    assert kept(path) == {}
    keep(path, [Student(username="anna", name='Rossi, "Anna"'), Student(username="bob")], {"anna": "one", "bob": "two"})
    assert kept(path) == {"anna": "one", "bob": "two"}
    path.unlink()
    path.mkdir()
    with pytest.raises(OccamError, match="cannot read the first passwords"):
        kept(path)


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(OccamError, match="first passwords"):
        keep(tmp_path / "none" / "x.csv", [], {})


def test_no_file_for_a_course_from_standard_input(tmp_path):
    assert file_of(tmp_path / "occam.yaml", "ml") == tmp_path / "ml-passwords.csv"
    assert file_of(type(tmp_path)("-"), "ml") is None
