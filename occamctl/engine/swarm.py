"""Networks, secrets, configs and services of a Swarm: functions that ensure a state and can be called twice.

Every function takes the `Engine` of a manager node. The service spec is written out as the engine's own JSON, because
the SDK's classes leave out `Pids` and `Init`, and because `Service.scale()` of the SDK fills defaults into the template
and so replaces every running task (portainer#1569 has the same symptom).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from docker.errors import APIError, NotFound

from occamctl import wait
from occamctl.engine.client import Engine, speaking_to
from occamctl.errors import EngineError, TookTooLong
from occamctl.plan import desired
from occamctl.spec import names

Change = Literal["created", "updated", "unchanged"]
_SECOND = 1_000_000_000
_SWARM_TRIES = 8
ALLOCATION_SECONDS = 10
RUNNING_STATES = ("new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running")


@dataclass(frozen=True)
class Node:
    """One node of the swarm, with what it has (not what is free)."""

    id: str
    hostname: str
    address: str
    role: str
    state: str
    availability: str
    cpus: float
    memory: int
    labels: Mapping[str, str]
    leader: bool = False

    @property
    def usable(self) -> bool:
        return self.state == "ready" and self.availability == "active"


@dataclass(frozen=True)
class Task:
    """One task of a service."""

    id: str
    service_id: str
    node_id: str
    state: str
    wanted: str
    """What the swarm wants it to be: running, shutdown or remove."""
    message: str
    container_id: str
    exit_code: int | None
    created: str
    timestamp: str
    cpus_reserved: float
    memory_reserved: int
    addresses: Mapping[str, str]
    """Network name to address, without the prefix length."""


def in_swarm(engine: Engine) -> dict[str, Any] | None:
    """The engine's `Swarm` section when it is in a swarm, else None."""
    with speaking_to(engine.name):
        swarm: dict[str, Any] = engine.api.info()["Swarm"]
    return swarm if swarm.get("LocalNodeState") == "active" else None


def nodes(engine: Engine) -> list[Node]:
    with speaking_to(engine.name):
        return [_node(raw) for raw in engine.api.nodes()]


def _node(raw: Mapping[str, Any]) -> Node:
    # A node that has just joined is listed before it has described itself.
    description, status = raw.get("Description") or {}, raw["Status"]
    resources = description.get("Resources") or {}
    return Node(
        id=raw["ID"],
        hostname=description.get("Hostname", ""),
        address=status.get("Addr", ""),
        role=raw["Spec"]["Role"],
        state=status.get("State", "unknown"),
        availability=raw["Spec"]["Availability"],
        cpus=resources.get("NanoCPUs", 0) / 1e9,
        memory=resources.get("MemoryBytes", 0),
        labels=raw["Spec"].get("Labels") or {},
        leader=bool(raw.get("ManagerStatus", {}).get("Leader")),
    )


def _by_label(labels: Mapping[str, str]) -> dict[str, list[str]]:
    return {"label": [f"{key}={value}" for key, value in labels.items()]}


# Networks ------------------------------------------------------------------------------------------------------------


def networks(engine: Engine, labels: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Networks as the engine describes them; all of them without `labels`."""
    with speaking_to(engine.name):
        return list(engine.api.networks(filters=_by_label(labels) if labels else None))


def ensure_network(engine: Engine, network: desired.Network) -> Change:
    """An attachable overlay with this name, allocated. Raises EngineError when the name is somebody else's.

    A service that is made while its network is not allocated yet can stay "new" for ever: under load the allocator
    loses one of the two events (moby#36699). So the network's VXLAN number is waited for, and a network that gets none
    is made again.
    """
    with speaking_to(engine.name):
        there = _network(engine, network.name)
        if there is not None:
            _must_be_ours(there.get("Labels"), network.labels, f"network {network.name}", engine.name)
            return "unchanged"
    for last in (False, True):
        with speaking_to(engine.name):
            engine.api.create_network(
                network.name,
                driver="overlay",
                ipam={"Driver": "default", "Config": [{"Subnet": network.subnet}]},
                labels=dict(network.labels),
                attachable=True,
                check_duplicate=True,
            )
        try:
            wait.until(
                lambda: _allocated(engine, network.name),
                bool,
                f"allocation of network {network.name}",
                seconds=ALLOCATION_SECONDS,
                every=0.02,
                describe=lambda _: "not allocated",
            )
        except TookTooLong:
            if last:
                raise
            remove_network(engine, network.name)
        else:
            break
    return "created"


def _network(engine: Engine, name: str) -> dict[str, Any] | None:
    return next((one for one in engine.api.networks(names=[name]) if one["Name"] == name), None)


def _allocated(engine: Engine, name: str) -> bool:
    with speaking_to(engine.name):
        there = _network(engine, name) or {}
    return bool((there.get("Options") or {}).get("com.docker.network.driver.overlay.vxlanid_list"))


def remove_network(engine: Engine, name: str, *, seconds: float = 60) -> bool:
    """Remove it and wait until no list shows it; tasks just gone keep it in use for a while (moby#31068)."""

    def gone() -> str:
        with speaking_to(engine.name):
            found = [there["Id"] for there in engine.api.networks(names=[name]) if there["Name"] == name]
            for number in found:
                try:
                    engine.api.remove_network(number)
                except NotFound:
                    return ""
                except APIError as error:
                    return str(error.explanation)
        return "" if not found else "still listed"

    first = gone()
    if first:
        wait.until(gone, lambda seen: not seen, f"removal of network {name} on {engine.name}", seconds=seconds)
    return True


# Secrets and configs -------------------------------------------------------------------------------------------------


def secrets(engine: Engine, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    with speaking_to(engine.name):
        return list(engine.api.secrets(filters=_by_label(labels)))


def configs(engine: Engine, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    with speaking_to(engine.name):
        return list(engine.api.configs(filters=_by_label(labels)))


def ensure_secret(engine: Engine, secret: desired.Secret) -> Change:
    """A secret with this name. What is in it cannot be read back, so one that is there stays as it is."""
    with speaking_to(engine.name):
        for there in engine.api.secrets(filters={"name": secret.name}):
            if there["Spec"]["Name"] == secret.name:
                _must_be_ours(there["Spec"].get("Labels"), secret.labels, f"secret {secret.name}", engine.name)
                return "unchanged"
        engine.api.create_secret(secret.name, secret.data, labels=dict(secret.labels))
    return "created"


def ensure_config(engine: Engine, config: desired.Config) -> Change:
    """A config with this name; names carry a hash of the contents, so one that is there is right."""
    with speaking_to(engine.name):
        for there in engine.api.configs(filters={"name": config.name}):
            if there["Spec"]["Name"] == config.name:
                _must_be_ours(there["Spec"].get("Labels"), config.labels, f"config {config.name}", engine.name)
                return "unchanged"
        engine.api.create_config(config.name, config.data, labels=dict(config.labels))
    return "created"


def remove_secret(engine: Engine, name: str) -> None:
    """Remove it; one that is not there is fine."""
    with speaking_to(engine.name):
        for there in engine.api.secrets(filters={"name": name}):
            if there["Spec"]["Name"] == name:
                _in_use_for_a_while(lambda number=there["ID"]: engine.api.remove_secret(number), f"secret {name}")


def relabel_secret(engine: Engine, name: str, labels: Mapping[str, str]) -> None:
    """Add or change labels of a secret: the one thing of it that may change. Raises EngineError when it is gone."""
    with speaking_to(engine.name):
        found = [one for one in engine.api.secrets(filters={"name": name}) if one["Spec"]["Name"] == name]
        if not found:
            raise EngineError(f"secret {name} is gone", where=engine.name)
        spec = {"Name": name, "Labels": {**(found[0]["Spec"].get("Labels") or {}), **labels}}
        url = engine.api._url("/secrets/{0}/update", found[0]["ID"])
        done = engine.api._post_json(url, data=spec, params={"version": found[0]["Version"]["Index"]})
        engine.api._raise_for_status(done)


def remove_config(engine: Engine, name: str) -> None:
    """Remove it; one that is not there is fine."""
    with speaking_to(engine.name):
        for there in engine.api.configs(filters={"name": name}):
            if there["Spec"]["Name"] == name:
                _in_use_for_a_while(lambda number=there["ID"]: engine.api.remove_config(number), f"config {name}")


def _in_use_for_a_while(remove: Any, what: str) -> None:
    def tried() -> str:
        try:
            remove()
        except NotFound:
            return ""
        except APIError as error:
            return str(error.explanation)
        return ""

    wait.until(tried, lambda seen: not seen, f"removal of {what}", seconds=30)


def _must_be_ours(there: Mapping[str, str] | None, wanted: Mapping[str, str], what: str, host: str) -> None:
    if (there or {}).get(names.COURSE) != wanted.get(names.COURSE):
        raise EngineError(
            f"{what} is there already and does not belong to this course",
            where=host,
            fix="give the course another name, or remove it",
        )


# Services ------------------------------------------------------------------------------------------------------------


def services(engine: Engine, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Services with these labels, as the engine describes them."""
    with speaking_to(engine.name):
        return list(engine.api.services(filters=_by_label(labels)))


def service(engine: Engine, name: str) -> dict[str, Any] | None:
    """The service with exactly this name, as the engine describes it."""
    with speaking_to(engine.name):
        return next((one for one in engine.api.services(filters={"name": name}) if one["Spec"]["Name"] == name), None)


def ensure_service(engine: Engine, wanted: desired.Service) -> Change:
    """The service as asked; one whose spec hash agrees is not touched, but for its replicas."""
    there = service(engine, wanted.name)
    if there is None:
        with speaking_to(engine.name):
            engine.api._result(  # the SDK's create_service() drops Pids and Init
                engine.api._post_json(engine.api._url("/services/create"), data=_spec(engine, wanted)), True
            )
        return "created"
    _must_be_ours(there["Spec"]["Labels"], wanted.labels, f"service {wanted.name}", engine.name)
    if there["Spec"]["Labels"].get(names.SPEC) == wanted.spec_hash:
        if there["Spec"]["Mode"]["Replicated"]["Replicas"] == wanted.replicas:
            return "unchanged"
        scale_service(engine, wanted.name, wanted.replicas)
        return "updated"
    _change(engine, wanted.name, lambda _: _spec(engine, wanted))
    return "updated"


def scale_service(engine: Engine, name: str, replicas: int) -> None:
    """Set the replicas; tasks that stay are not replaced, since the template goes back as it came."""

    def with_replicas(spec: dict[str, Any]) -> dict[str, Any]:
        return spec | {"Mode": {"Replicated": {"Replicas": replicas}}}

    _change(engine, name, with_replicas)


def relabel_service(engine: Engine, name: str, labels: Mapping[str, str]) -> None:
    """Add or change labels of the service (not of its containers, so nothing is restarted)."""
    _change(engine, name, lambda spec: spec | {"Labels": {**spec["Labels"], **labels}})


def force_update(engine: Engine, name: str) -> None:
    """Replace the service's tasks although nothing changed: a restart."""

    def raised(spec: dict[str, Any]) -> dict[str, Any]:
        template = spec["TaskTemplate"]
        return spec | {"TaskTemplate": template | {"ForceUpdate": template.get("ForceUpdate", 0) + 1}}

    _change(engine, name, raised)


def _change(engine: Engine, name: str, change: Any) -> None:
    """Read, change, write; again when somebody wrote in between ("update out of sequence", moby#30794)."""
    for last in (False,) * (_SWARM_TRIES - 1) + (True,):
        there = service(engine, name)
        if there is None:
            raise EngineError(f"service {name} is gone", where=engine.name)
        try:
            _update(engine, there, change(there["Spec"]))
        except APIError as error:
            if last or "out of sequence" not in str(error.explanation):
                raise EngineError(f"service {name}: {error.explanation}", where=engine.name) from error
            wait.nap(0.1)
        else:
            return


def _update(engine: Engine, there: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    api = engine.api
    url = api._url("/services/{0}/update", there["ID"])
    api._result(api._post_json(url, data=spec, params={"version": there["Version"]["Index"]}), True)


def remove_service(engine: Engine, name: str) -> None:
    """Ask for the removal; `wait_absent` waits for it. One that is not there is fine."""
    with speaking_to(engine.name):
        try:
            engine.api.remove_service(name)
        except NotFound:
            return


def wait_absent(engine: Engine, labels: Mapping[str, str], *, seconds: float = 60) -> None:
    """Wait until no service with these labels is left and no task of one has a live container."""

    def left() -> list[str]:
        there = [one["Spec"]["Name"] for one in services(engine, labels)]
        with speaking_to(engine.name):
            live = engine.api.tasks(filters={"label": [f"{key}={value}" for key, value in labels.items()]})
        return there + [one["ID"] for one in live if one["Status"]["State"] in RUNNING_STATES]

    wait.until(left, lambda seen: not seen, f"removal of services on {engine.name}", seconds=seconds)


def tasks(engine: Engine, *, service_name: str | None = None, labels: Mapping[str, str] | None = None) -> list[Task]:
    """Tasks, newest first; of one service, or of all services with these labels, or all that the swarm remembers."""
    filters: dict[str, Any] = {}
    if service_name:
        filters["service"] = [service_name]
    if labels:
        filters.update(_by_label(labels))
    with speaking_to(engine.name):
        try:
            raw = engine.api.tasks(filters=filters)
        except NotFound:
            return []
    return sorted((_task(one) for one in raw), key=lambda task: task.created, reverse=True)


def _task(raw: Mapping[str, Any]) -> Task:
    status = raw["Status"]
    container = status.get("ContainerStatus") or {}
    reserved = (raw["Spec"].get("Resources") or {}).get("Reservations") or {}
    return Task(
        id=raw["ID"],
        service_id=raw.get("ServiceID", ""),
        node_id=raw.get("NodeID", ""),
        state=status["State"],
        wanted=raw["DesiredState"],
        message=status.get("Err") or status.get("Message", ""),
        container_id=container.get("ContainerID", ""),
        exit_code=container.get("ExitCode"),
        created=raw["CreatedAt"],
        timestamp=status.get("Timestamp", ""),
        cpus_reserved=reserved.get("NanoCPUs", 0) / 1e9,
        memory_reserved=reserved.get("MemoryBytes", 0),
        addresses={
            one["Network"]["Spec"]["Name"]: one["Addresses"][0].split("/")[0]
            for one in raw.get("NetworksAttachments") or []
            if one.get("Addresses")
        },
    )


def service_logs(engine: Engine, name: str, *, tail: int | Literal["all"] = "all", timestamps: bool = False) -> str:
    """What the service's containers printed, on whichever node they ran."""
    with speaking_to(engine.name):
        chunks = engine.api.service_logs(name, stdout=True, stderr=True, tail=tail, timestamps=timestamps)
        return b"".join(chunks).decode(errors="replace")


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


def _resources(cpus: float, memory: int, pids: int = 0) -> dict[str, int]:
    made = {"NanoCPUs": int(cpus * 1e9), "MemoryBytes": memory, "Pids": pids}
    return {key: value for key, value in made.items() if value}


def _spec(engine: Engine, wanted: desired.Service) -> dict[str, Any]:
    """The engine's own JSON of a service (API 1.41, engine 20.10)."""
    marked = {**wanted.labels, names.SPEC: wanted.spec_hash}
    with speaking_to(engine.name):
        secret_ids = _ids(engine.api.secrets() if wanted.secrets else [], wanted.secrets, "secret", engine.name)
        config_ids = _ids(engine.api.configs() if wanted.configs else [], wanted.configs, "config", engine.name)
    container: dict[str, Any] = {
        "Image": wanted.image,
        "Labels": dict(wanted.labels),
        "Command": list(wanted.command),
        "Args": list(wanted.args),
        "Env": [f"{key}={value}" for key, value in sorted(wanted.env.items())],
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
                "Reservations": _resources(wanted.cpu_reserve, wanted.mem_reserve),
            },
            "RestartPolicy": {"Condition": wanted.restart, "Delay": wanted.restart_delay * _SECOND, "MaxAttempts": 0},
            "Placement": {"Constraints": list(wanted.constraints)},
            "Networks": [{"Target": one} for one in wanted.networks],
            "LogDriver": {"Name": "json-file", "Options": {"max-size": "5m", "max-file": "2"}},
        },
        "Mode": {"Replicated": {"Replicas": wanted.replicas}},
        # A new task of a service pinned to one node with a published port or a home needs the old one gone first.
        "UpdateConfig": {"Parallelism": 1, "Order": "stop-first", "FailureAction": "pause"},
        "EndpointSpec": {
            "Mode": "dnsrr",
            "Ports": [
                {"Protocol": "tcp", "TargetPort": one.target, "PublishedPort": one.published, "PublishMode": "host"}
                for one in wanted.ports
            ],
        },
    }
