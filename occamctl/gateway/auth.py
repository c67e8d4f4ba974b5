"""Who asks: the operator and the hub by the gateway's own token, a student by the hub's answer to theirs."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from occamctl.errors import HostError
from occamctl.gateway.quotas import INSTRUCTOR
from occamctl.gateway.refusals import NotAllowed, NotKnown, NoToken
from occamctl.spec import names

REMEMBERED = 30
"""Seconds that the hub's answer about a token counts: so long a token that was taken back still opens."""
PATIENCE = 15
"""Seconds that a hub may be away: it restarts in less, and nobody's request should fail of that."""
_MOST = 4096
_SECONDS = 10


@dataclass(frozen=True)
class Who:
    """Whose request it is. `admin` is the hub or the operator; nobody who signs in is one."""

    name: str
    admin: bool = False
    groups: frozenset[str] = frozenset()

    @property
    def instructor(self) -> bool:
        return INSTRUCTOR in self.groups

    def must_be_admin(self) -> None:
        """Raises NotAllowed."""
        if not self.admin:
            raise NotAllowed("only the hub and the operator may do this", where=self.name)

    def must_own(self, owner: str) -> None:
        """Raises NotAllowed when what belongs to `owner` is none of their business."""
        if self.admin or self.name == owner or (owner == names.COURSE_OWNER and self.instructor):
            return
        raise NotAllowed(f"this belongs to {owner}", where=self.name)

    def must_tend(self, owner: str) -> None:
        """Raises NotAllowed unless they may see, scale and stop clusters of `owner`: instructors those of everybody."""
        if not self.instructor:
            self.must_own(owner)


class Hub:
    """The hub's API, as far as the gateway needs it."""

    def __init__(self, api: str, token: str) -> None:
        self._api, self._token = api, token
        self._known: OrderedDict[str, tuple[float, Who]] = OrderedDict()
        self._client = AsyncHTTPClient(force_instance=True, max_clients=50)

    async def who(self, header: str) -> Who:
        """Who sends this Authorization header. Raises NoToken, HostError when the hub does not answer."""
        scheme, _, token = header.partition(" ")
        token = token.strip()
        if scheme.lower() not in ("token", "bearer") or not token:
            raise NoToken("no token", fix="send the header Authorization: token …")
        if hmac.compare_digest(token.encode(), self._token.encode()):
            return Who("operator", admin=True)
        until, who = self._known.get(token, (0.0, None))
        if who is not None and time.monotonic() < until:
            return who
        status, said = await self._ask("GET", "/user", token=token)
        if status in (401, 403, 404) or said.get("kind") != "user":
            raise NoToken("the hub does not know this token")
        if status != 200:
            raise HostError(f"the hub answered {status}", where="hub")
        who = Who(str(said["name"]), groups=frozenset(said.get("groups") or ()))
        self._known[token] = (time.monotonic() + REMEMBERED, who)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return who

    async def groups(self, user: str) -> frozenset[str]:
        """The groups of a user. Raises NotKnown when the hub has no such user, HostError."""
        return frozenset((await self._user(user)).get("groups") or ())

    async def _user(self, user: str) -> dict[str, Any]:
        status, said = await self._ask("GET", f"/users/{quote(user, safe='')}")
        if status == 404:
            raise NotKnown(f"there is no user {user!r}", fix="see: occamctl user list")
        if status != 200:
            raise HostError(f"the hub answered {status} when asked about {user}", where="hub")
        return said

    async def has_group(self, group: str) -> bool:
        """Whether somebody is, or was, in this group. Raises HostError."""
        status, _ = await self._ask("GET", f"/groups/{quote(group, safe='')}")
        if status not in (200, 404):
            raise HostError(f"the hub answered {status} when asked about the group {group:.60}", where="hub")
        return status == 200

    async def start_server(self, user: str) -> None:
        """Ask for the user's server to start; one that runs or starts is fine. Raises NotKnown, HostError."""
        status, said = await self._ask("POST", f"/users/{quote(user, safe='')}/server", body={})
        if (
            status not in (201, 202)
            and "already" not in str(said.get("message"))
            and "pending" not in str(said.get("message"))
        ):
            await self._user(user)
            raise HostError(f"the hub answered {status}: {said.get('message') or 'no reason'}", where="hub")

    async def stop_server(self, user: str) -> None:
        """Ask for the user's server to stop. Raises NotKnown, HostError."""
        status, said = await self._ask("DELETE", f"/users/{quote(user, safe='')}/server")
        if status not in (202, 204):
            await self._user(user)
            raise HostError(f"the hub answered {status}: {said.get('message') or 'no reason'}", where="hub")

    async def server(self, user: str) -> dict[str, Any] | None:
        """The hub's own view of the user's server: `ready` and `pending`; None when there is none."""
        servers = (await self._user(user)).get("servers") or {}
        return servers.get("")

    async def _ask(self, method: str, path: str, *, token: str = "", body: object = None) -> tuple[int, dict[str, Any]]:
        request = HTTPRequest(
            self._api + path,
            method,
            headers={"Authorization": f"token {token or self._token}", "Content-Type": "application/json"},
            body=None if body is None else json.dumps(body),
            connect_timeout=_SECONDS,
            request_timeout=_SECONDS * 3,
        )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                answer = await self._client.fetch(request, raise_error=False)
                break
            except (OSError, HTTPClientError) as error:
                if time.monotonic() > deadline:
                    raise HostError(
                        f"the hub does not answer ({error})", where="hub", fix="see: occamctl logs hub"
                    ) from None
            await asyncio.sleep(0.5)
        try:
            said = json.loads(answer.body or b"{}")
        except ValueError:
            said = {}
        return answer.code, said if isinstance(said, dict) else {}
