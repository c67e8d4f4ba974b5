"""The last lines that a service printed, within a few seconds or not at all."""

from __future__ import annotations

import threading

from occamctl.engine import swarm
from occamctl.engine.client import Engine
from occamctl.errors import OccamError

LINES = 5
SECONDS = 5


def last_words(engine: Engine, service: str) -> str:
    """Its last lines, each after a line break; "" when there are none, or when the node does not give them."""
    heard: list[str] = []

    def listen() -> None:
        try:
            heard.extend(swarm.service_logs(engine, service, tail=LINES).splitlines())
        except OccamError:
            return

    # The engine waits for ever for the logs of a node that is silent.
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    listener.join(SECONDS)
    return "".join(f"\n  {line.strip()}" for line in heard[-LINES:] if line.strip())


def one_line(text: str) -> str:
    """For a log: what a student's container printed must not look like lines of ours."""
    return " | ".join(text.split("\n")).encode("unicode_escape").decode()
