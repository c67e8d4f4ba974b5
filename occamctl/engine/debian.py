"""The image below all others: Debian, pulled where a registry can be reached, made here where not."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from docker.errors import APIError, ImageNotFound

from occamctl.engine.client import Engine, speaking_to
from occamctl.errors import EngineError
from occamctl.plan import apt
from occamctl.spec import names

Say = Callable[[str], None]
BASE = "debian:bookworm-slim"
OWN = "localhost/occam/debian:bookworm"
"""What we make ourselves has a name of its own, so that nobody's image is ever replaced."""
PULLED = "localhost/occam/debian:pulled"
"""A second name of a BASE that was not there before us: it goes with our images."""
FIRST_WORD = 20
"""Seconds until a registry that can be reached has said something."""
PULL = 900
MAKE = 900
APT = ("apt-get", "-qy", "-o", "DPkg::Lock::Timeout=120")
_SCRIPT = Path(__file__).resolve().parents[1] / "templates" / "images" / "base" / "make-debian"


def ensure_base(engine: Engine, say: Say) -> str:
    """The tag of a Debian 12 image that the engine has; pulls it or makes it when there is none.

    Raises EngineError when neither works.
    """
    for tag in (BASE, OWN):
        if _there(engine, tag):
            return tag
    say(f"pulling {BASE}")
    try:
        pull(engine, BASE, first_word=FIRST_WORD)
    except EngineError as refused:
        _make(engine, say, refused.what)
        return OWN
    with speaking_to(engine.name):
        engine.api.tag(BASE, *PULLED.rsplit(":", 1))
    return BASE


def pulled(engine: Engine) -> list[str]:
    """Names of the Debian that we pulled; [] when there is none. A newer one that somebody else pulled is theirs."""
    with speaking_to(engine.name):
        try:
            tags = engine.api.inspect_image(PULLED)["RepoTags"]
        except ImageNotFound:
            return []
    return [tag for tag in tags if tag in (BASE, PULLED)]


def _there(engine: Engine, tag: str) -> bool:
    with speaking_to(engine.name):
        try:
            engine.api.inspect_image(tag)
        except ImageNotFound:
            return False
    return True


def pull(engine: Engine, tag: str, *, first_word: float) -> None:
    """Pull an image. Raises EngineError when the registry refuses, or says nothing for `first_word` seconds."""
    spoken, done, trouble = threading.Event(), threading.Event(), list[str]()

    def work() -> None:
        try:
            for word in engine.api.pull(tag, stream=True, decode=True):
                if "error" in word:
                    trouble.append(str(word["error"]))
                spoken.set()
        except APIError as error:
            trouble.append(str(error.explanation or error))
        except (requests.exceptions.RequestException, OSError) as error:
            trouble.append(f"no answer ({type(error).__name__})")
        finally:
            done.set()
            spoken.set()

    threading.Thread(target=work, daemon=True).start()
    if not spoken.wait(first_word):
        raise EngineError(f"no registry answered within {first_word:g} s", where=engine.name)
    if not done.wait(PULL):
        raise EngineError(f"pulling took more than {PULL} s", where=engine.name)
    if trouble:
        raise EngineError(" ".join(trouble[0].split()), where=engine.name)


def _make(engine: Engine, say: Say, why: str) -> None:
    """Debian's own installer into a folder, and the folder into the engine as a stream."""
    by_hand = f"docker pull {BASE}, or docker load it, on that engine"
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists():
        raise EngineError(
            f"{BASE} cannot be pulled ({why}), and only root on a Debian or Ubuntu machine can make it",
            where=engine.name,
            fix=by_hand,
        )
    say(f"{BASE} cannot be pulled; making Debian with debootstrap")
    with tempfile.TemporaryDirectory(prefix="occam-debian-") as folder:
        root = Path(folder, "root")
        with _debootstrap(engine, say):
            _run([str(_SCRIPT), str(root)], engine)
        say("handing Debian to the engine")
        _import(engine, root)


@contextmanager
def _debootstrap(engine: Engine, say: Say) -> Iterator[None]:
    """debootstrap is there; what apt installs for it goes again."""
    if shutil.which("debootstrap"):
        yield
        return
    before = _packages()
    say("installing debootstrap with apt, for as long as it is needed")
    try:
        _run([*APT, "install", "--no-install-recommends", "debootstrap"], engine)
    finally:
        new = sorted(_packages() - before)  # at once: what somebody else installs later stays
    try:
        yield
    finally:
        if new:
            try:
                _run([*APT, "purge", *new], engine)
            except EngineError as error:  # what it was needed for is done
                say(f"installed and not removed: {', '.join(new)} ({error.what})")


def _packages() -> set[str]:
    """Names of the packages of this machine."""
    return apt.installed(subprocess.run(apt.LISTING, capture_output=True, text=True, timeout=60, check=True).stdout)


def _run(command: list[str], engine: Engine) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=MAKE, check=False)
    except subprocess.TimeoutExpired:
        raise EngineError(f"{command[0]} took more than {MAKE} s", where=engine.name) from None
    if done.returncode:
        last = " | ".join((done.stdout + done.stderr).strip().splitlines()[-3:])
        raise EngineError(
            f"{Path(command[0]).name} failed: {last}", where=engine.name, fix=f"or: docker pull {BASE} on that engine"
        )


def _import(engine: Engine, root: Path) -> None:
    repository, _, tag = OWN.rpartition(":")
    with subprocess.Popen(["tar", "-C", str(root), "--numeric-owner", "-c", "."], stdout=subprocess.PIPE) as packing:
        stream: Any = packing.stdout
        with speaking_to(engine.name):
            engine.api.import_image_from_stream(
                stream, repository=repository, tag=tag, changes=[f"LABEL {names.KIND}=image", 'CMD ["bash"]']
            )
    if packing.returncode or not _there(engine, OWN):
        raise EngineError("the engine did not take the Debian that was made", where=engine.name)
