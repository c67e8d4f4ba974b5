"""Slow down guessing: a name with many wrong passwords has to wait.

It counts by name and not by address, since a whole class may come from one address. The wait is short, so that
nobody can keep somebody else out for long.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class _Tries:
    wrong: int
    last: float


class Throttle:
    """Wrong passwords of each name.

    free     wrong tries without a wait
    longest  seconds of the longest wait; it doubles from one second on
    forget   seconds after which old tries do not count any more
    most     names that are remembered; the oldest are forgotten first
    """

    def __init__(
        self,
        *,
        free: int = 5,
        longest: float = 60,
        forget: float = 900,
        most: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.free, self.longest, self.forget, self.most, self._clock = free, longest, forget, most, clock
        self._tries: OrderedDict[str, _Tries] = OrderedDict()

    def wait(self, name: str) -> float:
        """Seconds until this name may be tried again; 0 means now."""
        tries = self._tries.get(name.casefold())
        if tries is None:
            return 0
        over = tries.wrong - self.free
        since = self._clock() - tries.last
        if since > self.forget:
            del self._tries[name.casefold()]
            return 0
        return max(0.0, min(2.0 ** min(over, 30), self.longest) - since) if over >= 0 else 0

    def wrong(self, name: str) -> None:
        key = name.casefold()
        tries = self._tries.pop(key, None) or _Tries(0, 0)
        self._tries[key] = _Tries(tries.wrong + 1, self._clock())
        while len(self._tries) > self.most:
            self._tries.popitem(last=False)

    def right(self, name: str) -> None:
        self._tries.pop(name.casefold(), None)
