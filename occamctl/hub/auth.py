"""Sign-in: the people of the course's roster, with passwords."""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jupyterhub.auth import Authenticator
from jupyterhub.orm import Group
from sqlalchemy.orm import object_session
from tornado.web import HTTPError
from traitlets import Unicode

from occamctl.hub.accounts import Accounts, Person
from occamctl.hub.throttle import Throttle

AT_ONCE = 2
"""Passwords that are checked at the same time: each takes 19 MiB and a core for some 30 ms."""


class RosterAuthenticator(Authenticator):
    """People who are in the accounts file at the moment they sign in; user names stay exactly as they are written."""

    accounts_file = Unicode("/srv/hub/accounts.json", config=True, help="File that `occamctl.hub.accounts` writes.")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._accounts = Accounts(Path(self.accounts_file))
        self._throttle = Throttle()
        self._checks = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="password")

    def normalize_username(self, username: str) -> str:
        """As it is: JupyterHub's own would make Anna and anna one user."""
        return username

    async def authenticate(self, handler: Any, data: dict[str, str]) -> dict[str, Any] | None:
        """Who signs in, with groups; None for a wrong name or password. Raises 429 after too many wrong ones."""
        typed, password = data.get("username", ""), data.get("password", "")
        wait = self._throttle.wait(typed)
        if wait:
            raise HTTPError(429, f"Too many wrong passwords. Try again in {math.ceil(wait)} seconds.")
        self._throttle.wrong(typed)  # counted before the check, so that many tries at once count too
        loop = asyncio.get_running_loop()
        person = await loop.run_in_executor(self._checks, self._accounts.verify, typed, password)
        if person is None:
            return None
        self._throttle.right(typed)
        return _model(person)

    async def refresh_user(self, user: Any, handler: Any = None) -> dict[str, Any] | bool:
        """False when the person has left the roster: the session and the notebook's token are worth nothing then."""
        person = self._accounts.people().get(user.name)
        if person is None:
            return False
        groups = sorted(group.name for group in user.orm_user.groups)
        return True if groups == sorted(person.groups) else _model(person)

    def add_user(self, user: Any) -> None:
        """Give the groups to whoever is new, and to all when the hub starts.

        JupyterHub does it at the sign-in; but an operator gives a GPU to somebody who has never signed in, and the
        quota and the reservations of a group count for that too.

        user  the hub's, or its database's when the hub starts
        """
        super().add_user(user)
        person, there = self._accounts.people().get(user.name), getattr(user, "orm_user", user)
        if person is None or {group.name for group in there.groups} == set(person.groups):
            return
        db = object_session(there)
        assert db is not None  # both kinds come out of it
        known = {group.name: group for group in db.query(Group).filter(Group.name.in_(person.groups))}
        there.groups = [known.get(name) or Group(name=name) for name in person.groups]
        db.commit()


def _model(person: Person) -> dict[str, Any]:
    return {"name": person.username, "admin": False, "groups": person.groups}
