"""Publishes the course's material when it is due: the program of the service `<course>-material`.

It is sent there as text, so it uses the standard library only. All of the material lies in the service's volume, where
nobody but root of this container reads it. What is due is committed to a bare git repository beside it, one branch for
each folder of a home, and `git daemon` serves that repository to notebooks, as another user. So what is not released
yet is in no object store that a notebook can reach. What there is lies in `full/status.json`, for `occamctl` to read:
that costs no program that has to start. It has one command for `occamctl`, which answers with JSON:

    take     a manifest on standard input: use it from now on, and publish what is due

    {"digest": …, "entries": [{"into": folder, "source": words, "content": name, "release": {pattern: seconds}}]}

A manifest's `content` names a folder of the volume, `release` holds seconds since 1970.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

ROOT = Path(os.environ.get("OCCAM_MATERIAL_ROOT", "/srv/material"))
PORT = 9418
"""git's own."""
MOST_AT_ONCE = 200
"""Notebooks that pull at the same time; one more is turned away, and comes again."""
LOOK = 1.0
"""Seconds between two looks at the clock."""
_AUTHOR = "course <course@localhost>"
_AS_NOBODY = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--bounding-set=-all", "--no-new-privs")


def matches(path: str, pattern: str) -> bool:
    """Whether a pattern means this file, as in .gitignore: a name anywhere, or with a slash a path from the top.

    A folder that matches stands for all that is in it.
    """
    parts, words = path.split("/"), pattern.strip("/").split("/")
    if "/" not in pattern.rstrip("/"):
        return any(fnmatchcase(part, words[0]) for part in parts)
    return len(words) <= len(parts) and all(map(fnmatchcase, parts, words))


def due(release: Mapping[str, float], path: str) -> float:
    """When a file is released, seconds since 1970: the latest date of the patterns that mean it, 0 when none does."""
    return max((when for pattern, when in release.items() if matches(path, pattern)), default=0)


class Shelf:
    """The volume: `full/` with everything, `public/material.git` with what is due."""

    def __init__(self, root: Path) -> None:
        self.full, self.repository = root / "full", root / "public" / "material.git"
        self._manifest, self._lock = root / "full" / "manifest.json", root / "full" / "lock"
        self.told = self.full / "status.json"
        self._published: dict[str, object] = {}
        # A content's name stands for what is in it, so one look is enough; `tell` asks every second.
        self.files = lru_cache(maxsize=64)(self._files)
        self.full.mkdir(mode=0o700, exist_ok=True)
        self.full.chmod(0o700)
        with self.alone():
            if not (self.repository / "HEAD").exists():
                shutil.rmtree(self.repository, ignore_errors=True)
                self.repository.parent.mkdir(exist_ok=True)
                draft = self.repository.with_name("draft.git")
                shutil.rmtree(draft, ignore_errors=True)
                subprocess.run(["git", "init", "-q", "--bare", str(draft)], check=True)
                draft.rename(self.repository)

    @contextmanager
    def alone(self) -> Iterator[None]:
        with open(self._lock, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def manifest(self) -> dict[str, Any]:
        try:
            told: dict[str, Any] = json.loads(self._manifest.read_bytes())
        except (OSError, ValueError):
            told = {"digest": "", "entries": []}
        return told

    def contents(self) -> list[str]:
        """Names of the contents that are here as a whole."""
        return sorted(mark.stem for mark in self.full.glob("*.whole"))

    def _files(self, content: str) -> Mapping[str, Path]:
        """Path inside the material to the file that holds it."""
        folder = self.full / content
        return {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}

    def take(self, manifest: dict[str, Any]) -> None:
        """Use this manifest. Raises ValueError when a content is not here."""
        missing = {entry["content"] for entry in manifest["entries"]} - set(self.contents())
        if missing:
            raise ValueError(f"the content of {', '.join(sorted(missing))} did not arrive")
        draft = self._manifest.with_suffix(".new")
        draft.write_text(json.dumps(manifest))
        draft.replace(self._manifest)
        self.publish(time.time())
        used = {entry["content"] for entry in manifest["entries"]}
        for folder in self.full.iterdir():
            if folder.is_dir() and folder.name not in used:
                folder.with_name(f"{folder.name}.whole").unlink(missing_ok=True)
                shutil.rmtree(folder)

    def publish(self, now: float) -> list[str]:
        """Commit what is due at `now`; returns the folders that changed."""
        with self.alone():
            entries = self.manifest()["entries"]
            self._drop_others({entry["into"] for entry in entries})
            return [entry["into"] for entry in entries if self._commit(entry, now)]

    def _drop_others(self, wanted: set[str]) -> None:
        listed = self._git("for-each-ref", "--format=%(refname)", "refs/heads").split("\n")
        for ref in listed:
            if ref and ref.removeprefix("refs/heads/") not in wanted:
                self._git("update-ref", "-d", ref)

    def _commit(self, entry: Mapping[str, Any], now: float) -> bool:
        into, content = entry["into"], entry["content"]
        passed = tuple(sorted(pattern for pattern, when in entry["release"].items() if when <= now))
        seen = (content, tuple(sorted(entry["release"].items())), passed)
        if self._published.get(into) == seen:
            return False
        files = {path: at for path, at in self.files(content).items() if due(entry["release"], path) <= now}
        before = self._git("for-each-ref", "--format=%(objectname)", f"refs/heads/{into}").strip()
        changed = False
        if files or before:
            tree = self._tree(files)
            if not before or self._git("rev-parse", f"{before}^{{tree}}").strip() != tree:
                parents = ["-p", before] if before else []
                commit = self._git("commit-tree", *parents, "-m", "Course material", tree).strip()
                self._git("update-ref", f"refs/heads/{into}", commit)
                # Packed once: a hundred notebooks that pull at the same time are only sent what lies there.
                self._git("repack", "-a", "-d", "-q", "--window-memory=64m", "--threads=1")
                changed = True
        self._published[into] = seen
        return changed

    def _tree(self, files: Mapping[str, Path]) -> str:
        paths = "".join(f"{at}\n" for at in files.values())
        objects = self._git("hash-object", "-w", "--no-filters", "--stdin-paths", given=paths).split()
        modes = ("100755" if at.stat().st_mode & 0o100 else "100644" for at in files.values())
        listed = zip(modes, objects, files, strict=True)
        index = self.full / "index"
        index.unlink(missing_ok=True)
        lines = "".join(f"{mode} {name}\t{path}\0" for mode, name, path in listed)
        self._git("update-index", "-z", "--index-info", given=lines, index=index)
        return self._git("write-tree", index=index).strip()

    def _git(self, *words: str, given: str = "", index: Path | None = None) -> str:
        """What git prints. Raises OSError with its own words."""
        who, _, mail = _AUTHOR.partition(" <")
        environment = os.environ | {
            "GIT_DIR": str(self.repository),
            **{f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in _person(who, mail)},
            **({"GIT_INDEX_FILE": str(index)} if index else {}),
        }
        done = subprocess.run(["git", *words], input=given.encode(), capture_output=True, env=environment, check=False)
        if done.returncode:
            raise OSError(f"git {words[0]}: {done.stderr.decode(errors='replace').strip()[-300:]}")
        return done.stdout.decode()

    def tell(self, now: float, trouble: str = "") -> None:
        """Write what there is, when that is news. It takes turns with itself, so an older word never wins."""
        with self.alone():
            words = json.dumps(self.status(now, trouble))
            if not self.told.exists() or self.told.read_text() != words:
                draft = self.told.with_suffix(".new")
                draft.write_text(words)
                draft.replace(self.told)

    def status(self, now: float, trouble: str = "") -> dict[str, Any]:
        """What there is: `have` names contents, `next` is when more is released, seconds since 1970 or null."""
        manifest = self.manifest()
        return {
            "digest": manifest["digest"],
            "have": self.contents(),
            "entries": [self._status(entry, now) for entry in manifest["entries"]],
            "trouble": trouble,
        }

    def _status(self, entry: Mapping[str, Any], now: float) -> dict[str, Any]:
        dates = {path: due(entry["release"], path) for path in self.files(entry["content"])}
        later = {when for when in dates.values() if when > now}
        return {
            "into": entry["into"],
            "source": entry["source"],
            "content": entry["content"],
            "files": len(dates),
            "released": sum(when <= now for when in dates.values()),
            "next": min(later, default=None),
            "next_files": sorted(path for path, when in dates.items() if later and when == min(later)),
        }


def _person(who: str, mail: str) -> tuple[tuple[str, str], ...]:
    return ("NAME", who), ("EMAIL", mail.rstrip(">"))


def daemon(repository: Path) -> subprocess.Popen[bytes]:
    """git's own server, for reading, as a user who cannot see what is not published."""
    # It serves what root has written; git wants to be told that this is meant.
    trusting = os.environ | {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "GIT_CONFIG_KEY_1": "pack.threads",
        "GIT_CONFIG_VALUE_1": "1",
        "HOME": "/",
    }
    command = ["git", "daemon", "--reuseaddr", f"--port={PORT}", "--export-all", "--strict-paths"]
    command += [f"--max-connections={MOST_AT_ONCE}", "--init-timeout=10", "--timeout=120"]
    command += [f"--base-path={repository.parent}", str(repository)]
    return subprocess.Popen([*_AS_NOBODY, *command], env=trusting)


def serve(shelf: Shelf) -> None:
    """Publish what becomes due, until git's server ends."""
    serving, trouble = daemon(shelf.repository), ""
    while serving.poll() is None:
        try:
            for folder in shelf.publish(time.time()):
                print(f"published: {folder}", flush=True)
            trouble = ""
        except OSError as error:
            if not trouble:
                print(f"cannot publish: {error}", flush=True)
            trouble = str(error)
        try:
            shelf.tell(time.time(), trouble)
        except OSError as error:
            print(f"cannot write what there is: {error}", flush=True)
            trouble = trouble or str(error)
        time.sleep(10 * LOOK if trouble else LOOK)
    raise SystemExit(f"git daemon ended with {serving.returncode}")


def main(command: str) -> None:
    os.umask(0o022)
    shelf = Shelf(ROOT)
    if command == "serve":
        serve(shelf)
    try:
        shelf.take(json.load(sys.stdin))
        shelf.tell(time.time())
        print(json.dumps({}))
    except (OSError, ValueError) as error:
        print(json.dumps({"error": str(error)}))


if __name__ == "__main__":
    main(sys.argv[1])
