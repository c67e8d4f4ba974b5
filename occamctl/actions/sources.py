"""Where a course's material comes from: folders of this machine, and git repositories that its own git can read."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from occamctl.engine.material_inside import matches
from occamctl.errors import HostError, OccamError, SpecError, TookTooLong
from occamctl.plan.material import Manifest, manifest
from occamctl.spec import names
from occamctl.spec.course import Course, Material
from occamctl.spec.tree import contains_unwanted
from occamctl.spec.units import human_size

MOST_BYTES = 200 << 20
"""Of one entry: it is copied into every home. Larger things belong to `data:`."""
MOST_FILES = 5000
LOOK, FETCH = 60, 600
"""Seconds for git to tell a repository's branches, and to fetch one."""
_BUILT_IN = Path(__file__).resolve().parents[1] / "course"
_SKIPPED = {".git", ".ipynb_checkpoints", "__pycache__"}
_TROUBLE = re.compile(r'[\n\t"\\]')
"""Characters of file names that git quotes, so that nbgitpuller would not know the file again."""
_OF_ANOTHER = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"}
"""Variables of a git that calls us, from a hook."""


@dataclass(frozen=True)
class Content:
    """What one entry brings. `name` stands for all of it."""

    name: str
    files: Mapping[str, Path]
    """Path inside of the folder to the file that holds it."""


@dataclass
class Sources:
    """The material of one course. What git fetches is kept as long as this object."""

    course: Course
    file: str
    """The course file, for messages."""
    _clones: tempfile.TemporaryDirectory[str] | None = None
    _contents: dict[str, Content] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    stays: dict[str, str] = field(default_factory=dict)
    """Folder to a remark: its repository cannot be reached now, and it stays as it was delivered."""

    def manifest(self, there: Iterable[Mapping[str, Any]] = ()) -> Manifest:
        """What the keeper is to be told. A repository is asked for its commit only.

        there  what the keeper has of each folder: that stays where a repository cannot be reached now

        Raises SpecError for a folder or branch that is not there, HostError for a repository that cannot be read.
        """
        known = {(one["into"], one["source"]): str(one["content"]) for one in there}
        for one in self.course.material:
            if one.git is not None and one.into not in self._names:
                self._names[one.into] = self._asked(one, known.get((one.into, one.source)))
        return manifest(self.course, {one.into: self.name(one) for one in self.course.material})

    def _asked(self, entry: Material, known: str | None) -> str:
        assert entry.git is not None
        try:
            return _named(commit_of(entry.git, entry.branch))
        except (HostError, TookTooLong) as error:
            if known is None:
                raise
            self.stays[entry.into] = f"{entry.into} stays as it was delivered: {error}"
            return known

    def name(self, entry: Material) -> str:
        """What is in an entry's folder, in short."""
        return self._names[entry.into] if entry.into in self._names else self.content(entry).name

    def content(self, entry: Material) -> Content:
        """The files of an entry. Raises SpecError, HostError, and TookTooLong when git does not come to an end."""
        if entry.into not in self._contents:
            self._contents[entry.into] = self._fetched(entry) if entry.git is not None else _of_folder(_folder(entry))
        return self._contents[entry.into]

    def _fetched(self, entry: Material) -> Content:
        assert entry.git is not None
        if self._clones is None:
            self._clones = tempfile.TemporaryDirectory(prefix="occamctl-material-")
        at = Path(self._clones.name) / names.digest(entry.into)
        branch = ("--branch", entry.branch) if entry.branch else ()
        _git(entry.git, "clone", "--quiet", "--depth=1", "--no-tags", *branch, "--", entry.git, str(at), seconds=FETCH)
        self._names[entry.into] = _named(_git(entry.git, "-C", str(at), "rev-parse", "HEAD", seconds=LOOK).strip())
        return Content(self._names[entry.into], files_of(at, entry.git))

    def check(self, *, fetch: bool) -> None:
        """Read everything, and see that each pattern of a release date means some file.

        fetch  also what comes from git

        Raises SpecError, HostError, TookTooLong.
        """
        wrong = []
        for number, entry in enumerate(self.course.material):
            if entry.git is None or (fetch and entry.into not in self.stays):
                files = self.content(entry).files
                wrong += [
                    SpecError(
                        f"material[{number}].release: {pattern} means no file of {entry.source}",
                        where=self.file,
                        fix=f"there are {', '.join(sorted(files)[:3])}{', …' if len(files) > 3 else ''}",
                    )
                    for pattern in entry.release
                    if not any(matches(path, pattern) for path in files)
                ]
        if wrong:
            wrong[0].others = wrong[1:]
            raise wrong[0]


def _named(commit: str) -> str:
    return names.digest(f"git {commit}")


def _folder(entry: Material) -> Path:
    if entry.folder is not None:
        return entry.folder
    folder = _BUILT_IN / str(entry.built_in)
    if not folder.is_dir():
        raise SpecError(f"this occamctl brings no {entry.built_in}", where=f"material: {entry.into}")
    return folder


def _of_folder(folder: Path) -> Content:
    files = files_of(folder, str(folder))
    seen = hashlib.sha256()
    for path, at in files.items():
        seen.update(f"{path}\0{at.stat().st_mode & 0o100}\0".encode())
        seen.update(hashlib.sha256(at.read_bytes()).digest())
    return Content(seen.hexdigest()[:12], files)


def files_of(folder: Path, called: str) -> dict[str, Path]:
    """Path inside of `folder` to each of its files, git's own and what notebooks leave behind aside.

    Raises SpecError when it is not there, is too large, or holds what cannot be delivered.
    """
    if not folder.is_dir():
        raise SpecError("there is no such folder", where=called, fix="correct material: in the course file")
    found, size = {}, 0
    try:
        root = folder.resolve()
        for at in _below(root, root, called):
            found[at.relative_to(root).as_posix()] = at
            size += at.stat().st_size
            if size > MOST_BYTES or len(found) > MOST_FILES:
                raise SpecError(
                    f"material is at most {human_size(MOST_BYTES)} and {MOST_FILES} files, and this is more",
                    where=called,
                    fix="it comes into every home: take large files out of it",
                )
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", where=str(error.filename or called)) from None
    if not found:
        raise SpecError("there are no files in it", where=called)
    return dict(sorted(found.items()))


def _below(folder: Path, root: Path, called: str) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name in _SKIPPED:
            continue
        if contains_unwanted(entry.name) or _TROUBLE.search(entry.name):
            raise SpecError(f"a file name that is not plain text: {entry.name!r}", where=called, fix="rename it")
        if entry.is_dir() and not entry.is_symlink():
            yield from _below(entry, root, called)
        else:
            _check_kind(entry, root, called)
            yield entry


def _check_kind(entry: Path, root: Path, called: str) -> None:
    """Raises SpecError for what is no file, and for links that lead away."""
    where = f"{called}/{entry.relative_to(root).as_posix()}"
    try:
        target = entry.resolve(strict=True)
    except (OSError, RuntimeError):
        raise SpecError("a link that leads nowhere", where=where, fix="remove it") from None
    if not target.is_relative_to(root):
        raise SpecError("a link that leads out of the folder", where=where, fix="put a copy there")
    if target.is_dir():
        raise SpecError("a link to a folder", where=where, fix="put the folder itself there")
    if not stat.S_ISREG(target.stat().st_mode):
        raise SpecError("not a file", where=where, fix="remove it")


def commit_of(url: str, branch: str) -> str:
    """The commit of a branch or tag, "" for the repository's own branch. Raises HostError, SpecError, TookTooLong."""
    wanted = (f"refs/heads/{branch}", f"refs/tags/{branch}", f"refs/tags/{branch}^{{}}") if branch else ("HEAD",)
    listed = _git(url, "ls-remote", "--", url, *wanted, seconds=LOOK)
    found = {ref: commit for commit, _, ref in (line.partition("\t") for line in listed.splitlines())}
    for ref in (wanted[0], *reversed(wanted)):
        if ref in found:
            return found[ref]
    what = f"it has no branch or tag {branch}" if branch else "it has no commit"
    raise SpecError(what, where=url, fix=f"see: git ls-remote {url}")


def _git(url: str, *words: str, seconds: float) -> str:
    """What this machine's git prints; it uses the operator's own settings and credentials, and asks nothing.

    Raises HostError with git's words, TookTooLong.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER}
    environment |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file"}
    try:
        # A session of its own: without a terminal neither git nor ssh can wait for somebody's answer.
        running = subprocess.Popen(
            ["git", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise OccamError("git is not installed on this machine", fix="install it, or use folder: for git:") from None
    try:
        out, err = running.communicate(timeout=seconds)
    except BaseException as error:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise TookTooLong(f"git is not done after {seconds:g} s", where=url, fix=f"try: {_try(url)}") from None
        raise
    if running.returncode:
        raise HostError(f"git cannot read it: {_last(err)}", where=url, fix=f"try: {_try(url)}")
    return out.decode(errors="replace")


def _try(url: str) -> str:
    return f"git ls-remote {url}"


def _last(said: bytes) -> str:
    """The line that says why, of all that git says."""
    lines: Sequence[str] = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal: ", "error: ", "ssh: "))]
    return (telling or lines or ["no reason given"])[0].removeprefix("fatal: ")
