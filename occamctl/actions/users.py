"""People of the course: the accounts of the hub, the roster file, and the course file say the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from occamctl.actions import accounts as door
from occamctl.actions import roster_file
from occamctl.actions.first_passwords import FEW, NewPasswords, file_of, fresh, keep
from occamctl.actions.session import Session
from occamctl.errors import SpecError
from occamctl.plan.wanted import Account
from occamctl.plan.wanted import accounts as wanted_accounts
from occamctl.spec import load
from occamctl.spec.course import Student
from occamctl.spec.nearest import nearest


@dataclass(frozen=True)
class Change:
    """What an addition or a removal did."""

    roster: Path | None
    """The roster file that was changed; None when none was."""
    agrees: bool
    """Whether the course file and its roster say the same now, so that the next `up` leaves it."""
    password: str = ""


def ensure_accounts(session: Session) -> NewPasswords:
    """Make the accounts equal to the course file and its roster; those who left cannot sign in from now on.

    Raises EngineError while the hub is not running.
    """
    there = {person.username: person for person in door.listed(session)}
    wanted = {person.username: person for person in wanted_accounts(session.course)}
    new = {name: fresh() for name in wanted if name not in there}
    path = file_of(session.path, session.course.course)
    if new and path:
        # Before the accounts are made: a password that nobody has written down would be lost with this process.
        keep(path, session.course.people, new)
    door.put(session, [person for name, person in wanted.items() if there.get(name) != person], new)
    door.forget(session, sorted(there.keys() - wanted.keys()))
    return NewPasswords(new if len(new) <= FEW or path is None else {}, path if new else None)


def rows(session: Session) -> list[dict[str, str]]:
    """Everybody whom the hub or the course file knows, and what the next `course up` would do about it."""
    there = {person.username: person for person in door.listed(session)}
    wanted = {person.username: person for person in wanted_accounts(session.course)}
    made = []
    for name in sorted(there.keys() | wanted.keys(), key=str.casefold):
        state = "yes"
        if name not in there:
            state = "after course up"
        elif name not in wanted:
            state = "until course up"
        elif there[name] != wanted[name]:
            state = "yes; course up changes it"
        made.append({**vars(there.get(name) or wanted[name]), "account": state})
    return made


def person(username: str, *, name: str = "", email: str = "", group: str = "") -> Student:
    """A person as the roster would have them. Raises SpecError for a name that cannot be one."""
    try:
        return Student(username=username, name=name, email=email, group=group)
    except ValidationError as error:
        first = error.errors()[0]
        fix = str(getattr(first.get("ctx", {}).get("error"), "fix", ""))
        raise SpecError(str(first["msg"]).removeprefix("Value error, "), where=username, fix=fix) from None


def add(session: Session, new: Student, role: str) -> Change:
    """Make an account at once, and write a student into the roster file if the course has one.

    Raises SpecError when there is such a person, or the roster would be wrong with them.
    """
    if any(one.username == new.username for one in door.listed(session)):
        raise SpecError("has an account already", where=new.username, fix=f"occamctl user password {new.username}")
    in_file = any(one.username == new.username for one in session.course.people)
    roster = _roster(session) if role == "student" and not in_file else None
    if roster:
        roster_file.append(roster, new, lambda: load.load(session.path))
    if in_file:
        account = next(one for one in wanted_accounts(session.course) if one.username == new.username)
    else:
        account = Account(new.username, role, new.group, new.name, new.email)
    password = fresh()
    door.put(session, [account], {new.username: password})
    return Change(roster, agrees=in_file or bool(roster), password=password)


def remove(session: Session, username: str) -> Change:
    """End the person's account, sessions, tokens and notebook, and take them out of the roster file, if one names them.

    The home stays on its host. Raises SpecError for an unknown name.
    """
    check_known(session, username)
    roster = _roster(session)
    dropped = roster_file.drop(roster, username) if roster else False
    door.forget(session, [username])
    in_file = any(one.username == username for one in session.course.people)
    return Change(roster if dropped else None, agrees=dropped or not in_file)


def set_password(session: Session, username: str, password: str = "") -> str:
    """Give an account a new password, a made one when none is given, and return it. Raises SpecError."""
    there = {one.username: one for one in door.listed(session)}
    if username not in there:
        raise _unknown(username, there)
    password = password or fresh()
    door.put(session, [there[username]], {username: password})
    return password


def check_known(session: Session, username: str) -> None:
    """Raise SpecError when neither the course file nor the hub knows the name."""
    known = {one.username for one in session.course.people}
    if username not in known:
        known |= {one.username for one in door.listed(session)}
    if username not in known:
        raise _unknown(username, known)


def _unknown(username: str, known: Iterable[str]) -> SpecError:
    near = nearest(username, sorted(known))
    return SpecError(
        "nobody in this course has this name",
        where=username,
        fix=f"did you mean {near}?" if near else "see: occamctl user list",
    )


def _roster(session: Session) -> Path | None:
    return None if str(session.path) == "-" else load.roster_path(session.path)
