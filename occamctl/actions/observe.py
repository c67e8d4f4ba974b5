"""Read what exists: hosts, engines, and what of this course is on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from occamctl.actions import accounts as door
from occamctl.actions import data_hosts, material
from occamctl.actions.clusters import OVER
from occamctl.actions.session import Session, each
from occamctl.engine import ground, images, swarm
from occamctl.engine.client import Engine
from occamctl.errors import EngineError, OccamError
from occamctl.hosts.facts import gather
from occamctl.plan.gpu_setup import engine_gpus
from occamctl.plan.seen import Observed, SeenCluster, SeenData, SeenHost, SeenMaterial, SeenService
from occamctl.plan.wanted import Account
from occamctl.spec import names
from occamctl.wait import Together

_MANY = 2
"""Failures after which nobody hopes for the next task; the swarm remembers hardly more."""


def observe(session: Session, find_builder: Callable[[], Engine | None] = lambda: None) -> Observed:
    """Everything that a plan needs, asked of all hosts at once.

    find_builder  gives the engine that builds images, when it is none of the hosts'
    """
    with Together(max_workers=2) as aside:
        building = aside.submit(_built, find_builder)
        holding = aside.submit(_held, session)  # it fails where there is no swarm, and is not asked then
        hosts, errors = each(session.machines, lambda host: _host(session, host))
        session.errors.update(errors)
        built = building.result()
    manager = session.hosts[0]
    seen = Observed(
        hosts=hosts,
        errors=dict(session.errors),
        builder_images=built or frozenset(),
        probed=frozenset(session.probed),
    )
    if manager not in hosts:
        return seen
    if built is None:
        seen = replace(seen, builder=manager, builder_images=hosts[manager].images)
    return _course(seen, holding.result()) if hosts[manager].in_swarm else seen


def _built(find_builder: Callable[[], Engine | None]) -> frozenset[str] | None:
    """Images of the engine that builds; None when a host does."""
    builder = find_builder()
    return images.present(builder) if builder else None


def _host(session: Session, host: str) -> SeenHost:
    """A host's facts and its engine's state, asked side by side: each is a round trip or two."""
    with Together(max_workers=1) as aside:
        facts = None if host in session.facts else aside.submit(gather, session.machines[host])
        try:
            engine = session.engine(host)
            info = swarm.about(engine)
            there = images.present(engine)
            sets = _data(session, engine, there)
        finally:  # what is known of a host without an engine is worth showing
            if facts:
                session.facts[host] = facts.result()
    state = swarm.membership(info)
    return SeenHost(
        name=host,
        facts=session.facts[host],
        in_swarm=state is not None,
        node_id=state["NodeID"] if state else "",
        images=there,
        data=sets,
        engine_gpus=engine_gpus(info),
        data_port=((state or {}).get("Cluster") or {}).get("DataPathPort", 0),
    )


def _data(session: Session, engine: Engine, there: frozenset[str]) -> dict[str, SeenData]:
    """Data sets of this host, when the course file declares some: it takes a container to look."""
    image = data_hosts.image_of(session)
    return data_hosts.seen(engine, session.course.course, image) if session.course.data and image in there else {}


@dataclass(frozen=True)
class _Held:
    """What the manager's engine holds of this course: `seen` without hosts."""

    nodes: dict[str, swarm.Node]
    seen: Observed


def _held(session: Session) -> _Held:
    """Read it, beside what hosts say of themselves. Raises HostError, and EngineError where there is no swarm.

    The engine's lists take milliseconds each, on the channel that is open already; a file of a container takes ten
    times as long, and a program in one thirty times: so the gateway is only asked when there may be clusters, and that
    while the rest is read.
    """
    engine, ours = session.manager, {names.COURSE: session.course.course}
    with Together(max_workers=3) as aside:
        listed = swarm.services(engine, ours)
        found = _services(listed, swarm.tasks(engine))
        accounts = aside.submit(_accounts, session) if _runs(found, session.names.hub) else None
        some = bool(session.course.spark.clusters) or any(map(_is_of_the_courses_cluster, listed))
        clusters = aside.submit(_clusters, session) if some and _runs(found, session.names.gateway) else None
        kept = aside.submit(_material, session) if _runs(found, session.names.material) else None
        return _Held(
            {node.id: node for node in swarm.nodes(engine)},
            Observed(
                hosts={},
                networks={one["Name"]: _subnet(one) for one in ground.networks(engine, ours)},
                secrets=frozenset(one["Spec"]["Name"] for one in ground.secrets(engine, ours)),
                configs=frozenset(one["Spec"]["Name"] for one in ground.configs(engine, ours)),
                services=found,
                accounts=accounts.result() if accounts else None,
                clusters=clusters.result() if clusters else None if some else {},
                material=kept.result() if kept else None,
            ),
        )


def _course(seen: Observed, held: _Held) -> Observed:
    """The hosts with what their manager holds."""
    hosts = {name: there for name, there in seen.hosts.items() if there.node_id in held.nodes}
    return replace(
        held.seen,
        hosts=seen.hosts,
        errors=seen.errors,
        builder=seen.builder,
        builder_images=seen.builder_images,
        probed=seen.probed,
        swarm_nodes=frozenset(held.nodes),
        node_labels={name: held.nodes[there.node_id].labels for name, there in hosts.items()},
        node_roles={name: held.nodes[there.node_id].role for name, there in hosts.items()},
    )


def _is_of_the_courses_cluster(service: dict[str, Any]) -> bool:
    labels = service["Spec"]["Labels"]
    return labels.get(names.OWNER) == names.COURSE_OWNER and names.CLUSTER in labels


def _runs(found: dict[str, SeenService], name: str) -> bool:
    return name in found and found[name].running > 0


def _subnet(network: dict[str, Any]) -> str:
    parts = (network.get("IPAM") or {}).get("Config") or [{}]
    return str(parts[0].get("Subnet", ""))


def _services(listed: list[dict[str, Any]], tasks: list[swarm.Task]) -> dict[str, SeenService]:
    made = {}
    for one in listed:
        spec = one["Spec"]
        mine = [task for task in tasks if task.service_id == one["ID"]]
        configs = swarm.config_names(spec["TaskTemplate"])
        right = [task for task in mine if _lives(task) and task.configs == configs]
        made[spec["Name"]] = SeenService(
            spec_hash=spec["Labels"].get(names.SPEC, ""),
            replicas=_replicas(spec["Mode"], mine),
            running=len(right),
            configs=configs,
            trouble="" if right or not mine else mine[0].message,
            nodes=frozenset(task.node_id for task in right),
            failing=_failing(mine),
            ports=frozenset(port["PublishedPort"] for port in (spec.get("EndpointSpec") or {}).get("Ports") or ()),
        )
    return made


def _failing(tasks: list[swarm.Task]) -> dict[str, str]:
    """Nodes where no task runs and some have failed, to the words of the newest; `tasks` begin with the newest.

    One that is on its way counts for a node, unless it is the next of many.
    """
    failed = [task for task in reversed(tasks) if task.state in ("failed", "rejected")]
    often = Counter(task.node_id for task in failed)
    runs = {task.node_id for task in tasks if _lives(task)}
    # One that waits after a failure is wanted "ready" only.
    comes = {task.node_id for task in tasks if task.wanted == "running" and task.state in swarm.RUNNING_STATES}
    fine = runs | {node for node in comes if often[node] < _MANY}
    return {task.node_id: task.message for task in failed if task.node_id not in fine}


def _lives(task: swarm.Task) -> bool:
    return task.state == "running" and task.wanted == "running"


def _replicas(mode: dict[str, Any], tasks: list[swarm.Task]) -> int:
    """How many tasks the swarm wants; of a global service, which has no number, as many as it has made."""
    if "Replicated" in mode:
        return int(mode["Replicated"].get("Replicas", 0))
    return sum(task.wanted == "running" for task in tasks)


def _accounts(session: Session) -> tuple[Account, ...] | None:
    try:
        return door.seen(session)
    except EngineError:  # the container has just gone or is not up yet: the next round asks again
        return None


def _material(session: Session) -> SeenMaterial | None:
    try:
        return material.seen(session)
    except EngineError:  # as above
        return None


def _clusters(session: Session) -> dict[str, SeenCluster] | None:
    try:
        listed = session.gateway.get("/users/course/clusters", timeout=10)
    except OccamError:  # it has just started: the plan waits for it, and asks again
        return None
    return {
        one["name"]: SeenCluster(one["granted"]["0"], bool(one.get("declared")))
        for one in listed
        if one["driver"] == "connect" and one["state"] not in OVER
    }
