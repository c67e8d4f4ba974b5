"""Waiting with a deadline, and doing things side by side: the only place of the project that sleeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from occamctl.errors import TookTooLong

Seen = TypeVar("Seen")


def until(
    look: Callable[[], Seen],
    good: Callable[[Seen], bool],
    what: str,
    *,
    seconds: float,
    every: float = 0.2,
    describe: Callable[[Seen], str] = repr,
    fix: str = "",
) -> Seen:
    """Call `look` until `good` accepts what it returned, and return that.

    what      what is waited for, for the message
    seconds   the deadline; `every` is the pause between two looks, in seconds (it doubles up to 2 s)
    describe  how what was last seen reads in the message

    Raises TookTooLong with what was last seen.
    """
    deadline = time.monotonic() + seconds
    pause = every
    while True:
        seen = look()
        if good(seen):
            return seen
        left = deadline - time.monotonic()
        if left <= 0:
            raise TookTooLong(f"{what}: still {describe(seen)} after {seconds:g} s", fix=fix)
        time.sleep(min(pause, left))
        pause = min(pause * 1.3, 2.0)


def nap(seconds: float, stop: threading.Event | None = None) -> bool:
    """Sleep, or return True at once when `stop` is set: for loops that run until they are told to end."""
    if stop is None:
        time.sleep(seconds)
        return False
    return stop.wait(seconds)


class Together(ThreadPoolExecutor):
    """Threads for things that are done side by side; Ctrl-C does not wait for them (the process ends with 130)."""

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self.shutdown(wait=False, cancel_futures=True)
            return None
        return super().__exit__(kind, value, trace)
