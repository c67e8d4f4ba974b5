"""One image build through the engine's API, with its progress in words and its failure in one line."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import requests
from docker.errors import APIError

from occamctl.engine.client import Engine, speaking_to
from occamctl.engine.context import Context
from occamctl.errors import EngineError, TookTooLong

SILENCE = 900
"""Seconds that a step may say nothing."""
WHOLE = 3600
"""Seconds that a build may take."""
_LAST_LINES = 12
_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)")
_COLOR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PREAMBLE = re.compile(r"^RUN (export \S+ && )(apt-get update -q && )?")
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")


class Failed(Exception):
    """The build's own words: the step and what it printed last."""

    def __init__(self, step: str, lines: Iterable[str], message: str) -> None:
        super().__init__(message)
        self.step, self.lines, self.message = step, list(lines), message


def build(
    engine: Engine,
    tag: str,
    context: Context,
    say: Callable[[str], None],
    labels: Mapping[str, str],
    arguments: Mapping[str, str],
) -> None:
    """Build `context` and tag it.

    arguments  build arguments; the operator's proxy settings go along, which the engine keeps out of the image

    Raises EngineError with the failing step and its last lines of output, and TookTooLong.
    """
    with speaking_to(engine.name):
        try:
            said = engine.api.build(
                fileobj=context.tar(), custom_context=True, tag=tag, rm=True, forcerm=True, decode=True,
                timeout=SILENCE, labels=dict(labels), buildargs={**proxies(), **arguments},
            )  # fmt: skip
            follow(said, say, deadline=time.monotonic() + WHOLE)
        except Failed as failed:
            raise EngineError(
                _one_text(tag, failed), where=engine.name, fix="mend what the last lines name and run it again"
            ) from None
        except requests.exceptions.ReadTimeout:
            raise TookTooLong(f"build of {tag}: no word for {SILENCE} s", where=engine.name) from None
        except APIError as error:
            raise EngineError(f"cannot build {tag}: {error.explanation}", where=engine.name) from error


def proxies() -> dict[str, str]:
    """The operator's proxy settings, for what fetches something on a host."""
    return {name: value for name, value in os.environ.items() if name.lower() in _PROXIES and value}


def _one_text(tag: str, failed: Failed) -> str:
    lines = "".join(f"\n    {line}" for line in failed.lines)
    return f"build of {tag} failed at {failed.step or 'its start'}: {failed.message}{lines}"


def follow(said: Iterable[dict[str, Any]], say: Callable[[str], None], deadline: float) -> None:
    """Read the engine's account of a build to its end; only steps that run something are worth a word.

    deadline  on the monotonic clock

    Raises Failed, and TookTooLong.
    """
    step, last = "", deque[str](maxlen=_LAST_LINES)
    for word in said:
        if "error" in word:
            raise Failed(step, last, str(word["error"]).strip())
        for line in str(word.get("stream", "")).splitlines():
            text = _COLOR.sub("", line.rpartition("\r")[2]).rstrip()
            found = _STEP.match(text)
            if found:
                step = f"step {found[1]} of {found[2]} ({_short(found[3])})"
                last.clear()
            elif text.startswith(" ---> Running in") and "(RUN " in step:
                say(step)
            elif text.strip() and not text.startswith((" ---> ", "Removing intermediate container")):
                last.append(text)
        if time.monotonic() > deadline:
            raise TookTooLong(f"build: still at {step} after {WHOLE} s")


def _short(instruction: str) -> str:
    """The beginning of a Dockerfile's line, enough to find it."""
    words = _PREAMBLE.sub("RUN … ", " ".join(instruction.split()))
    return words if len(words) <= 80 else f"{words[:79]}…"
