"""`occamctl logs`: what a piece of the course printed, on whichever host it ran."""

from __future__ import annotations

import re
from collections.abc import Iterator

from occamctl.actions.pieces import service_of
from occamctl.actions.session import Session
from occamctl.engine import swarm

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""The proxy colours its lines, wherever they go."""


def logs(session: Session, piece: str, tail: int | None) -> Iterator[str]:
    """Lines of the piece's log, the oldest first."""
    text = swarm.service_logs(session.manager, service_of(session, piece), tail=tail or "all")
    yield from _COLOURS.sub("", text).splitlines()
