"""One thread of the kernel that looks after its clusters: it shows jobs while a cell runs, and tells what happened."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from occam import cells, dynamic, held, jobs, kernel, show, starting
from occam.held import Held

BEAT = 0.5
IDLE_BEAT = 1.0
"""Seconds between two looks at Spark: while a job runs, and while none does."""
NEWS, IDLE_NEWS = 4.0, 15.0
"""Seconds between two questions for notices and bounds: while a cell runs, and while none does."""


class Lookout(threading.Thread):
    """`cell` is set while a cell runs; outside of IPython always."""

    def __init__(self, shell: Any) -> None:
        super().__init__(name="occam-lookout", daemon=True)
        self.cell, self.progress = threading.Event(), True
        self._line, self._untold = jobs.Line(), list[str]()
        self._trackers: dict[int, Any] = {}
        self._jobs_run, self._looked, self._asked = False, 0.0, time.monotonic()
        self.cell.set()
        if shell is not None:
            cells.watch(shell, self._cell_begins, self._cell_ends)

    def run(self) -> None:
        while True:
            time.sleep(BEAT)
            try:
                self._beat(time.monotonic())
            except Exception:  # noqa: BLE001  a cluster may end at any moment, and a cell must never hear of this thread
                self._jobs_run = False

    def _beat(self, now: float) -> None:
        there = held.known()
        if not there:
            return
        running = self.cell.is_set()
        if running and self.progress and self._seen() and (self._jobs_run or now - self._looked >= IDLE_BEAT):
            self._looked = now
            self._look(there)
        if now - self._asked >= (NEWS if running else IDLE_NEWS):
            self._asked = now
            for one in there:
                self._hear(one)

    def _seen(self) -> bool:
        return kernel.in_notebook() or sys.stderr.isatty()

    def _look(self, there: list[Held]) -> None:
        seen = [stages for one in there if (stages := jobs.active(self._tracker(one))) is not None]
        self._jobs_run = bool(seen)
        if seen:
            self._line.show([stage for stages in seen for stage in stages])
        else:
            self._line.clear()

    def _tracker(self, one: Held) -> Any:
        if id(one) not in self._trackers:
            self._trackers[id(one)] = one.session.sparkContext.statusTracker()
        return self._trackers[id(one)]

    def _hear(self, one: Held) -> None:
        cluster = one.session.cluster
        if cluster.adaptive != one.wish.adaptive:
            dynamic.follow(one)
        new = [notice for notice in cluster.notices if notice.number > one.told]
        if not new:
            return
        one.told = new[-1].number
        starting.remember_again(one)
        self._untold += [f"Cluster {one.wish.name}: {notice.text}" for notice in new]
        if self.cell.is_set():
            self._tell()

    def _tell(self) -> None:
        untold, self._untold = self._untold, []
        for text in untold:
            show.tell(text)

    def _cell_begins(self) -> None:
        self._line.next_cell()
        self._tell()
        self.cell.set()

    def _cell_ends(self) -> None:
        self.cell.clear()
        self._line.clear()
        self._jobs_run = False


_lookouts: list[Lookout] = []
"""At most one."""


def begin() -> Lookout:
    """The kernel's lookout, which begins with its first cluster."""
    if not _lookouts:
        _lookouts.append(Lookout(kernel.shell()))
        _lookouts[0].start()
    return _lookouts[0]


def show_progress(on: bool = True) -> None:
    """Whether running jobs are shown below a cell; `occam.progress(False)` turns it off in this notebook."""
    begin().progress = on
