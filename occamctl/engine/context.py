"""What is sent to an engine to build an image from: files, in the same order and with the same dates every time."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_SKIPPED = {"__pycache__", ".ipynb_checkpoints", ".pytest_cache", ".mypy_cache", ".ruff_cache", "tests", "node_modules"}
_DIRECTORY, _FILE, _PROGRAM = 0o755, 0o644, 0o755


@dataclass(frozen=True)
class Context:
    """Files by their path inside the context; a path that ends in / is a folder that may be empty."""

    files: dict[str, tuple[bytes, bool]] = field(default_factory=dict)
    """Content, and whether it may be executed."""

    def digest(self, *more: str) -> str:
        """Twelve hexadecimal digits that change when any path, content or mode does, or one of `more`."""
        seen = hashlib.sha256()
        for word in more:
            seen.update(b"%d:%s" % (len(word.encode()), word.encode()))
        for path, (content, runs) in sorted(self.files.items()):
            name = path.encode()
            seen.update(b"%d:%s%d%d:" % (len(name), name, runs, len(content)))
            seen.update(content)
        return seen.hexdigest()[:12]

    def tar(self) -> io.BytesIO:
        """The files as a tar archive, owned by root, without dates; the engine's cache looks at nothing else."""
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as archive:
            for path, (content, runs) in sorted(self.files.items()):
                entry = tarfile.TarInfo(path.rstrip("/"))
                if path.endswith("/"):
                    entry.type, entry.mode = tarfile.DIRTYPE, _DIRECTORY
                    archive.addfile(entry)
                else:
                    entry.size, entry.mode = len(content), _PROGRAM if runs else _FILE
                    archive.addfile(entry, io.BytesIO(content))
        made.seek(0)
        return made


def read(parts: Iterable[tuple[str, Path]]) -> Context:
    """A context of files and folders: `(place in the context, path)`; a folder that is missing is an empty one.

    Caches and tests inside folders are left out. Raises OSError when a file cannot be read.
    """
    files: dict[str, tuple[bytes, bool]] = {}
    for place, path in parts:
        if path.is_file():
            files[place] = _content(path)
            continue
        files[f"{place.rstrip('/')}/"] = (b"", False)
        for file in _below(path):
            files[f"{place.rstrip('/')}/{file.relative_to(path).as_posix()}"] = _content(file)
    return Context(files)


def _below(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        if entry.name in _SKIPPED or entry.name.endswith((".pyc", ".egg-info")):
            continue
        if entry.is_dir():
            yield from _below(entry)
        elif entry.is_file():
            yield entry


def _content(path: Path) -> tuple[bytes, bool]:
    return path.read_bytes(), bool(path.stat().st_mode & 0o100)
