"""The course's material in one's home, pulled by nbgitpuller: whatever a student has changed stays as it is.

`occam.material()` gets what has been released since. A notebook does so by itself when it starts, and every minute for
what is new. What is wrong is said in one line, in a file that the file browser shows, and keeps no notebook from
starting. `python -I -m occam.delivery start|now|new` is that; `start` may count on being alone in the home.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

URL = "OCCAM_MATERIAL_URL"
NOTE = "MATERIAL-NOT-UPDATED.txt"
DEADLINE = 600
"""Seconds for one round."""
_KEPT = Path(".local/share/occam")
_SETTINGS = {
    "advice.detachedHead": "false",
    "commit.gpgsign": "false",
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "core.quotePath": "false",
    "gc.auto": "0",
    "init.defaultBranch": "main",
}
"""Of git, in place of the student's own: those may ask for a key, or run something."""
_FULL = "the disk is full"
_SIGNS_OF_IT = ("No space left on device", "Disk quota exceeded", "unable to write file", "write error")
"""git's words; a checkout says no more than that it cannot write."""
_AWAY = "the course's material cannot be reached at the moment"


class NotDelivered(Exception):
    """Why a folder was not updated, in a line for the student."""


def material() -> None:
    """Get the material that has been released by now; files that you have changed stay yours.

    A file of the course that you have deleted comes back.
    """
    ran = subprocess.run(command("now"), capture_output=True, text=True, check=False)
    print((ran.stdout + ran.stderr).strip() or f"Nothing came within {DEADLINE} s; try it again.")


def command(how: str) -> list[str]:
    """The command of one round. Isolated: what lies in the home, or was installed there, has no part in it."""
    return ["timeout", "-k", "5", str(DEADLINE), sys.executable, "-I", "-m", "occam.delivery", how]


def main(how: str) -> None:
    """One round; prints what it did."""
    url = os.environ.get(URL, "")
    if not url:
        print("This course delivers no material.")
        return
    os.environ |= _environment()
    home = Path.home()
    with _alone():
        try:
            wrong = Home(home, url).round(how)
        except Exception as error:  # noqa: BLE001 (the process's edge: a student gets a line in any case)
            traceback.print_exc()
            wrong = [f"{type(error).__name__}: {error}"]
    _note(home / NOTE, wrong, keep=how == "new" and wrong == [_AWAY])
    for line in wrong:
        print(f"not updated: {line}")


def _environment() -> dict[str, str]:
    made = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    made["GIT_CONFIG_COUNT"] = str(len(_SETTINGS))
    for number, (key, value) in enumerate(_SETTINGS.items()):
        made |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return made


@contextmanager
def _alone() -> Iterator[None]:
    """Two rounds at once would stand in each other's way."""
    place = Path("/dev/shm/occam")
    with open((place if place.is_dir() else Path("/dev/shm")) / f"material-{os.getuid()}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _note(file: Path, wrong: Iterable[str], *, keep: bool) -> None:
    """The file that a student sees beside the folders; gone when nothing is wrong."""
    text = "".join(f"{line}\n" for line in wrong)
    try:
        if not text:
            file.unlink(missing_ok=True)
        elif not keep:
            file.write_text(f"{text}\nIt is tried again every minute; occam.material() in a notebook tries it now.\n")
    except OSError:  # a full disk; the line is in the notebook's log
        return


class Home:
    """A student's home, and the repository with one branch for each folder of it."""

    def __init__(self, home: Path, url: str) -> None:
        self.home, self.url = home, url
        self._list = home / _KEPT / "delivered.json"
        self.known: dict[str, Any] = {"commits": {}, "files": {}}
        try:
            told = json.loads(self._list.read_bytes())
            files = {path: list(versions) for path, versions in told["files"].items()}
            self.known = {"commits": dict(told["commits"]), "files": files}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass

    def round(self, how: str) -> list[str]:
        """Update every folder; `how` as for `main`. Returns what went wrong."""
        try:
            branches = self._branches(tries=1 if how == "new" else 4)
        except NotDelivered as reason:
            return [str(reason)]
        wrong = []
        for into, commit in branches.items():
            if how == "new" and self.known["commits"].get(into) == commit:
                continue
            try:
                print(f"{into}: {Folder(self, into).update(fresh=how == 'start')}")
                self._remember(into, commit)
            except (NotDelivered, OSError) as reason:
                wrong.append(f"{into}: {getattr(reason, 'strerror', None) or reason}")
                self._forget(into)
        return wrong

    def _branches(self, tries: int) -> dict[str, str]:
        """Folder to commit, of what is released. Raises NotDelivered."""
        command = ["git", "ls-remote", "--heads", "--", self.url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        while done.returncode and (tries := tries - 1) > 0:  # so many others are pulling, or it is just being replaced
            time.sleep(1 + random.random())
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotDelivered(_AWAY)
        pairs = (line.split("\t", 1) for line in done.stdout.splitlines())
        return {ref.removeprefix("refs/heads/"): commit for commit, ref in pairs}

    def _remember(self, into: str, commit: str) -> None:
        """What was delivered: so it can be told from the student's own work, also when the repository is lost."""
        self.known["commits"][into] = commit
        for path, blob in _blobs(self.home / into, f"origin/{into}").items():
            versions = self.known["files"].setdefault(f"{into}/{path}", [])
            if blob not in versions:
                versions.append(blob)
        self._save()

    def _forget(self, into: str) -> None:
        """The next round tries it again, also when nothing is new."""
        self.known["commits"][into] = ""
        with suppress(OSError):  # the disk is full
            self._save()

    def _save(self) -> None:
        self._list.parent.mkdir(parents=True, exist_ok=True)
        draft = self._list.with_suffix(".new")
        draft.write_text(json.dumps(self.known))
        draft.replace(self._list)

    def aside(self, into: str) -> Path:
        """Where a repository goes that cannot be used; the one before it is given up."""
        place = self.home / _KEPT / "unusable" / into
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


class Folder:
    """One folder of the home."""

    def __init__(self, home: Home, into: str) -> None:
        self.home, self.into, self.at = home, into, home.home / into
        self._draft = self.at.with_name(f".{self.at.name}.part")

    def update(self, *, fresh: bool) -> str:
        """Bring it up to date, and say what was done. Raises NotDelivered, OSError.

        fresh  nobody else is at work in this home: what is locked was left by somebody who is gone
        """
        try:
            shutil.rmtree(self._draft, ignore_errors=True)
            return self._update(fresh=fresh)
        finally:
            shutil.rmtree(self._draft, ignore_errors=True)

    def _update(self, *, fresh: bool) -> str:
        if not self.at.exists():
            return self._begin()
        if not self.at.is_dir():
            raise NotDelivered(f"there is a file {self.into}; rename it")
        if fresh:
            _unlock(self.at / ".git")
        if not self._has("HEAD^{commit}"):
            return self._adopt()
        if not self._has(f"origin/{self.into}^{{commit}}"):
            raise NotDelivered(f"{self.into} is a git repository of your own; rename the folder")
        _git(self.at, "remote", "set-url", "origin", self.home.url)
        try:
            return self._pull()
        except NotDelivered as reason:
            if _FULL in str(reason) or "index.lock" in str(reason) or not self._reachable():
                raise
            _try_git(self.at, "merge", "--abort")
            return self._adopt()

    def _begin(self) -> str:
        self.at.parent.mkdir(parents=True, exist_ok=True)
        _told(_puller(self.home.url, self.into, self._draft).pull())
        self._draft.rename(self.at)
        return f"{len(_blobs(self.at, 'HEAD'))} files"

    def _pull(self) -> str:
        before = _try_git(self.at, "rev-parse", "-q", "--verify", f"origin/{self.into}").strip()
        deleted = _git(self.at, "ls-files", "--deleted", "-z").split("\0")[:-1]
        lines = _told(_puller(self.home.url, self.into, self.at).pull())
        changed = _changed(self.at, before, f"origin/{self.into}")
        mine, theirs = _blobs(self.at, "HEAD"), _blobs(self.at, f"origin/{self.into}")
        kept = [path for path in changed if path in mine and mine[path] != theirs.get(path)]
        renamed = [os.path.basename(line.split(" to ")[1]) for line in lines if line.startswith("Renamed ")]
        told = {
            "new": [path for path, how in changed.items() if how == "A"],
            "changed": [path for path, how in changed.items() if how == "M" and path not in kept],
            "with your changes": kept,
            "taken away": [path for path, how in changed.items() if how == "D" and path not in mine],
            "back again": [path for path in deleted if path in theirs],
            "yours, under a new name": [name.removesuffix(" to avoid conflict with upstream\n") for name in renamed],
        }
        said = [f"{what}: {_some(paths)}" for what, paths in told.items() if paths]
        return "; ".join(said) or "nothing new"

    def _has(self, commit: str) -> bool:
        return bool(_try_git(self.at, "rev-parse", "-q", "--verify", commit))

    def _reachable(self) -> bool:
        done = subprocess.run(["git", "ls-remote", "--", self.home.url], capture_output=True, check=False)
        return done.returncode == 0

    def _adopt(self) -> str:
        """A new repository around the files that are there; what is not as it was delivered is the student's."""
        _told(_puller(self.home.url, self.into, self._draft).pull())
        broken = self.at / ".git"
        if broken.exists() or broken.is_symlink():
            broken.rename(self.home.aside(self.into))
        (self._draft / ".git").rename(broken)
        shutil.rmtree(self._draft, ignore_errors=True)
        _git(self.at, "reset", "-q", "--mixed")
        known = self.home.known["files"]
        for path in _git(self.at, "ls-files", "--modified", "-z").split("\0")[:-1]:
            there = self.at / path
            if there.is_file() and _git(self.at, "hash-object", "--no-filters", "--", path).strip() in known.get(
                f"{self.into}/{path}", ()
            ):
                _git(self.at, "checkout", "-q", "--", path)
        self._pull()
        mine, theirs = _blobs(self.at, "HEAD"), _blobs(self.at, f"origin/{self.into}")
        kept = [path for path, blob in mine.items() if theirs.get(path) != blob]
        return f"set up anew; {f'as you left them: {_some(kept)}' if kept else 'all files are there'}"


def _unlock(repository: Path) -> None:
    """Remove the locks that a killed git left."""
    for lock in repository.rglob("*.lock") if repository.is_dir() and not repository.is_symlink() else ():
        lock.unlink(missing_ok=True)


def _puller(url: str, branch: str, at: Path) -> Any:
    """nbgitpuller's own, which besides keeps a notebook readable."""
    from nbgitpuller.errors import BranchExistError
    from nbgitpuller.pull import GitPuller

    class Puller(GitPuller):
        def rename_local_untracked(self) -> Iterator[str]:
            """As nbgitpuller's; also what is in the way of a folder, and all of a folder that is in a file's way."""
            for path in _in_the_way(at, f"origin/{branch}"):
                stem, end = os.path.splitext(path)
                new = f"{stem}{datetime.now():__%Y%m%d%H%M%S}{end}"
                (at / path).rename(at / new)
                yield f"Renamed {path} to {new} to avoid conflict with upstream\n"

        def merge(self) -> Iterator[str]:
            """Lines of both sides may make a notebook that is no JSON any more: it stays the student's then."""
            before = _git(at, "rev-parse", "HEAD").strip()
            yield from super().merge()
            unreadable = [path for path in _changed(at, before, "HEAD") if not _readable(at / path)]
            if unreadable:
                _git(at, "checkout", "-q", before, "--", *unreadable)
                yield from self.commit_all()

    try:
        return Puller(url, str(at), branch=branch)
    except (BranchExistError, subprocess.CalledProcessError):
        raise NotDelivered(_AWAY) from None


def _in_the_way(at: Path, upstream: str) -> list[str]:
    """What a student has at places that the course needs: untracked, or changed and of another kind."""
    mine, theirs = _blobs(at, "HEAD"), _blobs(at, upstream)
    changed = set(_git(at, "diff", "--name-only", "-z", "HEAD").split("\0"))
    ours = {path for path in mine if path not in changed}

    def foreign(path: str) -> bool:
        there = at / path
        if _no_folder(there):
            return path not in ours
        below = (Path(folder, name) for folder, _, files in os.walk(there) for name in files)
        return any(file.relative_to(at).as_posix() not in ours for file in below)

    found = dict[str, None]()
    for path in theirs:
        parts = path.split("/")
        for count in range(1, len(parts)):
            parent = "/".join(parts[:count])
            if _no_folder(at / parent) and foreign(parent):
                found[parent] = None
                break
        else:
            if os.path.lexists(at / path) and (path not in mine or (at / path).is_dir()) and foreign(path):
                found[path] = None
    return [*found]


def _no_folder(there: Path) -> bool:
    """Whether something else than a folder of its own is there; a link leads to another."""
    return there.is_symlink() or (there.exists() and not there.is_dir())


def _readable(file: Path) -> bool:
    if file.suffix != ".ipynb" or not file.is_file():
        return True
    try:
        json.loads(file.read_bytes())
    except ValueError:
        return False
    return True


def _told(lines: Iterator[str]) -> list[str]:
    """Everything that nbgitpuller says. Raises NotDelivered with its reason."""
    said: list[str] = []
    try:
        for line in lines:
            said.append(line)
    except subprocess.CalledProcessError as error:
        raise NotDelivered(_reason(said) or f"{' '.join(map(str, error.cmd[:2]))} failed") from None
    except Exception as error:  # nbgitpuller's own for a lock is no class of its own
        if "index.lock" not in str(error):
            raise
        raise NotDelivered("another git is at work there (.git/index.lock); it is tried again") from None
    return said


def _reason(said: Iterable[str]) -> str:
    lines = [line.strip() for line in said]
    if any(sign in line for line in lines for sign in _SIGNS_OF_IT):
        return _FULL
    return next((line for line in reversed(lines) if line.startswith(("fatal:", "error:", "CONFLICT"))), "")


def _git(at: Path, *words: str) -> str:
    """What git prints, in the repository of this very folder. Raises NotDelivered."""
    done = _run(at, words)
    if done.returncode:
        raise NotDelivered(_reason(done.stderr.splitlines()) or f"git {words[0]} failed")
    return done.stdout


def _try_git(at: Path, *words: str) -> str:
    """The same, "" when it fails."""
    done = _run(at, words)
    return done.stdout if done.returncode == 0 else ""


def _run(at: Path, words: Iterable[str]) -> subprocess.CompletedProcess[str]:
    command = ["git", f"--git-dir={at / '.git'}", f"--work-tree={at}", *words]
    return subprocess.run(command, cwd=at, capture_output=True, text=True, errors="surrogateescape", check=False)


def _blobs(at: Path, tree: str) -> dict[str, str]:
    """Path to the name of its content."""
    found = {}
    for line in _try_git(at, "ls-tree", "-r", "-z", tree).split("\0")[:-1]:
        about, _, path = line.partition("\t")
        found[path] = about.split()[2]
    return found


def _changed(at: Path, before: str, after: str) -> dict[str, str]:
    """Path to A, M or D, of what differs."""
    if not before:
        return {}
    words = _git(at, "diff", "--name-status", "--no-renames", "-z", before, after).split("\0")[:-1]
    return dict(zip(words[1::2], words[::2], strict=True))


def _some(paths: list[str], most: int = 4) -> str:
    return ", ".join(paths[:most]) + (f" and {len(paths) - most} more" if len(paths) > most else "")


if __name__ == "__main__":
    main(sys.argv[1])
