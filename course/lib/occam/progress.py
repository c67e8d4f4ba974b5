"""What a student sees while a cluster starts: one line that changes, in a notebook or as text."""

from __future__ import annotations

import sys
import time
from html import escape
from typing import Any

from occam import show
from occam.cluster import Cluster


class Progress:
    """The line. `update` is called as often as one likes; it draws only what changed, at most twice a second."""

    def __init__(self, name: str, workers: int) -> None:
        self._name, self._workers, self._since = name, workers, time.monotonic()
        self._handle = _notebook_display()
        self._shown, self._drawn = "", 0.0
        self.driver_ready = False

    def update(self, cluster: Cluster | None, registered: int = 0, *, now: bool = False) -> None:
        seconds = time.monotonic() - self._since
        if not now and seconds - self._drawn < 0.5:
            return
        self._drawn = seconds
        words = self._words(cluster, registered)
        if self._handle is not None:
            self._handle.update(_html(_bar(registered, self._workers, self._name, f"{words} · {seconds:.0f} s")))
        elif words != self._shown:
            print(f"{self._name}: {words}", file=sys.stderr, flush=True)
        self._shown = words

    def done(self, text: str, html: str) -> None:
        """Replace the line with what there is now."""
        if self._handle is not None:
            self._handle.update(_html(html))
        else:
            print(text, file=sys.stderr, flush=True)

    def failed(self) -> None:
        """Take the line away: the error says all."""
        if self._handle is not None:
            self._handle.update(_html(""))

    def _words(self, cluster: Cluster | None, registered: int) -> str:
        if cluster is None:
            return f"asking for {show.plural(self._workers, 'worker')}"
        driver = "driver ready" if self.driver_ready else "driver starting"
        waiting = sorted({one.message for one in cluster.executors if one.state != "running" and one.message})
        return " · ".join([driver, f"{registered} of {show.plural(cluster.workers, 'worker')}", *waiting[:1]])


def _bar(done: int, whole: int, name: str, words: str) -> str:
    bar = f'<progress value="{done}" max="{max(whole, 1)}" style="vertical-align:middle;width:12em"></progress>'
    return f"<div>Spark cluster <b>{escape(name)}</b> {bar} {escape(words)}</div>"


def _html(text: str) -> Any:
    from IPython.display import HTML

    return HTML(text)


def _notebook_display() -> Any:
    """A display of the notebook that can be changed later; None in a plain Python or a terminal."""
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return None
    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    return display(_html(""), display_id=True)
