"""The HTTP interface of GPUs (docs/reference/gateway-api.md)."""

from __future__ import annotations

import time

from occamctl.gateway import gpu_wishes, server
from occamctl.gateway.api import Api
from occamctl.gateway.quotas import INSTRUCTOR


class AllGpus(Api):
    async def get(self) -> None:
        self.reply(await self.work(self.parts.gpus.listed, named=self.asker.admin))


class OfUser(Api):
    """The GPUs of somebody's notebook."""

    async def prepare(self) -> None:
        await super().prepare()
        self.asker.must_own(self.path_args[0])

    async def get(self, user: str) -> None:
        await self._answer(user)

    async def put(self, user: str) -> None:
        asked = gpu_wishes.assignment(self.body())
        await self.work(self.parts.gpus.assign, user, asked, await self.rights(user), by_operator=self.asker.admin)
        if asked.restart:
            await self._restart(user)
        await self._answer(user)

    async def delete(self, user: str) -> None:
        restart = self.get_query_argument("restart", "") not in ("", "0")
        await self.work(self.parts.gpus.release, user)
        if restart:
            await self._restart(user)
        await self._answer(user)

    async def _restart(self, user: str) -> None:
        """A notebook that runs begins anew, with the GPUs that it has now; one that does not is left alone."""
        if user in self.parts.clusters.ledger.notebooks and await self.parts.hub.server(user) is not None:
            await server.stop(self.parts.hub, user)
            await self.start_server(user)

    async def _answer(self, user: str) -> None:
        self.reply(await self.work(self.parts.gpus.of, user, await self.rights(user)))


class Reservations(Api):
    async def get(self) -> None:
        self.reply(await self.work(self.parts.gpus.reservations))

    async def post(self) -> None:
        self.asker.must_be_admin()
        said, groups = self.body(), {*self.parts.settings.quotas.groups, INSTRUCTOR, "student"}
        # Without quotas.groups any group is one that somebody in the roster has, and the hub knows those.
        named = said.get("group")
        if named and isinstance(named, str) and named not in groups and await self.parts.hub.has_group(named):
            groups.add(named)
        asked = gpu_wishes.booking(said, groups, time.time())
        self.reply(await self.work(self.parts.gpus.reserve, asked), 201)


class OneReservation(Api):
    async def delete(self, number: str) -> None:
        self.asker.must_be_admin()
        await self.work(self.parts.gpus.unreserve, number)
        self.reply({})


PATHS = (
    ("/gpus", AllGpus),
    ("/gpus/reservations", Reservations),
    ("/gpus/reservations/([^/]+)", OneReservation),
    (r"/users/([^/]+)/gpu", OfUser),
)
