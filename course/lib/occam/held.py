"""What this kernel holds: clusters, each with the JVM that drives it. The last of the list is the current one."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from occam import asking
from occam.driver import Driver
from occam.errors import Refused
from occam.gateway import Gateway
from occam.wish import Wish

if TYPE_CHECKING:
    from occam.classic import Session

lock = threading.RLock()
_holds: list[Held] = []


@dataclass(eq=False)
class Held:
    """One cluster. `java` is pyspark's connection to the JVM; `ui` the port of the Spark UI in this container."""

    gateway: Gateway
    wish: Wish
    driver: Driver
    java: Any
    app_id: str
    ui: int
    session: Session
    told: int = 0
    """Number of the last notice that was shown."""
    bounding: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """Held while the bounds of an adaptive cluster are brought from the gateway to Spark, or the other way round."""

    @property
    def path(self) -> str:
        return f"clusters/{self.wish.name}"

    @property
    def link(self) -> str:
        """The Spark UI in the student's browser, through the hub."""
        return f"{self.gateway.page(self.ui)}/jobs/"

    @property
    def alive(self) -> bool:
        if self.driver.ended:
            return False
        context = self.session.sparkContext._jsc
        return context is not None and not context.sc().isStopped()

    def registered(self) -> int:
        """Workers that the driver has; in its own count it is one more."""
        return int(self.session.sparkContext._jsc.sc().getExecutorMemoryStatus().size()) - 1

    def must_suit(self, asked: Wish) -> None:
        """Raises Refused when `asked` cannot be had of the cluster as it runs."""
        end_it = f"end it first: occam.stop({self.wish.name!r})"
        if self.wish.differences(asked):
            raise Refused(f"the cluster {self.wish.name!r} runs with other sizes or settings", end_it)
        if asked.adaptive and not self.wish.adaptive:
            raise Refused(
                f"the cluster {self.wish.name!r} is fixed: whether Spark may choose the number of workers is settled"
                " when it starts, and barrier stages (distributed training) need a fixed one",
                end_it,
            )

    def end(self) -> None:
        """Nothing stays behind, whatever state it is in."""
        from occam import jvms

        with lock:
            if self in _holds:
                _holds.remove(self)
        self.session.sparkContext._held = None
        jvms.forget(self.java)
        as_it_was()
        if self.driver.stop() != 0:  # it was killed, or ran out of memory, and could not say good-bye
            self.give_back()

    def give_back(self, seconds: float = 60) -> None:
        """Ask the gateway to end the cluster, and wait so long for it."""
        asking.give_back(self.gateway, {"name": self.wish.name, "app_id": self.app_id}, seconds)


def all_of_them() -> list[Held]:
    """Those that live; what died meanwhile is cleared away."""
    with lock:
        for one in list(_holds):
            if not one.alive:
                one.end()
        return list(_holds)


def of(name: str) -> Held | None:
    """This kernel's cluster `name`, if it lives."""
    return next((one for one in all_of_them() if one.wish.name == name), None)


def current() -> Held | None:
    """The one that functions such as `F.col` use."""
    there = all_of_them()
    return there[-1] if there else None


def known() -> list[Held]:
    """What this kernel holds, without a look whether it lives."""
    return list(_holds)


def as_it_was() -> None:
    """Let pyspark know of the current one again."""
    from occam import jvms

    with lock:
        jvms.point_at(_holds[-1] if _holds else None)


def make_current(held: Held) -> None:
    from occam import jvms

    with lock:
        if held in _holds:
            _holds.remove(held)
        _holds.append(held)
        jvms.point_at(held)
