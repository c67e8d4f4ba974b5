"""`occamctl init`: a commented course file and a roster to start from."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from occamctl.errors import OccamError, Refused, SpecError
from occamctl.spec import names, words

Target = Literal["machine", "hosts", "sandbox"]
TEMPLATES = Path(__file__).resolve().parents[1] / "templates" / "course"
FILE, ROSTER = "occam.yaml", "roster.csv"


@dataclass(frozen=True)
class Started:
    """What `start` wrote, and what it found there and left as it is."""

    file: Path
    roster: Path
    kept_roster: bool


def start(folder: Path, target: Target, name: str = "") -> Started:
    """Write a course file for `target` and a roster into `folder`, which is made when it is not there.

    name  of the course; the folder's name when not given

    Raises Refused when there is a course file already (a roster that is there is kept), SpecError for a name that
    cannot be a course's.
    """
    text = _course_file(target, _name(folder, name))
    file, roster = folder / FILE, folder / ROSTER
    try:
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
        folder.mkdir(parents=True, exist_ok=True)
        _write(file, text)
        return Started(file, roster, kept_roster=not _write_if_absent(roster, (TEMPLATES / ROSTER).read_text()))
    except FileExistsError:
        raise Refused("there is a course file already", where=str(file), fix="occamctl init ANOTHER-FOLDER") from None
    except OSError as error:
        raise OccamError(f"cannot write: {error.strerror}", where=str(error.filename or folder)) from None


def _name(folder: Path, name: str) -> str:
    if not name:
        return words.plain(folder.resolve().name, names.MAX_COURSE) or "my-course"
    try:
        return words.course_name(name)
    except words.Unfit as unfit:
        raise SpecError(str(unfit), where="--name", fix=unfit.fix) from None


def _course_file(target: Target, name: str) -> str:
    hosts = _sandbox_hosts() if target == "sandbox" else (TEMPLATES / f"hosts.{target}.yaml").read_text()
    return (TEMPLATES / FILE).read_text().replace("@course@", name).replace("@hosts@\n", f"{hosts}\n")


def _sandbox_hosts() -> str:
    """The hosts of a sandbox that is up; when there are several, of the one called `sandbox`, or else of the first."""
    from occamctl import sandbox  # asks the engine: only for those who want it

    there = sorted({str(row["sandbox"]) for row in sandbox.listed()}, key=lambda one: (one != "sandbox", one))
    if not there:
        raise SpecError("there is no sandbox yet", fix="occamctl sandbox up --hosts 3, then this again")
    return f"# The pretend hosts of `occamctl sandbox`\n{sandbox.find(there[0]).as_yaml()}"


def _write(file: Path, text: str) -> None:
    with file.open("x", encoding="utf-8") as stream:
        stream.write(text)


def _write_if_absent(file: Path, text: str) -> bool:
    try:
        _write(file, text)
    except FileExistsError:
        return False
    return True
