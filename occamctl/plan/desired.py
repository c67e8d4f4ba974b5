"""What should exist on an engine, as plain objects. `engine/swarm.py` makes them real; nothing here talks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Literal

from occamctl import __version__
from occamctl.spec import names


def labels(course: str, kind: str, owner: str = names.COURSE_OWNER, **more: str) -> dict[str, str]:
    """The labels that everything of ours carries; `more` takes `cluster=…` and `executor=…`."""
    made = {names.COURSE: course, names.KIND: kind, names.OWNER: owner, names.VERSION: __version__}
    return made | {f"occam.{key}": value for key, value in more.items()}


@dataclass(frozen=True)
class Network:
    """An attachable overlay network."""

    name: str
    subnet: str
    labels: dict[str, str]


@dataclass(frozen=True)
class Secret:
    """A Swarm secret; `data` is bytes that never appear in a repr."""

    name: str
    data: bytes = field(repr=False)
    labels: dict[str, str]


@dataclass(frozen=True)
class Config:
    """A Swarm config: a file that is not secret."""

    name: str
    data: bytes
    labels: dict[str, str]


@dataclass(frozen=True)
class Mount:
    """A volume (source is its name) or a bind of a host's path."""

    source: str
    target: str
    type: Literal["volume", "bind", "tmpfs"] = "volume"
    read_only: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    """Labels of a volume that the engine makes for this mount."""


DATA = "/data"
"""Where the course's data lies in every container that works with it."""


def data(course: str) -> Mount:
    """The volume of a host with the course's data; who works with it cannot change it."""
    return Mount(names.Names(course).data, DATA, read_only=True, labels=labels(course, "data"))


@dataclass(frozen=True)
class File:
    """A secret or a config by name, as a file inside the container."""

    name: str
    target: str
    mode: int = 0o400
    uid: str = "0"
    gid: str = "0"


@dataclass(frozen=True)
class Port:
    """A port published on the node where the task runs (host mode)."""

    published: int
    target: int


_NO_GPUS = ("generic", ())


@dataclass(frozen=True)
class Service:
    """A Swarm service with endpoint mode dnsrr; a global one has a task on every node that its constraints allow."""

    name: str
    image: str
    labels: dict[str, str]
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    user: str = ""
    workdir: str = ""
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ("ALL",)
    init: bool = True
    stop_signal: str = ""
    stop_grace: int = 10
    """Seconds between the stop signal and the kill."""
    mounts: tuple[Mount, ...] = ()
    secrets: tuple[File, ...] = ()
    configs: tuple[File, ...] = ()
    networks: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    cpu_limit: float = 0
    mem_limit: int = 0
    """Bytes; 0 means no limit."""
    cpu_reserve: float = 0
    mem_reserve: int = 0
    pids_limit: int = 0
    restart: Literal["any", "none", "on-failure"] = "any"
    restart_delay: int = 2
    mode: Literal["replicated", "global"] = "replicated"
    replicas: int = 1
    """Of a replicated service."""
    ports: tuple[Port, ...] = ()
    generic: tuple[str, ...] = ()
    """Kinds of generic resources that it reserves, one of each: a GPU is a kind of its own (plan/gpus.py)."""

    @property
    def spec_hash(self) -> str:
        """Hash of what was asked; the engine fills in defaults, so reading a service back never equals what was sent.

        Replicas do not count: scaling is no change of the service. No generic resources are as if there were no such
        field: what runs keeps its hash.
        """
        asked = {key: value for key, value in asdict(self).items() if key != "replicas" and (key, value) != _NO_GPUS}
        return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:12]
