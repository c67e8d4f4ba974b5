"""How long a cluster may live without being heard of. Pure: every time is given, in seconds of one monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass

FIRST = 60
"""Seconds more than the lease until the first heartbeat: the driver has to start."""


@dataclass
class Lease:
    """The lease of one notebook's cluster.

    seconds     silence after which it ends
    idle        seconds without a job after which it ends; 0 means never
    until       when it ends if nothing more is heard
    busy        when a job was last running (at first: when the cluster was made)
    heard       when it was last heard of; None before the first time
    registered  executors that the driver last said it had
    """

    seconds: float
    idle: float
    until: float
    busy: float
    heard: float | None = None
    registered: int | None = None

    @classmethod
    def new(cls, now: float, seconds: float, idle: float) -> Lease:
        """A lease that starts now, with a first grace; also what a gateway that restarted gives to what it finds."""
        return cls(seconds, idle, now + seconds + FIRST, now)

    def renew(self, now: float, *, registered: int, jobs: bool) -> None:
        self.until, self.heard, self.registered = now + self.seconds, now, registered
        if jobs:
            self.busy = now

    def left(self, now: float) -> float:
        """Seconds until it ends, never negative."""
        return max(0.0, min(self.until, self.busy + self.idle if self.idle else self.until) - now)

    def over(self, now: float) -> str:
        """Why it has ended; "" while it has not."""
        if now >= self.until:
            return f"nothing was heard of its kernel for {self.seconds:g} s"
        if self.idle and now >= self.busy + self.idle:
            return f"it ran no job for {self.idle:g} s"
        return ""
