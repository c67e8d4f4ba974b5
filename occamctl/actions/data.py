"""The course's data: bring a set to the manager, make it what it should be there, and give every host the same files.

The truth is on the hosts: the manifest of each set (`engine/data_inside.py`). Whatever is interrupted is finished by
the same command, run again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from occamctl.actions.data_hosts import Say, Sets, bring, changing, give, look, look_with
from occamctl.actions.data_source import Local
from occamctl.actions.session import Session, each
from occamctl.errors import OccamError, PartlyDone, SpecError
from occamctl.spec.course import DataSet
from occamctl.spec.units import human_size
from occamctl.spec.words import is_address


@dataclass(frozen=True)
class Added:
    """A set that every host has now. `sent` are the hosts that lacked it or had it otherwise."""

    name: str
    manifest: Mapping[str, Any]
    sent: tuple[str, ...]
    fetched: bool
    declared: bool


def rows(session: Session) -> list[dict[str, Any]]:
    """A row for each set that a host has, or that the course file declares."""
    found = look(session)
    declared = {one.name: one for one in session.course.data}
    names = sorted({name for sets in found.values() for name in sets} | declared.keys())
    return [_row(name, found, declared.get(name)) for name in names]


def _row(name: str, found: Mapping[str, Sets], declared: DataSet | None) -> dict[str, Any]:
    best = _best(name, found, declared.sha256 if declared else None)
    having = sorted(host for host, sets in found.items() if _good(sets, name, best["version"] if best else ""))
    missing = sorted(found.keys() - set(having))
    return {
        "name": name,
        "rows": best["rows"] if best else None,
        "size": human_size(best["size"]) if best else "",
        "bytes": best["size"] if best else None,
        "source": best["source"] if best else (declared.shown if declared else ""),
        "sha256": best["sha256"] if best else (declared.sha256 if declared else None) or "",
        "declared": declared is not None,
        "hosts": having,
        "missing": missing,
        "state": ("whole" if not missing else f"not on {', '.join(missing)}") if best else "not there",
    }


def add(session: Session, name: str, source: str, sha256: str, say: Say) -> Added:
    """Give every host the set `name`.

    source  an address or a path; "": as the course file says, or as some host has it
    sha256  of the source; "": as the course file says, or any

    Raises SpecError, HostError, DoesNotFit, PartlyDone when a host did not answer, Busy.
    """
    asked, declared = _asked(session, name, source, sha256)
    manager = session.hosts[0]
    if manager in session.errors:
        raise session.errors[manager]
    with changing(session) as loaders:
        if manager not in loaders:
            raise session.errors[manager]
        found = look_with(session, loaders, say, deep=True, name=name)
        best = _best(name, found, asked.sha256 if asked else None)
        if asked is None and best is None:
            raise SpecError(
                f"no host has {name} whole, and the course file does not say where it comes from",
                fix=f"run: occamctl data add {name} --from ADDRESS-OR-FILE",
            )
        fetched = asked is not None and not _is(best, asked, say, given=bool(source))
        if fetched:
            assert asked is not None
            best = bring(loaders[manager], asked, say)
        assert best is not None
        having = [host for host in found if _good(found[host], name, best["version"]) and not fetched]
        first = manager if fetched else having[0]
        lacking = [host for host in found if host not in having and host != first]
        _, errors = each(lacking, lambda host: give(loaders[first], loaders[host], name, say))
    _raise_partly(session, errors, f"occamctl data add {name}")
    return Added(name, best, tuple(lacking), fetched, declared)


def verify(session: Session, name: str, say: Say) -> list[dict[str, Any]]:
    """Read every file of every set on every host, of one set when `name` is given: a row for each set and host.

    `state` is whole, missing, or what is wrong; `fix` is how to mend it.
    """
    found = look(session, say, deep=True)
    declared = {one.name: one for one in session.course.data}
    known = sorted({one for sets in found.values() for one in sets} | declared.keys())
    if name and name not in known:
        raise _unknown(name, known)
    return [row for one in ([name] if name else known) for row in _verified(one, found, declared.get(one))]


def _verified(name: str, found: Mapping[str, Sets], declared: DataSet | None) -> Iterator[dict[str, Any]]:
    best = _best(name, found, declared.sha256 if declared else None)
    for host, sets in found.items():
        one = sets.get(name)
        if one is None:
            state = "missing"
        elif one["wrong"]:
            some = ", ".join(one["wrong"][:3]) + (", …" if len(one["wrong"]) > 3 else "")
            state = f"{len(one['wrong'])} file{'s differ' if len(one['wrong']) != 1 else ' differs'}: {some}"
        elif best is None or one["version"] != best["version"]:
            state = "another version than the other hosts have" if best else "another sha256 than the course file says"
        else:
            state = "whole"
        fix = (
            ""
            if state == "whole"
            else f"run: occamctl data add {name}" + ("" if best or declared else " --from ADDRESS-OR-FILE")
        )
        yield {"name": name, "host": host, "state": state, "fix": fix}


def remove(session: Session, name: str, say: Say) -> list[str]:
    """Take the set from every host; hosts that had it. Raises SpecError when none has, PartlyDone."""
    with changing(session) as loaders:
        found = look_with(session, loaders, lambda *_: None, deep=False)
        answers, errors = each(loaders, lambda host: loaders[host].call("remove", name=name))
    gone = [host for host, was in answers.items() if was]
    for host in gone:
        say(host, "removed")
    if not gone and not errors and not session.errors:
        raise _unknown(name, sorted({one for sets in found.values() for one in sets}))
    _raise_partly(session, errors, f"occamctl data remove {name}")
    return gone


# Pieces --------------------------------------------------------------------------------------------------------------


def _asked(session: Session, name: str, source: str, sha256: str) -> tuple[DataSet | None, bool]:
    """What is asked for, and whether the course file declares it. Raises SpecError."""
    declared = next((one for one in session.course.data if one.name == name), None)
    if not source and declared is not None:
        source, sha256 = declared.source, sha256 or declared.sha256 or ""
    elif source and declared is not None and not sha256 and _path_or_address(source) == declared.source:
        sha256 = declared.sha256 or ""
    try:
        one = TypeAdapter(DataSet).validate_python(
            {"name": name, "source": _path_or_address(source) or "-", **({"sha256": sha256} if sha256 else {})}
        )
    except ValidationError as error:
        first = error.errors()[0]
        why = first.get("ctx", {}).get("error")
        raise SpecError(str(why or first["msg"]), fix=getattr(why, "fix", "")) from None
    return (one if source else None), declared is not None


def _path_or_address(source: str) -> str:
    return source if not source or is_address(source) else str(Path(source).expanduser().absolute())


def _best(name: str, found: Mapping[str, Sets], sha256: str | None) -> Mapping[str, Any] | None:
    """The version that all should have: that of the first host, the manager, which has it whole."""
    for sets in found.values():
        one = sets.get(name)
        if one and not one["wrong"] and (not sha256 or one["sha256"] == sha256):
            return one
    return None


def _good(sets: Sets, name: str, version: str) -> bool:
    one = sets.get(name)
    return one is not None and not one["wrong"] and one["version"] == version


def _is(best: Mapping[str, Any] | None, asked: DataSet, say: Say, *, given: bool) -> bool:
    """Whether the version that is there is made of the source that is asked for.

    given  the source is of the command line; one of the course file need not be on everybody's machine
    """
    if best is None:
        return False
    if is_address(asked.source) or (not given and not Path(asked.source).exists()):
        return bool(best["source"] == asked.shown or best["sha256"] == asked.sha256)
    return bool(Local(Path(asked.source)).sha256(lambda text: say("", text)) == best["sha256"])


def _unknown(name: str, known: list[str]) -> SpecError:
    return SpecError(
        f"no host has data called {name!r}", fix=f"one of: {', '.join(known)}" if known else "none is there"
    )


def _raise_partly(session: Session, errors: Mapping[str, OccamError], command: str) -> None:
    """Raises PartlyDone when some host failed or did not answer."""
    failed = {**session.errors, **errors}
    if failed:
        partly = PartlyDone(f"not on {', '.join(sorted(failed))}", fix=f"run: {command}, again when they answer")
        partly.others = list(failed.values())
        raise partly
