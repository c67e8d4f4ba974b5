"""From a course file to a `Course`, or to everything that is wrong with it, each with its place.

text ─► document.parse ─► tree with places ─► the sections of course.py ─► checks across sections
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from occamctl.errors import SpecError
from occamctl.spec import checks, document, roster
from occamctl.spec.complaints import complain, mend
from occamctl.spec.course import Course
from occamctl.spec.schema import schema
from occamctl.spec.tree import Node, Problems

__all__ = ["load", "load_text", "roster_path", "schema"]

STDIN = "-"
_ROUNDS = 20


def load(path: Path | str = "occam.yaml", *, stdin: IO[bytes] | None = None) -> Course:
    """The course that the file at `path` describes; `-` reads standard input.

    `${VAR}` comes from the environment; other paths in the file are relative to its folder.

    Raises SpecError with a place and what to do; what else is wrong is in its `others`.
    """
    if str(path) == STDIN:
        return _load(_read(stdin or sys.stdin.buffer), "<stdin>", Path())
    return _load(_read_file(Path(path)), str(path), Path(path).parent)


def load_text(
    text: str, *, file: str = "occam.yaml", folder: Path | str = "", environment: Mapping[str, str] | None = None
) -> Course:
    """As `load`, for text; `folder` is what paths are relative to, `environment` replaces the process's own."""
    return _load(text.encode(errors="surrogatepass"), file, Path(folder), environment)


def roster_path(path: Path | str) -> Path | None:
    """The roster file that the course file at `path` names; None when students are listed in the course file itself."""
    problems = Problems()
    root = document.parse(document.read_text(_read_file(Path(path)), str(path)), str(path), problems)
    students = (root.entries or {}).get("students") if root else None
    return Path(path).parent / Path(students.text).expanduser() if students and students.text else None


def _read(stream: IO[bytes]) -> bytes:
    return stream.read(document.MAX_BYTES + 1)


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return _read(stream)
    except FileNotFoundError:
        raise SpecError("no such file", where=str(path), fix="occamctl init writes one; -c names another") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"cannot be read: {getattr(error, 'strerror', None) or error}", where=str(path)) from None


def _load(data: bytes, file: str, folder: Path, environment: Mapping[str, str] | None = None) -> Course:
    problems = Problems()
    root = document.parse(document.read_text(data, file), file, problems, environment)
    if root is None or root.empty:
        raise SpecError("the file is empty", where=file, fix="occamctl init writes one to start from")
    if root.entries is None:
        raise SpecError("a course file is a mapping: key: value", where=str(root.place), fix="occamctl init writes one")
    _fetch_roster(root, folder, problems)
    checks.before(root, problems)
    course = _course(root, folder, problems)
    if course:
        checks.across(course, root, problems)
    problems.raise_if_any()
    assert course is not None  # without a course something is wrong with the file, and that was raised
    return course


def _fetch_roster(root: Node, folder: Path, problems: Problems) -> None:
    """Put the people of the roster file where the file's name stands."""
    assert root.entries is not None
    named = root.entries.get("students")
    if named is None or named.text is None:
        return
    try:
        path = folder / Path(named.text).expanduser()
        people = roster.read(path, problems, str(path))
    except SpecError as error:
        problems.add(named.shown, f"students: {error.where}: {error.what}", error.fix)
        people = []
    except RuntimeError:
        problems.add(named.shown, "students: there is no such user's home")
        people = []
    root.entries["students"] = Node(named.place, items=people, key=named.key)


def _course(root: Node, folder: Path, problems: Problems) -> Course | None:
    """The course; where parts are wrong they are named and left out, so that the rest can be checked too."""
    for round_ in range(_ROUNDS):
        try:
            return Course.model_validate(root.plain(), context={"folder": folder}, by_alias=True, by_name=False)
        except ValidationError as error:
            wrong = complain(error, root)
            if round_ == 0:
                for complaint in wrong:
                    if complaint.what:
                        problems.add(complaint.place, complaint.what, complaint.fix)
            if not mend(root, wrong):
                return None
    return None
