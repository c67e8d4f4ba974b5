"""The course's data volume on one host, by way of a container that sees nothing else of the host.

Every notebook, executor and driver has the volume at /data, read-only. The container here may write: it runs
data_inside.py as root without capabilities. It is removed with the command that made it; one whose command was killed
is removed by the next one, by `course down`, or ends by itself after a day.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound

from occamctl.engine import images
from occamctl.engine.build import proxies
from occamctl.engine.client import STDOUT, Engine, Raw, frames, speaking_to
from occamctl.errors import EngineError, OccamError, from_dict
from occamctl.plan import desired
from occamctl.spec import names

LOADING, LOOKING = "data-load", "data-look"
_FOLDER = "/opt/occam/data-loader"
_PYTHON = "/opt/occam/venv/bin/python"
_SCRIPTS = ("data_inside.py", "data_fetch.py", "data_convert.py")
_DAY = 86400
_SILENCE = 300
"""Seconds that the far end may say nothing; it speaks every few seconds."""
_MEMORY = 2 << 30
Say = Callable[[str], None]


class Loader:
    """A container with the data volume of one host."""

    def __init__(self, engine: Engine, container: str) -> None:
        self.engine, self._container = engine, container

    def call(self, verb: str, say: Say = lambda _: None, *, content: bytes = b"", **told: Any) -> Any:
        """What `verb` of data_inside.py answers. Raises what it says went wrong, with the host's name."""
        said = bytearray()
        answer: dict[str, Any] = {}
        for piece in self.raw(verb, content=content, **told):
            said += piece
            while b"\n" in said:
                line, _, rest = said.partition(b"\n")
                said[:] = rest
                answer = _read(bytes(line))
                if "say" in answer:
                    say(answer["say"])
        if "error" in answer:
            error = from_dict(answer["error"])
            error.where = self.engine.name
            raise error
        if "done" not in answer:
            raise EngineError(f"the loader of data ended in the middle of {verb}", where=self.engine.name, fix="again")
        return answer["done"]

    def raw(self, verb: str, *, content: bytes = b"", **told: Any) -> Iterator[bytes]:
        """What `verb` prints on standard output, piece by piece. Raises EngineError when it fails."""
        command = [_PYTHON, "-B", f"{_FOLDER}/{_SCRIPTS[0]}", verb]
        with speaking_to(self.engine.name):
            number, answer = self.engine.start_exec(self._container, command, stdin=True, user="0")
            complaint = bytearray()
            try:
                raw = Raw(answer)
                raw.socket.settimeout(_SILENCE)
                told_ = json.dumps(told).encode() + b"\n" + content
                threading.Thread(target=_feed, args=(raw, told_), daemon=True).start()
                for stream, piece in frames(raw.next):
                    if stream == STDOUT:
                        yield piece
                    else:
                        complaint += piece
            finally:
                answer.close()
            code = int(self.engine.api.exec_inspect(number)["ExitCode"] or 0)
        if code > 1 or (code and complaint):
            last = (complaint.decode(errors="replace").strip().splitlines() or [f"exit {code}"])[-1]
            raise EngineError(f"the loader of data failed: {last}", where=self.engine.name, fix="run it again")

    def take(self, name: str, pieces: Iterator[bytes]) -> None:
        """Unpack a tar of files of the set that is being made."""
        with speaking_to(self.engine.name):
            self.engine.api.put_archive(self._container, f"{desired.DATA}/.incoming/{name}/out", pieces)


def _feed(raw: Raw, content: bytes) -> None:
    with suppress(OSError):  # the command ended without reading everything: what it printed says why
        raw.socket.sendall(content)
        channel = hasattr(raw.socket, "shutdown_write")
        raw.socket.shutdown_write() if channel else raw.socket.shutdown(1)


def _read(line: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return found


@contextmanager
def loader(engine: Engine, course: str, image: str, *, only_look: bool = False) -> Iterator[Loader]:
    """A loader on this host; raises EngineError when the notebook image is not there.

    only_look  it cannot write, and others may work meanwhile; else those of killed commands are ended first
    """
    if image not in images.present(engine):
        raise EngineError(f"image {image} is not there", where=engine.name, fix="run: occamctl course up")
    if not only_look:
        clear(engine, course, LOADING)
    mount = desired.data(course)
    with speaking_to(engine.name):
        engine.api.create_volume(mount.source, labels=mount.labels)
        made = engine.api.create_container(
            image,
            ["sleep", str(_DAY)],
            entrypoint=[],
            user="0",
            labels=desired.labels(course, LOOKING if only_look else LOADING),
            environment=proxies(),
            host_config=engine.api.create_host_config(
                binds=[f"{mount.source}:{desired.DATA}{':ro' if only_look else ''}"],
                network_mode="none" if only_look else "host",
                cap_drop=["ALL"],
                init=True,
                mem_limit=_MEMORY,
                security_opt=["no-new-privileges"],
            ),
        )["Id"]
    try:
        with speaking_to(engine.name):
            engine.api.put_archive(made, os.path.dirname(_FOLDER), _scripts())
            engine.api.start(made)
        yield Loader(engine, made)
    finally:
        with suppress(OccamError), speaking_to(engine.name):
            engine.api.remove_container(made, force=True)


def there(engine: Engine, course: str) -> bool:
    """Whether this host has the data volume at all."""
    with speaking_to(engine.name):
        listed = engine.api.volumes(filters={"name": names.Names(course).data})["Volumes"] or []
    return any(one["Name"] == names.Names(course).data for one in listed)


def clear(engine: Engine, course: str, *kinds: str) -> None:
    """End loaders whose commands were killed."""
    for kind in kinds:
        with speaking_to(engine.name):
            mine = [f"{names.COURSE}={course}", f"{names.KIND}={kind}"]
            for one in engine.api.containers(all=True, filters={"label": mine}):
                with suppress(NotFound, APIError):
                    engine.api.remove_container(one["Id"], force=True)


def _scripts() -> bytes:
    buffer, here = io.BytesIO(), Path(__file__).parent
    with tarfile.open(mode="w", fileobj=buffer) as packed:
        for name in _SCRIPTS:
            content = (here / name).read_bytes()
            entry = tarfile.TarInfo(f"{os.path.basename(_FOLDER)}/{name}")
            entry.size, entry.mode = len(content), 0o444
            packed.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
