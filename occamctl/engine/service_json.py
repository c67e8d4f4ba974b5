"""A service as the engine's own JSON (API 1.41): the SDK's classes leave out `Pids` and `Init`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from occamctl.engine.client import Engine, speaking_to
from occamctl.errors import EngineError
from occamctl.plan import desired, gpus
from occamctl.spec import names

_SECOND = 1_000_000_000
_NONE: Mapping[str, int] = MappingProxyType({})


def _files(kind: Literal["Secret", "Config"], files: tuple[desired.File, ...], ids: Mapping[str, str]) -> list[Any]:
    return [
        {
            "File": {"Name": one.target, "UID": one.uid, "GID": one.gid, "Mode": one.mode},
            f"{kind}ID": ids[one.name],
            f"{kind}Name": one.name,
        }
        for one in files
    ]


def _ids(listed: list[dict[str, Any]], wanted: tuple[desired.File, ...], kind: str, host: str) -> dict[str, str]:
    ids = {one["Spec"]["Name"]: one["ID"] for one in listed}
    for one in wanted:
        if one.name not in ids:
            raise EngineError(f"{kind} {one.name} is not there", where=host, fix="run: occamctl course up")
    return ids


def _mount(mount: desired.Mount) -> dict[str, Any]:
    made: dict[str, Any] = {
        "Type": mount.type,
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
    }
    if mount.type == "tmpfs":
        del made["Source"]
    if mount.type == "volume":
        made["VolumeOptions"] = {"Labels": dict(mount.labels), "NoCopy": False}
    return made


def _resources(cpus: float, memory: int, pids: int = 0, generic: Mapping[str, int] = _NONE) -> dict[str, Any]:
    made: dict[str, Any] = {"NanoCPUs": int(cpus * 1e9), "MemoryBytes": memory, "Pids": pids}
    # A service asks for a number, also of resources that have names; the scheduler assigns one by its name.
    made["GenericResources"] = [
        {"DiscreteResourceSpec": {"Kind": kind, "Value": many}} for kind, many in generic.items()
    ]
    return {key: value for key, value in made.items() if value}


def kills_what_has_gpus(engine: Engine) -> bool:
    """Whether a manager's engine takes every task with named resources for misplaced when its node changes.

    There GPUs are held by their shares, and the container is told which ones by the same variables.
    """
    with speaking_to(engine.name):
        managers = engine.api.nodes(filters={"role": "manager"})
    versions = [((one.get("Description") or {}).get("Engine") or {}).get("EngineVersion", "") for one in managers]
    return not all(map(gpus.held_by_swarm, versions))


def service_json(engine: Engine, wanted: desired.Service) -> dict[str, Any]:
    """The engine's own JSON of a service (API 1.41, engine 20.10)."""
    everywhere = wanted.mode == "global"
    env, generic = dict(wanted.env), dict.fromkeys(wanted.generic, 1)
    if generic and kills_what_has_gpus(engine):
        shares = {gpus.hold(kind): gpus.HOLD for kind in generic}
        if wanted.networks:
            env |= {gpus.variable(one.uuid): one.uuid for one in gpus.held(wanted.labels)}
        generic = shares | ({} if wanted.networks else generic)
    marked = {**wanted.labels, names.SPEC: wanted.spec_hash}
    with speaking_to(engine.name):
        secret_ids = _ids(engine.api.secrets() if wanted.secrets else [], wanted.secrets, "secret", engine.name)
        config_ids = _ids(engine.api.configs() if wanted.configs else [], wanted.configs, "config", engine.name)
    container: dict[str, Any] = {
        "Image": wanted.image,
        "Labels": dict(wanted.labels),
        "Command": list(wanted.command),
        "Args": list(wanted.args),
        "Env": [f"{key}={value}" for key, value in sorted(env.items())],
        "User": wanted.user,
        "Dir": wanted.workdir,
        "Init": wanted.init,
        "StopSignal": wanted.stop_signal,
        "StopGracePeriod": wanted.stop_grace * _SECOND,
        "CapabilityAdd": list(wanted.cap_add),
        "CapabilityDrop": list(wanted.cap_drop),
        "Mounts": [_mount(one) for one in wanted.mounts],
        "Secrets": _files("Secret", wanted.secrets, secret_ids),
        "Configs": _files("Config", wanted.configs, config_ids),
    }
    return {
        "Name": wanted.name,
        "Labels": marked,
        "TaskTemplate": {
            "ContainerSpec": {key: value for key, value in container.items() if value not in ("", [])},
            "Resources": {
                "Limits": _resources(wanted.cpu_limit, wanted.mem_limit, wanted.pids_limit),
                "Reservations": _resources(wanted.cpu_reserve, wanted.mem_reserve, generic=generic),
            },
            "RestartPolicy": {"Condition": wanted.restart, "Delay": wanted.restart_delay * _SECOND, "MaxAttempts": 0},
            "Placement": {"Constraints": list(wanted.constraints)},
            "Networks": [{"Target": one} for one in wanted.networks],
            "LogDriver": {"Name": "json-file", "Options": {"max-size": "5m", "max-file": "2"}},
        },
        "Mode": {"Global": {}} if everywhere else {"Replicated": {"Replicas": wanted.replicas}},
        # A new task of a service pinned to one node with a published port or a home needs the old one gone first.
        # What runs on every host has neither: there is one of it at any moment, and one host's failure keeps no other
        # host from the change (0 is: all at once).
        "UpdateConfig": {
            "Parallelism": 0 if everywhere else 1,
            "Order": "start-first" if everywhere else "stop-first",
            "FailureAction": "continue" if everywhere else "pause",
        },
        "EndpointSpec": {
            "Mode": "dnsrr",
            "Ports": [
                {"Protocol": "tcp", "TargetPort": one.target, "PublishedPort": one.published, "PublishMode": "host"}
                for one in wanted.ports
            ],
        },
    }
