"""An IPython extension for notebooks with GPUs: what their owner is told of them stands below the last cell.

A GPU that nobody uses is announced and then taken back: nobody should have to look elsewhere to hear of it. The image
loads this in the kernels of a notebook that was given a GPU.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

from occam import gateway, show
from occam.errors import OccamError

EVERY = 20.0
"""Seconds between two questions; between an announcement and the end there are minutes."""


class Ear:
    """Hears each notice once, from the moment on in which it begins to listen."""

    def __init__(self, there: gateway.Gateway, shell: Any) -> None:
        self._there, self._shell = there, shell
        self._last: int | None = None

    def listen(self) -> None:
        """Ask once. What comes before a kernel's first cell waits for it: there is no place to show it."""
        notices = self._there.ask("GET", "gpu")["notices"]
        if self._last is None:
            self._last = max((one["number"] for one in notices), default=0)
        if self._shell.execution_count == 1:
            return
        for one in notices:
            if one["number"] > self._last:
                show.tell(one["text"])
                self._last = one["number"]


def load_ipython_extension(shell: Any) -> None:
    """Begin to listen, in a thread of its own."""
    with suppress(OccamError):  # no notebook of a course
        ear = Ear(gateway.here(), shell)
        threading.Thread(target=_for_ever, args=(ear,), name="occam-my-gpus", daemon=True).start()


def _for_ever(ear: Ear) -> None:
    while True:
        with suppress(OccamError):  # a gateway that starts anew is asked again
            ear.listen()
        time.sleep(EVERY)
