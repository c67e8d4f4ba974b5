"""Nodes, services and tasks of a Swarm: functions that ensure a state and can be called twice.

Every function takes the `Engine` of a manager node. The service spec is written out as the engine's own JSON, because
the SDK's classes leave out `Pids` and `Init`, and because `Service.scale()` of the SDK fills defaults into the template
and so replaces every running task (portainer#1569 has the same symptom).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from docker.errors import APIError, NotFound

from occamctl import wait
from occamctl.engine.client import Engine, speaking_to
from occamctl.engine.ownership import Change, by_label, must_be_ours
from occamctl.engine.service_json import service_json
from occamctl.errors import EngineError
from occamctl.plan import desired, gpus
from occamctl.spec import names

_SWARM_TRIES = 8
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
    generic: Mapping[str, str] = field(default_factory=dict)
    """Generic resources that its engine has, kind to name or number."""

    @property
    def usable(self) -> bool:
        return self.state == "ready" and self.availability == "active"

    @property
    def down(self) -> bool:
        """Whether the swarm has given it up. Under a new leader every node is "unknown" until it is heard again."""
        return self.state == "down"


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
    configs: tuple[str, ...] = ()
    """Names of the configs that it was started with."""
    generic: Mapping[str, str] = field(default_factory=dict)
    """Named generic resources that it has, kind to name: assigned by the swarm, or by us (engine/service_json.py)."""


def about(engine: Engine) -> dict[str, Any]:
    """What the engine tells of itself."""
    with speaking_to(engine.name):
        return dict(engine.api.info())


def in_swarm(engine: Engine) -> dict[str, Any] | None:
    """The engine's `Swarm` section when it is in a swarm, else None."""
    return membership(about(engine))


def membership(info: Mapping[str, Any]) -> dict[str, Any] | None:
    """The same, of what the engine told."""
    swarm: dict[str, Any] = info["Swarm"]
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
        generic=_generic(resources.get("GenericResources"), "NamedResourceSpec", "DiscreteResourceSpec"),
    )


def services(engine: Engine, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Services with these labels, as the engine describes them."""
    with speaking_to(engine.name):
        return list(engine.api.services(filters=by_label(labels)))


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
                engine.api._post_json(engine.api._url("/services/create"), data=service_json(engine, wanted)), True
            )
        return "created"
    must_be_ours(there["Spec"]["Labels"], wanted.labels, f"service {wanted.name}", engine.name)
    if there["Spec"]["Labels"].get(names.SPEC) == wanted.spec_hash:
        if wanted.mode == "global" or there["Spec"]["Mode"]["Replicated"]["Replicas"] == wanted.replicas:
            return "unchanged"
        scale_service(engine, wanted.name, wanted.replicas)
        return "updated"
    _change(engine, wanted.name, lambda _: service_json(engine, wanted))
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


def tell_again(engine: Engine, name: str) -> None:
    """Write the service as it is: the orchestrator looks at its tasks anew. Who scaled it meanwhile is not undone."""
    _change(engine, name, lambda spec: spec)


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
    """Wait until no service with these labels is left and no task of one has a live container.

    The swarm keeps tasks of a host that is down as it saw them last, for a day (moby#31999): nobody waits for those.
    """

    def left() -> list[str]:
        there = [one["Spec"]["Name"] for one in services(engine, labels)]
        live = [task for task in tasks(engine, labels=labels) if task.state in RUNNING_STATES]
        down = {node.id for node in nodes(engine) if node.down} if live else set()
        return there + [task.id for task in live if task.node_id not in down]

    wait.until(left, lambda seen: not seen, f"removal of services on {engine.name}", seconds=seconds)


def tasks(engine: Engine, *, service_name: str | None = None, labels: Mapping[str, str] | None = None) -> list[Task]:
    """Tasks, newest first; of one service, or of all services with these labels, or all that the swarm remembers."""
    filters: dict[str, Any] = {}
    if service_name:
        filters["service"] = [service_name]
    if labels:
        filters.update(by_label(labels))
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
        configs=config_names(raw["Spec"]),
        generic=_told(raw) | _generic(raw.get("GenericResources"), "NamedResourceSpec"),
    )


def _told(raw: Mapping[str, Any]) -> dict[str, str]:
    """The GPUs that we told a container of; one that waits for their shares has none yet."""
    if raw["Status"]["State"] in ("new", "allocated", "pending"):
        return {}
    return gpus.told((raw["Spec"].get("ContainerSpec") or {}).get("Env") or ())


def _generic(listed: list[dict[str, Any]] | None, *forms: str) -> dict[str, str]:
    """Those of these forms: some have names, of others the swarm counts how many there are."""
    specs = [one[form] for one in listed or () for form in forms if form in one]
    return {one["Kind"]: str(one["Value"]) for one in specs}


def config_names(template: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the configs in a service's or task's template."""
    container = template.get("ContainerSpec") or {}
    return tuple(one["ConfigName"] for one in container.get("Configs") or ())


def service_logs(engine: Engine, name: str, *, tail: int | Literal["all"] = "all", timestamps: bool = False) -> str:
    """What the service's containers printed, on whichever node they ran."""
    with speaking_to(engine.name):
        chunks = engine.api.service_logs(name, stdout=True, stderr=True, tail=tail, timestamps=timestamps)
        return b"".join(chunks).decode(errors="replace")
