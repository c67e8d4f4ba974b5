"""The course's images, built once for all tests: each process that runs them comes here before it needs one."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from occamctl.engine import debian, images
from occamctl.engine.client import Engine


@contextmanager
def _alone(what: str) -> Iterator[None]:
    """Whoever comes second waits for the first, and finds what that one made."""
    with Path(tempfile.gettempdir(), f"occamctl-tests-{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@cache
def base() -> None:
    """The image below all others."""
    with _alone("base"):
        debian.ensure_base(Engine.local(), _say)


@cache
def course() -> list[str]:
    """Tags of the images of a course: hub, and notebook."""
    base()
    with _alone("course"):
        wanted = images.hub_image(), images.notebook_image()
        for image in wanted:
            images.ensure_built(Engine.local(), image, _say)
    return [image.tag for image in wanted]


def _say(*words: str) -> None:
    print(*words, flush=True)
