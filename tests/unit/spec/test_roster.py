"""Rosters as spreadsheets write them, and what can be wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from occamctl.errors import SpecError
from occamctl.spec import roster
from occamctl.spec.tree import Problems


def people(text: str) -> list[object]:
    problems = Problems()
    found = roster.parse(text, "roster.csv", problems)
    problems.raise_if_any()
    return [one.plain() for one in found]


@pytest.mark.parametrize(
    "text",
    [
        "username,name,email,group\nanna,Anna Rossi,a@x.org,phd\n",
        "username;name;email;group\r\nanna;Anna Rossi;a@x.org;phd\r\n",
        "Username\tName\tEmail\tGroup\nanna\tAnna Rossi\ta@x.org\tphd",
        "\n\nusername , name,email,group,x-note\n\n anna , Anna Rossi ,a@x.org,phd,whatever\n,,,\n",
        'group,email,name,username\n"phd","a@x.org","Anna Rossi","anna"\n',
        "# made by hand\nusername,name,email,group\n# nobody\nanna,Anna Rossi,a@x.org,phd\n",
    ],
)
def test_one_person_written_in_many_ways(text: str) -> None:
    assert people(text) == [{"username": "anna", "name": "Anna Rossi", "email": "a@x.org", "group": "phd"}]


def test_quotes_hold_separators_quotes_and_line_ends() -> None:
    assert people('username,name\na,"Rossi, Anna"\nb,"the ""boss"""\nc,"two\nlines"\nd,\n') == [
        {"username": "a", "name": "Rossi, Anna"},
        {"username": "b", "name": 'the "boss"'},
        {"username": "c", "name": "two lines"},
        {"username": "d"},
    ]


@pytest.mark.parametrize("text", ["", "\n", "username,name,email,group\n", "username"])
def test_a_roster_of_nobody(text: str) -> None:
    assert people(text) == []


@pytest.mark.parametrize(
    ("text", "where", "what", "fix"),
    [
        ("user,name\nanna,Anna\n", "1:1", "user: unknown column", "did you mean 'username'?"),
        ("username,e-mail\n", "1:10", "e-mail: unknown column", "did you mean 'email'?"),
        (
            "username,shoe\n",
            "1:10",
            "shoe: unknown column",
            "known columns: username, name, email, group; others begin with x-",
        ),
        ("username,username\n", "1:10", "username: the column is there twice", ""),
        (
            "name,email\nAnna,a@x\n",
            "1:1",
            "the column username is missing",
            "the first line is: username,name,email,group",
        ),
        (
            "username,name\nanna,Rossi, Anna\n",
            "2:13",
            "3 fields where the first line has 2",
            'quote a field that holds the separator: "Rossi, Anna"',
        ),
        ('username,name\nanna,"Rossi\nb,x\n', "2:6", "a quote that does not end", ""),
        (
            'username,name\nanna,"Anna" Rossi\n',
            "2:6",
            "text after a closing quote",
            'a quote within quotes is written twice: ""',
        ),
        ("username,name\nanna,A\x1b[2J\n", "2:6", "name: holds a control character", ""),
    ],
)
def test_a_wrong_roster(text: str, where: str, what: str, fix: str) -> None:
    with pytest.raises(SpecError) as caught:
        people(text)
    assert (caught.value.where, caught.value.what, caught.value.fix) == (f"roster.csv:{where}", what, fix)


def test_places_survive_blank_lines_and_quoted_line_ends() -> None:
    found = roster.parse('username,name\r\n\r\na,"x\r\ny"\r\n  b,z\r\n', "r.csv", Problems())
    assert [str(one.place) for one in found] == ["r.csv:3:1", "r.csv:5:3"]


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "roster.csv"
    file.write_bytes("username,name\r\nanna,Annamaría\r\n".encode("utf-8-sig"))
    assert [one.plain() for one in roster.read(file, Problems())] == [{"username": "anna", "name": "Annamaría"}]
    file.write_bytes("username,name\nanna,Annamaría\n".encode("latin-1"))
    with pytest.raises(SpecError, match=r"roster.csv:2:13: not UTF-8 text \(save it as UTF-8\)"):
        roster.read(file, Problems())


def test_a_thousand_people_are_read_at_once() -> None:
    text = "username,name,email,group\n" + "".join(f'u{n},"N {n}",u{n}@x.org,g\n' for n in range(1000))
    assert len(people(text)) == 1000
