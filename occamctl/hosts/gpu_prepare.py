"""`occamctl host prepare --gpu`: NVIDIA's container toolkit, and the two files that tell an engine of its GPUs.

What was there before is kept on the host to the byte, and put back when the course goes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NoReturn

from occamctl.errors import HostError, Refused, TookTooLong
from occamctl.hosts.facts import gather
from occamctl.hosts.machine import Machine
from occamctl.hosts.prepare import APT, APT_SECONDS, installed, note_engine
from occamctl.hosts.restart import answers_again, knows, restart, running
from occamctl.plan import gpu_setup
from occamctl.plan.gpu_setup import CONFIG, DAEMON, TOOLKIT, Lack, Said
from occamctl.plan.observed import HostFacts

Say = Callable[[str], None]
Files = dict[str, tuple[dict[str, Any], bytes]]
"""By path: the file as `_read` found it, and the bytes that it should have."""
_FOLDER = "/var/lib/occam"
NOTES = f"{_FOLDER}/gpu.json"
_KEEPERS = ("walls", "gpus")
"""Kinds of containers that a course has on every host: nobody works in them, and the swarm starts them anew."""
# A file's real path, whether its folder is there, its mode (or "none"), and its bytes.
_READ = """
path=$(readlink -m "$1"); echo "$path"
[ -d "$(dirname "$path")" ] && echo folder || echo bare
[ -e "$path" ] || { echo none; exit 0; }
stat -c %a "$path"; base64 -w0 "$path"
"""
# $2 is "bare" where the folder was made for the file.
_REMOVE = 'rm -f "$1"; [ "$2" != bare ] || rmdir --ignore-fail-on-non-empty "$(dirname "$1")"'
# Only root reads the notes.
_SIGNS = f"""
[ -d {_FOLDER} ] || exit 1
grep -qs OCCAM_GPU_ {DAEMON} {CONFIG} && exit 0
command -v nvidia-container-runtime >/dev/null || {{ [ -e {DAEMON} ] && [ ! -r {DAEMON} ]; }}
"""
_LISTS = "ls /var/lib/apt/lists 2>/dev/null | grep -q _"
"""Has apt any list of packages?"""
_NO_LISTS = ("find", "/var/lib/apt/lists", "-type", "f", "-delete")
_FORGET = f"rm -f {NOTES}; rmdir --ignore-fail-on-non-empty {_FOLDER}"


def prepare_gpus(machine: Machine, said: Said, say: Say, *, may_restart: bool = False) -> list[str]:
    """Ensure that the host's GPUs can be given out; returns what was done, nothing when all was there.

    said         `gpus:` of the host in the course file
    may_restart  whether the engine may be restarted under running containers, which ends them

    Raises HostError when something is missing that is not for occamctl to do, or the course file names a GPU that the
    host does not have, and Refused when containers run; nothing was changed then. When the engine does not take the new
    settings it gets those back that it had.
    """
    facts, engine = gather(machine), knows(machine)
    missing = gpu_setup.lacks(said, facts, engine)
    _not_ours([one for one in missing if one.fatal or one.mistake], machine.name)
    if not any(one.ours for one in missing):
        return []
    # The toolkit reads its file for each container, the engine only when it starts.
    stale = bool(gpu_setup.lacks_of_engine(said, facts, engine))
    paths = (CONFIG, DAEMON) if stale else (CONFIG,)
    # Before anything is changed: what cannot be merged, and what would be lost.
    _texts(machine, paths, said, facts)
    if stale and not may_restart:
        _refuse_to_end(running(machine, but=_KEEPERS), machine.name, "occamctl host prepare --gpu")
    did = [] if facts.support.toolkit else [_install(machine, facts, say)]
    files, noted = _texts(machine, paths, said, facts), _notes(machine).get("files", {})
    _write(machine, files, noted)
    did.append("told toolkit and engine of its GPUs" if stale else "told the toolkit of its GPUs")
    if stale:
        say("restarting the container engine")
        if trouble := _restart(machine, said, facts):
            _give_up(machine, files, noted, trouble)
        did.append("restarted the engine")
    return did


def _not_ours(missing: Sequence[Lack], host: str) -> None:
    errors = [HostError(one.what, where=host, fix=one.fix) for one in missing if not one.ours]
    if errors:
        first, *first.others = errors
        raise first


def _refuse_to_end(containers: int, host: str, command: str) -> None:
    if containers:
        raise Refused(
            f"its engine must be restarted, and that ends {containers} running container{'s' * (containers != 1)}",
            where=host,
            fix=f"when nobody works there: {command} --restart-engine",
        )


def _install(machine: Machine, facts: HostFacts, say: Say) -> str:
    by_hand = f"install it as NVIDIA says, then run this again: {gpu_setup.GUIDE}"
    if not facts.system.startswith(("debian", "ubuntu")):
        raise HostError(
            f"{facts.system} is not a system that occamctl installs {TOOLKIT} on", where=machine.name, fix=by_hand
        )
    say(f"installing {TOOLKIT}")
    had_lists = machine.run(["sh", "-c", _LISTS], check=False).code == 0
    if not _known(machine):
        machine.run([*APT, "update"], sudo=True, seconds=APT_SECONDS)
    if not _known(machine):
        if not had_lists:
            machine.run(_NO_LISTS, sudo=True)
        raise HostError(f"apt there knows no package {TOOLKIT}", where=machine.name, fix=by_hand)
    _note(machine, {"lists": had_lists} | _notes(machine))
    before = installed(machine)
    try:
        machine.run([*APT, "install", "--no-install-recommends", TOOLKIT], sudo=True, seconds=APT_SECONDS)
    finally:
        _note(machine, {"packages": sorted({*_notes(machine).get("packages", []), *(installed(machine) - before)})})
    _not_ours(gpu_setup.lacks_of_toolkit(gather(machine)), machine.name)
    return f"installed {TOOLKIT}"


def _known(machine: Machine) -> bool:
    return machine.run(["apt-cache", "show", TOOLKIT], check=False).code == 0


# The two files ------------------------------------------------------------------------------------------------------


def _read(machine: Machine, path: str) -> dict[str, Any]:
    """A file as it is: real path, folder or bare, mode and bytes (as base64), both None when there is none."""
    lines = machine.run(["sh", "-c", _READ, "sh", path], sudo=True).stdout.split("\n")
    there = lines[2] != "none"
    return {
        "path": lines[0],
        "folder": lines[1],
        "mode": lines[2] if there else None,
        "bytes": lines[3] if there else None,
    }


def _text(file: dict[str, Any], host: str) -> str | None:
    try:
        return None if file["bytes"] is None else base64.b64decode(file["bytes"]).decode()
    except UnicodeDecodeError:
        raise HostError(f"{file['path']} is not text in UTF-8", where=host, fix="mend it by hand") from None


def _texts(machine: Machine, paths: Sequence[str], said: Said, facts: HostFacts) -> Files:
    """What is there and what should be, by path. Raises HostError when what is there cannot be read."""
    gpus = gpu_setup.lent(said, facts)
    made = {}
    for path in paths:
        change, there = {CONFIG: gpu_setup.config_toml, DAEMON: gpu_setup.daemon_json}[path], _read(machine, path)
        try:
            made[path] = (there, change(_text(there, machine.name), gpus).encode())
        except HostError as error:
            raise HostError(error.what, where=machine.name, fix=error.fix) from None
    return made


def _write(machine: Machine, files: Files, noted: Mapping[str, Any]) -> None:
    """Note what was there, the first time, and what is written; then write. `noted`: of an earlier time."""
    new = {
        path: {"before": _first(noted, path, there), "wrote": hashlib.sha256(content).hexdigest()}
        for path, (there, content) in files.items()
    }
    _note(machine, {"files": {**noted, **new}})
    for there, content in files.values():
        if there["folder"] == "bare":  # for everybody to read: `put` would make it root's alone
            machine.run(["install", "-d", "-m", "755", str(PurePosixPath(there["path"]).parent)], sudo=True)
        machine.put(there["path"], content, int(there["mode"] or "644", 8))


def _first(noted: Mapping[str, Any], path: str, there: dict[str, Any]) -> dict[str, Any]:
    """A file as it was before we first wrote it."""
    return dict(noted[path]["before"]) if path in noted else there


def _restart(machine: Machine, said: Said, facts: HostFacts) -> str:
    """Restart; why the engine did not take the new settings, "" when it did."""
    try:
        restart(machine)
        left = gpu_setup.lacks_of_engine(said, facts, knows(machine))
        trouble = left[0].what if left else ""
    except (HostError, TookTooLong) as error:
        trouble = error.what
    note_engine(machine)
    return trouble


def _give_up(machine: Machine, files: Files, noted: Mapping[str, Any], trouble: str) -> NoReturn:
    """Files, engine and notes as they were before this try, else as they were before the first.

    A toolkit that was brought stays, and is ours to remove.
    """
    # What an earlier try has left that was interrupted is what the engine has just refused.
    other = base64.b64decode(files[DAEMON][0]["bytes"] or "") != files[DAEMON][1]
    left = noted if noted and other and _works(machine, [there for there, _ in files.values()]) else {}
    back = bool(left) or _works(machine, [_first(noted, path, there) for path, (there, _) in files.items()])
    note_engine(machine)
    _note(machine, {"files": left})
    notes = _notes(machine)
    if not (left or notes.get("packages") or notes.get("lists") is False):
        machine.run(["sh", "-c", _FORGET], sudo=True)
    raise HostError(
        f"its engine did not take the new {DAEMON}: {trouble}; the old one is "
        f"{'back and the engine runs' if back else 'back, but the engine does not run'}",
        where=machine.name,
        fix="see there: journalctl -u docker; a setting given both as an option and in the file is an error to it",
    )


def _works(machine: Machine, files: Iterable[dict[str, Any]]) -> bool:
    """Put files back; whether the engine runs with them."""
    _put_back(machine, files)
    return answers_again(machine)


def _put_back(machine: Machine, files: Iterable[dict[str, Any]]) -> None:
    for before in files:
        if before["bytes"] is None:
            machine.run(["sh", "-c", _REMOVE, "sh", before["path"], before["folder"]], sudo=True)
        else:
            machine.put(before["path"], base64.b64decode(before["bytes"]), int(before["mode"], 8))


# What was noted, and the way back -----------------------------------------------------------------------------------


def _notes(machine: Machine) -> dict[str, Any]:
    kept = machine.run(["cat", NOTES], sudo=True, check=False)
    return dict(json.loads(kept.stdout)) if kept.code == 0 else {}


def _note(machine: Machine, what: dict[str, Any]) -> None:
    machine.put(NOTES, json.dumps(_notes(machine) | what).encode(), 0o600)


def told(machine: Machine) -> bool:
    """Whether there is something of `prepare_gpus` to undo."""
    return bool(_to_undo(machine))


def _to_undo(machine: Machine) -> dict[str, Any]:
    """The notes of `prepare_gpus`; {} when it changed nothing, which is asked without root."""
    # Most hosts have no GPU, and not every user may become root.
    signs = machine.run(["sh", "-c", _SIGNS], check=False).code == 0
    return _notes(machine) if signs else {}


def undo_gpus(machine: Machine, say: Say, *, may_restart: bool = False) -> list[str]:
    """Put back what `prepare_gpus` changed, to the byte; returns what was done.

    Raises Refused when containers run, and when somebody has changed a file since: their change would be lost.
    """
    notes = _to_undo(machine)
    if not notes:
        return []
    files = notes.get("files", {})
    for path, one in files.items():
        _refuse_to_overwrite(machine, path, one)
    engine = DAEMON in files and knows(machine) is not None
    if engine and not may_restart:
        _refuse_to_end(running(machine), machine.name, "occamctl host prepare --undo")
    say("taking back what the engine was told of its GPUs")
    _put_back(machine, [one["before"] for one in files.values()])
    if engine:
        restart(machine)
        note_engine(machine)
    packages = [str(one) for one in notes.get("packages", [])]
    if packages:
        machine.run([*APT, "purge", *packages], sudo=True, seconds=APT_SECONDS)
    if notes.get("lists") is False:
        machine.run(_NO_LISTS, sudo=True)
    machine.run(["sh", "-c", _FORGET], sudo=True)
    settings = ["its engine's settings as before its GPUs"] if files else []
    return [*settings, *([f"{TOOLKIT} removed"] if packages else [])]


def _refuse_to_overwrite(machine: Machine, path: str, noted: dict[str, Any]) -> None:
    there = _read(machine, path)["bytes"]
    now = hashlib.sha256(base64.b64decode(there or "")).hexdigest()
    if there == noted["before"]["bytes"] or now == noted["wrote"]:
        return
    raise Refused(
        f"somebody has changed {path} since occamctl did, and would lose that",
        where=machine.name,
        fix=f"take OCCAM_GPU_… and the runtime out of it by hand, then: sudo rm {NOTES}",
    )
