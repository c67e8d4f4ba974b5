"""What a host lacks before its GPUs can be given out, and its two files as they should be. Pure.

The engine must know each GPU as a generic resource of its own and start containers with NVIDIA's runtime; the runtime
must know by which variables the swarm tells a container its GPUs.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from occamctl.errors import HostError
from occamctl.plan.gpus import hold, kind, known, variable
from occamctl.plan.gpus import resources as of_gpu
from occamctl.plan.observed import EngineGpus, Gpu, HostFacts, HostFile

Said = Literal["auto", "none"] | list[str]
"""`gpus:` of a host in the course file."""

RUNTIME = "nvidia"
CONFIG = "/etc/nvidia-container-runtime/config.toml"
DAEMON = "/etc/docker/daemon.json"
TOOLKIT = "nvidia-container-toolkit"
OLDEST_TOOLKIT = (1, 12)
"""The first that takes more than one name in swarm-resource."""
GUIDE = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html"
_DEAF = (1, 18)
"""It does not hear what the swarm assigns; 1.19 does again (NVIDIA/nvidia-container-toolkit#1599)."""
_PREPARE = "occamctl host prepare --gpu"
_RESOURCE = "swarm-resource"
_NO_DEVICES = "No devices were found"


@dataclass(frozen=True)
class Lack:
    """Something that is missing on a host, and what to do.

    ours     whether `occamctl host prepare --gpu` does it
    fatal    whether none of the host's GPUs can be given out until then
    mistake  whether the course file is wrong, and not the host
    """

    what: str
    fix: str
    ours: bool = False
    fatal: bool = True
    mistake: bool = False


def lent(said: Said, facts: HostFacts) -> tuple[Gpu, ...]:
    """The GPUs that the course file says this host lends, of those that it has."""
    if said == "none":
        return ()
    if said == "auto":
        return facts.gpus
    wanted = {uuid.lower() for uuid in said}
    return tuple(gpu for gpu in facts.gpus if gpu.uuid.lower() in wanted)


def concerned(said: Said, facts: HostFacts) -> bool:
    """Whether there is anything to say about GPUs of this host."""
    there = facts.support
    broken = there.hangs or any(line != _NO_DEVICES for line in there.trouble)
    return said != "none" and bool(facts.gpus or there.cards or broken or said != "auto")


def lacks(said: Said, facts: HostFacts, engine: EngineGpus | None) -> list[Lack]:
    """What is missing, in the order in which it must be mended; [] when its GPUs can be given out.

    engine  what the running engine knows; None when none answers
    """
    if not concerned(said, facts):
        return []
    gpus = lent(said, facts)
    found = [*_driver(facts), *_unknown(said, facts)]
    if not gpus:
        return found
    found += [*_toolkit(facts.support.toolkit), *_config(facts.support.config, gpus)]
    if engine is None:
        found.append(Lack("no container engine answers", "run: occamctl host prepare"))
    return found + list(_engine(facts.support.daemon, gpus, engine or EngineGpus()))


def lacks_of_toolkit(facts: HostFacts) -> list[Lack]:
    """What is wrong with the toolkit alone."""
    return list(_toolkit(facts.support.toolkit))


def lacks_of_engine(said: Said, facts: HostFacts, engine: EngineGpus | None) -> list[Lack]:
    """What the running engine does not know."""
    return list(_engine(HostFile(), lent(said, facts), engine or EngineGpus()))


def _driver(facts: HostFacts) -> Iterator[Lack]:
    there = facts.support
    if there.hangs:
        yield Lack("nvidia-smi does not end: the driver hangs", "restart the host; see there: dmesg | grep -i xid")
    elif not there.tool:
        cards = f"{there.cards} NVIDIA card{'s' if there.cards != 1 else ''}" if there.cards else "GPUs are asked for"
        yield Lack(
            f"{cards}, and no driver: nvidia-smi is not there", "install NVIDIA's driver there, or say gpus: none"
        )
    elif there.trouble:
        said = "; ".join(there.trouble)
        yield Lack(f"nvidia-smi says: {said}", _mend(said), fatal=not facts.gpus)


def _mend(said: str) -> str:
    if "version mismatch" in said:
        return "the driver was updated while it was in use: restart the host"
    if "MIG mode" in said:
        return "make instances (nvidia-smi mig -cgi … -C), or end MIG mode (nvidia-smi -mig 0)"
    if "device handle" in said or "lost" in said:
        return "restart the host; a GPU that falls off the bus again is broken or badly seated (dmesg | grep -i xid)"
    return "install or repair NVIDIA's driver there, or say gpus: none"


def _unknown(said: Said, facts: HostFacts) -> Iterator[Lack]:
    if isinstance(said, str):
        return
    there = {gpu.uuid.lower() for gpu in facts.gpus}
    for uuid in said:
        if uuid.lower() not in there:
            has = ", ".join(gpu.uuid for gpu in facts.gpus) or "none"
            yield Lack(
                f"the course file lends {uuid}, which it does not have", f"it has: {has}", fatal=False, mistake=True
            )


def _toolkit(version: str) -> Iterator[Lack]:
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if not version:
        yield Lack("no NVIDIA container toolkit", f"run: {_PREPARE}", ours=True)
    elif numbers < OLDEST_TOOLKIT:
        yield Lack(f"its container toolkit {version} is too old", f"install 1.19 or newer: {GUIDE}")
    elif numbers == _DEAF:
        yield Lack(
            f"its container toolkit {version} does not hear which GPU the swarm assigns ({TOOLKIT}#1599)",
            f"install 1.19 or newer: {GUIDE}",
        )


def _config(file: HostFile, gpus: Iterable[Gpu]) -> Iterator[Lack]:
    if not file.readable:
        yield Lack(f"{CONFIG} cannot be read by this user", f"there: sudo chmod a+r {CONFIG}")
        return
    try:
        named = _resources(file.text or "")
    except ValueError as error:
        yield Lack(f"{CONFIG} is not TOML: {error}", "mend it by hand")
        return
    missing = [gpu.uuid for gpu in gpus if variable(gpu.uuid) not in named]
    if missing:
        yield Lack(f"{_RESOURCE} in {CONFIG} does not name {_some(missing)}", f"run: {_PREPARE}", ours=True)


def _engine(file: HostFile, gpus: tuple[Gpu, ...], engine: EngineGpus) -> Iterator[Lack]:
    """What counts is what the engine knows; the file tells whether a restart is all that is missing."""
    missing = []
    if RUNTIME not in engine.runtimes:
        missing.append(f"its engine has no runtime {RUNTIME}")
    if engine.default_runtime != RUNTIME:
        missing.append(f"its engine's default runtime is {engine.default_runtime or 'another'}")
    unknown = [gpu.uuid for gpu in gpus if not known(gpu.uuid, engine.generic)]
    if unknown:
        missing.append(f"its engine does not know {_some(unknown)} as generic resource")
    if not missing:
        return
    try:
        written = file.readable and json.loads(daemon_json(file.text, gpus)) == json.loads(file.text or "null")
    except HostError as error:
        yield Lack(error.what, error.fix)
        written = False
    if written:
        yield Lack(
            f"its engine was not restarted since {DAEMON} names its GPUs",
            f"run: {_PREPARE} --restart-engine",
            ours=True,
        )
        return
    yield from (Lack(what, f"run: {_PREPARE}", ours=True) for what in missing)


def _some(uuids: list[str]) -> str:
    return uuids[0] + (f" and {len(uuids) - 1} more" if len(uuids) > 1 else "")


def engine_gpus(info: Mapping[str, Any]) -> EngineGpus:
    """What an engine knows of GPUs, from what its API answers to /info."""
    listed = [spec for one in info.get("GenericResources") or () for spec in one.values()]
    return EngineGpus(
        str(info.get("DefaultRuntime") or ""),
        frozenset(info.get("Runtimes") or ()),
        {one["Kind"]: str(one["Value"]) for one in listed},
    )


# The two files ------------------------------------------------------------------------------------------------------


def daemon_json(text: str | None, gpus: Iterable[Gpu]) -> str:
    """The engine's daemon.json with these GPUs; everything else in it is kept, GPUs of ours that are gone are not.

    text  what is there; None when there is no such file

    Raises HostError when that is nothing that an engine could read: it is not for us to guess what was meant.
    """
    there = _json(text)
    runtimes = there.get("runtimes", {})
    resources = there.get("node-generic-resources", [])
    if not isinstance(runtimes, dict):
        raise HostError(f"{DAEMON}: runtimes is not an object", fix="mend it by hand")
    if not isinstance(resources, list) or not all(isinstance(one, str) for one in resources):
        raise HostError(f"{DAEMON}: node-generic-resources is not a list of texts", fix="mend it by hand")
    others = [one for one in resources if not one.startswith((kind(""), hold("")))]
    ours = [f"{name}={value}" for gpu in _sorted(gpus) for name, value in of_gpu(gpu.uuid).items()]
    merged = there | {
        "runtimes": {RUNTIME: {"path": "nvidia-container-runtime", "runtimeArgs": []}} | runtimes,
        "default-runtime": RUNTIME,
        "node-generic-resources": [*others, *ours],
    }
    return json.dumps(merged, indent=4, ensure_ascii=False) + "\n"


def _json(text: str | None) -> dict[str, Any]:
    """An engine takes an empty file for one without settings."""
    try:
        there = json.loads(text) if text and text.strip() else {}
    except ValueError as error:
        raise HostError(f"{DAEMON} is not JSON: {error}", fix="mend it by hand") from None
    if not isinstance(there, dict):
        raise HostError(f"{DAEMON} is not a JSON object", fix="mend it by hand")
    return there


def config_toml(text: str | None, gpus: Iterable[Gpu]) -> str:
    """The toolkit's config.toml with these GPUs in swarm-resource; every other line is kept as it is.

    Raises HostError when what is there is not TOML.
    """
    before = text or ""
    try:
        others = [name for name in _resources(before) if not name.startswith(variable(""))]
    except ValueError as error:
        raise HostError(f"{CONFIG} is not TOML: {error}", fix="mend it by hand") from None
    line = f'{_RESOURCE} = "{",".join([*others, *(variable(gpu.uuid) for gpu in _sorted(gpus))])}"'
    # Only what stands before the first table counts; the package brings the key as a comment.
    head, table, rest = _first_table(before)
    for found in (rf"^[ \t]*{_RESOURCE}[ \t]*=.*$", rf"^[ \t]*#[ \t]*{_RESOURCE}[ \t]*=.*$"):
        if re.search(found, head, re.MULTILINE):
            return re.sub(found, line, head, count=1, flags=re.MULTILINE) + table + rest
    return f"{head}{'' if not head or head.endswith(chr(10)) else chr(10)}{line}\n{table}{rest}"


def _first_table(text: str) -> tuple[str, str, str]:
    found = re.search(r"^[ \t]*\[", text, re.MULTILINE)
    at = found.start() if found else len(text)
    return text[:at], text[at : at + 1], text[at + 1 :]


def _resources(text: str) -> list[str]:
    """Names in swarm-resource. Raises ValueError when the text is not TOML, or that key no text."""
    value: Mapping[str, Any] | str = tomllib.loads(text).get(_RESOURCE, "")
    if not isinstance(value, str):
        raise ValueError(f"{_RESOURCE} is not a text")
    return [name.strip() for name in value.split(",") if name.strip()]


def _sorted(gpus: Iterable[Gpu]) -> list[Gpu]:
    return sorted(gpus, key=lambda gpu: gpu.uuid)
