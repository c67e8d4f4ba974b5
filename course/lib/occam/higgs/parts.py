"""In how many parts a table is made or read, so that every worker has its share."""

from __future__ import annotations

from typing import Any

from occam.higgs.events import BLOCK

ROWS = 8 * BLOCK
"""Of one task at most: some 15 MB."""


def count(session: Any, things: int, of_one: int) -> int:
    """Two parts for each task that runs at a time, and more where one would hold more than `of_one` of the things."""
    return max(-(-things // of_one), min(things, 2 * _slots(session)))


def _slots(session: Any) -> int:
    """Tasks that run at a time."""
    return int(session.conf.get("spark.default.parallelism", None) or _parallelism(session))


def _parallelism(session: Any) -> int:
    # A session on the course's cluster has no context to ask.
    context = getattr(session, "sparkContext", None)
    return 8 if context is None else int(context.defaultParallelism)
