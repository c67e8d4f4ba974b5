"""A tree in which every value knows its place, and the list of what is wrong with it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from occamctl.errors import SpecError

UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters, and marks that reverse the direction of writing."""


@dataclass(frozen=True)
class Place:
    """Where something stands; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass
class Node:
    """A value and its place: text or None, `entries` of a mapping, or `items` of a list."""

    place: Place
    text: str | None = None
    entries: dict[str, Node] | None = None
    items: list[Node] | None = None
    raw: str = ""
    """The text as it is written, before anything came from the environment."""
    key: Place | None = None
    """Place of the key, for an entry of a mapping."""
    number: int = 0
    """Which item of its list it is in the file, from 0."""
    broken: bool = False
    """What is wrong with it was said already."""

    @property
    def shown(self) -> Place:
        """The place that a person is told."""
        return self.key or self.place

    @property
    def from_environment(self) -> bool:
        return self.text is not None and self.raw != self.text

    def plain(self) -> object:
        """The value as dicts, lists, text and None; an entry without a value is left away."""
        if self.entries is not None:
            return {key: child.plain() for key, child in self.entries.items() if not child.empty}
        if self.items is not None:
            return [child.plain() for child in self.items]
        return self.text

    @property
    def empty(self) -> bool:
        return self.text is None and self.entries is None and self.items is None


class Problems:
    """What is wrong, collected, so that a person hears all of it at once."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[tuple[str, int, int], SpecError]] = {}

    def add(self, place: Place, what: str, fix: str = "") -> None:
        order = (place.file, place.line, place.column)
        what, fix = printable(what), printable(fix)
        self._found.setdefault((str(place), what), (order, SpecError(what, where=str(place), fix=fix)))

    def raise_if_any(self) -> None:
        """Raise the first one of the file as SpecError; the rest are its `others`."""
        if self._found:
            first, *others = (error for _, error in sorted(self._found.values(), key=lambda one: one[0]))
            first.others = tuple(others)
            raise first


def contains_unwanted(text: str) -> bool:
    """Whether control characters, or marks that reverse the direction of writing, are in `text`."""
    return UNWANTED.search(text) is not None


def printable(text: str) -> str:
    """`text` with marks that a terminal might obey written out."""
    return "".join(mark if mark.isprintable() else f"\\u{ord(mark):04x}" for mark in text)


def shown(word: str) -> str:
    """`word` short enough for a message."""
    return word if len(word) <= 60 else f"{word[:57]}…"
