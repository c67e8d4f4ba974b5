"""The far end of `occamctl data`: runs as root in a container of the notebook image that sees the data volume.

    data_inside.py VERB    one line of JSON on standard input (and content behind it, for `append`)

It answers with lines of JSON, {"say": …} while it works and {"done": …} or {"error": …} at the end; `pack` answers with
a tar. A set is a folder /data/NAME with a manifest in it that names every file with its size and SHA-256. It is made
in /data/.incoming/NAME, which students cannot look into, and comes to its place by a rename when it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

ROOT = Path(os.environ.get("OCCAM_SETS_DIR", "/data"))
MANIFEST = "_occam.json"
"""Begins with a mark that makes Spark and pandas pass over it."""
_INCOMING = ".incoming"
_CHUNK = 1 << 20
_SAY_EVERY = 2.0


class Wrong(Exception):
    """What a person must know: `exit_code` is that of occamctl/errors.py."""

    def __init__(self, what: str, fix: str = "", exit_code: int = 1) -> None:
        super().__init__(what)
        self.what, self.fix, self.exit_code = what, fix, exit_code


def say(text: str) -> None:
    print(json.dumps({"say": text}), flush=True)


class Told:
    """Progress in words, every two seconds at most."""

    def __init__(self, doing: str, total: int = 0) -> None:
        self.doing, self.total, self._last = doing, total, time.monotonic()

    def at(self, gone: int) -> None:
        if time.monotonic() - self._last >= _SAY_EVERY:
            self._last = time.monotonic()
            share = f" of {megabytes(self.total)} ({100 * gone // self.total} %)" if self.total else ""
            say(f"{self.doing}: {megabytes(gone)}{share}")


def megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def incoming(name: str) -> Path:
    """Where the set is made."""
    (ROOT / _INCOMING).mkdir(mode=0o700, exist_ok=True)
    place = ROOT / _INCOMING / name
    place.mkdir(exist_ok=True)
    return place


def sha256(file: Path, told: Told | None = None) -> str:
    digest, gone = hashlib.sha256(), 0
    with file.open("rb") as content:
        while piece := content.read(_CHUNK):
            digest.update(piece)
            gone += len(piece)
            if told:
                told.at(gone)
    return digest.hexdigest()


def manifest_of(folder: Path) -> dict[str, Any] | None:
    """The folder's manifest; None when there is none that can be read."""
    try:
        found: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    return found


def version(manifest: dict[str, Any]) -> str:
    """Twelve digits that two hosts have in common when they have the same files."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:12]


def differing(folder: Path, files: dict[str, Any], *, deep: bool, told: Told | None = None) -> list[str]:
    """Names of the files that are not as the manifest says: their size, and when `deep` their SHA-256 too."""
    wrong, gone = [], 0
    for name, meant in files.items():
        file = folder / name
        good = file.is_file() and file.stat().st_size == meant["size"]
        if not good or (deep and sha256(file) != meant["sha256"]):
            wrong.append(name)
        gone += meant["size"]
        if told:
            told.at(gone)
    return wrong


# Verbs ---------------------------------------------------------------------------------------------------------------


def look(deep: bool = False, name: str = "") -> dict[str, Any]:
    """The sets that are there, by name: manifest, version and the files that are not as they should be."""
    found = {}
    for folder in sorted(ROOT.iterdir()):
        if folder.name.startswith(".") or not folder.is_dir() or (name and folder.name != name):
            continue
        manifest = manifest_of(folder)
        files = manifest["files"] if manifest else {}
        told = Told(f"reading {folder.name}", sum(one["size"] for one in files.values()))
        wrong = differing(folder, files, deep=deep, told=told) if manifest else [MANIFEST]
        short = {key: value for key, value in (manifest or {}).items() if key != "files"}
        found[folder.name] = short | {"version": version(manifest) if manifest else "", "wrong": wrong}
    return found


def begin(name: str, key: str) -> int:
    """How many bytes are there of the source that `key` stands for; those of another one go."""
    place = incoming(name)
    note, part = place / "source.json", place / "source"
    if not note.exists() or json.loads(note.read_text()).get("key") != key:
        part.unlink(missing_ok=True)
        write(note, {"key": key})
    return part.stat().st_size if part.exists() else 0


def append(name: str, at: int) -> int:
    """Add what is on standard input to the source, at its byte `at`; how many bytes there are then."""
    with (incoming(name) / "source").open("ab") as part:
        if part.tell() != at:
            raise Wrong(f"the source has {part.tell()} bytes, not {at}", "run it again")
        with _room_is_needed():
            shutil.copyfileobj(sys.stdin.buffer, part, _CHUNK)
        return part.tell()


def fetch(name: str, url: str) -> int:
    """Download the source, from where an earlier try left off."""
    import data_fetch  # type: ignore[import-not-found]

    place = incoming(name)
    with _room_is_needed():
        return int(data_fetch.fetch(url, place / "source", place / "source.json"))


def make(name: str, file: str, source: str, sha256_wanted: str = "") -> dict[str, Any]:
    """Turn the source into the set and put it in its place. `file` is the source's own name, `source` what to call it.

    The source's checksum is compared when one is wanted; a source with another one is thrown away.
    """
    import data_convert  # type: ignore[import-not-found]

    place = incoming(name)
    part = place / "source"
    size = part.stat().st_size
    checksum = sha256(part, Told("checksum", size))
    if sha256_wanted and checksum != sha256_wanted:
        shutil.rmtree(place)
        raise Wrong(f"the source's sha256 is {checksum}, not {sha256_wanted}", "is it the right file, and the whole?")
    out = place / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    try:
        with _room_is_needed():
            rows = data_convert.convert(name, part, file, out)
    except data_convert.Unusable as error:
        shutil.rmtree(place)
        raise Wrong(f"{file}: {error}", error.fix, 2) from None
    files: dict[str, Any] = {
        one: {"size": (out / one).stat().st_size, "sha256": sha256(out / one)} for one in listed(out)
    }
    manifest: dict[str, Any] = {"name": name, "source": source, "sha256": checksum, "source_size": size}
    manifest |= {"size": sum(one["size"] for one in files.values()), "rows": rows, "files": files}
    write(out / MANIFEST, manifest)
    return put(name)


def want(name: str, manifest: dict[str, Any]) -> list[str]:
    """Make ready for a set that another host has: which of its files are still to come, here or in its old place."""
    out = incoming(name) / "out"
    if manifest_of(out) != manifest:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        for one in manifest["files"]:
            (out / one).parent.mkdir(parents=True, exist_ok=True)
        write(out / MANIFEST, manifest)
    told = Told("looking at what is there", manifest["size"])
    still = []
    for one in differing(out, manifest["files"], deep=True, told=told):
        there = ROOT / name / one
        (out / one).unlink(missing_ok=True)
        if there.is_file() and sha256(there) == manifest["files"][one]["sha256"]:
            os.link(there, out / one)
        else:
            still.append(one)
    return still


def whole(name: str) -> dict[str, Any]:
    """The set's manifest."""
    manifest = manifest_of(ROOT / name)
    if manifest is None:
        raise Wrong(f"{name} is not there any more", "run it again")
    return manifest


def pack(name: str, files: list[str]) -> None:
    """These files of the set as a tar on standard output."""
    with tarfile.open(mode="w|", fileobj=sys.stdout.buffer) as packed:
        for one in files:
            packed.add(ROOT / name / one, one, filter=_plain)


def put(name: str) -> dict[str, Any]:
    """Put the set into its place when all of it is there."""
    place = incoming(name)
    out = place / "out"
    manifest = manifest_of(out)
    wrong = differing(out, manifest["files"], deep=True) if manifest else [MANIFEST]
    if manifest is None or wrong:
        raise Wrong(
            f"{len(wrong)} file{'s' if len(wrong) != 1 else ''} of {name} did not come whole", "run it again", 7
        )
    for folder, folders, files in os.walk(out):
        for one in (*folders, *files):
            os.chmod(os.path.join(folder, one), 0o755 if one in folders else 0o644)
    out.chmod(0o755)
    os.sync()
    target = ROOT / name
    if target.exists():
        _aside(target)
    out.rename(target)
    shutil.rmtree(place)
    return {key: value for key, value in manifest.items() if key != "files"} | {"version": version(manifest)}


def remove(name: str) -> bool:
    """Take the set away, and what an unfinished one left; whether there was any."""
    target, place = ROOT / name, ROOT / _INCOMING / name
    there = target.exists() or place.exists()
    if target.exists():
        _aside(target)
    shutil.rmtree(place, ignore_errors=True)
    return there


def _aside(target: Path) -> None:
    """A rename takes it out of sight at once; then its files go."""
    gone = ROOT / _INCOMING / f".gone-{target.name}"
    (ROOT / _INCOMING).mkdir(mode=0o700, exist_ok=True)
    shutil.rmtree(gone, ignore_errors=True)
    target.rename(gone)
    shutil.rmtree(gone)


def write(file: Path, content: dict[str, Any]) -> None:
    """All of it or nothing."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(json.dumps(content, indent=1))
    new.rename(file)


def listed(folder: Path) -> list[str]:
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


class _room_is_needed:
    """A full disk in words."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, OSError) and error.errno in (28, 122):
            free = shutil.disk_usage(ROOT).free
            raise Wrong(f"no room for it: {megabytes(free)} are free", "make room and run it again", 4) from None


VERBS = {
    "look": look, "begin": begin, "append": append, "fetch": fetch, "make": make, "want": want, "whole": whole,
    "pack": pack, "put": put, "remove": remove,
}  # fmt: skip


def main(verb: str, lines: Iterable[bytes] | BinaryIO) -> int:
    told = json.loads(next(iter(lines)))
    try:
        done = VERBS[verb](**told)  # type: ignore[operator]
    except Wrong as wrong:
        print(json.dumps({"error": {"what": wrong.what, "fix": wrong.fix, "exit_code": wrong.exit_code}}), flush=True)
        return 1
    if verb != "pack":
        print(json.dumps({"done": done}), flush=True)
    return 0


def _first_line() -> Iterator[bytes]:
    yield sys.stdin.buffer.readline()


if __name__ == "__main__":
    sys.modules["data_inside"] = sys.modules["__main__"]
    sys.exit(main(sys.argv[1], _first_line()))
