"""First passwords: words that can be read out, and the file in which the instructor finds them."""

from __future__ import annotations

import csv
import io
import os
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from occamctl.errors import OccamError
from occamctl.spec.course import Student

_CONSONANTS, _VOWELS = "bdfghjklmnprstvz", "aiou"
_WORDS = 4
COLUMNS = ("username", "password", "name", "email")
FEW = 5
"""So many are also shown on the terminal."""


@dataclass(frozen=True)
class NewPasswords:
    """Passwords of accounts that were just made; `passwords` is empty when there are many, `path` holds all."""

    passwords: dict[str, str] = field(default_factory=dict, repr=False)
    path: Path | None = None


def fresh() -> str:
    """Four words that can be spoken, such as `lusab-babad-gutih-tugad`: 64 bits (proquints, arXiv:0901.4016)."""
    return "-".join(_word(secrets.randbits(16)) for _ in range(_WORDS))


def _word(bits: int) -> str:
    marks = (_CONSONANTS[bits >> 12], _VOWELS[bits >> 10 & 3], _CONSONANTS[bits >> 6 & 15])
    return "".join(marks) + _VOWELS[bits >> 4 & 3] + _CONSONANTS[bits & 15]


def file_of(course_file: Path, course: str) -> Path | None:
    """Beside the course file; None for a course that came by standard input."""
    return None if str(course_file) == "-" else course_file.parent / f"{course}-passwords.csv"


def kept(path: Path) -> dict[str, str]:
    """The passwords in the file, by user name; {} when there is no file. Raises OccamError."""
    try:
        return {row["username"]: row["password"] for row in _rows(path)}
    except OSError as error:
        raise OccamError(f"cannot read the first passwords: {error.strerror}", where=str(path)) from None


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))) if path.exists() else []


def keep(path: Path, people: Iterable[Student], passwords: Mapping[str, str]) -> None:
    """Add these passwords to the file (0600); a person's older line goes. All or nothing."""
    try:
        before = _rows(path)
        made, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        with os.fdopen(made, "w", encoding="utf-8", newline="") as file:
            out = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n", restval="")
            out.writeheader()
            out.writerows(row for row in before if row.get("username") not in passwords)
            for person in people:
                if person.username in passwords:
                    out.writerow(person.model_dump() | {"password": passwords[person.username]})
        os.replace(beside, path)
    except OSError as error:
        raise OccamError(
            f"cannot write the first passwords: {error.strerror}", where=str(path), fix="make the folder writable"
        ) from None
