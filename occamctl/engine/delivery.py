"""Images go from one engine to another as a stream: nothing is kept on this machine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import requests

from occamctl.engine.client import Engine, speaking_to
from occamctl.engine.debian import BASE, OWN
from occamctl.engine.layers import files, shared, without
from occamctl.errors import EngineError, TookTooLong
from occamctl.spec import names

_CHUNK = 1 << 20
_SAY_EVERY = 2.0
PREPARE = 900
"""Seconds that the source may take to its first byte, and the target after the last one."""
STALL = 300
"""Seconds that the target may take no byte."""
WHOLE = 3600


def deliver(source: Engine, target: Engine, tags: Iterable[str], say: Callable[[str], None]) -> list[str]:
    """Give `target` those of `tags` that it lacks, and return them. Layers that it has are not sent again.

    Raises EngineError when the source lacks one, or the target does not take it, and TookTooLong.
    """
    sent = []
    for tag in tags:
        if _image(target, tag) is None:
            _send(source, target, tag, say)
            sent.append(tag)
    return sent


def _image(engine: Engine, tag: str) -> dict[str, Any] | None:
    """What the engine says of the image; None when it lacks it."""
    with speaking_to(engine.name):
        answer = engine.api.get(_url(engine, f"/images/{tag}/json"), timeout=60)
    if answer.status_code == 404:
        return None
    _check(engine, answer)
    said: dict[str, Any] = answer.json()
    return said


def _send(source: Engine, target: Engine, tag: str, say: Callable[[str], None]) -> None:
    image = _image(source, tag)
    if image is None:
        raise EngineError(f"image {tag} is not there", where=source.name, fix="run: occamctl image build")
    layers = list(image["RootFS"]["Layers"])
    count = layers_there(target, layers)
    short, size = tag.rpartition("/")[2], int(image["Size"])
    say(f"sending {short}: {f'what is new in {size >> 20}' if count else size >> 20} MB")
    try:
        _stream(source, target, tag, files(layers, count), lambda text: say(f"sending {short}: {text}"))
    except EngineError:
        if not count:
            raise
        # The target thinks otherwise about what it has: a layer that two images call the same, or another image store.
        say(f"sending {short}: all of it")
        _stream(source, target, tag, frozenset(), lambda text: say(f"sending {short}: {text}"))
    if _image(target, tag) is None:
        raise EngineError(f"the engine took {tag} but does not list it", where=target.name, fix="run it again")


def layers_there(target: Engine, layers: list[str]) -> int:
    """How many of the lowest `layers` the target has in images of ours, or in Debian's."""
    with speaking_to(target.name):
        ours = [str(one["Id"]) for one in target.api.images(filters={"label": [f"{names.KIND}=image"]})]
    seen = [image for name in (*ours, BASE, OWN) if (image := _image(target, name)) is not None]
    return shared(layers, [image["RootFS"]["Layers"] or [] for image in seen])


def _stream(source: Engine, target: Engine, tag: str, left_out: frozenset[str], say: Callable[[str], None]) -> None:
    try:
        with speaking_to(source.name):
            stream = source.api.get(_url(source, f"/images/{tag}/get"), stream=True, timeout=(60, PREPARE))
        with stream:
            _check(source, stream)
            chunks = stream.iter_content(_CHUNK)
            _load(target, _counted(without(chunks, left_out) if left_out else chunks, say))
    except requests.exceptions.Timeout:
        raise TookTooLong(f"sending {tag}: no progress", where=target.name, fix="run it again") from None
    except requests.exceptions.RequestException as error:
        raise EngineError(f"sending {tag} broke off: {error}", where=target.name, fix="run it again") from error


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


def _counted(chunks: Iterable[bytes], say: Callable[[str], None]) -> Iterator[bytes]:
    """The same chunks; says every few seconds how much went by. Raises TookTooLong."""
    start = told = time.monotonic()
    gone = 0
    for chunk in chunks:
        yield chunk
        gone += len(chunk)
        now = time.monotonic()
        if now - told >= _SAY_EVERY:
            told = now
            say(f"{gone >> 20} MB gone")
        if now - start > WHOLE:
            raise TookTooLong(f"sending an image: only {gone >> 20} MB after {WHOLE} s")
    say(f"{gone >> 20} MB gone, unpacking")


def _url(engine: Engine, path: str) -> str:
    return f"{engine.api.base_url}/v{engine.api.api_version}{path}"


def _check(engine: Engine, answer: Any) -> None:
    if not answer.ok:
        try:
            said = answer.json()["message"]
        except (ValueError, KeyError, TypeError):
            said = answer.text
        raise EngineError(f"the engine said {answer.status_code}: {said}", where=engine.name)
