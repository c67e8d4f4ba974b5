"""Spark clusters as the operator sees and steers them, through the gateway."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from occamctl import wait
from occamctl.actions import users
from occamctl.actions.ask import NotThere
from occamctl.actions.session import Session
from occamctl.errors import OccamError, SpecError
from occamctl.plan.diff import OWN_CLUSTER
from occamctl.spec import names

Say = Callable[[str, str], None]
Cluster = dict[str, Any]
Gpu = int | str | Mapping[str, object] | None
OVER = ("failed", "finished")
"""States of a cluster of which nothing is left but the memory."""
READY_SECONDS = 240
"""Seconds until all workers must run; the gateway's own deadlines are shorter and say why."""
_MAKE, _REMOVE = 90, 150


@dataclass(frozen=True)
class Size:
    """Size of one worker; 0 means what the course file says. Memory in bytes.

    gpu  its GPUs, as the gateway takes them: a number, a model, a MIG profile, or {"memory": "40G"}; None: none
    """

    cores: int = 0
    memory: int = 0
    gpu: Gpu = None

    def body(self) -> dict[str, Any]:
        """Its part of a request for a cluster."""
        return {"cores": self.cores, "memory": self.memory, "gpu": self.gpu}


USUAL = Size()


def listed(session: Session, owner: str = "") -> list[Cluster]:
    """All clusters, or those of `owner`, by owner and name."""
    there: list[Cluster] = session.gateway.get(f"{of(owner)}/clusters" if owner else "/clusters")
    return sorted(there, key=lambda one: (one["owner"], one["name"]))


def find(session: Session, owner: str, name: str) -> Cluster:
    """One cluster; without a name the owner's only one. Raises SpecError when it is not clear which, NotThere."""
    owner = owner or names.COURSE_OWNER
    if not name and owner == names.COURSE_OWNER:
        name = OWN_CLUSTER
    if name:
        try:
            found: Cluster = session.gateway.get(path(owner, name))
        except NotThere as error:
            made = name == OWN_CLUSTER and owner == names.COURSE_OWNER
            fix = "occamctl spark scale 2 makes it" if made else "see: occamctl spark list"
            raise NotThere(error.what, where=owner, fix=fix) from None
        return found
    there = listed(session, owner)
    if not there:
        users.check_known(session, owner)
    if len(there) != 1:
        called = ", ".join(one["name"] for one in there)
        raise SpecError(
            f"has the clusters {called}: which one?" if there else "has no cluster",
            where=owner,
            fix="say --cluster NAME" if there else f"occamctl spark create --user {owner} NAME",
        )
    return there[0]


def create(
    session: Session, owner: str, name: str, workers: int, size: Size = USUAL, say: Say = lambda where, what: None
) -> Cluster:
    """A cluster with a driver of its own (a Spark Connect server); waits until all its workers run.

    Raises DoesNotFit, Refused when the name is taken, TookTooLong, and OccamError with the reason when it failed.
    """
    owner = owner or names.COURSE_OWNER
    body = {"name": name, "workers": workers, "driver": "connect", **size.body()}
    say("", f"asking for {workers} workers")
    session.gateway.post(f"{of(owner)}/clusters", body, timeout=_MAKE)
    return _until_ready(session, owner, name, say)


def scale(
    session: Session,
    owner: str,
    name: str,
    workers: int,
    gpu: Gpu = None,
    say: Say = lambda where, what: None,
) -> tuple[int, Cluster]:
    """Give a cluster `workers` workers and wait until they run. Returns how many it had, and the cluster.

    gpu  as in Size: so many workers with these GPUs, beside those without

    The course's own cluster is made when it is not there. Raises as `create` and `find` do.
    """
    try:
        there = find(session, owner, name)
    except NotThere:
        there = {"state": "failed"}
    if there["state"] in OVER:
        if owner not in ("", names.COURSE_OWNER):
            raise SpecError(f"has no cluster {name!r}", where=owner, fix=f"occamctl spark create --user {owner} {name}")
        return 0, create(session, owner, name or OWN_CLUSTER, workers, Size(gpu=gpu), say)
    beside = gpu is not None and not there["gpu"]
    before: int = there["gpu_workers"] if beside else there["wanted"] - there["gpu_workers"]
    say("", f"{before} → {workers} workers{' with GPUs' if beside else ''}")
    body = {"workers": workers, "gpu": gpu}
    session.gateway.put(f"{path(there['owner'], there['name'])}/workers", body, timeout=_MAKE)
    return before, _until_ready(session, there["owner"], there["name"], say)


def delete(session: Session, owner: str, name: str) -> Cluster:
    """Remove a cluster and wait until nothing of it is left. Raises as `find` does."""
    there = find(session, owner, name)
    session.gateway.delete(path(there["owner"], there["name"]), timeout=_REMOVE)
    return there


def logs(session: Session, owner: str, name: str, worker: str = "", tail: int = 200) -> str:
    """Last lines of what its workers and driver printed, each line after its worker.

    worker  number of one worker, or `driver`; empty for all of them

    Raises as `find` does, NotThere for a worker that is not there.
    """
    there = find(session, owner, name)
    asked = f"{path(there['owner'], there['name'])}/logs?worker={quote(worker, safe='')}&tail={tail}"
    return str(session.gateway.get(asked)["text"])


def _until_ready(session: Session, owner: str, name: str, say: Say) -> Cluster:
    def look() -> Cluster:
        seen: Cluster = session.gateway.get(path(owner, name))
        say("", progress(seen))
        return seen

    seen = wait.until(
        look, lambda one: (one["state"] != "starting" and running(one) >= one["wanted"]) or one["state"] in OVER,
        f"cluster {name}", seconds=READY_SECONDS, every=0.5, describe=progress, fix="see: occamctl spark status",
    )  # fmt: skip
    if seen["state"] == "failed":
        raise OccamError(
            f"the cluster failed: {seen['message']}", where=f"{owner}/{name}", fix="see: occamctl logs gateway"
        )
    return seen


def running(cluster: Cluster) -> int:
    """How many of its workers run."""
    return sum(one["state"] == "running" for one in cluster["executors"])


def progress(cluster: Cluster) -> str:
    """`2 of 4 workers run; what the scheduler says`."""
    words = f"; {first}" if (first := str(cluster.get("message") or "").partition("\n")[0]) else ""
    return f"{running(cluster)} of {cluster['wanted']} workers run{words}"


def of(owner: str) -> str:
    """The gateway's path of what belongs to `owner`."""
    return f"/users/{quote(owner, safe='')}"


def path(owner: str, name: str) -> str:
    """The gateway's path of one cluster."""
    return f"{of(owner)}/clusters/{quote(name, safe='')}"
