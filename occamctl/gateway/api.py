"""What every request has in common: who asks, errors as JSON, blocking work in threads, one line of log."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import Executor as Pool
from dataclasses import dataclass
from typing import Any, TypeVar

from tornado.web import RequestHandler

from occamctl.errors import OccamError, SpecError
from occamctl.gateway import server, wishes
from occamctl.gateway.auth import Hub, Who
from occamctl.gateway.clusters import Clusters
from occamctl.gateway.gpus import Gpus
from occamctl.gateway.notebooks import Notebooks
from occamctl.gateway.quotas import Rights
from occamctl.gateway.refusals import NotKnown, status_of
from occamctl.gateway.settings import Settings
from occamctl.gateway.sight import Sight
from occamctl.spec import names

log = logging.getLogger("occam.gateway.http")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Parts:
    """What requests work with."""

    settings: Settings
    hub: Hub
    sight: Sight
    clusters: Clusters
    notebooks: Notebooks
    gpus: Gpus
    pool: Pool


class Api(RequestHandler):
    """What every path has: who asks, errors as JSON, and blocking work in threads."""

    parts: Parts
    who: Who | None = None
    by_driver = False
    """Whether a cluster's own driver asks: it acts for the owner, whose groups only the hub knows."""

    def initialize(self, parts: Parts) -> None:
        self.parts = parts

    async def prepare(self) -> None:
        self.who = await self.parts.hub.who(self.request.headers.get("Authorization", ""))

    @property
    def asker(self) -> Who:
        assert self.who is not None
        return self.who

    def body(self) -> dict[str, Any]:
        return wishes.body(self.request.body)

    async def work(self, do: Callable[..., Answer], *words: Any, **more: Any) -> Answer:
        """Blocking work: in a thread, so that other requests go on."""
        return await asyncio.get_running_loop().run_in_executor(self.parts.pool, lambda: do(*words, **more))

    async def rights(self, owner: str) -> Rights:
        """What `owner` may hold."""
        groups = frozenset[str]()
        if owner != names.COURSE_OWNER:
            known = self.asker.name == owner and not self.asker.admin and not self.by_driver
            groups = self.asker.groups if known else await self.parts.hub.groups(owner)
        return self.parts.settings.quotas.rights(owner, groups)

    async def quota(self, owner: str) -> dict[str, Any]:
        """What `owner` may hold, holds, and would find room for, by resource."""
        told = self.parts.clusters.ledger.quota(owner, await self.rights(owner))
        told["workers"]["free_on_hosts"] = await self.work(self.parts.clusters.free)
        return told

    async def notebook(self, user: str) -> dict[str, Any]:
        """Somebody's notebook; {} when there is none."""
        try:
            return await self.work(self.parts.notebooks.look, user)
        except NotKnown:
            return {}

    async def start_server(self, user: str) -> None:
        """Start a notebook by way of the hub, and wait. Raises as `server.start` does."""
        await server.start(self.parts.hub, user, lambda: self.notebook(user))

    def must_be_the_same(self, owner: str, name: str) -> None:
        """Who has an older cluster in mind must do nothing to the one that has taken its name meanwhile."""
        app_id = self.get_query_argument("app_id", "")
        if app_id and app_id != self.parts.clusters.ledger.get(owner, name).facts.app_id:
            raise NotKnown(f"the cluster {name!r} is another one by now", where=owner)

    def reply(self, answer: object, status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(answer))

    def set_default_headers(self) -> None:
        self.clear_header("Server")

    def check_xsrf_cookie(self) -> None:
        """Nothing here is opened by a cookie."""

    def log_exception(self, kind: Any, error: Any, trace: Any) -> None:
        if not isinstance(error, OccamError):
            super().log_exception(kind, error, trace)
        elif status_of(error) >= 500:  # not the asker's doing: who keeps the course has to learn of it
            log.warning("%s", error)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = (kwargs.get("exc_info") or (None, None, None))[1]
        if not isinstance(error, OccamError):
            error = OccamError(f"the gateway failed ({status_code})", fix="see: occamctl logs gateway")
            if status_code == 404:
                error = NotKnown(f"there is no {self.request.path}")
            elif status_code == 405:
                error = SpecError(f"{self.request.method} cannot be done to {self.request.path}")
        else:
            status_code = status_of(error)
        self.reply({"error": error.as_dict()}, status_code)


class Health(Api):
    async def prepare(self) -> None:
        """Open to all on the course's network: it says nothing that they do not know."""

    def get(self) -> None:
        self.reply({"version": self.parts.settings.version, "course": self.parts.settings.course})


class Unknown(Api):
    async def prepare(self) -> None:
        raise NotKnown(f"there is no {self.request.path}")


def log_request(handler: RequestHandler) -> None:
    """Who asked for what, and how it went; never a token, a body or a query."""
    status, took = handler.get_status(), 1000 * handler.request.request_time()
    who = getattr(handler, "who", None)
    quiet = status < 400 and (handler.request.method == "GET" or handler.request.path.endswith("/lease"))
    level = logging.DEBUG if quiet else logging.INFO if status < 500 else logging.WARNING
    log.log(
        level,
        "%d %s %s by %s in %.0f ms",
        status,
        handler.request.method,
        handler.request.path,
        who.name if who else "-",
        took,
    )
