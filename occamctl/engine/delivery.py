"""Images go from one engine to another as a stream: nothing is kept on this machine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import requests

from occamctl.engine.client import Engine, speaking_to
from occamctl.errors import EngineError, TookTooLong

_CHUNK = 1 << 20
_SAY_EVERY = 2.0
PREPARE = 900
"""Seconds that the source may take to its first byte, and the target after the last one."""
STALL = 300
"""Seconds that the target may take no byte."""
WHOLE = 3600


def deliver(source: Engine, target: Engine, tags: Iterable[str], say: Callable[[str], None]) -> list[str]:
    """Give `target` those of `tags` that it lacks, and return them.

    Raises EngineError when the source lacks one, or the target does not take it, and TookTooLong.
    """
    sent = []
    for tag in tags:
        if _size(target, tag) is None:
            _send(source, target, tag, say)
            sent.append(tag)
    return sent


def _size(engine: Engine, tag: str) -> int | None:
    """Bytes of the image; None when the engine lacks it."""
    with speaking_to(engine.name):
        answer = engine.api.get(_url(engine, f"/images/{tag}/json"), timeout=60)
    if answer.status_code == 404:
        return None
    _check(engine, answer)
    return int(answer.json()["Size"])


def _send(source: Engine, target: Engine, tag: str, say: Callable[[str], None]) -> None:
    size = _size(source, tag)
    if size is None:
        raise EngineError(f"image {tag} is not there", where=source.name, fix="run: occamctl image build")
    short = tag.rpartition("/")[2]
    say(f"sending {short}: {size >> 20} MB")
    try:
        with speaking_to(source.name):
            stream = source.api.get(_url(source, f"/images/{tag}/get"), stream=True, timeout=(60, PREPARE))
        with stream:
            _check(source, stream)
            chunks = _counted(stream.iter_content(_CHUNK), short, size, say)
            _load(target, chunks)
    except requests.exceptions.Timeout:
        raise TookTooLong(f"sending {tag}: no progress", where=target.name, fix="run it again") from None
    except requests.exceptions.RequestException as error:
        raise EngineError(f"sending {tag} broke off: {error}", where=target.name, fix="run it again") from error
    if _size(target, tag) is None:
        raise EngineError(f"the engine took {tag} but does not list it", where=target.name, fix="run it again")


def _load(target: Engine, chunks: Iterator[bytes]) -> None:
    headers = {"Content-Type": "application/x-tar"}
    answer = target.api.post(
        _url(target, "/images/load"), data=chunks, headers=headers, stream=True, timeout=(STALL, PREPARE)
    )
    with answer:
        _check(target, answer)
        for line in answer.iter_lines():
            said = json.loads(line) if line.startswith(b"{") else {}
            if "error" in said:
                raise EngineError(f"cannot load the image: {said['error']}", where=target.name, fix="is its disk full?")


def _counted(chunks: Iterable[bytes], what: str, size: int, say: Callable[[str], None]) -> Iterator[bytes]:
    """The same chunks; says every few seconds how many went by. Raises TookTooLong."""
    start = told = time.monotonic()
    gone = 0
    for chunk in chunks:
        yield chunk
        gone += len(chunk)
        now = time.monotonic()
        if now - told >= _SAY_EVERY:
            told = now
            say(f"sending {what}: {min(gone, size) >> 20} of {size >> 20} MB")
        if now - start > WHOLE:
            raise TookTooLong(f"sending {what}: {gone >> 20} MB of {size >> 20} MB after {WHOLE} s")
    say(f"unpacking {what}")


def _url(engine: Engine, path: str) -> str:
    return f"{engine.api.base_url}/v{engine.api.api_version}{path}"


def _check(engine: Engine, answer: Any) -> None:
    if not answer.ok:
        try:
            said = answer.json()["message"]
        except (ValueError, KeyError, TypeError):
            said = answer.text
        raise EngineError(f"the engine said {answer.status_code}: {said}", where=engine.name)
