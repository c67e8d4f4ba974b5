"""The course's material at its keeper: what is there, and what it is told."""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from occamctl.actions.pieces import container_of
from occamctl.actions.session import Session
from occamctl.actions.sources import Content, Sources
from occamctl.engine.client import Engine, speaking_to
from occamctl.errors import EngineError
from occamctl.plan.material import FULL, Manifest, command
from occamctl.plan.seen import SeenMaterial
from occamctl.spec.course import Course

_TAKE = 300
"""Seconds that the keeper may take to publish."""


def seen(session: Session) -> SeenMaterial:
    """What the keeper has. Raises EngineError while it does not run."""
    return look(session.manager, _keeper(session))


def look(engine: Engine, keeper: str) -> SeenMaterial:
    """What this keeper has. Raises EngineError while it has said nothing yet."""
    content = engine.read_file(keeper, f"{FULL}/status.json")
    if content is None:
        raise _refused(engine, "nothing yet")
    said = json.loads(content)
    return SeenMaterial(said["digest"], frozenset(said["have"]), tuple(said["entries"]), said["trouble"])


def put(session: Session, sources: Sources, say: Callable[[str], None]) -> None:
    """Send what the keeper lacks, and tell it what is released when; what it has is not sent again."""
    there = seen(session).contents
    for entry in session.course.material:
        if sources.name(entry) not in there:
            content = sources.content(entry)
            say(f"sending {len(content.files)} files for {entry.into}")
            send(session.manager, _keeper(session), content)
            there |= {content.name}
    take(session.manager, _keeper(session), sources.manifest())


def send(engine: Engine, keeper: str, content: Content) -> None:
    """The files as one archive; a mark at its end says that all of it arrived."""
    with tempfile.TemporaryFile() as made:
        with tarfile.open(fileobj=made, mode="w") as archive:
            folders = {content.name}
            for path in content.files:
                parts = f"{content.name}/{path}".split("/")[:-1]
                folders |= {"/".join(parts[: count + 1]) for count in range(len(parts))}
            for folder in sorted(folders):
                entry = tarfile.TarInfo(folder)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(entry)
            for path, at in content.files.items():
                entry = tarfile.TarInfo(f"{content.name}/{path}")
                with at.open("rb") as source:
                    entry.size = at.stat().st_size
                    entry.mode = 0o755 if at.stat().st_mode & 0o100 else 0o644
                    archive.addfile(entry, source)
            archive.addfile(tarfile.TarInfo(f"{content.name}.whole"))
        made.seek(0)
        with speaking_to(engine.name):
            engine.api.put_archive(keeper, FULL, made)


def _keeper(session: Session) -> str:
    container = container_of(session.manager, session.names.material)
    if not container:
        raise EngineError(
            "the keeper of the material is not running", where=session.manager.name, fix="run: occamctl course up"
        )
    return container


def take(engine: Engine, keeper: str, manifest: Manifest) -> None:
    """Have the keeper use this manifest. Raises EngineError with its words."""
    code, out, err = engine.exec(keeper, command("take"), manifest.as_json(), seconds=_TAKE)
    try:
        error = json.loads(out).get("error", "")
    except (ValueError, AttributeError):
        words = err.decode(errors="replace").strip().splitlines()
        error = words[-1] if words else f"exit status {code}"
    if error:
        raise _refused(engine, error)


def _refused(engine: Engine, words: str) -> EngineError:
    return EngineError(
        f"the keeper of the material said: {words}", where=engine.name, fix="see: occamctl logs material"
    )


def rows(course: Course, there: SeenMaterial | None) -> list[dict[str, Any]]:
    """A row for each folder: what it is made of, and what is released when, in the course's time zone."""
    zone = ZoneInfo(course.term.timezone) if course.term else UTC
    made = []
    for one in there.folders if there else ():
        later = datetime.fromtimestamp(one["next"], zone) if one["next"] else None
        files = one["next_files"]
        made.append(
            {
                "folder": one["into"],
                "from": one["source"],
                "files": one["files"],
                "released": one["released"],
                "next": later.isoformat(timespec="minutes") if later else "",
                "next_files": files,
                "then": f"{', '.join(files[:2])}{f' and {len(files) - 2} more' if len(files) > 2 else ''}",
            }
        )
    return made
