"""Which node each Spark worker goes to, and which GPUs it gets there. Pure: free room in, node ids out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from occamctl.errors import DoesNotFit
from occamctl.plan.gpus import GpuWish, pick, suits, unlike
from occamctl.plan.observed import Gpu
from occamctl.spec.units import human_size


@dataclass(frozen=True)
class Room:
    """What is left on one node.

    cpus    CPUs that nobody has reserved
    memory  bytes that nobody has reserved
    held    workers of the same cluster that are there already
    lost    workers of the same cluster that were lost there a short time ago
    gpus    GPUs that may be given out and that nobody holds
    lent    GPUs that may be given out, whether or not somebody holds them
    """

    node: str
    hostname: str
    cpus: float
    memory: int
    held: int = 0
    lost: int = 0
    gpus: tuple[Gpu, ...] = ()
    lent: tuple[Gpu, ...] = ()

    def takes(self, cpus: float, memory: int, gpu: GpuWish | None = None) -> int:
        """How many workers of this size go in; 0 CPUs means that it needs memory only."""
        # Reservations are sums of floats: 0.1 + 0.2 of a CPU must not cost anybody a worker.
        by_cpus = int((self.cpus + 1e-6) // cpus) if cpus else self.memory // memory
        most = max(0, min(by_cpus, self.memory // memory))
        return min(most, sum(suits(one, gpu) for one in self.gpus) // gpu.count) if gpu else most


@dataclass(frozen=True)
class Seat:
    """Where one worker goes: a node's id, and its GPUs there."""

    node: str
    gpus: tuple[Gpu, ...] = ()


def capacity(rooms: Iterable[Room], cpus: float, memory: int, gpu: GpuWish | None = None) -> int:
    """How many workers of `cpus` CPUs, `memory` bytes and these GPUs all nodes together take."""
    return sum(room.takes(cpus, memory, gpu) for room in rooms)


def place(workers: int, cpus: float, memory: int, rooms: Iterable[Room], gpu: GpuWish | None = None) -> list[Seat]:
    """A seat for each of `workers`, spread over hosts: always the node with the fewest workers of the cluster.

    Where one was lost the next one goes last: what killed it may be the host's own trouble. Who needs no GPU is kept
    from hosts with free ones while others have room.

    cpus, memory  what one worker reserves: CPUs and bytes of its container
    rooms         usable nodes with what is free on them now, not what they have in total
    gpu           the GPUs of one worker

    Among equals the one with most free memory, then most free CPUs, then the first by name. Raises DoesNotFit when
    some worker has no node; it says how many would fit and what is free where.
    """
    left = {room.node: room for room in rooms}
    fit = capacity(left.values(), cpus, memory, gpu)
    if fit < workers:
        raise DoesNotFit(too_much(workers, cpus, memory, gpu, fit, left.values()), fix=instead(fit))
    chosen = []
    for _ in range(workers):
        best = min(
            (room for room in left.values() if room.takes(cpus, memory, gpu)),
            key=lambda room: (
                room.lost,
                room.held,
                unlike(pick(room.gpus, gpu)) if gpu else bool(room.gpus),
                -room.memory,
                -room.cpus,
                room.hostname,
            ),
        )
        seat = Seat(best.node, pick(best.gpus, gpu) if gpu else ())
        left[best.node] = less(best, seat, cpus, memory)
        chosen.append(seat)
    return chosen


def less(room: Room, seat: Seat, cpus: float, memory: int) -> Room:
    """The room that is left on a node once a worker has its seat there."""
    return replace(
        room,
        cpus=room.cpus - cpus,
        memory=room.memory - memory,
        held=room.held + 1,
        gpus=tuple(one for one in room.gpus if one not in seat.gpus),
    )


def too_much(
    workers: int, cpus: float, memory: int, gpu: GpuWish | None, fit: int, rooms: Iterable[Room], *, more: bool = False
) -> str:
    """What was asked for, how many would fit, and what is free where. `more`: beside workers that are there."""
    each = f"{cpus:g} CPU{f', {human_size(memory)} and {gpu}' if gpu else f' and {human_size(memory)}'}"
    asked = f"{workers}{' more' if more else ''} worker{'s' if workers != 1 else ''} of {each}"
    free = "; ".join(_free(room, gpu) for room in sorted(rooms, key=lambda room: room.hostname))
    return f"{asked} do not fit on the hosts now, {fit} would ({free or 'no host is ready'})"


def _free(room: Room, gpu: GpuWish | None) -> str:
    gpus = f", {sum(suits(one, gpu) for one in room.gpus)} such GPUs" if gpu else ""
    return f"{room.hostname} has {max(room.cpus, 0):g} CPU and {human_size(max(room.memory, 0))}{gpus} free"


def instead(fit: int) -> str:
    """What to do when only so many fit."""
    return (
        f"ask for {fit}, or wait until others are done"
        if fit
        else "wait until others are done, or ask for smaller workers"
    )
