"""Who waits for room, in order. In memory: who waits asks again every few seconds, and so is back after a restart."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from dataclasses import dataclass

SILENT = 15
"""Seconds without a word after which somebody has stopped to wait."""


@dataclass
class Ticket:
    """One request that waits.

    for_room  for room on the hosts: who waits for the own quota, or that of a group, blocks nobody else
    gpu       for workers with GPUs: those without do not wait behind it
    """

    id: str
    owner: str
    name: str
    for_room: bool
    heard: float
    gpu: bool = False


class Queue:
    """First come, first served, one request of each person at a time: a second one goes behind the others' first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tickets: dict[str, Ticket] = {}

    def join(self, owner: str, name: str, ticket: str, now: float, *, for_room: bool, gpu: bool = False) -> Ticket:
        """The request's place: the one that `ticket` has, or a new one at the end."""
        with self._lock:
            self._forget_silent(now)
            there = self._tickets.get(ticket)
            if there is None or there.owner != owner:
                mine = [one for one in self._tickets.values() if (one.owner, one.name) == (owner, name)]
                there = mine[0] if mine else Ticket(secrets.token_hex(8), owner, name, for_room, now)
                self._tickets[there.id] = there
            there.heard, there.for_room, there.gpu = now, for_room, gpu
            return there

    def leave(self, owner: str, ticket: str) -> None:
        """The request was granted, or given up. Calling it twice is fine."""
        with self._lock:
            if (there := self._tickets.get(ticket)) and there.owner == owner:
                del self._tickets[ticket]

    def ahead(self, ticket: str, now: float, *, gpu: bool = False) -> list[Ticket]:
        """Those who wait for the same room and come before this one; all of them for one that is not in the queue.

        gpu  whether it is for workers with GPUs
        """
        with self._lock:
            self._forget_silent(now)
            order = self._order()
            places = [one.id for one in order]
            before = order[: places.index(ticket)] if ticket in places else order
            return [one for one in before if one.for_room and (gpu or not one.gpu)]

    def __len__(self) -> int:
        with self._lock:
            return len(self._tickets)

    def _order(self) -> list[Ticket]:
        turn: Counter[str] = Counter()
        numbered = []
        for ticket in self._tickets.values():  # in the order in which they came
            numbered.append((turn[ticket.owner], ticket))
            turn[ticket.owner] += 1
        return [ticket for _, ticket in sorted(numbered, key=lambda one: one[0])]

    def _forget_silent(self, now: float) -> None:
        for one in [one for one in self._tickets.values() if now - one.heard > SILENT]:
            del self._tickets[one.id]
