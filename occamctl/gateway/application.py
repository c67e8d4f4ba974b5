"""A submitted application as a request brings it: its files, its words, and Spark's settings for it. Pure."""

from __future__ import annotations

import base64
import binascii
import io
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from occamctl.errors import SpecError
from occamctl.spec.units import human_size

MOST_BYTES = 450 << 10
"""Of all files together: they travel as one Swarm secret, which holds 500K."""
MOST_FILES, MOST_WORDS, MOST_TEXT = 32, 256, 8192
WORDS = ".words"
"""Among the packed files: what follows spark-submit's own options, each word ended by a NUL. No file is called so."""
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_SETTING = re.compile(r"spark\.[A-Za-z0-9._-]{1,120}")
_OURS = ("spark.occam.", "spark.authenticate", "spark.network.crypto", "spark.driver.host", "spark.driver.port")
_OURS_TOO = {
    "spark.master", "spark.submit.deployMode", "spark.submit.pyFiles", "spark.driver.bindAddress",
    "spark.driver.memory", "spark.executor.cores", "spark.executor.instances", "spark.executor.memory",
    "spark.executor.memoryOverhead",
    "spark.dynamicAllocation.enabled", "spark.ui.port",
}  # fmt: skip


@dataclass(frozen=True)
class Application:
    """One application. `files` are contents by plain file name; `main` and `py_files` are among them."""

    main: str
    files: Mapping[str, bytes]
    py_files: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    conf: Mapping[str, str] | None = None

    @property
    def settings(self) -> dict[str, str]:
        """Its own settings for Spark's configuration, where a backslash begins something else."""
        return {key: value.replace("\\", "\\\\") for key, value in (self.conf or {}).items()}

    def packed(self) -> bytes:
        """Files and words as one archive (tar, gzip)."""
        options = ["--py-files", ",".join(self.py_files)] if self.py_files else []
        words = "".join(f"{word}\0" for word in (*options, self.main, *self.arguments))
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for name, content in {**self.files, WORDS: words.encode()}.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return packed.getvalue()


def read(said: object) -> Application:
    """The application in a request. Raises SpecError."""
    if not isinstance(said, dict):
        raise SpecError("application: not an object")
    unknown = sorted(said.keys() - Application.__dataclass_fields__.keys())
    if unknown:
        raise SpecError(f"application: unknown key {unknown[0]!r:.60}")
    files = _files(said.get("files"))
    main, py_files = said.get("main"), _texts(said, "py_files")
    for name in (main, *py_files):
        if name not in files:
            raise SpecError(f"application: {name!r:.120} is not among its files")
    if not str(main).endswith(".py"):
        raise SpecError(f"application: {main!r:.120} is not a Python program", fix="submit a file that ends in .py")
    return Application(str(main), files, py_files, _texts(said, "arguments"), _conf(said.get("conf")))


def _files(said: object) -> dict[str, bytes]:
    if not isinstance(said, dict) or not said or len(said) > MOST_FILES:
        raise SpecError(f"application: files: not an object of 1 to {MOST_FILES} files")
    files = {}
    for name, text in said.items():
        if not _FILE.fullmatch(name):
            raise SpecError(
                f"application: a file cannot be called {name!r:.120}", fix="use letters, digits, dots, hyphens and _"
            )
        try:
            files[name] = base64.b64decode(text, validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise SpecError(f"application: the contents of {name} are not base64") from None
    check_size(sum(len(content) for content in files.values()))
    return files


def check_size(many: int) -> None:
    """Raises SpecError when files of so many bytes are more than can be sent."""
    if many > MOST_BYTES:
        raise SpecError(
            f"the application's files are {human_size(many)} together, and {human_size(MOST_BYTES)} can be sent",
            fix="put data where the workers can read it, and packages into the image (image.pip)",
        )


def _texts(said: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = said.get(key) or []
    fine = isinstance(value, list) and all(isinstance(one, str) and "\0" not in one for one in value)
    if not fine or len(value) > MOST_WORDS or sum(map(len, value)) > MOST_TEXT:
        raise SpecError(
            f"application: {key}: not a list of at most {MOST_WORDS} texts, {MOST_TEXT} characters together"
        )
    return tuple(value)


def _conf(said: object) -> dict[str, str]:
    if said is None:
        return {}
    if not isinstance(said, dict) or len(said) > MOST_WORDS:
        raise SpecError("application: conf: not an object of texts")
    for key, value in said.items():
        if not _SETTING.fullmatch(key) or not isinstance(value, str) or len(value) > 4096 or not value.isprintable():
            raise SpecError(
                f"application: conf: {key!r:.120} is no setting of Spark with a plain text",
                fix="write: spark.name=value",
            )
        if key.startswith(_OURS) or key in _OURS_TOO:
            raise SpecError(f"{key} belongs to the cluster and cannot be set", fix="leave it away")
    return dict(said)
