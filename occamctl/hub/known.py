"""Tell the running hub who came and who left, over its own API.

Somebody who left is out at once: the hub deletes the user with every session and token. Somebody who came can be
given a notebook or a GPU before the first sign-in. A hub that does not answer even after a while is no error: it takes
whoever has an account when it starts, and refuses who has none (`RosterAuthenticator.refresh_user`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

from occamctl import wait
from occamctl.errors import TookTooLong
from occamctl.hub.settings import Settings

SECONDS = 10
STARTING = 60
"""Seconds that a hub may take to answer. One that starts has read who has an account before it listens, and would know
nobody who came in between until its next start."""
REMOVAL = 75
"""Seconds for a removal: the hub stops the person's notebook first, and that has 30 s to save and end its kernels."""


def add(hub: Settings, usernames: Iterable[str]) -> str:
    """Make the hub's users; returns "" or why the hub was not told."""
    listed = list(usernames)
    if not listed:
        return ""
    try:
        status, said = wait.until(
            lambda: _ask(hub, "POST", "/users", {"usernames": listed}),
            lambda answer: answer[0] != 0,
            "the hub",
            seconds=STARTING,
            describe=lambda answer: answer[1],
        )
    except TookTooLong as error:
        return str(error)
    return "" if status in (200, 201, 409) else said


def remove(hub: Settings, usernames: Iterable[str]) -> str:
    """End the notebooks, sessions and tokens of these people; returns "" or why the hub was not told."""
    failed = []
    for name in usernames:
        status, said = _ask(hub, "DELETE", f"/users/{quote(name, safe='')}", seconds=REMOVAL)
        if status not in (204, 404):
            failed.append(f"{name}: {said}")
    return "; ".join(failed)


def _ask(hub: Settings, method: str, path: str, body: object = None, seconds: float = SECONDS) -> tuple[int, str]:
    """Status and words of the hub's answer; status 0 when there was none."""
    import http.client  # here, because most commands only list accounts, and this takes half of their start

    at = urlsplit(hub.bind_url)
    host = "127.0.0.1" if at.hostname == "0.0.0.0" else at.hostname
    connection = http.client.HTTPConnection(host or "127.0.0.1", at.port, timeout=seconds)
    try:
        token = hub.roster_token.read_text().strip()
        headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}
        connection.request(method, f"/hub/api{path}", json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(2000).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, f"the hub does not answer: {error}"
    finally:
        connection.close()
