"""What can be done with a host, and this machine with the same face as a host over SSH."""

from __future__ import annotations

import base64
import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Protocol

from occamctl.errors import HostError, TookTooLong

LOCAL = "localhost"
SECONDS = 60


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    stdout: str
    stderr: str


class Machine(Protocol):
    """A host, wherever it is."""

    @property
    def name(self) -> str: ...

    @property
    def is_local(self) -> bool: ...

    def run(
        self,
        command: Sequence[str],
        *,
        sudo: bool = False,
        stdin: str = "",
        seconds: float = SECONDS,
        check: bool = True,
    ) -> Ran:
        """Run a command. Raises HostError when it fails (with `check`), TookTooLong when it does not end."""

    def put(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Write a file as root, all or nothing."""

    def keep(self, command: Sequence[str]) -> Any:
        """A command that runs as long as the `with` block; gives its standard output."""

    def docker_channel(self) -> Any:
        """A new channel to the engine's API."""

    def close(self) -> None: ...


def write_as_root(machine: Machine, path: str, content: bytes, mode: int) -> None:
    """Write a file by way of a draft beside it; its folder is made when it is not there."""
    script = 'umask 077 && mkdir -p "$(dirname "$1")" && base64 -d >"$2" && chmod "$3" "$2" && mv "$2" "$1"'
    text = base64.b64encode(content).decode()
    machine.run(["sh", "-c", script, "sh", path, f"{path}.occam-new", f"{mode:o}"], sudo=True, stdin=text)


def checked(ran: Ran, command: Sequence[str], host: str, *, check: bool) -> Ran:
    """`ran`; raises HostError with its last words when it failed and that matters."""
    if check and ran.code:
        last = (ran.stderr.strip() or ran.stdout.strip()).splitlines()[-3:]
        raise HostError(f"{shlex.join(command)[:80]} failed ({ran.code}): {' | '.join(last)}", where=host)
    return ran


class LocalMachine:
    """This machine, for a course without hosts."""

    name, is_local = LOCAL, True

    def run(
        self,
        command: Sequence[str],
        *,
        sudo: bool = False,
        stdin: str = "",
        seconds: float = SECONDS,
        check: bool = True,
    ) -> Ran:
        whole = ["sudo", "-n", "--", *command] if sudo and os.geteuid() else list(command)
        try:
            done = subprocess.run(whole, input=stdin, capture_output=True, text=True, timeout=seconds, check=False)
        except FileNotFoundError:
            return checked(Ran(127, "", f"{whole[0]}: not found"), command, self.name, check=check)
        except subprocess.TimeoutExpired:
            raise TookTooLong(f"{shlex.join(command)[:80]}: no end after {seconds:g} s", where=self.name) from None
        return checked(Ran(done.returncode, done.stdout, done.stderr), command, self.name, check=check)

    def put(self, path: str, content: bytes, mode: int = 0o644) -> None:
        write_as_root(self, path, content, mode)

    @contextmanager
    def keep(self, command: Sequence[str]) -> Iterator[IO[str]]:
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nothing, text=True) as running:
            assert running.stdin is not None
            assert running.stdout is not None
            try:
                yield running.stdout
            finally:
                running.stdin.close()

    def docker_channel(self) -> Any:
        raise NotImplementedError("this machine's engine is reached by its socket: Engine.local()")

    def close(self) -> None: ...
