"""What a student sees while a cluster starts: one line that changes, in a notebook or as text."""

from __future__ import annotations

import sys
import time
from html import escape
from typing import Any

from occam import kernel, show
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
        self._draw(self._words(cluster, registered), registered)

    def _draw(self, words: str, registered: int) -> None:
        seconds = time.monotonic() - self._since
        if self._handle is not None:
            bar = _bar(registered, self._workers, self._name, f"{words} · {seconds:.0f} s")
            self._handle.update(_both(bar, f"{self._name}: {words}"), raw=True)
        elif words != self._shown:
            print(f"{self._name}: {words}", file=sys.stderr, flush=True)
        self._shown = words

    def queued(self, place: dict[str, Any]) -> None:
        """The place in the gateway's queue: {"position", "of", "message"}."""
        words = f"place {place.get('position', '?')} of {place.get('of', '?')} in the queue"
        if place.get("message"):
            words += f" · {place['message']}"
        self._draw(words, 0)

    def done(self, cluster: Cluster, registered: int, link: str, *, again: bool = False) -> None:
        """Replace the line with what came of it: the whole of it is what the session itself shows."""
        hosts = f" on {', '.join(cluster.hosts)}" if cluster.hosts else ""
        after = "as before the restart" if again else f"after {time.monotonic() - self._since:.0f} s"
        words = f"{show.plural(registered, 'worker')}{hosts}, {after}"
        if self._handle is not None:
            there = f'<a href="{escape(link)}" target="_blank">Spark UI</a>'
            html = f"<div>Spark cluster <b>{escape(self._name)}</b>: {escape(words)} · {there}</div>"
            self._handle.update(_both(html, f"{self._name}: {words}"), raw=True)
        else:
            print(f"{self._name}: {words}", file=sys.stderr, flush=True)

    def failed(self) -> None:
        """Take the line away: the error says all."""
        if self._handle is not None:
            self._handle.update(_both("", ""), raw=True)

    def _words(self, cluster: Cluster | None, registered: int) -> str:
        if cluster is None:
            return f"asking for {show.plural(self._workers, 'worker')}"
        driver = "driver ready" if self.driver_ready else "driver starting"
        waiting = sorted({one.message for one in cluster.executors if one.state != "running" and one.message})
        return " · ".join([driver, f"{registered} of {show.plural(cluster.workers, 'worker')}", *waiting[:1]])


def _bar(done: int, whole: int, name: str, words: str) -> str:
    bar = f'<progress value="{done}" max="{max(whole, 1)}" style="vertical-align:middle;width:12em"></progress>'
    return f"<div>Spark cluster <b>{escape(name)}</b> {bar} {escape(words)}</div>"


def _both(html: str, text: str) -> dict[str, str]:
    """What a front end shows, which may know no HTML."""
    return {"text/html": html, "text/plain": text}


def _notebook_display() -> Any:
    """A display of the notebook that can be changed later; None in a plain Python or a terminal."""
    if not kernel.in_notebook():
        return None
    from IPython.display import display

    return display(_both("", ""), raw=True, display_id=True)
