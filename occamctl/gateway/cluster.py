"""One cluster as the gateway keeps it in memory."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Literal

from occamctl.gateway.leases import Lease
from occamctl.plan.observed import Gpu
from occamctl.spark.clusters import Facts

ExecutorState = Literal["pending", "starting", "running", "lost"]
MOST_NOTICES = 20


@dataclass
class Executor:
    """One executor. `made` is when its service was made (monotonic; None while that is under way)."""

    number: int
    node: str
    tries: int = 0
    profile: int = 0
    state: ExecutorState = "pending"
    message: str = ""
    made: float | None = None
    running_since: float | None = None
    lost_at: float | None = None
    gpus: tuple[Gpu, ...] = ()


@dataclass(frozen=True)
class Notice:
    """Something that its owner should be told. Numbers rise, also over a restart of the gateway."""

    number: int
    text: str


@dataclass
class Cluster:
    """One cluster. `lock` is held by whoever changes what it has on the engine."""

    facts: Facts
    lease: Lease | None
    written: Facts | None = None
    """The facts as the engine's labels tell them; None while that is not known."""
    driver_node: str = ""
    driver_state: ExecutorState = "pending"
    executors: dict[int, Executor] = field(default_factory=dict)
    lost: list[Executor] = field(default_factory=list)
    state: Literal["starting", "running", "stopping", "failed", "finished"] = "starting"
    message: str = ""
    notices: list[Notice] = field(default_factory=list)
    whole: bool = False
    """Whether all its executors have run at the same time since it was made."""
    failed_at: float | None = None
    """Since when it has failed or finished: nothing of it is left but what is remembered here."""
    waiting_since: float | None = None
    """Since when all its containers run and its driver does not count all of them."""
    made: float = field(default_factory=time.monotonic)
    driver_says: int | None = None
    """Executors that a driver without a lease last said it had."""
    driver_heard: float | None = None
    driver_task: str = ""
    """Which of the driver's containers said so: the one after it begins without any executor."""
    driver_made: float | None = None
    """When the service of its driver was made (monotonic; None while that is under way, or in a notebook)."""
    exit_code: int | None = None
    ended_at: float | None = None
    """Since when the driver of an application has ended; its log stays for a while."""
    log: tuple[str, ...] = ()
    """The last lines of an application that is over."""
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    writing: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """Held while the facts are read and written to the engine, so that a later write never loses to an earlier one."""

    @property
    def key(self) -> tuple[str, str]:
        return self.facts.owner, self.facts.name

    @property
    def living(self) -> bool:
        return self.state in ("starting", "running")

    @property
    def over(self) -> bool:
        """Whether nothing of it is left but the memory."""
        return self.state in ("failed", "finished")

    @property
    def registered(self) -> int | None:
        """Executors that the driver last said it had; None while it has not been heard."""
        return self.lease.registered if self.lease else self.driver_says

    def hear(self, now: float, *, registered: int, jobs: bool) -> None:
        """A heartbeat of its driver."""
        if self.lease is None:
            self.driver_says, self.driver_heard = registered, now
        else:
            self.lease.renew(now, registered=registered, jobs=jobs)

    def tell(self, text: str) -> None:
        """Leave a notice for its owner."""
        last = self.notices[-1].number if self.notices else 0
        self.notices.append(Notice(max(last + 1, int(time.time() * 1000)), text))
        del self.notices[:-MOST_NOTICES]
