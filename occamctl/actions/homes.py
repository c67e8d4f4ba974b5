"""Homes of students on the hosts: which there are, and whether somebody's work is in them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from occamctl.actions.session import Session, each
from occamctl.engine import volumes
from occamctl.engine.client import Engine, speaking_to
from occamctl.spec import names

# Runs as root in a container that sees nothing but the home, read-only. What was delivered and is unchanged, and what
# programs keep for themselves, is nobody's work. Links are not followed; names are given, contents are not.
_LOOK = r"""
import hashlib, json, os
home, ours, trees = "/home/student", {}, set()
try:
    told = json.load(open(home + "/.local/share/occam/delivered.json"))
    trees = {os.path.join(home, folder) for folder, commit in told["commits"].items() if commit}
    ours = {name: set(versions) for name, versions in told["files"].items()}
except (OSError, ValueError, KeyError, TypeError, AttributeError):
    pass
skip = {".cache", ".config", ".ipython", ".jupyter", ".local", ".npm", ".ivy2", ".keras", ".ipynb_checkpoints"}
skip |= {"__pycache__"}
shells = {".bashrc", ".profile", ".bash_logout", ".python_history", ".bash_history", "MATERIAL-NOT-UPDATED.txt"}
found, size = [], 0
for folder, folders, files in os.walk(home):
    folders[:] = sorted(one for one in folders if one not in skip and (one != ".git" or folder not in trees))
    for one in sorted(files):
        path = os.path.join(folder, one)
        name = os.path.relpath(path, home)
        if not os.path.islink(path) and os.path.isfile(path):
            long = os.path.getsize(path)
            if name in ours:
                content = open(path, "rb").read()
                if hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() in ours[name]:
                    continue
            size += long
        if folder == home and one in shells:
            continue
        found.append(name)
print(json.dumps({"files": len(found), "bytes": size, "some": found[:3]}))
"""


@dataclass(frozen=True)
class Home:
    """One student's home on one host."""

    volume: str
    owner: str
    host: str
    files: int = 0
    size: int = 0
    """Bytes of the student's own files."""
    some: tuple[str, ...] = ()


def homes(session: Session) -> list[Home]:
    """Every home on the hosts that answered, without a look inside."""
    answers, errors = each(session.machines, lambda host: _volumes(session.engine(host), session.course.course))
    session.errors.update(errors)
    return [home for host in sorted(answers) for home in answers[host]]


def with_work(session: Session, image: str) -> list[Home]:
    """Homes that hold somebody's own files. `image` is one that every host with a home has, and that has Python."""
    listed = homes(session)
    by_host = {host: [home for home in listed if home.host == host] for host in session.machines}
    answers, errors = each(by_host, lambda host: [look(session.engine(host), home, image) for home in by_host[host]])
    for error in errors.values():
        raise error
    return [home for host in sorted(answers) for home in answers[host] if home.files]


def _volumes(engine: Engine, course: str) -> list[Home]:
    with speaking_to(engine.name):
        listed = engine.api.volumes(filters={"label": [f"{names.COURSE}={course}", f"{names.KIND}=home"]})
    return [Home(one["Name"], one["Labels"].get(names.OWNER, "?"), engine.name) for one in listed["Volumes"] or []]


def look(engine: Engine, home: Home, image: str) -> Home:
    """`home` with what is in it. Raises EngineError when it cannot be read: unknown is not empty."""
    said = json.loads(volumes.look_into(engine, home.volume, image, _LOOK))
    return Home(home.volume, home.owner, home.host, said["files"], said["bytes"], tuple(said["some"]))
