"""Which node each Spark worker goes to. Pure: free room in, node ids out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from occamctl.errors import DoesNotFit
from occamctl.spec.units import human_size


@dataclass(frozen=True)
class Room:
    """What is left on one node.

    cpus    CPUs that nobody has reserved
    memory  bytes that nobody has reserved
    held    workers of the same cluster that are there already
    lost    workers of the same cluster that were lost there a short time ago
    """

    node: str
    hostname: str
    cpus: float
    memory: int
    held: int = 0
    lost: int = 0

    def takes(self, cpus: float, memory: int) -> int:
        """How many workers of this size go in; 0 CPUs means that it needs memory only."""
        # Reservations are sums of floats: 0.1 + 0.2 of a CPU must not cost anybody a worker.
        by_cpus = int((self.cpus + 1e-6) // cpus) if cpus else self.memory // memory
        return max(0, min(by_cpus, self.memory // memory))


def capacity(rooms: Iterable[Room], cpus: float, memory: int) -> int:
    """How many workers of `cpus` CPUs and `memory` bytes all nodes together take."""
    return sum(room.takes(cpus, memory) for room in rooms)


def place(workers: int, cpus: float, memory: int, rooms: Iterable[Room]) -> list[str]:
    """A node id for each of `workers`, spread over hosts: always the node with the fewest workers of the cluster.

    Where one was lost the next one goes last: what killed it may be the host's own trouble.

    cpus, memory  what one worker reserves: CPUs and bytes of its container
    rooms         usable nodes with what is free on them now, not what they have in total

    Among equals the one with most free memory, then most free CPUs, then the first by name. Raises DoesNotFit when
    some worker has no node; it says how many would fit and what is free where.
    """
    left = {room.node: room for room in rooms}
    fit = capacity(left.values(), cpus, memory)
    if fit < workers:
        raise DoesNotFit(_too_much(workers, cpus, memory, fit, list(left.values())), fix=_instead(fit))
    chosen = []
    for _ in range(workers):
        best = min(
            (room for room in left.values() if room.takes(cpus, memory)),
            key=lambda room: (room.lost, room.held, -room.memory, -room.cpus, room.hostname),
        )
        left[best.node] = replace(best, cpus=best.cpus - cpus, memory=best.memory - memory, held=best.held + 1)
        chosen.append(best.node)
    return chosen


def _too_much(workers: int, cpus: float, memory: int, fit: int, rooms: list[Room]) -> str:
    asked = f"{workers} worker{'s' if workers != 1 else ''} of {cpus:g} CPU and {human_size(memory)}"
    free = "; ".join(
        f"{room.hostname} has {max(room.cpus, 0):g} CPU and {human_size(max(room.memory, 0))} free"
        for room in sorted(rooms, key=lambda room: room.hostname)
    )
    return f"{asked} do not fit on the hosts now, {fit} would ({free or 'no host is ready'})"


def _instead(fit: int) -> str:
    return (
        f"ask for {fit}, or wait until others are done"
        if fit
        else "wait until others are done, or ask for smaller workers"
    )
