"""A download that goes on where it stopped. Runs where data_inside.py does."""

from __future__ import annotations

import json
import os
import shutil
import time
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from data_inside import Told, Wrong, megabytes, say, write  # type: ignore[import-not-found]

TRIES = 5
"""In a row without more bytes than before."""
_SILENCE = 60
"""Seconds that the server may say nothing."""
_CHUNK = 1 << 18
_AGAIN = (408, 425, 429, 500, 502, 503, 504)


def fetch(url: str, part: Path, note: Path) -> int:
    """Bring `part` to the whole of `url`; its size. Raises Wrong.

    note  remembers what the server said of the file, so that two versions of it are never mixed
    """
    shown = urlsplit(url).hostname or url
    failed, most = 0, _size(part)
    while True:
        try:
            if _once(url, part, note):
                return _size(part)
            trouble = "it broke off"
        except HTTPError as error:
            trouble = f"it answers {error.code} {error.reason}"
            if error.code not in _AGAIN:
                raise Wrong(f"{shown}: {trouble}", "is the address right?") from None
        except URLError as error:
            trouble = f"cannot be reached: {error.reason}"
        except (TimeoutError, HTTPException, ConnectionError) as error:
            trouble = f"it broke off: {error or type(error).__name__}"
        # A server that cannot go on in the middle has us begin anew: only what is more than ever counts.
        failed = 1 if _size(part) > most else failed + 1
        most = max(most, _size(part))
        if failed >= TRIES:
            kept = f"; the {megabytes(_size(part))} that came are kept" if _size(part) else ""
            raise Wrong(f"{shown}: {trouble}{kept}", "run it again, and it goes on from there")
        say(f"{shown}: {trouble}; trying again")
        time.sleep(min(2.0**failed, 15) / 2)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _once(url: str, part: Path, note: Path) -> bool:
    """One try; whether the file is whole then."""
    have, known = _size(part), json.loads(note.read_text())
    if have and known.get("total") == have:
        return True
    headers = {"Accept-Encoding": "identity", "User-Agent": "occamctl"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if known.get("validator"):
            headers["If-Range"] = known["validator"]
    try:
        answer = urlopen(Request(url, headers=headers), timeout=_SILENCE)
    except HTTPError as error:
        if error.code != 416:
            raise
        part.unlink()  # it is shorter now than what is here: another file
        return False
    with answer:
        total, goes_on = _total(answer, have), answer.status == 206
        if have and not goes_on:
            say("the file has changed, or its server cannot go on in the middle: from the beginning")
        if goes_on and known.get("total", total) != total:
            part.unlink()
            return False
        free = shutil.disk_usage(part.parent).free
        if total - (have if goes_on else 0) > free:
            raise Wrong(
                f"no room for it: it has {megabytes(total)}, {megabytes(free)} are free",
                "make room and run it again",
                4,
            )
        write(note, known | {"total": total, "validator": _validator(answer)})
        _copy(answer, part, total, "ab" if goes_on else "wb")
    if not total:  # the server did not say how much it is; http.client tells a broken one by its end
        write(note, json.loads(note.read_text()) | {"total": _size(part)})
        return True
    return _size(part) == total


def _copy(answer: Any, part: Path, total: int, mode: str) -> None:
    told = Told("fetching", total)
    with part.open(mode) as file:
        while piece := answer.read(_CHUNK):
            file.write(piece)
            told.at(file.tell())
        file.flush()
        os.fsync(file.fileno())


def _total(answer: Any, have: int) -> int:
    """Bytes of the whole file; 0 when the server does not say."""
    if answer.status == 206:
        first, _, whole = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        if first.partition("-")[0] != str(have) or not whole.isdigit():
            raise HTTPException("the server answers with another part than was asked for")
        return int(whole)
    return int(answer.headers.get("Content-Length") or 0)


def _validator(answer: Any) -> str:
    """What tells this version of the file from others; a weak tag does not."""
    tag = answer.headers.get("ETag") or ""
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified") or ""
