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

from occamctl.errors import Busy, HostError
from occamctl.hosts.machine import Machine

# $1 the lock's file, $2 who we are. `held` is printed once we have it; then the command lives as long as its input.
# The file is opened without creating it: in /tmp a kernel may refuse that (fs.protected_regular) to all but its owner.
_HOLD = """[ -e "$1" ] || (umask 0; : >>"$1")
exec 9<"$1" || exit 2
flock -n 9 || { echo busy; cat "$1"; exit 1; }
write() { printf '%s' "$2" | dd of="$1" conv=nocreat 2>/dev/null; }
write "$1" "$2"
echo held
cat >/dev/null
write "$1" ""
"""


@contextmanager
def holding(machine: Machine, course: str) -> Iterator[None]:
    """Hold the lock of `course` on `machine`. Raises Busy, which says who holds it, and HostError."""
    who = f"{getpass.getuser()}@{socket.gethostname()} (process {os.getpid()}, since {datetime.now():%H:%M:%S})"
    path = f"/tmp/occam-{course}.lock"
    with machine.keep(["sh", "-c", _HOLD, "sh", path, who]) as kept:
        first = kept.readline().strip()
        if first == "busy":
            raise Busy(
                f"course {course} is being changed by {kept.readline().strip() or 'somebody else'}",
                where=machine.name,
                fix="wait until they are done; a lock whose holder has died frees itself",
            )
        if first != "held":
            raise HostError(
                f"cannot lock {path}", where=machine.name, fix="is it a file that you may read, and flock there?"
            )
        yield
