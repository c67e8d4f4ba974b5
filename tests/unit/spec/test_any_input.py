"""Whatever stands in a course file or roster, it gives a course or a SpecError, never anything else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import yaml

from occamctl.errors import SpecError
from occamctl.spec import roster
from occamctl.spec.course import Course
from occamctl.spec.load import load_text
from occamctl.spec.tree import Problems

EXAMPLE = (Path(__file__).parents[3] / "occam.yaml.example").read_text()
ODD = [
    None,
    "",
    " ",
    "x",
    0,
    -1,
    1.5,
    10**30,
    "9" * 400,
    True,
    [],
    {},
    [[]],
    [None],
    {"": ""},
    {"x-a": 1},
    "\x00",
    "\u202e",
    "${A}",
    "${",
    "1h",
    "4G",
    "-rm -rf /",
    "../..",
    "/",
    "~nobody-here/x",
    "a@b",
    "é",
    "2026-13-45",
    "nan",
    "inf",
    "!!x",
    ".",
    "x" * 5000,
    [1, [2, {"a": [3]}]],
]


def outcome(text: str) -> Course | SpecError:
    try:
        return load_text(text, environment={})
    except SpecError as error:
        for one in (error, *error.others):
            assert one.what
            assert one.where.startswith("occam.yaml")
            assert all(mark.isprintable() for mark in f"{one.what}{one.fix}")
        return error


def plain(text: str) -> dict[str, object]:
    found = yaml.safe_load(text)
    assert isinstance(found, dict)
    return found


def paths(value: object, at: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(one for key, child in children for one in paths(child, (*at, key)))]


def put(tree: object, path: tuple[object, ...], value: object) -> None:
    for part in path[:-1]:
        tree = tree[part]  # type: ignore[index]
    tree[path[-1]] = value  # type: ignore[index]


@pytest.mark.parametrize("path", paths(plain(EXAMPLE))[1:], ids=lambda path: ".".join(map(str, path)))
def test_any_value_at_any_key(path: tuple[object, ...]) -> None:
    for odd in random.Random(str(path)).sample(ODD, 10):
        tree = plain(EXAMPLE)
        put(tree, path, odd)
        outcome(yaml.safe_dump(tree, allow_unicode=True))


def test_any_damage_to_the_text() -> None:
    chance = random.Random(11)
    marks = "\n\t :{}[],&*!|>'\"%@`#-?xX0$\x00\x7f\u2028é\ufeff"
    for _ in range(600):
        text = list(EXAMPLE)
        for _ in range(chance.randrange(1, 8)):
            at = chance.randrange(len(text))
            text[at : at + chance.randrange(4)] = chance.choices(marks, k=chance.randrange(4))
        outcome("".join(text))


def test_any_bytes() -> None:
    chance = random.Random(13)
    for length in (1, 2, 3, 10, 100, 1000):
        for _ in range(40):
            outcome(
                "".join(chr(chance.choice((chance.randrange(128), chance.randrange(0x110000)))) for _ in range(length))
            )


def test_any_roster() -> None:
    chance = random.Random(17)
    marks = 'ab,";\n\r\t #\x00é\ufeff'
    for _ in range(1500):
        text = "username,name\n" * chance.randrange(2) + "".join(chance.choices(marks, k=chance.randrange(60)))
        problems = Problems()
        for person in roster.parse(text, "roster.csv", problems):
            assert person.entries is not None
