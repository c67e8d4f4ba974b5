"""Tickets with which people of the course come into the course's own Spark: each opens one connection, once."""

from __future__ import annotations

import secrets
import threading

VALID = 60
"""Seconds that a ticket may be used."""


class Door:
    """Tickets are in memory: one that a restart forgot is refused, and the library gets another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tickets: dict[str, tuple[str, str, float]] = {}

    def ticket(self, user: str, app_id: str, now: float) -> str:
        """A ticket for `user` to the application with this id."""
        made = secrets.token_urlsafe(24)
        with self._lock:
            self._tickets = {one: told for one, told in self._tickets.items() if told[2] > now}
            self._tickets[made] = (user, app_id, now + VALID)
        return made

    def admit(self, ticket: str, app_id: str, now: float) -> str:
        """Whose ticket it is; "" when it opens nothing. It is used up."""
        with self._lock:
            user, to, until = self._tickets.pop(ticket, ("", "", 0.0))
        return user if to == app_id and now < until else ""
