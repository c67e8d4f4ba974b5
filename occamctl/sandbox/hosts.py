"""Make, list and remove sandboxes. What there is, is read from the engine's labels; only keys are kept in files."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from occamctl import wait
from occamctl.engine import images
from occamctl.engine.client import Engine, speaking_to
from occamctl.errors import EngineError, SpecError
from occamctl.hosts.facts import gather
from occamctl.hosts.machine import LocalMachine
from occamctl.sandbox import keys, network, recipe, seed

Say = Callable[[str, str], None]
LABEL = "occam.sandbox"
GPUS = "occam.sandbox.gpus"
"""Label of a pretend host: how many simulated GPUs it has."""
USER = "ops"
MOST = 8
START_SECONDS = 60
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


@dataclass(frozen=True)
class Sandbox:
    """A sandbox that is up. `folder` holds its key, its known_hosts and a course file."""

    name: str
    addresses: tuple[str, ...]
    folder: Path

    @property
    def key(self) -> Path:
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def as_yaml(self) -> str:
        """The sections `ssh` and `hosts` of a course file."""
        return (
            f"ssh: {{user: {USER}, identity_file: {self.key}, known_hosts: {self.known_hosts}}}\n"
            f"hosts: [{', '.join(self.addresses)}]\n"
        )


def state_folder() -> Path:
    """Where sandboxes keep their keys."""
    root = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(root) / "occam" / "sandbox"


def check_name(name: str) -> None:
    """Raises SpecError when no sandbox can be called so."""
    if not _NAME.fullmatch(name):
        raise SpecError(f"{name!r} is no name for a sandbox", fix="small letters, digits and -, a letter first")


def _folder(name: str) -> Path:
    """Files of one sandbox. Raises SpecError when it cannot be called so."""
    check_name(name)
    return state_folder() / name


def up(
    hosts: int,
    *,
    name: str = "sandbox",
    tags: Sequence[str] = (),
    say: Say = lambda where, what: None,
    options: Mapping[int, Mapping[str, str]] | None = None,
    gpus: int = 0,
) -> Sandbox:
    """Ensure a sandbox with so many hosts; one that is there with fewer gets more.

    gpus     simulated ones on each new host
    tags     images of this machine's engine that every new host begins with, where they can be cloned
    options  variables of the hosts' entrypoint (templates/images/host), by number from 1
    """
    if not 1 <= hosts <= MOST:
        raise SpecError(f"{hosts} hosts: from 1 to {MOST} can be made")
    if not 0 <= gpus <= MOST:
        raise SpecError(f"{gpus} GPUs: up to {MOST} can be simulated on each host")
    folder = _folder(name)
    engine = Engine.local()
    image = images.host_image()
    images.ensure_built(engine, image, lambda text: say("", text))
    public = keys.ensure_pair(folder / "id_ed25519")
    subnet = network.ensure(engine, _network(name), {LABEL: name}, gather(LocalMachine()).routes)
    given = {number: _with_gpus(gpus) | dict((options or {}).get(number, {})) for number in range(1, hosts + 1)}

    def make(number: int) -> str:
        address = str(subnet.network_address + 10 + number)
        _ensure_host(engine, name, number, address, image.tag, public, tags, given[number], say)
        return address

    with wait.Together(max_workers=hosts) as pool:
        addresses = tuple(pool.map(make, range(1, hosts + 1)))
    made = Sandbox(name, addresses, folder)
    made.known_hosts.write_text("".join(_host_key(engine, name, n, address) for n, address in enumerate(addresses, 1)))
    _course_file(made, say)
    return made


def _with_gpus(count: int) -> dict[str, str]:
    return {"OCCAM_GPUS": str(count)} if count else {}


def _course_file(made: Sandbox, say: Say) -> None:
    """A course file for the sandbox; one that somebody has changed is theirs."""
    file, roster = made.folder / "occam.yaml", made.folder / "roster.csv"
    ours = [_course_text(replace(made, addresses=made.addresses[:count])) for count in range(1, MOST + 1)]
    if not file.exists() or file.read_text() in ours:
        file.write_text(_course_text(made))
    elif any(address not in file.read_text() for address in made.addresses):
        say("", f"{file} is left as you changed it: see its hosts")
    if not roster.exists():
        roster.write_text("username,name,email,group\nanna.rossi,Anna Rossi,,\nb_bianchi,Bruno Bianchi,,\n")


def _course_text(made: Sandbox) -> str:
    return (
        f"version: 1\ncourse: {made.name}\ntitle: A rehearsal\ninstructors: [instructor]\nstudents: roster.csv\n\n"
        f"# Pretend hosts of `occamctl sandbox`\n{made.as_yaml()}\n"
        "notebook: {cpu_limit: 2, mem_limit: 2G}\nspark: {worker: {cpus: 1, memory: 1G}}\n"
    )


def _network(name: str) -> str:
    return f"occam-sandbox-{name}"


def host_name(name: str, number: int) -> str:
    return f"{name}-host{number}"


def _ensure_host(
    engine: Engine,
    name: str,
    number: int,
    address: str,
    image: str,
    public: str,
    tags: Sequence[str],
    options: Mapping[str, str],
    say: Say,
) -> None:
    """One host; a stopped one is started again with what it had."""
    container, volume = host_name(name, number), f"occam-sandbox-{name}-{number}"
    gpus = options.get("OCCAM_GPUS", "0")
    with speaking_to(engine.name):
        there = engine.api.containers(all=True, filters={"name": f"^/{container}$"})
        if not there:
            say(container, "starting")
            engine.api.create_volume(volume, labels={LABEL: name})
            if tags:
                seed.seed(engine, volume, tags, lambda text: say(container, text))
            recipe.create(
                engine,
                container,
                image=image,
                network=_network(name),
                address=address,
                volume=volume,
                labels={LABEL: name, GPUS: gpus},
                options=options,
                public_key=public,
            )
        elif gpus != "0" and there[0]["Labels"].get(GPUS, "0") != gpus:
            say(container, "is there already, and its simulated GPUs are left as they are")
        if not there or there[0]["State"] != "running":
            engine.api.start(container)
    # Without an engine the entrypoint ends as `sleep`, when the packages are off.
    ready = ["docker", "version", "--format", "{{.Server.Version}}"]
    ready = ["grep", "-qx", "sleep", "/proc/1/comm"] if options.get("OCCAM_ENGINE") == "none" else ready
    wait.until(
        lambda: engine.exec(container, ready)[0],
        lambda code: code == 0,
        f"the engine of {container}",
        seconds=START_SECONDS,
        describe=lambda _: "not ready",
        fix=f"docker exec {container} cat /var/log/dockerd.log",
    )
    wait.until(
        lambda: _unreachable(address),
        lambda why: not why,
        f"SSH of {container}",
        seconds=START_SECONDS,
        describe=str,
        fix=f"docker logs {container}",
    )
    say(container, f"up at {address}")


def _unreachable(address: str) -> str:
    """Why no SSH server answers there; "" when one does. A new address may take the network a moment."""
    try:
        with socket.create_connection((address, 22), timeout=2) as there:
            return "" if there.recv(4) == b"SSH-" else "no SSH server answers"
    except OSError as error:
        return str(error)


def _host_key(engine: Engine, name: str, number: int, address: str) -> str:
    """A line of known_hosts, read from inside the host: nobody is trusted on first sight."""

    def read() -> str:
        code, out, _ = engine.exec(host_name(name, number), ["cat", "/etc/ssh/ssh_host_ed25519_key.pub"])
        return out.decode() if code == 0 else ""

    public = wait.until(read, bool, f"host key of {host_name(name, number)}", seconds=20)
    return f"{address} {' '.join(public.split()[:2])}\n"


def listed() -> list[dict[str, Any]]:
    """Every host of every sandbox on this machine."""
    engine = Engine.local()
    with speaking_to(engine.name):
        found = engine.api.containers(all=True, filters={"label": [LABEL]})
    return [
        {
            "sandbox": one["Labels"][LABEL],
            "host": one["Names"][0].lstrip("/"),
            "address": next(iter(one["NetworkSettings"]["Networks"].values()))["IPAMConfig"]["IPv4Address"],
            "state": one["State"],
            "gpus": int(one["Labels"].get(GPUS, 0)),
            "course_file": str(state_folder() / one["Labels"][LABEL] / "occam.yaml"),
        }
        for one in sorted(found, key=lambda one: str(one["Names"][0]))
    ]


def find(name: str) -> Sandbox:
    """The sandbox with this name. Raises SpecError when there is none."""
    folder = _folder(name)
    addresses = tuple(row["address"] for row in listed() if row["sandbox"] == name)
    if not addresses:
        raise SpecError(f"no sandbox {name!r}", fix="see: occamctl sandbox list")
    return Sandbox(name, addresses, folder)


def down(name: str, say: Say = lambda where, what: None) -> bool:
    """Remove a sandbox with all that is in it; False when there is nothing of it. The host image stays as a cache."""
    folder = _folder(name)
    engine = Engine.local()
    ours = {"label": [f"{LABEL}={name}"]}
    with speaking_to(engine.name):
        containers = engine.api.containers(all=True, filters=ours)
        volumes = engine.api.volumes(filters=ours)["Volumes"] or []
        networks = engine.api.networks(filters=ours)
        for one in containers:
            say(one["Names"][0].lstrip("/"), "removing")
            engine.api.remove_container(one["Id"], force=True, v=True)
        for one in volumes:
            _remove_volume(engine, one["Name"])
        for one in networks:
            engine.api.remove_network(one["Id"])
    shutil.rmtree(folder, ignore_errors=True)
    return bool(containers or volumes or networks)


def _remove_volume(engine: Engine, name: str) -> None:
    """The engine inside may leave mounts behind for a moment."""

    def gone() -> str:
        try:
            with speaking_to(engine.name):
                engine.api.remove_volume(name, force=True)
        except EngineError as error:
            return error.what
        return ""

    wait.until(gone, lambda seen: not seen, f"removal of volume {name}", seconds=30)
