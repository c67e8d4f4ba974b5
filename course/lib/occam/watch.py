"""A thread that keeps the lease while a cluster starts, and shows how far the start is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from occam import cluster as clusters_of
from occam.cluster import Cluster
from occam.errors import NotReached, NotStarted, OccamError, Refused
from occam.gateway import Gateway
from occam.meter import Progress

LOOK = 1.0
"""Seconds between two questions to the gateway; each renews the lease."""
_LAST = 3
"""Lines of each worker's log that tell why it did not come."""


class Watch:
    """Looks at cluster `first` from now on. `count` says how many workers the driver has, once there is a driver."""

    def __init__(self, gateway: Gateway, first: Cluster, progress: Progress) -> None:
        self.cluster = first
        self.count: Callable[[], int] = lambda: 0
        self._gateway, self._progress = gateway, progress
        self._over = threading.Event()
        self._trouble: OccamError | None = None
        self._thread = threading.Thread(target=self._watch, name="occam-watch", daemon=True)
        self._thread.start()

    def driver_ready(self, count: Callable[[], int]) -> None:
        self.count, self._progress.driver_ready = count, True

    def check(self) -> None:
        """Raises NotStarted or Refused when the gateway says that nothing will come of it."""
        if self._trouble is not None:
            raise self._trouble
        if self.cluster.state in ("failed", "stopping"):
            raise NotStarted(f"the cluster {self.cluster.name!r} is {self.cluster.state}{self.reasons}")

    def wait_for(self, workers: int, seconds: float, *, at_least: bool = False) -> str:
        """Wait until the driver has `workers`. Returns what is missing after `seconds`, in words; "" when nothing is.

        Raises what `check` raises.
        """
        end = time.monotonic() + seconds
        while (there := self.count()) != workers and not (at_least and there > workers):
            self.check()
            if time.monotonic() > end:
                return f"{there} of {workers} workers within {seconds:g} s{self.reasons}"
            time.sleep(0.1)
        return ""

    @property
    def reasons(self) -> str:
        """What gateway and workers say, each line once."""
        told = [
            self.cluster.message,
            *(f"worker {one.id}: {one.message}" for one in self.cluster.executors if one.message),
        ]
        return "".join(f"\n  {line}" for line in dict.fromkeys(told) if line)

    def last_lines(self) -> str:
        """What the workers logged last, each line with its worker's number."""
        try:
            said = self._gateway.ask("GET", f"clusters/{self.cluster.name}/logs?tail={_LAST}", timeout=30)
        except OccamError:
            return ""
        return "".join(f"\n  {line}" for line in str(said.get("text", "")).splitlines())

    def stop(self) -> None:
        self._over.set()
        self._thread.join(5)

    def _watch(self) -> None:
        looked = 0.0
        while not self._over.wait(0.25):
            try:
                if time.monotonic() - looked >= LOOK:
                    looked = time.monotonic()
                    self._look()
                self._progress.update(self.cluster, self.count())
            except NotReached:
                continue  # it may restart at any time, and the lease outlives that
            except Refused as refused:
                self._trouble = refused

    def _look(self) -> None:
        body = {"registered": self.count(), "jobs": False}
        said = self._gateway.ask("PUT", f"clusters/{self.cluster.name}/lease", body, timeout=5)
        self.cluster = clusters_of.from_answer(said, self._gateway)
