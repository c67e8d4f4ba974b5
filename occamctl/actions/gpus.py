"""GPUs of the course's hosts: what is there, and what is missing before they can be given out."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict
from typing import Any

from occamctl.actions.session import Session, each
from occamctl.errors import OccamError, SpecError
from occamctl.plan import gpu_setup, gpus
from occamctl.plan.gpu_setup import Said
from occamctl.plan.gpus import called
from occamctl.plan.lending import lends_label, said_of
from occamctl.plan.observed import EngineGpus, Gpu, HostFacts
from occamctl.plan.seen import Observed
from occamctl.spec.course import Course
from occamctl.spec.units import human_size


def check(session: Session, only: str = "") -> list[dict[str, Any]]:
    """One row for each host: what is there, and `missing`. Hosts that failed are in `session.errors`.

    only  one host of the course

    Raises SpecError when the course has no such host.
    """
    if only and only not in session.hosts:
        raise SpecError(f"the course has no host {only!r}", fix=f"its hosts: {', '.join(session.hosts)}")
    session.gather_facts()
    hosts = [host for host in session.hosts if host in session.facts and only in ("", host)]
    found, errors = each(hosts, lambda host: _row(session, host))
    session.errors.update(errors)
    for other in [host for host in session.errors if only not in ("", host)]:
        del session.errors[other]
    return [found[host] for host in hosts if host in found]


def _row(session: Session, host: str) -> dict[str, Any]:
    facts, wanted = session.facts[host], said_of(session.course, host)
    missing = gpu_setup.lacks(wanted, facts, _engine(session, host, wanted))
    there = facts.support
    return {
        "host": host,
        "gpus": [asdict(gpu) for gpu in facts.gpus],
        "lends": [gpu.uuid for gpu in gpu_setup.lent(wanted, facts)],
        "driver": there.driver,
        "cuda": there.cuda,
        "toolkit": there.toolkit,
        "missing": [{"what": one.what, "fix": one.fix} for one in missing],
        "state": _state(wanted, facts, bool(missing)),
    }


def _state(wanted: Said, facts: HostFacts, lacking: bool) -> str:
    if lacking:
        return "not ready"
    if wanted in ("none", []):
        return f"not lent (gpus: {'none' if wanted else '[]'})"
    return "ready" if facts.gpus else "no GPU"


def _engine(session: Session, host: str, wanted: Said) -> EngineGpus | None:
    """What the engine knows, where that matters; None when none answers."""
    if not gpu_setup.concerned(wanted, session.facts[host]):
        return EngineGpus()
    try:
        return gpu_setup.engine_gpus(session.engine(host).api.info())
    except OccamError:
        return None


def _unless(lent: bool) -> str:
    return "" if lent else " (not lent)"


def lines(row: dict[str, Any]) -> list[str]:
    """A row of `check` in words, for people."""
    told = [
        f"{called(Gpu(**gpu))}, {human_size(gpu['memory'])}, {gpu['uuid']}{_unless(gpu['uuid'] in row['lends'])}"
        for gpu in row["gpus"]
    ]
    software = [f"{name} {row[name]}" for name in ("driver", "cuda", "toolkit") if row[name]]
    head = f"{row['host']}: {row['state']}" + (f" ({', '.join(software)})" if software else "")
    return [head, *(f"  {line}" for line in [*told, *_missing(row["missing"])])]


def _missing(lacks: list[dict[str, str]]) -> Iterator[str]:
    """One that mends several in a row is said once, after them."""
    for number, one in enumerate(lacks, 1):
        yield f"missing: {one['what']}"
        if number == len(lacks) or lacks[number]["fix"] != one["fix"]:
            yield f"  fix: {one['fix']}"


def not_ready(session: Session, seen: Observed) -> tuple[str, ...]:
    """A line for each host whose GPUs cannot be given out, with what `gpu check` would say first."""
    told = []
    for host, there in seen.hosts.items():
        wanted = said_of(session.course, host)
        missing = gpu_setup.lacks(wanted, there.facts, there.engine_gpus) if there.facts else []
        if missing:
            more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
            told.append(f"{host}: GPUs: {missing[0].what}{more} (see: occamctl gpu check --host {host})")
    return tuple(told)


def unwatched(course: Course, seen: Observed, but: Collection[str] = ()) -> tuple[str, ...]:
    """A line for each host whose watcher cannot start: nobody knows how busy its GPUs are, or that one broke.

    but  hosts that have just begun to lend: what failed there before tells nothing
    """
    watcher, lends = seen.services.get(course.names.gpus), lends_label(course.course)
    return tuple(
        f"{host}: nobody looks at what its GPUs do, so none is taken back when idle: {watcher.failing[there.node_id]} "
        "(see: occamctl logs gpus)"
        for host, there in seen.hosts.items()
        if host not in but
        and watcher
        and there.node_id in watcher.failing
        and seen.node_labels.get(host, {}).get(lends)
    )


def out_of_service(session: Session, seen: Observed) -> tuple[str, ...]:
    """The same, and hosts whose GPUs were found out of service; a host is named once."""
    told = not_ready(session, seen)
    named = {line.partition(": ")[0] for line in told}
    return (*told, *(line for line in taken_out(seen) if line.partition(": ")[0] not in named))


def taken_out(seen: Observed) -> tuple[str, ...]:
    """A line for each host with GPUs that its node says are out of service."""
    told = []
    for host, labels in seen.node_labels.items():
        for uuid, why in list(gpus.out(labels).items())[:1]:
            which = "its GPUs" if uuid == gpus.EVERY else uuid
            told.append(f"{host}: {which} out of service: {why}")
    return tuple(told)
