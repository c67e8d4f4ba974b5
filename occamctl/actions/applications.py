"""Submitted applications: a Python program with a Spark driver and executors of its own, whose output is followed."""

from __future__ import annotations

import base64
import queue
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from occamctl import wait
from occamctl.actions import clusters
from occamctl.actions.ask import NotThere
from occamctl.actions.clusters import USUAL, Cluster, Size
from occamctl.actions.pieces import host_of_node
from occamctl.actions.session import Session
from occamctl.engine import streams, swarm
from occamctl.engine.client import Engine
from occamctl.errors import HostError, OccamError, SpecError
from occamctl.spec import names
from occamctl.spec.units import human_size

Write = Callable[[int, bytes], object]
"""Takes what the application printed: 1 for standard output or 2 for standard error, and a piece of bytes."""
MOST_BYTES = 450 << 10
"""Of all files together, as the gateway takes them (gateway/application.py; a test holds the two together)."""
LOOK_EVERY = 5.0
"""Seconds between two looks whether the application is still there; its output may be silent for hours."""
_MAKE, _START, _END = 90, 240, 150
_LAST_WORD = 60
"""Seconds from the end of its output until the gateway, which may just be restarting, knows the exit code."""


@dataclass(frozen=True)
class Application:
    """What is submitted. `conf` is more of Spark's settings; files are sent under their own names, without folders."""

    main: Path
    arguments: Sequence[str] = ()
    py_files: Sequence[Path] = ()
    conf: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, object]:
        """As the gateway takes it. Raises SpecError for files that cannot be read or sent."""
        contents = {path.name: _read(path) for path in (self.main, *self.py_files)}
        if len(contents) <= len(self.py_files):
            raise SpecError("two of the files have the same name", where=str(self.main), fix="rename one of them")
        if (many := sum(map(len, contents.values()))) > MOST_BYTES:
            raise SpecError(
                f"the files are {human_size(many)} together, and {human_size(MOST_BYTES)} can be sent",
                where=str(self.main),
                fix="put data where the workers can read it, and packages into the image (image.pip)",
            )
        return {
            "main": self.main.name,
            "files": {name: base64.b64encode(content).decode() for name, content in contents.items()},
            "py_files": [path.name for path in self.py_files],
            "arguments": list(self.arguments),
            "conf": dict(self.conf),
        }


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", where=str(path)) from None


def submit(
    session: Session, owner: str, application: Application, *, name: str = "", workers: int = 2, size: Size = USUAL
) -> Cluster:
    """Start the application with its workers and return at once; what is there from now on is a cluster with a name.

    name  at most 12 small letters, digits, hyphens; a new one, made from the file's, when left away

    Raises SpecError, DoesNotFit, Refused when the name is taken.
    """
    body = {
        "name": name or new_name(application.main),
        "workers": workers,
        "driver": "application",
        **size.body(),
        "application": application.body(),
    }
    with wait.Together(max_workers=1) as aside:
        path = f"{clusters.of(owner or names.COURSE_OWNER)}/clusters"
        asking: Future[Cluster] = aside.submit(session.gateway.post, path, body, timeout=_MAKE)
        try:
            return asking.result()
        except KeyboardInterrupt:
            with suppress(OccamError):  # the gateway makes it all the same; only its answer tells it from another one
                end(session, asking.result())
            raise


def new_name(main: Path) -> str:
    """A cluster's name that tells the program, and is most likely free."""
    readable = re.sub(r"[^a-z0-9]+", "-", main.stem.lower()).strip("-")
    readable = readable if readable[:1].isalpha() else f"app-{readable}"
    return f"{readable[:7].strip('-')}-{secrets.token_hex(2)}"


def follow(session: Session, there: Cluster, write: Write) -> int:
    """Give what the application prints to `write`, from its first line to its last, and return its exit code.

    It may run for hours and say nothing: there is no deadline, but every few seconds a look whether it is there.

    Raises OccamError with the reason when it did not run or was removed, HostError when its host does not answer.
    """
    found = _driver(session, there)
    if found is not None:
        heard: queue.SimpleQueue[tuple[int, bytes] | OccamError | None] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(*found, heard), daemon=True).start()
        _pass_on(session, there, heard, write)
    return _exit_code(session, there)


def end(session: Session, there: Cluster) -> None:
    """End the application, if it runs, and wait until nothing of it is left. Calling it twice is fine."""
    try:
        session.gateway.delete(_path(there), timeout=_END)
    except NotThere:
        return


def _path(there: Cluster) -> str:
    return f"{clusters.path(there['owner'], there['name'])}?app_id={there['app_id']}"


def _driver(session: Session, there: Cluster) -> tuple[Engine, str] | None:
    """The container of its driver, once there is one; None when the gateway gave it up."""

    def look() -> tuple[swarm.Task | None, str]:
        listed = swarm.tasks(session.manager, service_name=there["driver_service"])
        task = listed[0] if listed else None
        if task and task.container_id and task.state in ("running", "complete", "failed"):
            return task, ""
        seen = _seen(session, there)
        return None, seen["state"] if seen["state"] == "failed" else f"{task.state if task else 'not there'}"

    task, _ = wait.until(
        look, lambda seen: seen[0] is not None or seen[1] == "failed", f"start of {there['name']}", seconds=_START,
        every=0.3, describe=lambda seen: seen[1], fix=f"see: occamctl spark status --cluster {there['name']}",
    )  # fmt: skip
    if task is None:
        return None
    return session.engine(host_of_node(session, task.node_id)), task.container_id


def _listen(engine: Engine, container: str, heard: queue.SimpleQueue[tuple[int, bytes] | OccamError | None]) -> None:
    try:
        for piece in streams.log(engine, container):
            heard.put(piece)
    except OccamError as error:
        heard.put(error)
    heard.put(None)


def _pass_on(
    session: Session,
    there: Cluster,
    heard: queue.SimpleQueue[tuple[int, bytes] | OccamError | None],
    write: Write,
) -> None:
    looked = time.monotonic()
    while True:
        try:
            said = heard.get(timeout=LOOK_EVERY)
        except queue.Empty:
            said = (1, b"")
        if said is None:
            return
        if isinstance(said, OccamError):
            raise said
        if said[1]:
            write(*said)
        if time.monotonic() > looked + LOOK_EVERY:
            if _over(session, there):
                return
            looked = time.monotonic()


def _over(session: Session, there: Cluster) -> bool:
    """Whether nothing more will be said although the log has not ended: the driver's host is lost, say."""
    return bool(_seen(session, there)["state"] in clusters.OVER)


def _seen(session: Session, there: Cluster) -> Cluster:
    """The application now. A gateway that does not answer is taken for one that restarts: what runs goes on."""
    try:
        seen: Cluster = session.gateway.get(_path(there))
    except NotThere:
        where = f"{there['owner']}/{there['name']}"
        raise OccamError("the application was removed before its end", where=where) from None
    except HostError:
        raise
    except OccamError as error:
        return {"state": error.what, "exit_code": None, "message": error.what}
    return seen


def _exit_code(session: Session, there: Cluster) -> int:
    seen = wait.until(
        lambda: _seen(session, there), lambda one: one["exit_code"] is not None or one["state"] == "failed",
        f"exit code of {there['name']}", seconds=_LAST_WORD, every=0.3, describe=lambda one: str(one["state"]),
        fix="see: occamctl logs gateway",
    )  # fmt: skip
    if seen["exit_code"] is None:
        raise OccamError(f"the application did not run to its end: {seen['message']}", where=there["name"])
    return int(seen["exit_code"])
