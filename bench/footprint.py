"""CPU time and memory of what runs in the containers of a sandbox's hosts, read from this machine's kernel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from occamctl import sandbox
from occamctl.engine.client import Engine

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
_CONTAINER = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Used:
    """cpu  seconds of CPU by control group, of every container there is; jvms  bytes (PSS) of all JVMs together."""

    cpu: Mapping[str, float]
    jvms: int

    def since(self, before: Used) -> float:
        """Seconds of CPU from then to now; what has been made since counts whole."""
        return sum(seconds - before.cpu.get(group, 0) for group, seconds in self.cpu.items())


def look(name: str) -> Used:
    """What the containers on the hosts of sandbox `name` have used. The engines of the hosts do not count."""
    hosts = _processes_of_hosts(name)
    of_hosts = {_group(host) for host in hosts}
    inside = [pid for pid in _below(hosts) if _group(pid) not in of_hosts]
    groups = {_group(pid) for pid in inside} - {""}
    return Used({one: _cpu(one) for one in groups}, sum(_pss(pid) for pid in inside if _is_java(pid)))


def _processes_of_hosts(name: str) -> list[int]:
    engine = Engine.local()
    rows = [row["host"] for row in sandbox.hosts.listed() if row["sandbox"] == name]
    return [int(engine.api.inspect_container(host)["State"]["Pid"]) for host in rows]


def _below(tops: Iterable[int]) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for folder in PROC.glob("[0-9]*"):
        with suppress(OSError):
            children.setdefault(int((folder / "stat").read_text().rpartition(")")[2].split()[1]), []).append(
                int(folder.name)
            )
    waiting = list(tops)
    while waiting:
        found = children.get(waiting.pop(), [])
        yield from found
        waiting += found


def _group(pid: int) -> str:
    """Path of the control group that counts the CPU time of the process's container; "" when it is in none (yet)."""
    with suppress(OSError):
        for line in (PROC / str(pid) / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not _CONTAINER.search(path):
                continue
            if "cpuacct" in controllers.split(","):
                return f"cpuacct{path}"
            if not controllers and not (CGROUPS / "cpuacct").exists():
                return path.lstrip("/")
    return ""


def _cpu(group: str) -> float:
    with suppress(OSError):
        if group.startswith("cpuacct"):
            return int((CGROUPS / group / "cpuacct.usage").read_text()) / 1e9
        for line in (CGROUPS / group / "cpu.stat").read_text().splitlines():
            if line.startswith("usage_usec"):
                return int(line.split()[1]) / 1e6
    return 0.0


def _is_java(pid: int) -> bool:
    with suppress(OSError):
        return (PROC / str(pid) / "comm").read_text().strip() == "java"
    return False


def _pss(pid: int) -> int:
    with suppress(OSError):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
