"""The HTTP interface: every path, who may use it, and the JSON that comes back (docs/reference/gateway-api.md)."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor as Pool
from dataclasses import dataclass
from typing import Any, TypeVar

from tornado.web import Application, RequestHandler

from occamctl.errors import EngineError, OccamError, SpecError, TookTooLong
from occamctl.gateway import wishes
from occamctl.gateway.auth import Hub, Who
from occamctl.gateway.clusters import Clusters
from occamctl.gateway.notebooks import Notebooks
from occamctl.gateway.refusals import NotAllowed, NotKnown, status_of
from occamctl.gateway.settings import PREFIX, Settings
from occamctl.gateway.sight import Sight
from occamctl.spec import names

log = logging.getLogger("occam.gateway.http")
Answer = TypeVar("Answer")
SERVER_SECONDS = 120
MOST_BODY = 1 << 20


@dataclass(frozen=True)
class Parts:
    """What requests work with."""

    settings: Settings
    hub: Hub
    sight: Sight
    clusters: Clusters
    notebooks: Notebooks
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

    async def limit(self, owner: str) -> int:
        """Workers that `owner` may hold."""
        groups = frozenset[str]()
        if owner != names.COURSE_OWNER:
            known = self.asker.name == owner and not self.asker.admin and not self.by_driver
            groups = self.asker.groups if known else await self.parts.hub.groups(owner)
        return self.parts.settings.quotas.workers(owner, groups)

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


class Status(Api):
    async def get(self) -> None:
        self.asker.must_be_admin()
        self.reply(await self.work(self._status))

    def _status(self) -> dict[str, Any]:
        seen = self.parts.sight.look(1)
        used = seen.reserved()
        return {
            "nodes": [
                {
                    "name": node.hostname,
                    "hostname": node.hostname,
                    "role": node.role,
                    "state": node.state,
                    "availability": node.availability,
                    "cpus": node.cpus,
                    "memory": node.memory,
                    "cpus_used": round(used[node.id][0], 3),
                    "memory_used": used[node.id][1],
                }
                for node in sorted(seen.nodes.values(), key=lambda node: node.hostname)
            ],
            "notebooks": self.parts.notebooks.all(),
            "clusters": [self.parts.clusters.view(one) for one in self.parts.clusters.ledger],
        }


class AllNotebooks(Api):
    async def get(self) -> None:
        self.asker.must_be_admin()
        self.reply(await self.work(self.parts.notebooks.all))


class OneNotebook(Api):
    async def get(self, user: str) -> None:
        self.asker.must_be_admin()
        self.reply(await self.work(self.parts.notebooks.look, user))

    async def put(self, user: str) -> None:
        self.asker.must_be_admin()
        if not names.USER_NAME.fullmatch(user) or len(user) > names.MAX_USER:
            raise SpecError(f"{user!r:.80} cannot be a user name")
        environment = self.body().get("environment")
        if not isinstance(environment, dict) or not all(isinstance(value, str) for value in environment.values()):
            raise SpecError("environment: not an object of texts")
        self.reply(await self.work(self.parts.notebooks.start, user, environment))

    async def delete(self, user: str) -> None:
        self.asker.must_be_admin()
        if self.get_query_argument("forget", "") not in ("", "0"):
            for one in self.parts.clusters.ledger.of(user):
                await self.work(self.parts.clusters.end, one)
            await self.work(self.parts.notebooks.forget, user)
            self.reply({})
            return
        self.reply(await self.work(self.parts.notebooks.stop, user))


class Server(Api):
    """A user's server by way of the hub, so that the proxy sends the user to it."""

    async def post(self, user: str) -> None:
        self.asker.must_be_admin()
        hub = self.parts.hub
        await hub.start_server(user)
        deadline = time.monotonic() + SERVER_SECONDS
        while not ((server := await hub.server(user)) and server.get("ready")):
            notebook = await self._look(user)
            if server is None:
                raise EngineError(
                    f"the notebook did not start: {notebook.get('message') or 'see the hub’s log'}", where=user
                )
            if time.monotonic() > deadline:
                raise TookTooLong(
                    f"the notebook is still {notebook.get('state', 'not there')} after {SERVER_SECONDS} s", where=user
                )
            await asyncio.sleep(0.5)
        self.reply(await self._look(user))

    async def delete(self, user: str) -> None:
        self.asker.must_be_admin()
        hub = self.parts.hub
        deadline = time.monotonic() + SERVER_SECONDS
        await hub.stop_server(user)
        while await hub.server(user) is not None:
            if time.monotonic() > deadline:
                raise TookTooLong(f"the notebook still ends after {SERVER_SECONDS} s", where=user)
            await asyncio.sleep(0.5)
        self.reply(await self._look(user))

    async def _look(self, user: str) -> dict[str, Any]:
        try:
            return await self.work(self.parts.notebooks.look, user)
        except NotKnown:
            return {}


class AllClusters(Api):
    def get(self) -> None:
        mine = self.parts.clusters.ledger if self.asker.admin else self.parts.clusters.ledger.of(self.asker.name)
        self.reply([self.parts.clusters.view(one) for one in mine])


class UserClusters(Api):
    async def get(self, owner: str) -> None:
        self.asker.must_own(owner)
        self.reply([self.parts.clusters.view(one) for one in self.parts.clusters.ledger.of(owner)])

    async def post(self, owner: str) -> None:
        self.asker.must_own(owner)
        wish = wishes.wish(self.body())
        self._must_be_allowed(owner, wish)
        made = await self.work(self.parts.clusters.create, owner, wish, await self.limit(owner))
        if self.asker.name != owner:  # the secret is for the driver, and nobody's driver but the owner's
            made.pop("secret"), made.pop("conf")
        self.reply(made, 201)

    def _must_be_allowed(self, owner: str, wish: wishes.Wish) -> None:
        if wish.driver == "connect" and not (self.asker.admin or self.asker.instructor):
            raise NotAllowed(
                "a cluster that outlives its notebook is for instructors", where=owner, fix="driver: notebook"
            )
        if wish.driver == "notebook" and owner == names.COURSE_OWNER:
            raise SpecError("the course's own clusters have drivers of their own", fix="driver: connect")
        if wish.declared and not self.asker.admin:
            raise NotAllowed("only the course file declares clusters", where=owner)


class ClusterApi(Api):
    """Paths below one cluster; its own Connect driver may use those that a driver needs."""

    for_driver = False

    async def prepare(self) -> None:
        owner, name = self.path_args[:2]
        token = self.request.headers.get("Authorization", "").partition(" ")[2].strip()
        if self.for_driver and token and self.parts.clusters.is_driver(owner, name, token):
            self.who, self.by_driver = Who(owner), True
        else:
            await super().prepare()
            self.asker.must_own(owner)
        self._must_be_the_same(owner, name)

    def _must_be_the_same(self, owner: str, name: str) -> None:
        """A driver that ends late must not end the cluster that has taken its cluster's name meanwhile."""
        app_id = self.get_query_argument("app_id", "")
        if app_id and app_id != self.parts.clusters.ledger.get(owner, name).facts.app_id:
            raise NotKnown(f"the cluster {name!r} is another one by now", where=owner)


class OneCluster(ClusterApi):
    def get(self, owner: str, name: str) -> None:
        self.reply(self.parts.clusters.view(self.parts.clusters.ledger.get(owner, name)))

    async def delete(self, owner: str, name: str) -> None:
        await self.work(self.parts.clusters.delete, owner, name)
        self.reply({})


class Workers(ClusterApi):
    key = "workers"

    async def put(self, owner: str, name: str) -> None:
        workers = wishes.count(self.body(), self.key)
        self.parts.clusters.ledger.get(owner, name)
        self.reply(await self.work(self.parts.clusters.scale, owner, name, workers, await self.limit(owner)))


class Executors(Workers):
    """The same wish from Spark itself."""

    key = "total"
    for_driver = True


class Kill(ClusterApi):
    for_driver = True

    async def post(self, owner: str, name: str) -> None:
        said = self.body().get("ids")
        if not isinstance(said, list) or not all(isinstance(one, str) and one.isdecimal() for one in said):
            raise SpecError("ids: not a list of executors' numbers as texts")
        self.reply(await self.work(self.parts.clusters.kill, owner, name, [int(one) for one in said]))


class LeaseOf(ClusterApi):
    for_driver = True

    def put(self, owner: str, name: str) -> None:
        said = self.body()
        registered, jobs = wishes.count(said, "registered"), wishes.take(said, "jobs", bool, False)
        self.reply(self.parts.clusters.renew(owner, name, registered=registered, jobs=jobs))


class QuotaOf(Api):
    async def get(self, owner: str) -> None:
        self.asker.must_own(owner)
        limit = await self.limit(owner)
        free = await self.work(self.parts.clusters.free)
        held = self.parts.clusters.ledger.held(owner)
        self.reply({"workers": {"limit": limit, "held": held, "free_on_hosts": free}})


def application(parts: Parts) -> Application:
    """The whole interface. A path's pieces are user names and cluster names, percent-encoded."""
    user, cluster = r"/users/([^/]+)", r"/users/([^/]+)/clusters/([^/]+)"
    paths = (
        ("/health", Health),
        ("/status", Status),
        ("/notebooks", AllNotebooks),
        (f"{user}/notebook", OneNotebook),
        (f"{user}/server", Server),
        ("/clusters", AllClusters),
        (f"{user}/clusters", UserClusters),
        (cluster, OneCluster),
        (f"{cluster}/workers", Workers),
        (f"{cluster}/executors", Executors),
        (f"{cluster}/executors/kill", Kill),
        (f"{cluster}/lease", LeaseOf),
        (f"{user}/quota", QuotaOf),
    )
    rest = {"parts": parts}
    return Application(
        # JupyterHub looks at a service's own address now and then.
        [(PREFIX.removesuffix("api"), Health, rest)] + [(PREFIX + path, handler, rest) for path, handler in paths],
        default_handler_class=Unknown,
        default_handler_args=rest,
        log_function=_log,
        compress_response=False,
    )


def _log(handler: RequestHandler) -> None:
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
