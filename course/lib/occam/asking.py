"""Asking the gateway for a cluster: at once, or in its queue. Whatever ends it, nothing that was granted is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from occam.errors import NotEnough, NotReached, OccamError
from occam.gateway import Gateway

EVERY = 2.0
"""Seconds between two questions while it waits; a place in the queue that is silent for long is lost."""
_ANSWER = 60.0


def ask_for(gateway: Gateway, body: dict[str, Any], wait: float, told: Callable[[dict[str, Any]], object]) -> Any:
    """The gateway's answer to a cluster as in `body`, after at most `wait` seconds in the queue.

    told  called with the place in the queue: {"ticket", "position", "of", "message"}

    Raises NotEnough, Refused, NotReached.
    """
    if not wait:
        return _Asked(gateway, body).answer()
    end = time.monotonic() + wait
    place: dict[str, Any] = {}
    try:
        while True:
            said = _step(gateway, body | {"wait": round(wait)}, place)
            place = said.get("queued") or {}
            if not place:
                return said
            told(place)
            if time.monotonic() > end:
                raise NotEnough(
                    f"there was no room within {wait:g} s: {place.get('message') or 'others hold it'}",
                    "ask for less, or wait longer",
                )
            time.sleep(EVERY)
    except BaseException:
        if place:
            _leave(gateway, place)
        raise


def _step(gateway: Gateway, body: dict[str, Any], place: dict[str, Any]) -> Any:
    """One question; the gateway may restart while one waits, and then the place is as it was."""
    if not place:
        return _Asked(gateway, body).answer()
    try:
        return _Asked(gateway, body | {"ticket": place["ticket"]}).answer()
    except NotReached:
        return {"queued": place}


def _leave(gateway: Gateway, place: dict[str, Any]) -> None:
    with suppress(OccamError):  # a silent ticket is dropped anyhow
        gateway.ask("DELETE", f"queue/{place['ticket']}", timeout=5)


class _Asked(threading.Thread):
    """One request. An interrupt cannot take it back; so it goes on, and what it is granted then is given back."""

    def __init__(self, gateway: Gateway, body: dict[str, Any]) -> None:
        super().__init__(name="occam-ask", daemon=True)
        self._gateway, self._body = gateway, body
        self._said: Any = None
        self._trouble: OccamError | None = None
        self._over, self._lock, self._unwanted = threading.Event(), threading.Lock(), False

    def answer(self) -> Any:
        self.start()
        try:
            while not self._over.wait(0.2):
                pass
        except BaseException:
            with self._lock:
                self._unwanted = True
                if self._said is not None:
                    self._give_back()
            raise
        if self._trouble is not None:
            raise self._trouble
        return self._said

    def run(self) -> None:
        said, trouble = None, None
        try:
            said = self._gateway.ask("POST", "clusters", self._body, timeout=_ANSWER)
        except OccamError as error:
            trouble = error
        with self._lock:
            self._said, self._trouble = said, trouble
            if self._unwanted and said is not None:
                self._give_back()
        self._over.set()

    def _give_back(self) -> None:
        if self._said.get("queued"):
            _leave(self._gateway, self._said["queued"])
        else:
            give_back(self._gateway, self._said)


def give_back(gateway: Gateway, said: dict[str, Any], seconds: float = 60) -> None:
    """Delete the cluster that the gateway `said` is ours, and no other that has its name by now.

    seconds  for which its end is waited for; it goes on without us
    """
    with suppress(OccamError):  # else its lease ends it
        gateway.ask("DELETE", f"clusters/{said['name']}?app_id={said.get('app_id', '')}", timeout=seconds)
