"""The commands as Python, for scripts and notebooks.

    from occamctl.api import Course

    with Course("occam.yaml") as course:
        course.up()
        course.spark(4)
        print(course.status().wrong)

Nothing is printed and nothing is asked. What goes wrong is raised as one of occamctl/errors.py, with `what`, `where`,
and `fix`; HostError when a host that is needed does not answer. `say` is called with a host's name ("" for the course)
and what is going on there.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from occamctl.actions import applications, clusters, gpu_shares, notebooks, users
from occamctl.actions import data as sets
from occamctl.actions import down as downs
from occamctl.actions import hosts as machines
from occamctl.actions import status as statuses
from occamctl.actions import up as ups
from occamctl.actions.forward import Forward, forward
from occamctl.actions.session import Session, open_course
from occamctl.errors import SpecError
from occamctl.plan.steps import Step
from occamctl.spec.units import size as bytes_of

__all__ = ["Course", "Data", "Ended", "Gpus", "Notebooks", "Spark", "Users"]

Say = Callable[[str, str], None]
Where = Callable[[], Session]
Rows = list[dict[str, Any]]


def _quiet(where: str, what: str) -> None:
    """Nobody wants to hear of it."""


class Course:
    """One course, by its course file. In a `with` block it keeps its connections; without, `close` ends them."""

    def __init__(self, config: str | Path = "occam.yaml") -> None:
        self._config = Path(config)
        self._opened: AbstractContextManager[Session] | None = None
        self._session: Session | None = None
        self.users, self.notebooks, self.spark = Users(self._here), Notebooks(self._here), Spark(self._here)
        self.gpus, self.data = Gpus(self._here), Data(self._any)

    def __enter__(self) -> Course:
        self._any()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connections. The next call opens new ones, and reads the course file again."""
        opened, self._opened, self._session = self._opened, None, None
        if opened is not None:
            opened.__exit__(None, None, None)

    def _any(self) -> Session:
        """The session, also when some hosts did not answer."""
        if self._session is None:
            self._opened = open_course(self._config)
            self._session = self._opened.__enter__()
        self._session.facts.clear()  # of hosts as they are now
        return self._session

    def _here(self) -> Session:
        session = self._any()
        session.all_here()
        return session

    def plan(self) -> list[Step]:
        """What `up` would do: steps with `what`, `host`, `kind` and `stage`; [] when everything is as it should be."""
        return ups.plan(self._here())

    def up(self, say: Say = _quiet) -> ups.Up:
        """Bring the course up, or up to date: its `url`, what was `done`, first `passwords`.

        Raises Busy when somebody else is at it, PartlyDone, and the error of a host that cannot be used.
        """
        session = self._here()
        return ups.up(session, say, ups.plan(session))

    def down(self, *, discard_work: bool = False, keep_images: bool = False, say: Say = _quiet) -> None:
        """Remove the course from its hosts. Raises Refused when homes hold work that is not to be discarded."""
        session = self._any()
        found = downs.find(session)
        if not discard_work:
            downs.refuse_to_lose(found)
        if not found.empty or session.errors:
            downs.down(session, say, keep_images=keep_images)

    def status(self) -> statuses.Status:
        """Hosts, services, students, notebooks, clusters, and what is `wrong`."""
        return statuses.status(self._any())

    def hosts(self) -> list[dict[str, Any]]:
        """A row for each host, also for those that do not answer (`state` says why)."""
        return machines.rows(self._any())


@dataclass(frozen=True)
class Users:
    """`course.users`: who may sign in."""

    _here: Where

    def list(self) -> list[dict[str, str]]:
        return users.rows(self._here())

    def add(self, username: str, *, name: str = "", email: str = "", group: str = "", role: str = "student") -> str:
        """Make an account, and a line in the roster file; returns the first password. Raises SpecError."""
        person = users.person(username, name=name, email=email, group=group)
        return users.add(self._here(), person, role).password

    def remove(self, username: str) -> None:
        """End the account with its sessions and its notebook; the home stays. Raises SpecError."""
        users.remove(self._here(), username)

    def password(self, username: str, password: str = "") -> str:
        """Give a new password, a made one when none is given, and return it. Raises SpecError."""
        return users.set_password(self._here(), username, password)


@dataclass(frozen=True)
class Notebooks:
    """`course.notebooks`: people's notebook servers, as dicts of the gateway's interface."""

    _here: Where

    def list(self) -> list[dict[str, Any]]:
        return notebooks.listed(self._here())

    def start(self, username: str) -> dict[str, Any]:
        """Start it and wait until it answers. Raises SpecError for an unknown name."""
        return notebooks.start(self._here(), username)

    def stop(self, username: str) -> dict[str, Any]:
        """Stop it with its kernels; files stay. Raises SpecError for an unknown name."""
        return notebooks.stop(self._here(), username)

    def logs(self, username: str, tail: int | None = 200) -> str:
        return notebooks.logs(self._here(), username, tail)

    def run(self, username: str, command: Sequence[str], *, stdin: bytes = b"", seconds: float = 600) -> notebooks.Ran:
        """Run a command as the student in their home: `code`, `out`, `err`. Raises SpecError, TookTooLong."""
        return notebooks.run(self._here(), username, list(command), stdin, seconds)

    def url(self, username: str) -> str:
        return notebooks.url(self._here(), username)


@dataclass(frozen=True)
class Gpus:
    """`course.gpus`: GPUs and who has them, as dicts of the gateway's interface.

    A wish is a number as text, a model, or a MIG profile; `memory` such as 40G; durations such as 2h.
    """

    _here: Where

    def list(self) -> list[dict[str, Any]]:
        return gpu_shares.listed(self._here())

    def assign(
        self,
        username: str,
        gpus: str = "1",
        *,
        lasts: str = "",
        count: int = 1,
        memory: str = "",
        restart: bool = False,
    ) -> dict[str, Any]:
        """Give GPUs to somebody's notebook, for a time or until they are released. Raises DoesNotFit, Refused."""
        asked, seconds = gpu_shares.wish(gpus, count, memory), gpu_shares.seconds(lasts) if lasts else None
        return gpu_shares.assign(self._here(), username, asked, seconds, restart=restart)

    def release(self, username: str, *, restart: bool = False) -> dict[str, Any]:
        """Take them back; those that a notebook runs with go when it stops."""
        return gpu_shares.release(self._here(), username, restart=restart)

    def reserve(
        self, group: str, gpus: str = "1", *, begins: str = "now", lasts: str = "2h", count: int = 1, memory: str = ""
    ) -> dict[str, Any]:
        """Keep GPUs for the members of a group. Raises DoesNotFit, SpecError."""
        asked, seconds = gpu_shares.wish(gpus, count, memory), gpu_shares.seconds(lasts)
        session = self._here()
        at = gpu_shares.moment(begins, gpu_shares.now(session.course))
        return gpu_shares.reserve(session, group, asked, at, seconds)

    def reservations(self) -> Rows:
        """Those that are on or to come, the earliest first."""
        return gpu_shares.reservations(self._here())

    def unreserve(self, reservation: str) -> None:
        """Take one back, by its id."""
        gpu_shares.unreserve(self._here(), reservation)


@dataclass(frozen=True)
class Data:
    """`course.data`: what every notebook and worker has under /data. It works with the hosts that answer."""

    _any: Where

    def list(self) -> Rows:
        """A row for each set: `rows`, `bytes`, `source`, `sha256`, `hosts` that have it, and those `missing`."""
        return sets.rows(self._any())

    def add(self, name: str, source: str | Path = "", *, sha256: str = "", say: Say = _quiet) -> sets.Added:
        """Give every host the set, or mend it; without a source as the course file says.

        Raises SpecError, DoesNotFit when a disk is full, Busy, and PartlyDone when a host did not answer.
        """
        return sets.add(self._any(), name, str(source), sha256, say)

    def verify(self, name: str = "", *, say: Say = _quiet) -> Rows:
        """Read every file on every host: a row for each set and host, with its `state` and how to `fix` it."""
        return sets.verify(self._any(), name, say)

    def remove(self, name: str, *, say: Say = _quiet) -> builtins.list[str]:
        """Take the set from every host; the hosts that had it. Raises SpecError when none has, PartlyDone."""
        return sets.remove(self._any(), name, say)


@dataclass(frozen=True)
class Ended:
    """A submitted application that has run to its end, whatever its exit code."""

    name: str
    exit_code: int
    out: bytes
    err: bytes


@dataclass(frozen=True)
class Spark:
    """`course.spark`: Spark clusters as dicts of the gateway's interface.

    user     whose cluster; the course's own when left away
    cluster  which one; needed where there are several
    memory   of one worker, such as "4G"; with `cores` left away as the course file says
    gpu      GPUs of one worker: a number, a model such as "A100", a MIG profile such as "1g.10gb",
             or {"count": 1, "memory": "40G"}
    """

    _here: Where

    def create(
        self,
        name: str,
        workers: int = 2,
        *,
        cores: int = 0,
        memory: str = "",
        gpu: clusters.Gpu = None,
        user: str = "",
    ) -> dict[str, Any]:
        """A cluster with a driver of its own; waits until its workers run. Raises DoesNotFit, Refused, TookTooLong."""
        return clusters.create(self._here(), user, name, workers, _size(cores, memory, gpu))

    def scale(self, workers: int, *, gpu: clusters.Gpu = None, user: str = "", cluster: str = "") -> dict[str, Any]:
        """Give it so many workers and wait until they run; the course's own is made if needed. Raises DoesNotFit.

        With `gpu` so many with such GPUs, beside those without.
        """
        return clusters.scale(self._here(), user, cluster, workers, gpu)[1]

    def __call__(self, workers: int, *, gpu: clusters.Gpu = None, user: str = "", cluster: str = "") -> dict[str, Any]:
        """`course.spark(8)`: the same as `scale`, which is what is wanted most often."""
        return self.scale(workers, gpu=gpu, user=user, cluster=cluster)

    def list(self, user: str = "") -> list[dict[str, Any]]:
        return clusters.listed(self._here(), user)

    def status(self, *, user: str = "", cluster: str = "") -> dict[str, Any]:
        """One cluster. Raises SpecError when it is not clear which, OccamError when there is none."""
        return clusters.find(self._here(), user, cluster)

    def submit(
        self,
        program: str | Path,
        arguments: Sequence[str] = (),
        *,
        workers: int = 2,
        cores: int = 0,
        memory: str = "",
        gpu: clusters.Gpu = None,
        conf: Mapping[str, str] | None = None,
        py_files: Sequence[str | Path] = (),
        name: str = "",
        user: str = "",
        write: applications.Write | None = None,
    ) -> Ended:
        """Run a Python program on workers of its own to its end; nothing of it is left afterwards.

        write  is given what it prints as it comes, (1 or 2, bytes), which is not kept in the answer then

        Raises SpecError, DoesNotFit, and OccamError when it did not run; an exit code of its own is no error.
        """
        session, kept = self._here(), {1: bytearray(), 2: bytearray()}
        there = self.start(
            program,
            arguments,
            workers=workers,
            cores=cores,
            memory=memory,
            gpu=gpu,
            conf=conf,
            py_files=py_files,
            name=name,
            user=user,
        )
        try:
            code = applications.follow(session, there, write or (lambda stream, piece: kept[stream].extend(piece)))
        finally:
            applications.end(session, there)
        return Ended(there["name"], code, bytes(kept[1]), bytes(kept[2]))

    def start(
        self,
        program: str | Path,
        arguments: Sequence[str] = (),
        *,
        workers: int = 2,
        cores: int = 0,
        memory: str = "",
        gpu: clusters.Gpu = None,
        conf: Mapping[str, str] | None = None,
        py_files: Sequence[str | Path] = (),
        name: str = "",
        user: str = "",
    ) -> dict[str, Any]:
        """As `submit`, but returns at once: `status` and `logs` tell how it goes, and for ten minutes how it went."""
        files = [Path(one) for one in py_files]
        asked = applications.Application(Path(program), tuple(arguments), files, conf or {})
        size = _size(cores, memory, gpu)
        return applications.submit(self._here(), user, asked, name=name, workers=workers, size=size)

    def logs(self, *, user: str = "", cluster: str = "", worker: str = "", tail: int = 200) -> str:
        """What its workers and driver printed; of one `worker` (a number, or `driver`) when that is given."""
        return clusters.logs(self._here(), user, cluster, worker, tail)

    @contextmanager
    def ui(self, *, user: str = "", cluster: str = "", port: int = 0) -> Iterator[Forward]:
        """Spark's own page at an address of this machine (`url`), for as long as the block is open."""
        with forward(self._here(), user, cluster, port) as made:
            yield made

    def delete(self, *, user: str = "", cluster: str = "") -> None:
        """Remove it and wait until nothing of it is left; work that runs on it ends."""
        clusters.delete(self._here(), user, cluster)


def _size(cores: int, memory: str, gpu: clusters.Gpu) -> clusters.Size:
    try:
        return clusters.Size(cores, bytes_of(memory) if memory else 0, gpu)
    except ValueError as error:
        raise SpecError(str(error), where="memory") from None
