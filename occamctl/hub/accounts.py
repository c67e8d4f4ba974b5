"""Who may sign in: /srv/hub/accounts.json, written here and read again at every sign-in.

As a program (`python -m occamctl.hub.accounts`, run in the hub's container) it reads one JSON command from standard
input and answers in JSON on standard output:

    {"command": "list"}
    {"command": "put", "people": [{"username", "role", "group", "name", "email", "password"?}]}
    {"command": "remove", "names": [...]}

Hashes never leave the file. All else lies in people.json beside it, for `occamctl` to read without a program that has
to start: it is there only while it is true.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from occamctl.errors import OccamError, SpecError
from occamctl.hub import known, passwords, settings
from occamctl.spec import names

ROLES = ("student", "instructor")


@dataclass(frozen=True)
class Person:
    """One account."""

    username: str
    role: str = "student"
    group: str = ""
    name: str = ""
    email: str = ""
    kept: str = field(default="", repr=False)
    """Hash of the password."""

    @property
    def groups(self) -> list[str]:
        """The hub's groups of this person: the role, and the group of the roster."""
        return [self.role, self.group] if self.group else [self.role]

    def public(self) -> dict[str, str]:
        return {key: value for key, value in asdict(self).items() if key != "kept"}


class Accounts:
    """The accounts in one file. Reading is cheap: the file is parsed again only when it changed."""

    def __init__(self, path: Path) -> None:
        self.path, self._told = path, path.with_name(names.PEOPLE)
        self._read: tuple[tuple[int, int, int], dict[str, Person]] | None = None

    def people(self) -> dict[str, Person]:
        """Everybody, by user name. No file means nobody. Raises SpecError when the file is damaged."""
        try:
            now = self.path.stat()
            stamp = (now.st_ino, now.st_mtime_ns, now.st_size)
            if self._read is None or self._read[0] != stamp:
                listed = json.loads(self.path.read_text())["people"]
                self._read = stamp, {name: Person(**said) for name, said in listed.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SpecError(f"the accounts are damaged: {error!r}", where=str(self.path)) from None
        return self._read[1]

    def listed(self) -> list[dict[str, str]]:
        """Everybody as all may know them; people.json says the same afterwards."""
        with self._locked() as there:
            self._tell(there)
        return [person.public() for person in there.values()]

    def find(self, typed: str) -> Person | None:
        """The person with this name; capitals do not matter where only one person can be meant."""
        people = self.people()
        if typed in people:
            return people[typed]
        alike = [person for name, person in people.items() if name.casefold() == typed.casefold()]
        return alike[0] if len(alike) == 1 else None

    def verify(self, typed: str, password: str) -> Person | None:
        """The person, when name and password agree. Takes the same time for a name that nobody has."""
        person = self.find(typed)
        right = passwords.matches(password, person.kept if person else None)
        return person if right else None

    def put(self, people: Iterable[Mapping[str, str]]) -> list[str]:
        """Add people, or change what is said of them; a password is set where one is given.

        Returns the names of those who are new. Raises SpecError, and then changes nothing.
        """
        asked = list(people)
        with self._locked() as there:
            before = set(there)
            there.update({person.username: person for person in (_changed(there, one) for one in asked)})
            self._write(there)
        return [name for name in there if name not in before]

    def remove(self, usernames: Iterable[str]) -> list[str]:
        """Forget these people; returns those who were there."""
        with self._locked() as there:
            gone = [name for name in dict.fromkeys(usernames) if there.pop(name, None)]
            if gone:
                self._write(there)
        return gone

    @contextmanager
    def _locked(self) -> Iterator[dict[str, Person]]:
        """The people, while nobody else writes."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield dict(self.people())
        finally:
            os.close(lock)

    def _write(self, people: Mapping[str, Person]) -> None:
        self._told.unlink(missing_ok=True)
        self._replace(self.path, {name: person.public() | {"kept": person.kept} for name, person in people.items()})
        self._tell(people)

    def _tell(self, people: Mapping[str, Person]) -> None:
        self._replace(self._told, [person.public() for person in people.values()])

    @staticmethod
    def _replace(file: Path, people: object) -> None:
        """All or nothing, readable by the hub alone (mkstemp makes 0600)."""
        made, path = tempfile.mkstemp(dir=file.parent, prefix=".accounts-")
        try:
            with os.fdopen(made, "w") as draft:
                json.dump({"people": people}, draft)
                draft.flush()
                os.fsync(draft.fileno())
            os.replace(path, file)
        except BaseException:
            Path(path).unlink(missing_ok=True)
            raise


def _changed(there: Mapping[str, Person], said: Mapping[str, str]) -> Person:
    username = str(said.get("username", ""))
    if not names.is_user_name(username):
        raise SpecError(f"{username!r} cannot be a user name")
    old = there.get(username, Person(username))
    told = {key: str(said[key] or "") for key in ("role", "group", "name", "email") if key in said}
    person = replace(old, **told)
    if person.role not in ROLES:
        raise SpecError(f"{person.role!r} is no role", where=username, fix=f"one of: {', '.join(ROLES)}")
    if person.group in ROLES:
        # Rights hang on the hub's groups: a group of the roster must not give those of a role.
        raise SpecError(f"{person.group!r} is a role and cannot be a group", where=username)
    password = said.get("password")
    if password is None and not old.kept:
        raise SpecError("a new account needs a password", where=username)
    if password is not None and not 0 < len(password) <= passwords.LONGEST:
        raise SpecError(f"a password has 1 to {passwords.LONGEST} characters", where=username)
    return replace(person, kept=passwords.hashed(password)) if password is not None else person


def obey(command: object, hub: settings.Settings) -> dict[str, Any]:
    """Do one command; the hub that runs is told too. Raises SpecError for one that is not known or wrong."""
    accounts = Accounts(hub.accounts)
    match command:
        case {"command": "list"}:
            return {"people": accounts.listed()}
        case {"command": "put", "people": [*people]} if all(isinstance(one, dict) for one in people):
            new = accounts.put(people)
            return {"new": new, "hub": known.add(hub, new)}
        case {"command": "remove", "names": [*gone]}:
            removed = accounts.remove(gone)
            return {"removed": removed, "hub": known.remove(hub, gone)}
    raise SpecError("not a command")  # it is not quoted: it may hold passwords


def main() -> int:
    try:
        answer = obey(json.load(sys.stdin), settings.read())
    except OccamError as error:
        answer = {"error": error.as_dict()}
    except ValueError as error:
        answer = {"error": SpecError(f"the command is no JSON: {error}").as_dict()}
    json.dump(answer, sys.stdout)
    return answer["error"]["exit_code"] if "error" in answer else 0


if __name__ == "__main__":
    raise SystemExit(main())
