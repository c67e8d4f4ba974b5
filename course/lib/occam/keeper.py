"""A small process between a kernel and its Spark driver's JVM: it lets the JVM outlive the kernel for a while.

    keeper.py FOLDER FD WORD…     FD: the kernel's connection; WORD…: the JVM's command

It starts the JVM, holds its standard input, and watches the kernel. A kernel that says `stop` ends the JVM, which gives
the cluster back. One that dies without a word, or is restarted, has its grace: who comes to the door meanwhile with
the same kernel id is given the running driver. Nobody came: the JVM's input is closed as well. What opens the driver,
its port and its secret, is kept in this process's memory; the door is a socket in FOLDER, which is the user's alone.

Messages are lines of JSON. Kernel: {"do": "ready", "kernel", "grace", "state"}, {"do": "stop"}, {"do": "kill"};
at the door {"do": "take", "kernel", "name", "pid"}. Keeper: {"jvm": pid, "state"}, {"ended": code}.

Only the standard library, and little of it: it lives as long as the cluster does.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

DOOR = "door"
LOOK = 0.5
"""Seconds between two looks at kernel and JVM."""
STOP = 20.0
"""Seconds that the JVM has to give the cluster back and end."""
KNOCK = 2.0
"""Seconds that somebody at the door has to say what they want."""


def born(pid: int) -> str:
    """When process `pid` started, in the kernel's ticks; "" when it does not run (a zombie does not)."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            words = stat.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if words[0] in "ZX" else words[19]


def say(to: socket.socket | None, **words: Any) -> None:
    """Send one message; whoever is gone does not hear it."""
    if to is not None:
        with suppress(OSError):
            to.sendall(json.dumps(words).encode() + b"\n")


class Lines:
    """Messages that come from one connection."""

    def __init__(self, source: socket.socket) -> None:
        self.source, self.rest = source, b""

    def read(self) -> list[dict[str, Any]] | None:
        """What has come; None when the other end is gone."""
        try:
            new = self.source.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not new:
            return None
        *lines, self.rest = (self.rest + new).split(b"\n")
        return [json.loads(line) for line in lines if line]


class Keeper:
    """One JVM and, at a time, one kernel."""

    def __init__(self, jvm: subprocess.Popen[bytes], kernel: socket.socket, pid: int, door: socket.socket) -> None:
        self.jvm, self.door = jvm, door
        self.ready: dict[str, Any] = {}
        self.deadline: float | None = None
        """When the grace is over; None while there is a kernel."""
        self.told_to_stop = self.told_to_kill = False
        self._serve(kernel, pid)
        say(kernel, jvm=jvm.pid)

    def run(self) -> None:
        """Returns when the JVM shall end, or has ended."""
        while self.jvm.poll() is None and not (self.told_to_stop or self.told_to_kill):
            sources = [self.door, *([self.kernel] if self.kernel else [])]
            try:
                heard = select.select(sources, [], [], LOOK)[0]
            except InterruptedError:
                continue
            if self.kernel in heard:
                self._listen()
            if self.door in heard:
                self._open()
            if self.kernel is not None and born(self.pid) != self.born:
                self._lose()
            if self.deadline is not None and time.monotonic() > self.deadline:
                self.told_to_stop = True

    def end(self) -> int:
        """The JVM's exit code. It is told to end by the end of its input, and has time to do so."""
        if self.told_to_kill:
            self.jvm.kill()
        if self.jvm.stdin:
            self.jvm.stdin.close()
        try:
            return self.jvm.wait(STOP)
        except subprocess.TimeoutExpired:
            self.jvm.kill()
            return self.jvm.wait()

    def _serve(self, kernel: socket.socket, pid: int) -> None:
        self.kernel: socket.socket | None = kernel
        self.lines = Lines(kernel)
        self.pid, self.born, self.deadline = pid, born(pid), None

    def _listen(self) -> None:
        said = self.lines.read()
        for one in said or []:
            if one["do"] == "ready":
                self.ready = one
            self.told_to_stop |= one["do"] == "stop"
            self.told_to_kill |= one["do"] == "kill"
        if said is None:
            self._lose()

    def _lose(self) -> None:
        """The kernel is gone. One that cannot come back, or whose cluster was not up yet, has no grace."""
        if self.kernel is not None:
            self.kernel.close()
        self.kernel = None
        grace = float(self.ready.get("grace", 0)) if self.ready.get("kernel") else 0
        self.deadline = time.monotonic() + grace

    def _open(self) -> None:
        guest, _ = self.door.accept()
        guest.settimeout(KNOCK)
        wants = (Lines(guest).read() or [{}])[0]
        mine = wants.get("kernel") and all(wants.get(key) == self.ready.get(key) for key in ("kernel", "name"))
        if not mine:
            say(guest)
            guest.close()
            return
        if self.kernel is not None:  # the same kernel id: what was there before is on its way out
            self.kernel.close()
        self._serve(guest, int(wants["pid"]))
        say(guest, jvm=self.jvm.pid, state=self.ready["state"])


def main(folder: str, connection: int, command: list[str]) -> None:
    kernel = socket.socket(fileno=connection)
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    jvm = subprocess.Popen(command, stdin=subprocess.PIPE)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(f"{folder}/{DOOR}")
        door.listen()
        keeper = Keeper(jvm, kernel, parent, door)

        def told(_signal: int, _frame: object) -> None:
            keeper.told_to_stop = True

        signal.signal(signal.SIGTERM, told)
        keeper.run()
    code = keeper.end()
    shutil.rmtree(folder, ignore_errors=True)
    say(keeper.kernel, ended=code)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
