"""The course's data on its hosts: what is there, how a set comes to the manager, and from host to host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from occamctl.actions.data_source import Local
from occamctl.actions.session import Session, each
from occamctl.engine import images
from occamctl.engine.client import Engine
from occamctl.engine.loader import LOADING, Loader, clear, loader, there
from occamctl.errors import HostError, SpecError
from occamctl.hosts.lock import holding
from occamctl.plan.seen import SeenData
from occamctl.spec.course import DataSet
from occamctl.spec.names import digest
from occamctl.spec.words import is_address

Say = Callable[[str, str], None]
Sets = Mapping[str, Mapping[str, Any]]
"""By name, what one host has of a set: its manifest without the files, `version`, and files that are `wrong`."""


def look(session: Session, say: Say = lambda *_: None, *, deep: bool = False) -> dict[str, Sets]:
    """What each host that answers has."""
    image, course = image_of(session), session.course.course
    holding_any, errors = each(_answering(session), lambda host: there(session.engine(host), course))
    session.errors.update(errors)
    with ExitStack() as stack:
        hosts = [host for host in _answering(session) if holding_any.get(host)]
        loaders = _loaders(session, stack, hosts, image, only_look=True)
        found = look_with(session, loaders, say, deep=deep)
    return {host: found.get(host, {}) for host in _answering(session) if host not in session.errors}


def look_with(
    session: Session, loaders: Mapping[str, Loader], say: Say, *, deep: bool, name: str = ""
) -> dict[str, Sets]:
    """The same with loaders that run already. Raises the error of a host when none answers."""
    answers, errors = each(
        loaders, lambda host: loaders[host].call("look", lambda text: say(host, text), deep=deep, name=name)
    )
    _noted(session, answers, errors)
    return answers


@contextmanager
def changing(session: Session, hosts: Iterable[str] = ()) -> Iterator[dict[str, Loader]]:
    """A loader on each host that answers, while nobody else changes the course's data."""
    course, image = session.course.course, image_of(session)
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
    """They are ended by the main thread: when it is interrupted, too. Raises the error of a host when none answers."""

    def opened(host: str) -> Loader:
        if not only_look:  # nobody else changes anything now, so these are of commands that were killed
            clear(session.engine(host), session.course.course, LOADING)
        return stack.enter_context(loader(session.engine(host), session.course.course, image, only_look=only_look))

    made, errors = each(hosts, opened)
    _noted(session, made, errors)
    return made


def _noted(session: Session, answers: Mapping[str, Any], errors: Mapping[str, HostError]) -> None:
    session.errors.update(errors)
    if errors and not answers:
        raise next(iter(errors.values()))


def image_of(session: Session) -> str:
    return images.of_course(session.course.image)[1].tag


def bring(to: Loader, asked: DataSet, say: Say) -> Mapping[str, Any]:
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


def give(source: Loader, target: Loader, name: str, say: Say) -> None:
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
    with changing(session, [session.hosts[0]]) as loaders:
        bring(loaders[session.hosts[0]], asked, lambda _, text: say(text))


def send(session: Session, name: str, source: str, host: str, say: Callable[[str], None]) -> None:
    """Give `host` the set that the host `source` has."""
    image = image_of(session)
    with (
        loader(session.engine(source), session.course.course, image, only_look=True) as first,
        loader(session.engine(host), session.course.course, image) as second,
    ):
        give(first, second, name, lambda _, text: say(text))
