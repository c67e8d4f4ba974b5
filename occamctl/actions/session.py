"""An open course: the file, one connection to each of its hosts, and an engine on each.

The engine's SDK takes as long to import as a connection takes to be made; so it is imported at first use, while the
connections are being made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from occamctl.errors import HostError, OccamError
from occamctl.hosts.connection import Machine, connect_all
from occamctl.hosts.facts import gather
from occamctl.plan.observed import HostFacts
from occamctl.plan.wanted import hosts_of
from occamctl.spec import load, names
from occamctl.spec.course import Course
from occamctl.wait import Together

if TYPE_CHECKING:
    from occamctl.actions.ask import Gateway
    from occamctl.engine.client import Engine

Answer = TypeVar("Answer")
MOST_AT_ONCE = 16


@dataclass
class Session:
    """What commands work with. `machines` and `errors` name every host that was asked for; both wait for its answer."""

    course: Course
    path: Path
    _connecting: Future[tuple[dict[str, Machine], dict[str, HostError]]]
    facts: dict[str, HostFacts] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    """What a plan found that is worth saying, and that nobody has to do anything about."""
    probed: set[str] = field(default_factory=set)
    """Hosts whose GPUs this command has probed."""
    _engines: dict[str, Engine] = field(default_factory=dict)
    _opening: dict[str, Lock] = field(default_factory=dict)

    @property
    def machines(self) -> dict[str, Machine]:
        return self._connecting.result()[0]

    @property
    def errors(self) -> dict[str, HostError]:
        return self._connecting.result()[1]

    @property
    def names(self) -> names.Names:
        return self.course.names

    @property
    def hosts(self) -> tuple[str, ...]:
        return hosts_of(self.course)

    def engine(self, host: str) -> Engine:
        """The engine of `host`, opened at first use. Raises HostError when the host is not there."""
        from occamctl.engine.client import Engine

        if host in self.errors:
            raise self.errors[host]
        with self._opening.setdefault(host, Lock()):
            if host not in self._engines:
                machine = self.machines[host]
                made = Engine.local() if machine.is_local else Engine.through(host, machine.docker_channel)
                self._engines[host] = made
        return self._engines[host]

    @property
    def engines(self) -> dict[str, Engine]:
        """Engines of the hosts that answered."""
        return {host: self.engine(host) for host in self.machines}

    @property
    def manager(self) -> Engine:
        """The engine of the host that runs hub, gateway and proxy."""
        return self.engine(self.hosts[0])

    @property
    def gateway(self) -> Gateway:
        from occamctl.actions.ask import Gateway

        return Gateway(self.manager, self.names)

    def all_here(self) -> None:
        """Raise the error of the first host that did not answer, with those of the others."""
        missing = list(self.errors.values())
        if missing:
            first = missing[0]
            first.others = missing[1:]
            raise first

    def gather_facts(self) -> None:
        """Facts of every host that answered, all at once; a host that fails moves to `errors`."""
        answers, errors = each(self.machines, lambda host: gather(self.machines[host]))
        self.facts.update(answers)
        self.errors.update(errors)
        for host in errors:
            self.machines.pop(host).close()

    def close(self) -> None:
        for engine in self._engines.values():
            engine.close()
        if self._connecting.done():  # else it was interrupted, and the process ends
            for machine in self.machines.values():
                machine.close()


def each(hosts: Iterable[str], ask: Callable[[str], Answer]) -> tuple[dict[str, Answer], dict[str, HostError]]:
    """`ask` every host at the same time; one bad host does not hide the others."""
    answers: dict[str, Answer] = {}
    errors: dict[str, HostError] = {}
    listed = list(hosts)
    with Together(max_workers=min(MOST_AT_ONCE, max(1, len(listed)))) as pool:
        for host, asked in [(host, pool.submit(ask, host)) for host in listed]:
            try:
                answers[host] = asked.result()
            except HostError as error:
                errors[host] = error
            except OccamError as error:
                errors[host] = HostError(error.what, where=error.where or host, fix=error.fix)
                errors[host].__cause__ = error
    return answers, errors


@contextmanager
def open_course(config: Path, *, manager_only: bool = False) -> Iterator[Session]:
    """Load the course file and connect to its hosts (or to the manager only); everything is closed at the end.

    It does not wait for the connections: what a command imports inside is imported while they are made.
    """
    course = load.load(config)
    only = hosts_of(course)[:1] if manager_only else None
    aside = Together(max_workers=1)
    session = Session(course, config, aside.submit(connect_all, course, only=only))
    try:
        with aside:
            yield session
    finally:
        session.close()
