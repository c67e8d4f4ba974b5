"""The gateway's page for people: the API's own functions and checks behind forms, signed in at the hub."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, ClassVar

from jupyterhub.services.auth import HubOAuthCallbackHandler, HubOAuthenticated
from tornado.web import HTTPError, RedirectHandler

from occamctl.errors import HostError, OccamError, SpecError
from occamctl.gateway import shown, signin, wishes
from occamctl.gateway.api import Api, Parts, log
from occamctl.gateway.auth import Who
from occamctl.gateway.cluster import Cluster
from occamctl.gateway.glance import glance
from occamctl.gateway.refusals import NotAllowed, NotKnown, status_of
from occamctl.gateway.settings import PAGE

STOP_SHOWN_AFTER = 3
"""Seconds that a browser waits for the end of a cluster; after that the page shows how it goes on."""
LINES = 200
"""Last lines of each container that are shown."""
_SAID = "occam-said"
_LONGEST = 1500
_HEADERS = {
    "Content-Security-Policy": shown.POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Page(HubOAuthenticated, Api):
    """What every page has: who is signed in, headers, errors as pages."""

    why: ClassVar[dict[int, str]] = {403: "you may not use this page", 405: "this cannot be done here"}
    """Words for errors that are not ours."""

    def initialize(self, parts: Parts) -> None:
        super().initialize(parts)
        self.hub_auth = self.settings["hub_auth"]

    async def prepare(self) -> None:
        """Who is signed in; a browser that is not is sent to the hub. A POST also needs the token of our forms.

        JupyterHub takes a cookie for a POST, or for a request of a script, only together with that token.
        """
        await self.ask_hub()
        model = self.current_user
        if model is None and self.request.method == "GET":
            self.redirect(self.get_login_url())
            return
        if model is None or model["kind"] != "user":
            raise NotAllowed("this form is too old, or not ours", fix="load the page again")
        self.who = Who(str(model["name"]), groups=frozenset(model.get("groups") or ()))

    async def ask_hub(self) -> None:
        """Before tornado does, whose own way would hold up everybody while the hub answers. Raises HostError."""
        try:
            await self.hub_auth.get_user(self, sync=False)
        except HTTPError as error:
            log.warning("%s", error)
            raise HostError("the hub does not answer", where="hub", fix="try again in a minute") from None

    def set_default_headers(self) -> None:
        super().set_default_headers()
        for name, value in _HEADERS.items():
            self.set_header(name, value)

    @property
    def around(self) -> shown.Around:
        if self.who is None:
            return shown.Around(self.parts.settings.course, "")
        return shown.Around(
            self.parts.settings.course, self.who.name, self.who.instructor, self.xsrf_token.decode("ascii")
        )

    def show(self, page: bytes, status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(page)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = (kwargs.get("exc_info") or (None, None, None))[1]
        if isinstance(error, OccamError):
            status_code = status_of(error)
        else:
            error = OccamError(self.why.get(status_code, "this did not work"), fix="try again in a minute")
        self.show(shown.trouble(self.around, error.what, error.fix), status_code)

    def say(self, text: str, *, wrong: bool = False) -> None:
        """Send the browser to the main page, which says `text` once. In a signed cookie: an address could be forged."""
        told = json.dumps([text[:_LONGEST], wrong])
        self.set_signed_cookie(_SAID, told, path=PAGE, expires_days=None, max_age=60, **signin.COOKIES)
        self.redirect(PAGE, status=303)

    def said(self) -> shown.Said | None:
        told = self.get_signed_cookie(_SAID)
        if told is None:
            return None
        self.clear_cookie(_SAID, path=PAGE)
        return shown.Said(*json.loads(told))


class Callback(HubOAuthCallbackHandler, Page):
    """Where the hub sends the browser back to."""

    why: ClassVar[dict[int, str]] = dict.fromkeys((400, 403), "the sign-in was not finished here")

    async def prepare(self) -> None:
        """Nobody has to be signed in here yet."""
        await self.ask_hub()


class Main(Page):
    async def get(self) -> None:
        me, parts, now = self.asker, self.parts, datetime.now(UTC)
        quota = await self.quota(me.name)
        mine = [parts.clusters.view(one) for one in parts.clusters.ledger.of(me.name)]
        told = shown.Overview(
            [
                shown.Shown(one, number, shown.most(one, quota), own=True, now=now)
                for number, one in enumerate(mine, start=1)
            ],
            shown.bars(quota),
            self.parts.gpus.mine(me.name),
            **(await self._everybody(len(mine) + 1, now) if me.instructor else {}),
        )
        still = bool(self.get_query_argument("still", ""))
        self.show(shown.overview(self.around, told, self.said(), still=still))

    async def _everybody(self, first: int, now: datetime) -> dict[str, Any]:
        """What an instructor sees besides."""
        seen = await self.work(glance, self.parts)
        others = [one for one in seen["clusters"] if one["owner"] != self.asker.name]
        others.sort(key=lambda one: (one["owner"], one["name"]))
        return {
            "others": [
                shown.Shown(one, number, None, own=False, now=now) for number, one in enumerate(others, start=first)
            ],
            "hosts": seen["nodes"],
            "people": shown.people(seen["notebooks"], seen["clusters"]),
        }


class OfCluster(Page):
    """Pages of one cluster: for its owner and for instructors."""

    async def prepare(self) -> None:
        await super().prepare()
        if self.who is not None:
            owner, name = self.path_args
            self.who.must_tend(owner)
            self.must_be_the_same(owner, name)

    @property
    def cluster(self) -> Cluster:
        """Raises NotKnown."""
        owner, name = self.path_args
        return self.parts.clusters.ledger.get(owner, name)

    @property
    def one(self) -> shown.Shown:
        view = self.parts.clusters.view(self.cluster)
        return shown.Shown(view, 1, None, own=view["owner"] == self.asker.name, now=datetime.now(UTC))

    async def answer(self, work: Any) -> None:
        """Do what a form asks, and say what came of it; what is not allowed has a page of its own."""
        try:
            self.say(await work)
        except NotAllowed:
            raise
        except OccamError as error:
            self.say(str(error), wrong=True)


class Scale(OfCluster):
    async def post(self, owner: str, name: str) -> None:
        await self.answer(self._scale(owner, name))

    async def _scale(self, owner: str, name: str) -> str:
        typed = self.get_body_argument("workers", "")
        if not typed.isascii() or not typed.isdecimal():
            raise SpecError(f"{typed!r:.20} is not a number of workers")
        workers = wishes.count({"workers": int(typed[:9])}, "workers")
        await self.work(self.parts.clusters.scale, owner, name, workers, await self.rights(owner))
        return f"{self.one.title} gets {workers} worker{'' if workers == 1 else 's'}."


class Stop(OfCluster):
    def get(self, owner: str, name: str) -> None:
        self.show(shown.stop(self.around, self.one))

    async def post(self, owner: str, name: str) -> None:
        await self.answer(self._stop(owner, name))

    async def _stop(self, owner: str, name: str) -> str:
        title = self.one.title
        ending = asyncio.ensure_future(self.work(self.parts.clusters.delete, owner, name))
        done, _ = await asyncio.wait({ending}, timeout=STOP_SHOWN_AFTER)
        if done:
            ending.result()
            return f"{title} was stopped."
        ending.add_done_callback(lambda ended: ended.exception())  # the gateway's loop goes on with it
        return f"{title} is being stopped."


class LogsOf(OfCluster):
    async def get(self, owner: str, name: str) -> None:
        one = self.one
        there = shown.containers(one.view)
        told = await asyncio.gather(*(self.work(self._read, owner, name, number) for number in there))
        printed = [shown.Printed(title, text) for title, text in zip(there.values(), told, strict=True)]
        self.show(shown.logs(self.around, one, printed))

    def _read(self, owner: str, name: str, number: str) -> str:
        """The last lines of one container; "" when it has gone just now."""
        with suppress(NotKnown):
            return self.parts.clusters.logs(owner, name, number, LINES)
        return ""


def paths(parts: Parts) -> list[Any]:
    """The page and all below it."""
    rest = {"parts": parts}
    cluster = f"{PAGE}clusters/([^/]+)/([^/]+)"
    return [
        (PAGE.rstrip("/"), RedirectHandler, {"url": PAGE}),
        (PAGE, Main, rest),
        (f"{PAGE}oauth_callback", Callback, rest),
        (f"{cluster}/workers", Scale, rest),
        (f"{cluster}/stop", Stop, rest),
        (f"{cluster}/logs", LogsOf, rest),
    ]


def signed_in(parts: Parts) -> dict[str, Any]:
    """What tornado must be told of the sign-in. Only inside of an event loop."""
    return {
        "hub_auth": signin.sign_in(parts.settings),
        "cookie_secret": signin.cookie_secret(parts.settings),
        "xsrf_cookie_kwargs": dict(signin.COOKIES),
    }
