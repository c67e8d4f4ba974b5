"""The hub's accounts, asked for and changed in the hub's container: there is no other door to them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from occamctl.actions.ask import NotThere
from occamctl.actions.pieces import container_of
from occamctl.actions.session import Session
from occamctl.errors import EngineError, from_dict
from occamctl.plan.wanted import HUB_DATA, Account
from occamctl.spec import names

_COMMAND = ("python", "-m", "occamctl.hub.accounts")
_LIST, _PER_PERSON, _STOP = 30, 2, 100
"""Seconds for reading, for hashing one password on a busy host, and for a removal, which ends a notebook first."""
_START = 80
"""Seconds until a hub that starts has been told (`hub.known.STARTING`, and one question more)."""


def listed(session: Session) -> tuple[Account, ...]:
    """Who may sign in now. Raises EngineError while the hub is not running."""
    return tuple(Account(**person) for person in _ask(session, {"command": "list"}, _LIST)["people"])


def seen(session: Session) -> tuple[Account, ...]:
    """The same as the hub wrote it down, which is quicker to read than its program starts."""
    container = container_of(session.manager, session.names.hub)
    content = session.manager.read_file(container, f"{HUB_DATA}/{names.PEOPLE}") if container else None
    if content is None:
        return listed(session)
    return tuple(Account(**person) for person in json.loads(content)["people"])


def put(session: Session, people: Iterable[Account], passwords: Mapping[str, str]) -> None:
    """Make or change these accounts; a password is set where one is given. Raises SpecError, EngineError."""
    told = [
        vars(person) | ({"password": passwords[person.username]} if person.username in passwords else {})
        for person in people
    ]
    if told:
        _ask(session, {"command": "put", "people": told}, _LIST + _START + _PER_PERSON * len(passwords))


def forget(session: Session, usernames: Iterable[str]) -> None:
    """End these accounts with their sessions, tokens and notebooks; homes stay."""
    gone = list(usernames)
    if gone:
        _ask(session, {"command": "remove", "names": gone}, _LIST + _STOP * len(gone))
    for name in gone:
        # The hub stops the notebook too; of one that the hub does not know, the gateway still does.
        try:
            session.gateway.delete(f"/users/{quote(name, safe='')}/notebook", timeout=_STOP)
        except NotThere:
            continue


def _ask(session: Session, command: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    container = container_of(session.manager, session.names.hub)
    if not container:
        raise EngineError("the hub is not running", where=session.manager.name, fix="run: occamctl course up")
    code, out, err = session.manager.exec(container, _COMMAND, json.dumps(command).encode(), seconds=seconds)
    try:
        answer: dict[str, Any] = json.loads(out)
    except ValueError:
        words = err.decode(errors="replace").strip().splitlines()
        raise EngineError(
            f"the hub gave no answer ({words[-1] if words else f'exit status {code}'})",
            where=session.manager.name,
            fix="see: occamctl logs hub",
        ) from None
    if "error" in answer:
        raise from_dict(answer["error"])
    return answer
