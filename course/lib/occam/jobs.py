"""What Spark's jobs are doing while a cell runs: one line for each active stage, which goes when they are done."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from occam import kernel

SHOW_AFTER = 0.5
"""Seconds; jobs that are shorter are not worth a line."""
_WIDTH = 20


@dataclass(frozen=True)
class Stage:
    """One active stage; the numbers are tasks."""

    name: str
    done: int
    active: int
    failed: int
    total: int

    @property
    def words(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done} of {self.total} tasks, {self.active} running{failed}"


def active(tracker: Any) -> list[Stage] | None:
    """The active stages that Spark's status `tracker` knows; None when no job runs."""
    if not tracker.getActiveJobsIds():
        return None
    stages = [tracker.getStageInfo(number) for number in tracker.getActiveStageIds()]
    return [
        Stage(short(one.name), one.numCompletedTasks, one.numActiveTasks, one.numFailedTasks, one.numTasks)
        for one in stages
        if one is not None
    ]


def short(name: str) -> str:
    """Spark's name of a stage, without what only its makers can read."""
    what, _, where = name.partition(" at ")
    if what.startswith("$") or where.startswith(("CompletableFuture", "ThreadPoolExecutor")):
        return "query"
    if "NativeMethodAccessorImpl" in where or not where:
        return what
    cell = re.search(r"ipykernel|<ipython", where)
    line = where.rpartition(":")[2]
    return f"{what}, line {line}" if cell and line.isdecimal() else f"{what} at {where.rpartition('/')[2]}"


def as_text(stages: Sequence[Stage]) -> str:
    return "  ".join(f"{one.name} {_bar(one)} {one.words}" for one in stages)


def as_html(stages: Sequence[Stage]) -> str:
    bar = '<progress value="{}" max="{}" style="vertical-align:middle;width:12em"></progress>'
    lines = (f"{bar.format(one.done, max(one.total, 1))} {escape(one.name)}: {escape(one.words)}" for one in stages)
    return "".join(f"<div>{line}</div>" for line in lines)


def _bar(one: Stage) -> str:
    done = _WIDTH * one.done // max(one.total, 1)
    return "[" + "=" * done + " " * (_WIDTH - done) + "]"


class Line:
    """Where they are shown: a display of the running cell, or a terminal's last line; else nowhere."""

    def __init__(self) -> None:
        self._since = 0.0
        self._display: Any = None
        self._shown = ""

    def show(self, stages: Sequence[Stage]) -> None:
        """Draw what changed; called at most twice a second."""
        now = time.monotonic()
        self._since = self._since or now
        text = as_text(stages)
        if now - self._since < SHOW_AFTER or text == self._shown or not stages:
            return
        self._shown = text
        if kernel.in_notebook():
            self._update(as_html(stages), text)
        elif sys.stderr.isatty():
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{text[:width]}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """No job runs any more."""
        if self._shown and self._display is not None:
            self._update("", "")
        elif self._shown and sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        self._since, self._shown = 0.0, ""

    def next_cell(self) -> None:
        """Each cell has a display of its own."""
        self.clear()
        self._display = None

    def _update(self, html: str, text: str) -> None:
        from IPython.display import display

        both = {"text/html": html, "text/plain": text}
        if self._display is None:
            self._display = display(both, raw=True, display_id=True)
        else:
            self._display.update(both, raw=True)
