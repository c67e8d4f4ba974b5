"""The last lines that a service printed, within a few seconds or not at all."""

from __future__ import annotations

import re
import threading

from occamctl.engine import swarm
from occamctl.engine.client import Engine
from occamctl.errors import OccamError

LINES = 5
TRACE_LINES = 60
SECONDS = 5
_FRAME = re.compile(r"\s*(at [\w.$]+[\w$<>/.]*\(.*\)|\.\.\. \d+ (more|common frames omitted))\s*")
"""One call of a Java stack trace: what went wrong stands above it."""


def last_words(engine: Engine, service: str) -> str:
    """Its last lines, each after a line break; "" when there are none, or when the node does not give them."""
    return "".join(f"\n  {line}" for line in telling(last_lines(engine, service, TRACE_LINES)))


def telling(lines: list[str]) -> list[str]:
    """The last of them that say something: no empty ones, and none of a Java stack trace's calls."""
    return [line.strip() for line in lines if line.strip() and not _FRAME.fullmatch(line)][-LINES:]


def last_lines(engine: Engine, service: str, many: int) -> list[str]:
    """At most its last `many` lines; none when the node does not give them within a few seconds."""
    heard: list[str] = []

    def listen() -> None:
        try:
            heard.extend(swarm.service_logs(engine, service, tail=many).splitlines())
        except OccamError:
            return

    # The engine waits for ever for the logs of a node that is silent.
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    listener.join(SECONDS)
    return heard[-many:]


def one_line(text: str) -> str:
    """For a log: what a student's container printed must not look like lines of ours."""
    return " | ".join(text.split("\n")).encode("unicode_escape").decode()
