"""The course's data: bring a set to the manager, make it what it should be there, and give every host the same files.

The truth is on the hosts: the manifest of each set (`engine/data_inside.py`). Whatever is interrupted is finished by
the same command, run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import TypeAdapter, ValidationError

from occamctl.actions.data_source import Local
from occamctl.actions.session import Session, each
from occamctl.engine import images
from occamctl.engine.client import Engine
from occamctl.engine.loader import Loader, loader, there
from occamctl.errors import OccamError, PartlyDone, SpecError
from occamctl.hosts.lock import holding
from occamctl.plan.seen import SeenData
from occamctl.spec.course import DataSet
from occamctl.spec.names import digest
from occamctl.spec.units import human_size
from occamctl.spec.words import is_address

Say = Callable[[str, str], None]
Sets = Mapping[str, Mapping[str, Any]]
"""By name, what one host has of a set: its manifest without the files, `version`, and files that are `wrong`."""


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
    found = _look(session)
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
    with _changing(session) as loaders:
        found = _look_with(loaders, say, deep=True, name=name)
        best = _best(name, found, asked.sha256 if asked else None)
        if asked is None and best is None:
            raise SpecError(
                f"no host has {name} whole, and the course file does not say where it comes from",
                fix=f"run: occamctl data add {name} --from ADDRESS-OR-FILE",
            )
        fetched = asked is not None and not _is(best, asked, say)
        if fetched:
            assert asked is not None
            best = _bring(loaders[manager], asked, say)
        assert best is not None
        having = [host for host in loaders if _good(found[host], name, best["version"]) and not fetched]
        first = manager if fetched else having[0]
        lacking = [host for host in loaders if host not in having and host != first]
        _, errors = each(lacking, lambda host: _send(loaders[first], loaders[host], name, say))
    _raise_partly(session, errors, f"occamctl data add {name}")
    return Added(name, best, tuple(lacking), fetched, declared)


def verify(session: Session, name: str, say: Say) -> list[dict[str, Any]]:
    """Read every file of every set on every host, of one set when `name` is given: a row for each set and host.

    `state` is whole, missing, or what is wrong; `fix` is how to mend it.
    """
    found = _look(session, say, deep=True)
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
    with _changing(session) as loaders:
        found = _look_with(loaders, lambda *_: None, deep=False)
        answers, errors = each(loaders, lambda host: loaders[host].call("remove", name=name))
    gone = [host for host, was in answers.items() if was]
    for host in gone:
        say(host, "removed")
    if not gone and not errors and not session.errors:
        raise _unknown(name, sorted({one for sets in found.values() for one in sets}))
    _raise_partly(session, errors, f"occamctl data remove {name}")
    return gone


# For `course up` -----------------------------------------------------------------------------------------------------


def seen(engine: Engine, course: str, image: str) -> dict[str, SeenData]:
    """The sets that this host has whole, as far as their files' sizes tell, by name."""
    if not there(engine, course):
        return {}
    with loader(engine, course, image, only_look=True) as looking:
        sets = looking.call("look")
    return {
        name: SeenData(one["version"], one["sha256"], one["source"]) for name, one in sets.items() if not one["wrong"]
    }


def fetch(session: Session, name: str, say: Callable[[str], None]) -> None:
    """Bring a declared set to the manager. Raises as `add` does."""
    asked = next(one for one in session.course.data if one.name == name)
    with _changing(session, [session.hosts[0]]) as loaders:
        _bring(loaders[session.hosts[0]], asked, lambda _, text: say(text))


def send(session: Session, name: str, source: str, host: str, say: Callable[[str], None]) -> None:
    """Give `host` the set that the host `source` has."""
    image = _image(session)
    with (
        loader(session.engine(source), session.course.course, image, only_look=True) as first,
        loader(session.engine(host), session.course.course, image) as second,
    ):
        _send(first, second, name, lambda _, text: say(text))


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


def _image(session: Session) -> str:
    return images.of_course(session.course.image)[1].tag


@contextmanager
def _changing(session: Session, hosts: Iterable[str] = ()) -> Iterator[dict[str, Loader]]:
    """A loader on each host that answers, while nobody else changes the course's data."""
    course, image = session.course.course, _image(session)
    with ExitStack() as stack:
        if session.hosts[0] in session.machines:
            stack.enter_context(holding(session.machines[session.hosts[0]], f"{course}-data"))
        yield _loaders(session, stack, list(hosts) or _answering(session), image, only_look=False)


def _answering(session: Session) -> list[str]:
    """The manager first."""
    return [host for host in session.hosts if host in session.machines]


def _loaders(
    session: Session, stack: ExitStack, hosts: Iterable[str], image: str, *, only_look: bool
) -> dict[str, Loader]:
    """They are ended by the main thread: when it is interrupted, too. Raises the error of the last one left."""

    def opened(host: str) -> Loader:
        return stack.enter_context(loader(session.engine(host), session.course.course, image, only_look=only_look))

    made, errors = each(hosts, opened)
    session.errors.update(errors)
    if errors and not made:
        raise next(iter(errors.values()))
    return made


def _look(session: Session, say: Say = lambda *_: None, *, deep: bool = False) -> dict[str, Sets]:
    """What each host that answers has."""
    image, course = _image(session), session.course.course
    holding_any, errors = each(_answering(session), lambda host: there(session.engine(host), course))
    session.errors.update(errors)
    with ExitStack() as stack:
        hosts = [host for host in _answering(session) if holding_any.get(host)]
        loaders = _loaders(session, stack, hosts, image, only_look=True)
        found = _look_with(loaders, say, deep=deep)
    return {host: found.get(host, {}) for host in _answering(session) if host not in session.errors}


def _look_with(loaders: Mapping[str, Loader], say: Say, *, deep: bool, name: str = "") -> dict[str, Sets]:
    answers, errors = each(
        loaders, lambda host: loaders[host].call("look", lambda text: say(host, text), deep=deep, name=name)
    )
    for error in errors.values():
        raise error
    return answers


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


def _is(best: Mapping[str, Any] | None, asked: DataSet, say: Say) -> bool:
    """Whether the version that is there is made of the source that is asked for."""
    if best is None:
        return False
    if is_address(asked.source):
        return bool(best["source"] == asked.shown)
    if asked.sha256 and asked.sha256 == best["sha256"] and not Path(asked.source).exists():
        return True
    return bool(Local(Path(asked.source)).sha256(lambda text: say("", text)) == best["sha256"])


def _bring(to: Loader, asked: DataSet, say: Say) -> Mapping[str, Any]:
    """Bring the source to the manager and make the set of it there; what the manager has then."""
    host = to.engine.name

    def tell(text: str) -> None:
        say(host, f"{asked.name}: {text}")

    if is_address(asked.source):
        to.call("begin", name=asked.name, key=digest(asked.source))
        to.call("fetch", tell, name=asked.name, url=asked.source)
        file, wanted = unquote(urlsplit(asked.source).path.rpartition("/")[2]) or asked.name, asked.sha256 or ""
    else:
        local = Local(Path(asked.source))
        wanted, file = local.sha256(tell), local.name
        if asked.sha256 and wanted != asked.sha256:
            raise SpecError(
                f"its sha256 is {wanted}, not {asked.sha256}", where=asked.source, fix="is it the right one?"
            )
        local.upload(to, asked.name, wanted, tell)
    made: Mapping[str, Any] = to.call(
        "make", tell, name=asked.name, file=file, source=asked.shown, sha256_wanted=wanted
    )
    return {**made, "wrong": []}


def _send(source: Loader, target: Loader, name: str, say: Say) -> None:
    """Give the target the files that it lacks; they go through this machine, as images do."""
    host = target.engine.name
    manifest = source.call("whole", name=name)
    files = target.call("want", lambda text: say(host, f"{name}: {text}"), name=name, manifest=manifest)
    if files:
        total = sum(manifest["files"][one]["size"] for one in files)
        target.take(name, _counted(source.raw("pack", name=name, files=files), total, name, host, say))
    target.call("put", lambda text: say(host, f"{name}: {text}"), name=name)
    say(host, f"{name}: there")


def _counted(pieces: Iterator[bytes], total: int, name: str, host: str, say: Say) -> Iterator[bytes]:
    gone, told = 0, 0
    for piece in pieces:
        yield piece
        gone += len(piece)
        if gone - told > total / 50 or not told:
            told = gone
            say(host, f"{name}: {min(gone, total) / 1e6:.0f} of {total / 1e6:.0f} MB gone")


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
