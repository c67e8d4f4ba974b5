"""Read what exists: hosts, engines, and what of this course is on them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from occamctl.actions import users
from occamctl.actions.session import Session, each
from occamctl.engine import ground, images, swarm
from occamctl.engine.client import Engine
from occamctl.errors import EngineError, OccamError
from occamctl.plan.seen import Observed, SeenHost, SeenService
from occamctl.plan.wanted import Account
from occamctl.spec import names
from occamctl.wait import Together


def observe(session: Session, builder: Engine | None = None) -> Observed:
    """Everything that a plan needs, asked of all hosts at once.

    builder  the engine that builds images, when it is none of the hosts'
    """
    if session.machines.keys() - session.facts.keys():
        session.gather_facts()
    hosts, errors = each(session.machines, lambda host: _host(session, host))
    session.errors.update(errors)
    built = images.present(builder) if builder else frozenset()
    manager = session.hosts[0]
    seen = Observed(hosts=hosts, errors=dict(session.errors), builder_images=built)
    if manager not in hosts:
        return seen
    if builder is None:
        seen = replace(seen, builder=manager, builder_images=hosts[manager].images)
    return _course(session, seen) if hosts[manager].in_swarm else seen


def _host(session: Session, host: str) -> SeenHost:
    engine = session.engine(host)
    state = swarm.in_swarm(engine)
    return SeenHost(
        name=host,
        facts=session.facts.get(host),
        in_swarm=state is not None,
        node_id=state["NodeID"] if state else "",
        images=images.present(engine),
    )


def _course(session: Session, seen: Observed) -> Observed:
    """What the manager's engine holds of this course; a few questions at the same time, over the one connection."""
    engine, ours = session.manager, {names.COURSE: session.course.course}
    with Together(max_workers=6) as pool:

        def ask(question: Callable[[], Any]) -> Future[Any]:
            return pool.submit(question)

        nodes = ask(lambda: swarm.nodes(engine))
        networks = ask(lambda: ground.networks(engine, ours))
        secrets = ask(lambda: ground.secrets(engine, ours))
        configs = ask(lambda: ground.configs(engine, ours))
        services = ask(lambda: swarm.services(engine, ours))
        tasks = ask(lambda: swarm.tasks(engine))
        found = _services(services.result(), tasks.result())
        hub, gateway = session.names.hub, session.names.gateway
        accounts = ask(lambda: _accounts(session)) if _runs(found, hub) else None
        clusters = ask(lambda: _clusters(session)) if _runs(found, gateway) else None
        by_id = {node.id: node for node in nodes.result()}
        hosts = {name: there for name, there in seen.hosts.items() if there.node_id in by_id}
        return replace(
            seen,
            swarm_nodes=frozenset(by_id),
            node_labels={name: by_id[there.node_id].labels for name, there in hosts.items()},
            node_roles={name: by_id[there.node_id].role for name, there in hosts.items()},
            networks={one["Name"]: _subnet(one) for one in networks.result()},
            secrets=frozenset(one["Spec"]["Name"] for one in secrets.result()),
            configs=frozenset(one["Spec"]["Name"] for one in configs.result()),
            services=found,
            accounts=accounts.result() if accounts else None,
            clusters=clusters.result() if clusters else None,
        )


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
        running = sum(task.state == "running" and task.wanted == "running" for task in mine)
        container = spec["TaskTemplate"]["ContainerSpec"]
        made[spec["Name"]] = SeenService(
            spec_hash=spec["Labels"].get(names.SPEC, ""),
            replicas=spec["Mode"]["Replicated"].get("Replicas", 0),
            running=running,
            configs=tuple(config["ConfigName"] for config in container.get("Configs") or ()),
            trouble="" if running or not mine else mine[0].message,
        )
    return made


def _accounts(session: Session) -> tuple[Account, ...] | None:
    try:
        return users.accounts(session)
    except EngineError:  # the container has just gone or is not up yet: the next round asks again
        return None


def _clusters(session: Session) -> dict[str, int] | None:
    try:
        listed = session.gateway.get("/users/course/clusters", timeout=10)
    except OccamError:  # as above
        return None
    return {one["name"]: one["wanted"] for one in listed if one.get("declared") and one["state"] != "failed"}
