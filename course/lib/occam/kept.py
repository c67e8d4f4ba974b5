"""The kernel's side of its keeper (keeper.py): start one, or take over the one that a former kernel left."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from occam import keeper
from occam.errors import NotStarted

TMPFS = Path("/dev/shm")
PREFIX = "occam-driver-"
_FIRST = 10.0
"""Seconds until a keeper has started its JVM."""
_END = keeper.STOP + 5


@dataclass
class Kept:
    """The connection to a keeper. `jvm` is the pid of its JVM; `code` what that ended with, once it is known."""

    private: Path
    _socket: socket.socket
    _lines: keeper.Lines = field(init=False)
    jvm: int = 0
    state: dict[str, Any] = field(default_factory=dict)
    code: int | None = None
    gone: bool = False

    def __post_init__(self) -> None:
        self._lines = keeper.Lines(self._socket)

    def ended(self) -> bool:
        """Whether the JVM has ended; waits for nothing."""
        self._hear(0)
        return self.gone or not keeper.born(self.jvm)

    def ready(self, kernel: str, name: str, grace: float, state: Mapping[str, Any]) -> None:
        """From now on a next kernel with the same id may have the driver, and gets `state`."""
        keeper.say(self._socket, do="ready", kernel=kernel, name=name, grace=grace, state=dict(state))

    def leave(self) -> None:
        """Let go of it: its grace begins."""
        self._socket.close()
        self.gone = True

    def stop(self, *, kill: bool = False, seconds: float = _END) -> int | None:
        """End the JVM and return its exit code; None when that is not known within `seconds`. Safe to call twice."""
        if not self.gone:
            keeper.say(self._socket, do="kill" if kill else "stop")
            end = time.monotonic() + seconds
            while not self.gone and time.monotonic() < end:
                self._hear(end - time.monotonic())
        return self.code

    def await_jvm(self) -> None:
        """Wait until the keeper said which process the JVM is. Raises NotStarted."""
        end = time.monotonic() + _FIRST
        while not self.jvm and not self.gone and time.monotonic() < end:
            self._hear(0.2)
        if not self.jvm:
            raise NotStarted("Spark's driver did not start: java cannot be run", "show this to your instructor")

    def _hear(self, seconds: float) -> None:
        """Take in what the keeper says within `seconds`."""
        if self.gone or not select.select([self._socket], [], [], max(seconds, 0))[0]:
            return
        said = self._lines.read()
        self.gone = said is None
        for one in said or []:
            self.jvm, self.code = one.get("jvm", self.jvm), one.get("ended", self.code)
            self.state = one.get("state", self.state)


def start(private: Path, command: Sequence[str], env: Mapping[str, str], log: Path) -> Kept:
    """Start a keeper with the JVM `command`. Whatever ends this call, or this process, ends them as well."""
    mine, other = socket.socketpair()
    try:
        script = [sys.executable, "-ISs", keeper.__file__, str(private), str(other.fileno()), *command]
        with log.open("wb") as out:
            process = subprocess.Popen(
                script,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=dict(env),
                pass_fds=[other.fileno()],
                start_new_session=True,  # or an interrupt of the kernel would end it
            )
        _children.append(process)
    except BaseException:
        mine.close()
        raise
    finally:
        other.close()
    return Kept(private, mine)


_children: list[subprocess.Popen[bytes]] = []
"""Keepers of this kernel; somebody has to ask for their exit codes."""


def take(kernel: str, name: str) -> Kept | None:
    """The driver of cluster `name` that an earlier run of this `kernel` left, if there is one."""
    for there in _drivers():
        with suppress(OSError, ValueError):
            kept = _knock(there, kernel, name)
            if kept is not None:
                return kept
    return None


def _knock(there: Path, kernel: str, name: str) -> Kept | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(keeper.KNOCK)
        connection.connect(str(there / keeper.DOOR))
        keeper.say(connection, do="take", kernel=kernel, name=name, pid=os.getpid())
        kept = Kept(there, connection)
        kept._hear(keeper.KNOCK)
    except BaseException:
        connection.close()
        raise
    if kept.jvm:
        connection.settimeout(None)
        return kept
    connection.close()
    return None


def forget_the_dead() -> None:
    """Remove what keepers that were killed left on tmpfs, and ask after those that have ended."""
    _children[:] = [one for one in _children if one.poll() is None]
    for left in _drivers():
        pid = left.name.removeprefix(PREFIX).split("-")[0]
        if pid.isdigit() and keeper.born(int(pid)):
            continue  # its kernel lives, and may be about to start it
        with socket.socket(socket.AF_UNIX) as trial:
            try:
                trial.settimeout(keeper.KNOCK)
                trial.connect(str(left / keeper.DOOR))
            except (ConnectionRefusedError, FileNotFoundError):
                shutil.rmtree(left, ignore_errors=True)
            except OSError:
                continue


def folder() -> Path:
    """A new private folder for a driver of this kernel."""
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=TMPFS))


def _drivers() -> Iterator[Path]:
    yield from sorted(TMPFS.glob(f"{PREFIX}*"))
