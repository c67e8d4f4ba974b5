"""GPUs of the course's hosts: what is there, and what is missing before they can be given out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from occamctl.actions.session import Session, each
from occamctl.errors import OccamError, SpecError
from occamctl.hosts import restart
from occamctl.plan import gpu_setup
from occamctl.plan.gpu_setup import Said
from occamctl.plan.gpus import called
from occamctl.plan.observed import EngineGpus, Gpu, HostFacts
from occamctl.spec.units import human_size


def said(session: Session, host: str) -> Said:
    """`gpus:` of a host; this machine, in a course without hosts, lends all that it has."""
    return next((one.gpus for one in session.course.hosts if one.hostname == host), "auto")


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
    facts, wanted = session.facts[host], said(session, host)
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
    if wanted == "none":
        return "not lent (gpus: none)"
    return "ready" if facts.gpus else "no GPU"


def _engine(session: Session, host: str, wanted: Said) -> EngineGpus | None:
    """What the engine knows, where that matters; None when none answers."""
    if not gpu_setup.concerned(wanted, session.facts[host]):
        return EngineGpus()
    try:
        return restart.of_info(session.engine(host).api.info())
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
    missing = [f"missing: {one['what']}\n    fix: {one['fix']}" for one in row["missing"]]
    return [head, *(f"  {line}" for line in [*told, *missing])]
