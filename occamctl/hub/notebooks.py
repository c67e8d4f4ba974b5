"""The hub's questions to the gateway about one notebook, without blocking the hub."""

from __future__ import annotations

import json
from functools import cache
from typing import Any
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from occamctl.errors import OccamError, from_dict

AT_ONCE = 100
NOT_FOUND = 404


class Unknown(OccamError):
    """The gateway knows no such notebook."""


class Unreachable(OccamError):
    """The gateway did not answer; what it would have said is not known."""


@cache
def _client() -> AsyncHTTPClient:
    # The shared client sends ten requests at a time: a class that signs in at once would queue behind slow starts.
    return AsyncHTTPClient(force_instance=True, max_clients=AT_ONCE)


async def ask(
    url: str, token: str, user: str, method: str, body: object = None, *, seconds: float = 20, what: str = "notebook"
) -> dict[str, Any]:
    """Ask for `user`'s notebook: GET looks, PUT starts, DELETE stops it.

    url   the gateway's API
    what  what of the user's it is asked for

    Raises the error that the gateway gave, or Unreachable.
    """
    request = HTTPRequest(
        f"{url}/users/{quote(user, safe='')}/{what}",
        method,
        headers={"Authorization": f"token {token}", "Content-Type": "application/json"},
        body=json.dumps(body) if body is not None else None,
        connect_timeout=min(seconds, 10),
        request_timeout=seconds,
    )
    try:
        answer = await _client().fetch(request, raise_error=False)
    except (OSError, HTTPClientError) as error:  # the latter only for time-outs here: no status raises
        raise Unreachable(f"the gateway does not answer ({error})", fix="try again in a minute") from None
    return _understood(answer.code, answer.body)


def _understood(status: int, body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body or b"{}")
    except ValueError:
        said = {}
    if status < 300 and isinstance(said, dict):
        return said
    error = said.get("error") if isinstance(said, dict) else None
    failure = from_dict(error) if isinstance(error, dict) else OccamError(f"the gateway answered {status}")
    raise Unknown(failure.what, where=failure.where, fix=failure.fix) if status == NOT_FOUND else failure
