"""Hashes of passwords: argon2id with the memory that fits a small container (OWASP's 19 MiB, a third pass added)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argon2 import PasswordHasher

MEMORY_KIB = 19 * 1024
PASSES = 3
LONGEST = 1024
"""Characters of a password that are looked at; a longer one is refused unread."""


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher  # only the hub's image has it

    return PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=1)


@cache
def _nobody() -> str:
    return _hasher().hash("the hash that is checked when there is no such person")


def hashed(password: str) -> str:
    """`password` as an argon2id hash with its own salt."""
    return _hasher().hash(password)


def matches(password: str, kept: str | None) -> bool:
    """Whether `password` is the one that `kept` was made of.

    None (nobody has that name) takes as long as a wrong password, so that time does not tell who has an account.
    """
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        right = _hasher().verify(kept or _nobody(), password[:LONGEST])
    except (VerificationError, InvalidHashError):
        return False
    return right and kept is not None and len(password) <= LONGEST
