"""One writer at a time: a lock that frees itself when its holder dies.

The manager's own `flock` holds it, for as long as our connection keeps that command's standard input open; no clock is
compared, and no file must be cleaned up by hand. Who holds it is written inside, for the one who must wait.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from occamctl.errors import Busy
from occamctl.hosts.connection import Machine

# $1 the lock's file, $2 who we are. `held` is printed once we have it; then the command lives as long as its input.
_HOLD = """exec 9<>"$1"
flock -n 9 || { echo busy; cat "$1"; exit 1; }
echo "$2" >"$1"
echo held
cat >/dev/null
: >"$1"
"""


@contextmanager
def holding(machine: Machine, course: str) -> Iterator[None]:
    """Hold the lock of `course` on `machine`. Raises Busy, which says who holds it."""
    who = f"{getpass.getuser()}@{socket.gethostname()} (process {os.getpid()}, since {datetime.now():%H:%M:%S})"
    path = f"/tmp/occam-{course}.lock"
    with machine.keep(["sh", "-c", _HOLD, "sh", path, who]) as kept:
        first = kept.readline().strip()
        if first != "held":
            holder = kept.readline().strip() if first == "busy" else first
            raise Busy(
                f"course {course} is being changed by {holder or 'somebody else'}",
                where=machine.name,
                fix="wait until they are done; a lock whose holder has died frees itself",
            )
        yield
