"""Starts, watches and stops a student's notebook by asking the gateway; it holds no engine socket itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Any

from jupyterhub.spawner import Spawner
from tornado.web import HTTPError
from traitlets import Unicode, default

from occamctl.errors import OccamError
from occamctl.hub import gpu_form, notebooks

GONE, FAILED = 0, 1
"""What `poll` returns for a notebook that was stopped, and for one that failed."""
_STOP = 90
"""Seconds: the gateway itself waits a minute until the container is gone."""
_FORM = 10
"""Seconds for the question which GPUs there are."""
_EVERY = 0.5


class NotebookFailed(HTTPError):
    """A start that failed, in words for the student.

    JupyterHub shows `jupyterhub_message` on its pages and in its API's answers; of an error that is no HTTPError it
    would show only that there was one, when it comes within a second.
    """

    def __init__(self, message: str) -> None:
        super().__init__(HTTPStatus.SERVICE_UNAVAILABLE)
        self.jupyterhub_message = message

    def __str__(self) -> str:
        return self.jupyterhub_message


class OccamSpawner(Spawner):
    """A notebook server that the gateway runs as a container."""

    gateway_url = Unicode(config=True, help="The gateway's API.")
    gateway_token = Unicode(config=True, help="Token that may start everybody's notebook.")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._said = ""
        self._service = ""

    async def _ask(self, method: str, body: object = None, seconds: float = 20) -> dict[str, Any]:
        return await notebooks.ask(self.gateway_url, self.gateway_token, self.user.name, method, body, seconds=seconds)

    async def start(self) -> str:
        """Start the notebook, wait until its container runs, and return its address.

        Raises NotebookFailed with the gateway's, scheduler's or container's own words.
        """
        # JupyterHub's own deadline gives no reason: ours comes first and does.
        deadline = time.monotonic() + self.start_timeout - 5
        self._said = "Asking for a place to run"
        try:
            notebook = await self._ask("PUT", {"environment": self.get_env(), **self._options()}, seconds=90)
            while notebook["state"] != "running":
                self._hear(notebook)
                if time.monotonic() > deadline:
                    raise NotebookFailed(f"Your notebook did not start in {self.start_timeout} seconds: {self._said}")
                await asyncio.sleep(_EVERY)
                notebook = await self._look(notebook)
        except OccamError as error:
            raise NotebookFailed(f"Your notebook could not be started: {error}") from error
        self._said = "The container runs; Jupyter starts in it"
        self._service = str(notebook.get("service", ""))
        return str(notebook["url"])

    def _options(self) -> dict[str, Any]:
        """What was chosen for this start, and for this one alone: JupyterHub would take it for the next ones too."""
        chosen = dict(self.user_options)
        if chosen:
            self.orm_spawner.user_options = {}
            self.db.commit()
        return {gpu_form.FIELD: chosen[gpu_form.FIELD]} if gpu_form.FIELD in chosen else {}

    async def ask_for_gpus(self) -> str:
        """The form before a start; "" starts at once. A gateway that is away keeps nobody from starting."""
        try:
            told = await notebooks.ask(
                self.gateway_url, self.gateway_token, self.user.name, "GET", seconds=_FORM, what="gpu"
            )
        except OccamError as error:
            self.log.warning("Which GPUs %s may have is not known: %s", self.user.name, error)
            return ""
        return gpu_form.form(told)

    @default("options_form")
    def _options_form(self) -> Callable[[OccamSpawner], Awaitable[str]]:
        return OccamSpawner.ask_for_gpus

    @default("options_from_form")
    def _chosen(self) -> Callable[..., dict[str, Any]]:
        return gpu_form.chosen

    @default("apply_user_options")
    def _applied_at_start(self) -> Callable[..., None]:
        return lambda spawner, options: None

    def _hear(self, notebook: dict[str, Any]) -> None:
        self._said = str(notebook.get("message") or self._said)
        if notebook["state"] in ("failed", "stopped"):
            raise NotebookFailed(f"Your notebook could not be started: {self._said}")

    async def _look(self, last: dict[str, Any]) -> dict[str, Any]:
        """The notebook now; a gateway that restarts meanwhile keeps nobody's notebook from starting."""
        try:
            return await self._ask("GET")
        except notebooks.Unreachable:
            return last

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What the scheduler says while the student waits."""
        last, percent = "", 10
        while True:
            if self._said and self._said != last:
                last = self._said
                percent = min(90, percent + 15)
                yield {"progress": percent, "message": last}
            await asyncio.sleep(_EVERY)

    async def poll(self) -> int | None:
        """None while the notebook runs or starts, or while the gateway does not answer; else an exit status.

        JupyterHub forgets a server that it believes stopped, kernel and all: not to know is not "stopped".
        """
        try:
            state = (await self._ask("GET"))["state"]
        except notebooks.Unknown:
            return GONE
        except OccamError as error:
            self.log.warning("Whether the notebook of %s runs is not known: %s", self.user.name, error)
            return None
        return {"stopped": GONE, "failed": FAILED}.get(state)

    async def stop(self, now: bool = False) -> None:
        """Stop the notebook and wait until its container is gone; the home stays."""
        try:
            await self._ask("DELETE", seconds=_STOP)
        except notebooks.Unknown:
            return

    def get_state(self) -> dict[str, Any]:
        """What the hub's database keeps over a restart of the hub."""
        return {**super().get_state(), **({"service": self._service} if self._service else {})}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._service = state.get("service", "")

    def clear_state(self) -> None:
        super().clear_state()
        self._service = ""
