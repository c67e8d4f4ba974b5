"""What must hold before the first change: the checks of `course plan` and `course up` on the hosts as they are."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from occamctl.actions.session import Session
from occamctl.errors import DoesNotFit, HostError
from occamctl.plan.seen import Observed
from occamctl.plan.wanted import Desired
from occamctl.spec.units import human_size

IMAGES_NEED = 8 << 30
"""Bytes of disk that the images take on a host, while they are delivered."""


def check(want: Desired, seen: Observed, session: Session) -> None:
    """Raises DoesNotFit or HostError; touches nothing."""
    _memory(session, seen)
    _disk(want, seen)
    _port(session, want, seen)
    _addresses(session, want, seen)
    _own_addresses(want, seen)


def _memory(session: Session, seen: Observed) -> None:
    """Nothing asks for more memory or CPUs than the largest host has."""
    facts = [there.facts for there in seen.hosts.values() if there.facts]
    if not facts:
        return
    memory, cores = max(one.memory for one in facts), max(one.cores for one in facts)
    course = session.course
    many = "{:g}".format
    limits: tuple[tuple[str, float, float, Callable[[Any], str]], ...] = (
        ("notebook.mem_limit", course.notebook.mem_limit, memory, human_size),
        ("spark.worker.memory", course.spark.worker.memory, memory, human_size),
        ("notebook.cpu_limit", course.notebook.cpu_limit, cores, many),  # the engine rejects a container with more
        ("spark.worker.cpus", course.spark.worker.cpus, cores, many),
    )
    for key, asked, most, words in limits:
        if asked > most:
            raise DoesNotFit(
                f"{key}: {words(asked)} is more than any host has ({words(most)})",
                where=str(session.path),
                fix=f"ask for at most {words(most)}",
            )


def _disk(want: Desired, seen: Observed) -> None:
    for host, there in seen.hosts.items():
        lacks = set(want.images[host]) - there.images
        if lacks and there.facts and there.facts.disk_free < IMAGES_NEED:
            raise DoesNotFit(
                f"{human_size(there.facts.disk_free)} of disk left, the images need {human_size(IMAGES_NEED)}",
                where=host,
                fix="make room in the engine's data folder",
            )


def _port(session: Session, want: Desired, seen: Observed) -> None:
    """Nobody else has the hub's port: a proxy that moves to one in use ends before it could start again."""
    port, manager = session.course.hub.port, seen.hosts.get(want.manager)
    proxy = seen.services.get(session.names.proxy)
    ours = proxy.ports if proxy else frozenset()
    if manager and manager.facts and port in manager.facts.listening - ours:
        raise HostError(
            f"port {port} is in use",
            where=want.manager,
            fix="choose another hub.port in the course file, or stop what listens there (ss -ltnp)",
        )


def _addresses(session: Session, want: Desired, seen: Observed) -> None:
    """The course's address pool must not hide a network that a host already reaches."""
    if want.network.name in seen.networks:
        return
    pool = ipaddress.ip_network(session.course.network.pool)
    for host, there in seen.hosts.items():
        for route in _networks(there.facts.routes if there.facts else ()):
            if route.prefixlen and route.overlaps(pool):
                raise HostError(
                    f"network.pool {pool} overlaps with its route to {route}",
                    where=host,
                    fix="choose another private range as network.pool in the course file",
                )


def _own_addresses(want: Desired, seen: Observed) -> None:
    """An engine listens for the others on `hosts[].address`, so the host must have it."""
    for host, address in want.addresses.items():
        there = seen.hosts.get(host)
        if there and there.facts and not there.in_swarm and address not in there.facts.addresses:
            raise HostError(
                f"{address} is no address of this host; it has {', '.join(there.facts.addresses)}",
                where=host,
                fix="mend address: in the course file, or leave it away",
            )


def _networks(routes: Iterable[str]) -> list[ipaddress.IPv4Network]:
    return [ipaddress.IPv4Network(route, strict=False) for route in routes]
