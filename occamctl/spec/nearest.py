"""The word that somebody probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that `word` is likely to stand for: `cpu` for `cpu_limit`, `memory` for `mem_limit`."""
    words = list(known)
    asked = word.lower()
    for one in words:
        if len(asked) >= 3 and (one.startswith(asked) or asked.startswith(one)):
            return one
    close = get_close_matches(asked, words, n=1, cutoff=0.7)
    if close:
        return close[0]
    for one in words:
        if any(
            len(part) >= 3 and (asked.startswith(part) or part.startswith(asked))
            for part in one.split("_")
            if len(asked) >= 3
        ):
            return one
    return next(iter(get_close_matches(asked, words, n=1, cutoff=0.55)), None)
