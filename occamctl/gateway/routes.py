"""The HTTP interface: every path, who may use it, and the JSON that comes back (docs/reference/gateway-api.md)."""

from __future__ import annotations

from tornado.web import Application

from occamctl.errors import SpecError
from occamctl.gateway import gpu_routes, gpu_wishes, page, server, wishes
from occamctl.gateway.api import Api, Health, Parts, Unknown, log_request
from occamctl.gateway.auth import Who
from occamctl.gateway.glance import glance
from occamctl.gateway.refusals import NotAllowed
from occamctl.gateway.settings import PREFIX
from occamctl.spec import names

MOST_LINES = 10_000
MOST_BODY = 1 << 20


class Status(Api):
    async def get(self) -> None:
        self.asker.must_be_admin()
        self.reply(await self.work(glance, self.parts))


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
        if not names.is_user_name(user):
            raise SpecError(f"{user!r:.80} cannot be a user name")
        said = self.body()
        environment, want = said.get("environment"), gpu_wishes.of_notebook(said)
        if not isinstance(environment, dict) or not all(isinstance(value, str) for value in environment.values()):
            raise SpecError("environment: not an object of texts")
        self.reply(await self.work(self.parts.notebooks.start, user, environment, await self.rights(user), want))

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
        await self.start_server(user)
        self.reply(await self.notebook(user))

    async def delete(self, user: str) -> None:
        self.asker.must_be_admin()
        await server.stop(self.parts.hub, user)
        self.reply(await self.notebook(user))


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
        made = await self.work(self.parts.clusters.create, owner, wish, await self.rights(owner))
        if "queued" in made:
            self.reply(made, 202)
            return
        if self.asker.name != owner:  # these are for the driver, and nobody's driver but the owner's
            made.pop("secret"), made.pop("token"), made.pop("conf")
        self.reply(made, 201)

    def _must_be_allowed(self, owner: str, wish: wishes.Wish) -> None:
        if wish.driver != "notebook" and not (self.asker.admin or self.asker.instructor):
            raise NotAllowed(
                "a cluster that outlives its notebook is for instructors", where=owner, fix="driver: notebook"
            )
        if wish.driver == "notebook" and owner == names.COURSE_OWNER:
            raise SpecError("the course's own clusters have drivers of their own", fix="driver: connect")
        if wish.declared and not self.asker.admin:
            raise NotAllowed("only the course file declares clusters", where=owner)


class ClusterApi(Api):
    """Paths below one cluster; its driver may use those that a driver needs, with a token that opens nothing else."""

    for_driver = ""
    """The one method that a driver may use with it."""
    for_instructors = False
    """Whether an instructor may do it to everybody's cluster."""

    async def prepare(self) -> None:
        owner, name = self.path_args[:2]
        token = self.request.headers.get("Authorization", "").partition(" ")[2].strip()
        if self.request.method == self.for_driver and token and self.parts.clusters.is_driver(owner, name, token):
            self.who, self.by_driver = Who(owner), True
        else:
            await super().prepare()
            (self.asker.must_tend if self.for_instructors else self.asker.must_own)(owner)
        self.must_be_the_same(owner, name)


class OneCluster(ClusterApi):
    for_driver = "DELETE"
    for_instructors = True

    def get(self, owner: str, name: str) -> None:
        self.reply(self.parts.clusters.view(self.parts.clusters.ledger.get(owner, name)))

    async def delete(self, owner: str, name: str) -> None:
        await self.work(self.parts.clusters.delete, owner, name)
        self.reply({})


class Workers(ClusterApi):
    for_instructors = True

    async def put(self, owner: str, name: str) -> None:
        workers, gpu = wishes.count(self.body(), "workers"), wishes.gpu(self.body())
        self.parts.clusters.ledger.get(owner, name)
        self.reply(await self.work(self.parts.clusters.scale, owner, name, workers, await self.rights(owner), gpu))


class Declared(ClusterApi):
    async def put(self, owner: str, name: str) -> None:
        self.asker.must_be_admin()
        self.reply(await self.work(self.parts.clusters.declare, owner, name))


class Adaptive(ClusterApi):
    async def put(self, owner: str, name: str) -> None:
        bounds = wishes.bounds(self.body())
        self.reply(await self.work(self.parts.clusters.adapt, owner, name, bounds, await self.rights(owner)))


class Executors(ClusterApi):
    """Spark's own wish: what is granted may be less, and is no error."""

    for_driver = "PUT"

    async def put(self, owner: str, name: str) -> None:
        wants, sizes = wishes.totals(self.body())
        self.parts.clusters.ledger.get(owner, name)
        self.reply(await self.work(self.parts.clusters.grant, owner, name, wants, sizes, await self.rights(owner)))


class Kill(ClusterApi):
    for_driver = "POST"

    async def post(self, owner: str, name: str) -> None:
        said = self.body().get("ids")
        if not isinstance(said, list) or not all(isinstance(one, str) and one.isdecimal() for one in said):
            raise SpecError("ids: not a list of executors' numbers as texts")
        self.reply(await self.work(self.parts.clusters.kill, owner, name, [int(one) for one in said]))


class LeaseOf(ClusterApi):
    for_driver = "PUT"

    def put(self, owner: str, name: str) -> None:
        said = self.body()
        registered, jobs = wishes.count(said, "registered"), wishes.take(said, "jobs", bool, False)
        self.reply(self.parts.clusters.renew(owner, name, registered=registered, jobs=jobs))


class Logs(ClusterApi):
    """What executors and driver printed, also those that were lost a moment ago."""

    for_instructors = True

    async def get(self, owner: str, name: str) -> None:
        worker, tail = self.get_query_argument("worker", ""), self.get_query_argument("tail", "200")
        if not tail.isdecimal() or not 0 < int(tail) <= MOST_LINES:
            raise SpecError(f"tail: {tail!r:.60} is not a number of lines between 1 and {MOST_LINES}")
        self.reply({"text": await self.work(self.parts.clusters.logs, owner, name, worker, int(tail))})


class Join(Api):
    """Into the course's own Spark, which everybody of the course may use."""

    async def post(self, name: str) -> None:
        self.reply(await self.work(self.parts.clusters.join, self.asker.name, name))


class Admit(ClusterApi):
    for_driver = "POST"

    def post(self, owner: str, name: str) -> None:
        self.reply(self.parts.clusters.admit(owner, name, wishes.take(self.body(), "ticket", str)))


class QueueOf(Api):
    """A place in the queue: it is kept by asking again, and given up here."""

    async def delete(self, owner: str, ticket: str) -> None:
        self.asker.must_own(owner)
        self.parts.clusters.queue.leave(owner, ticket)
        self.reply({})


class QuotaOf(Api):
    async def get(self, owner: str) -> None:
        self.asker.must_own(owner)
        self.reply(await self.quota(owner))


def application(parts: Parts) -> Application:
    """The whole interface. A path's pieces are user names and cluster names, percent-encoded."""
    user, cluster = r"/users/([^/]+)", r"/users/([^/]+)/clusters/([^/]+)"
    paths = (
        ("/health", Health),
        ("/status", Status),
        ("/notebooks", AllNotebooks),
        (f"{user}/notebook", OneNotebook),
        (f"{user}/server", Server),
        *gpu_routes.PATHS,
        ("/clusters", AllClusters),
        (f"{user}/clusters", UserClusters),
        (cluster, OneCluster),
        (f"{cluster}/workers", Workers),
        (r"/users/course/clusters/([^/]+)/join", Join),
        (f"{cluster}/admit", Admit),
        (f"{cluster}/declared", Declared),
        (f"{cluster}/adaptive", Adaptive),
        (f"{cluster}/logs", Logs),
        (f"{cluster}/executors", Executors),
        (f"{cluster}/executors/kill", Kill),
        (f"{cluster}/lease", LeaseOf),
        (f"{user}/quota", QuotaOf),
        (f"{user}/queue/([^/]+)", QueueOf),
    )
    rest = {"parts": parts}
    return Application(
        [(PREFIX + path, handler, rest) for path, handler in paths] + page.paths(parts),
        **page.signed_in(parts),
        default_handler_class=Unknown,
        default_handler_args=rest,
        log_function=log_request,
        compress_response=False,
    )
