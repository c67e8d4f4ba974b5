"""Change the roster file: a line more or a line less; every other byte stays as somebody wrote it."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from occamctl.errors import OccamError, SpecError
from occamctl.spec import roster
from occamctl.spec.course import Student
from occamctl.spec.tree import Node, Problems

_SEPARATORS = ",;\t"


def append(path: Path, person: Student, check: Callable[[], object]) -> None:
    """Add a line for `person`. `check` reads the course anew; what it raises undoes the change."""
    before = _read(path)
    text = before.decode("utf-8-sig")
    header = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    separator = max(_SEPARATORS, key=header.count)
    columns = [name.strip().strip('"').lower() for name in header.split(separator)]
    end = "\r\n" if "\r\n" in text else "\n"
    line = io.StringIO()
    said = person.model_dump()
    csv.writer(line, delimiter=separator, lineterminator=end).writerow([said.get(name, "") for name in columns])
    lost = [name for name in ("name", "email", "group") if said[name] and name not in columns]
    if lost:
        raise SpecError(
            f"the roster has no column {lost[0]}",
            where=str(path),
            fix=f"add it to the first line, or leave --{lost[0]} away",
        )
    gap = "" if not text or text.endswith("\n") else end
    _write(path, before + (gap + line.getvalue()).encode())
    try:
        check()
    except OccamError:
        _write(path, before)
        raise


def drop(path: Path, username: str) -> bool:
    """Take the person's line out; False when there is none. Raises SpecError when the file is no roster."""
    before = _read(path)
    lines = before.decode("utf-8-sig").splitlines(keepends=True)
    bom = before[:3] if before.startswith(b"\xef\xbb\xbf") else b""
    people = _people("".join(lines), path)
    found = next((person for person in people if _name(person) == username), None)
    if found is None:
        return False
    rest = [_name(person) for person in people if person is not found]
    first = found.place.line - 1
    for last in range(first + 1, len(lines) + 1):  # a quoted field may hold line ends
        kept = "".join(lines[:first] + lines[last:])
        if _names_or_none(kept, path) == rest:
            _write(path, bom + kept.encode())
            return True
    raise SpecError(f"cannot take {username} out", where=str(path), fix="take the line out with an editor")


def _people(text: str, path: Path) -> list[Node]:
    problems = Problems()
    people = roster.parse(text, str(path), problems)
    problems.raise_if_any()
    return people


def _names_or_none(text: str, path: Path) -> list[str] | None:
    try:
        return [_name(person) for person in _people(text, path)]
    except SpecError:
        return None


def _name(person: Node) -> str:
    field = (person.entries or {}).get("username")
    return (field.text if field else None) or ""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", where=str(path)) from None


def _write(path: Path, data: bytes) -> None:
    """All or nothing, with the rights that the file has."""
    try:
        target = path.resolve()
        made, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
        with os.fdopen(made, "wb") as file:
            file.write(data)
        os.chmod(beside, target.stat().st_mode & 0o7777)
        os.replace(beside, target)
    except OSError as error:
        raise SpecError(f"cannot be written: {error.strerror}", where=str(path)) from None
