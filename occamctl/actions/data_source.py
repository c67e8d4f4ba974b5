"""A source of data on this machine: a file, or a folder that goes as a tar; sent in pieces, from where it stopped."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from occamctl.engine.loader import Loader
from occamctl.errors import SpecError

_CHUNK = 1 << 20
_PIECE = 16 << 20
"""Bytes that are sent at a time: what an interruption costs."""
_RECORD = 512


class Local:
    """A file or folder. Raises SpecError when there is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file() and not path.is_dir():
            raise SpecError("there is no such file or folder here", where=str(path), fix="give its path, or https://…")

    @property
    def name(self) -> str:
        return self.path.name + (".tar" if self.path.is_dir() else "")

    @cached_property
    def size(self) -> int:
        if self.path.is_file():
            return self.path.stat().st_size
        return sum(len(head) + _padded(size) for head, _, size in self._entries()) + 2 * _RECORD

    def sha256(self, say: Callable[[str], None]) -> str:
        digest, gone, told = hashlib.sha256(), 0, 0
        for piece in self._content():
            digest.update(piece)
            gone += len(piece)
            if gone - told > 512 << 20:
                told = gone
                say(f"checksum: {gone / 1e6:.0f} of {self.size / 1e6:.0f} MB")
        return digest.hexdigest()

    def upload(self, to: Loader, name: str, key: str, say: Callable[[str], None]) -> None:
        """Send what is not there yet of the source that `key` stands for."""
        there = at = to.call("begin", name=name, key=key)
        held = bytearray()
        for piece in self._content(there):
            held += piece
            if len(held) >= _PIECE:
                at, held = self._sent(to, name, at, held, say), bytearray()
        if held or not at:
            self._sent(to, name, at, held, say)

    def _sent(self, to: Loader, name: str, at: int, held: bytearray, say: Callable[[str], None]) -> int:
        now = int(to.call("append", content=bytes(held), name=name, at=at))
        if now != at + len(held):
            raise SpecError(f"only {now - at} of {len(held)} bytes came", where=to.engine.name, fix="run it again")
        say(f"sending {self.name}: {now / 1e6:.0f} of {self.size / 1e6:.0f} MB")
        return now

    def _content(self, skip: int = 0) -> Iterator[bytes]:
        """All bytes but the first `skip`, the same every time."""
        try:
            yield from _from_file(self.path, skip) if self.path.is_file() else _without(self._packed(), skip)
        except OSError as error:
            raise SpecError(f"cannot read: {error.strerror}", where=str(error.filename or self.path)) from None

    def _entries(self) -> Iterator[tuple[bytes, Path | None, int]]:
        """Header, path and size of what is in the folder, in order: nothing that differs from run to run."""
        for folder, folders, files in os.walk(self.path):
            folders.sort()
            for name in sorted(files):
                path = Path(folder) / name
                if path.is_symlink() or not path.is_file():
                    raise SpecError("is no plain file", where=str(path), fix="leave it away, or put the file there")
                entry = tarfile.TarInfo(str(path.relative_to(self.path)))
                entry.size = path.stat().st_size
                yield entry.tobuf(tarfile.PAX_FORMAT), path, entry.size

    def _packed(self) -> Iterator[bytes]:
        for head, path, size in self._entries():
            yield head
            if path is not None:
                yield from _from_file(path)
            yield bytes(_padded(size) - size)
        yield bytes(2 * _RECORD)


def _padded(size: int) -> int:
    return -(-size // _RECORD) * _RECORD


def _from_file(path: Path, skip: int = 0) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(skip)
        while piece := file.read(_CHUNK):
            yield piece


def _without(pieces: Iterator[bytes], skip: int) -> Iterator[bytes]:
    for piece in pieces:
        left = piece[skip:]
        skip = max(0, skip - len(piece))
        if left:
            yield left
