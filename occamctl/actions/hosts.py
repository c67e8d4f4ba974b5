"""`occamctl host …`: list, prepare, and run a command on all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from occamctl.actions.session import Session, each
from occamctl.errors import HostError, OccamError, Refused
from occamctl.hosts import gpu_prepare, walls
from occamctl.hosts import prepare as engines
from occamctl.hosts.facts import too_old
from occamctl.hosts.machine import Ran
from occamctl.plan.gpu_setup import lent
from occamctl.plan.lending import said_of
from occamctl.plan.observed import HostFacts
from occamctl.plan.walls import rules_for

READY = "ready"
Say = Callable[[str, str], None]


def rows(session: Session) -> list[dict[str, Any]]:
    """One row for each host of the course, also for those that did not answer."""
    session.gather_facts()
    usable = {host: there for host, there in session.machines.items() if _state(session.facts[host])["state"] == READY}
    _, unusable = each(usable, session.engine)  # whether one may use it shows only when it is used
    session.errors.update(unusable)
    return [row(session, host) for host in session.hosts]


def row(session: Session, host: str) -> dict[str, Any]:
    """What is known of a host; `state` says why nothing is."""
    role = "manager" if host == session.hosts[0] else "host"
    facts = session.facts.get(host)
    if facts is None:
        error = session.errors.get(host)
        return {
            "host": host,
            "role": role,
            "state": error.what if error else "not asked",
            "fix": error.fix if error else "",
        }
    gpus = lent(said_of(session.course, host), facts)
    return {
        "host": host,
        "role": role,
        "cores": facts.cores,
        "memory": _of(facts.memory_free, facts.memory),
        "disk": _of(facts.disk_free, facts.disk),
        "gpus": len(gpus),
        "engine": facts.engine or "none",
        "load": facts.load,
        **({"state": session.errors[host].what} if host in session.errors else _state(facts)),
        "address": facts.address,
        "system": facts.system,
        "memory_bytes": facts.memory,
        "memory_free_bytes": facts.memory_free,
        "disk_bytes": facts.disk,
        "disk_free_bytes": facts.disk_free,
        "gpu_models": [gpu.model for gpu in gpus],
    }


def _of(free: int, whole: int) -> str:
    """Bytes free of all, short enough for a column."""
    return f"{free / 2**30:.0f}/{whole / 2**30:.0f}G"


def _state(facts: HostFacts) -> dict[str, str]:
    if not facts.engine:
        return {"state": "no engine", "fix": "run: occamctl host prepare"}
    if too_old(facts.engine):
        return {"state": "engine too old", "fix": "install Docker 20.10 or newer there"}
    return {"state": READY}


def prepare(session: Session, say: Say, *, gpu: bool = False, may_restart: bool = False) -> dict[str, list[str]]:
    """Ensure an engine on every host, and its rules for containers; what was done on each.

    Hosts that failed are in `session.errors`. The rules name the addresses of the hosts that answered; `course up`,
    which needs all of them, sets them again.

    gpu          also what their GPUs need
    may_restart  engines may be restarted for that, although containers run there
    """
    session.gather_facts()
    rules = rules_for(session.course, session.facts)

    def one(host: str) -> list[str]:
        machine, speak = session.machines[host], lambda text: say(host, text)
        did = engines.prepare(machine, speak)
        if gpu:
            did += gpu_prepare.prepare_gpus(machine, said_of(session.course, host), speak, may_restart=may_restart)
        new = not machine.is_local and walls.ensure(machine, session.names.walls_table, rules)
        return [*did, "set the rules for containers"] if new else did

    done, errors = each(session.machines, one)
    session.errors.update(errors)
    return done


def undo(session: Session, say: Say, *, may_restart: bool = False) -> dict[str, list[str]]:
    """Take away what `prepare` brought; what was done on each host. Others' engines stay."""

    def one(host: str) -> list[str]:
        machine, table, speak = session.machines[host], session.names.walls_table, lambda text: say(host, text)
        did = gpu_prepare.undo_gpus(machine, speak, may_restart=may_restart)
        return [*did, *engines.undo_prepare(machine, speak, "" if machine.is_local else table)]

    done, errors = each(session.machines, one)
    session.errors.update(errors)
    return done


def run(session: Session, command: Sequence[str], *, sudo: bool, seconds: float) -> dict[str, Ran]:
    """Run a command on every host at the same time. Hosts that failed to run it are in `session.errors`."""
    done, errors = each(
        session.machines,
        lambda host: session.machines[host].run(command, sudo=sudo, seconds=seconds, check=False),
    )
    session.errors.update(errors)
    return done


def raise_errors(errors: dict[str, HostError]) -> None:
    """Raise the first of several hosts' errors, with the others; where all hosts refused, that is what it is."""
    if errors:
        causes = [error.__cause__ for error in errors.values()]
        refused = [cause for cause in causes if isinstance(cause, Refused)]
        first: OccamError
        first, *rest = refused if len(refused) == len(causes) else errors.values()
        first.others = rest
        raise first
