"""Spark clusters as Swarm services: one service per executor, one for a Connect driver, and one secret that remembers.

The builders are pure. Everything there is to know of a cluster is in labels: what was asked for lies, as JSON, in the
label FACTS of the cluster's secret (Swarm lets labels of a secret change, its contents never), and which executors
there are is the list of services. So a gateway that restarts reads all of it back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from occamctl.engine import ground, swarm
from occamctl.engine.client import Engine
from occamctl.plan import desired
from occamctl.spark import settings
from occamctl.spec import names

FACTS = "occam.facts"
DRIVER_TOKEN = "/run/secrets/driver-token"
_STUDENT = "1000"
_EXECUTOR_PIDS, _DRIVER_PIDS = 2048, 1024
_GRACE = 30
"""Seconds that a decommissioned executor has to hand over its blocks."""
_DRIVER_CPU_LIMIT = 2
"""A driver reserves none, as a notebook: it mostly waits, and one whole worker of a small host would be lost to it."""


@dataclass(frozen=True)
class Site:
    """What every cluster of one course has in common."""

    course: str
    image: str
    gateway_url: str
    hub_net: str

    @property
    def names(self) -> names.Names:
        return names.Names(self.course)


@dataclass(frozen=True)
class Facts:
    """One cluster as it was asked for, and how many executors it should have now.

    memory   bytes of one executor's container
    nonce    tells secrets of this cluster from those of an earlier one with the same name
    wanted   executors it should have
    next_id  number of the next executor: Spark wants each number used once within an application
    notebook id of the task of the notebook that drives it: it ends with that task
    ending   its removal has begun and must be finished, whatever happens
    """

    owner: str
    name: str
    app_id: str
    nonce: str
    driver: Literal["notebook", "connect"]
    driver_host: str
    driver_port: int
    cores: int
    memory: int
    wanted: int
    since: str
    kernel: str = ""
    notebook: str = ""
    declared: bool = False
    next_id: int = 0
    ending: bool = False

    def label(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class Secrets:
    """Names of a cluster's secrets."""

    args: str
    conf: str
    token: str

    @classmethod
    def of(cls, site: Site, facts: Facts) -> Secrets:
        prefix = site.names.cluster(facts.owner, facts.name)
        return cls(*(f"{prefix}-{piece}-{facts.nonce}" for piece in ("args", "conf", "auth")))


def _labels(site: Site, kind: str, facts: Facts, **more: str) -> dict[str, str]:
    return desired.labels(site.course, kind, facts.owner, cluster=facts.name, **more)


def secret(site: Site, facts: Facts, value: str) -> desired.Secret:
    """The cluster's secret: the executors' java options, and in its label the facts."""
    name = Secrets.of(site, facts).args
    labels = _labels(site, "secret", facts) | {FACTS: facts.label()}
    return desired.Secret(name, settings.executor_args(value).encode(), labels)


def driver_secrets(site: Site, facts: Facts, value: str, token: str) -> tuple[desired.Secret, desired.Secret]:
    """What a Connect driver needs: its configuration, and the token that it shows to the gateway."""
    called, labels = Secrets.of(site, facts), _labels(site, "secret", facts)
    conf = settings.conf_file(driver_conf(site, facts), value)
    return desired.Secret(called.conf, conf.encode(), labels), desired.Secret(called.token, token.encode(), labels)


def driver_conf(site: Site, facts: Facts, driver_memory: int = 0) -> dict[str, str]:
    """Spark's configuration of the cluster's driver, without the secret.

    driver_memory  bytes of the container that the driver runs in; 0 means as much as an executor
    """
    driver = settings.Driver(
        kind=facts.driver,
        url=site.gateway_url,
        owner=facts.owner,
        cluster=facts.name,
        app_id=facts.app_id,
        memory=driver_memory or facts.memory,
        host=facts.driver_host if facts.driver == "notebook" else "",
        port=facts.driver_port,
        token_file=DRIVER_TOKEN if facts.driver == "connect" else "",
    )
    return settings.driver_conf(driver, workers=facts.wanted, cores=facts.cores, memory=facts.memory)


def executor(site: Site, facts: Facts, number: int, node: str, subnet: str) -> desired.Service:
    """One executor: pinned to the node that was chosen for it, never restarted (a lost one gets a new number)."""
    return desired.Service(
        name=site.names.executor(facts.owner, facts.name, number),
        image=site.image,
        labels=_labels(site, "executor", facts, executor=str(number)),
        command=("occam-executor",),
        env={
            "OCCAM_APP_ID": facts.app_id,
            "OCCAM_CLUSTER": facts.name,
            "OCCAM_CORES": str(facts.cores),
            "OCCAM_DRIVER_HOST": facts.driver_host,
            "OCCAM_DRIVER_PORT": str(facts.driver_port),
            "OCCAM_EXECUTOR_ID": str(number),
            "OCCAM_MEMORY": str(facts.memory),
            "OCCAM_NET_SUBNET": subnet,
            "OCCAM_RESOURCE_PROFILE": "0",
            "OCCAM_USER": facts.owner,
        },
        user=_STUDENT,
        stop_signal="SIGPWR",
        stop_grace=_GRACE,
        secrets=(desired.File(Secrets.of(site, facts).args, "/run/secrets/executor.args", uid=_STUDENT, gid=_STUDENT),),
        networks=(site.names.net(facts.owner),),
        constraints=(f"node.id=={node}",),
        cpu_limit=facts.cores,
        mem_limit=facts.memory,
        cpu_reserve=facts.cores,
        mem_reserve=facts.memory,
        pids_limit=_EXECUTOR_PIDS,
        restart="none",
    )


def driver(site: Site, facts: Facts, node: str, subnet: str) -> desired.Service:
    """A Spark Connect server; it answers on the owner's network, and uses the hub's to talk to the gateway."""
    called = Secrets.of(site, facts)
    return desired.Service(
        name=site.names.driver(facts.owner, facts.name),
        image=site.image,
        labels=_labels(site, "driver", facts),
        command=("occam-driver",),
        env={
            "OCCAM_APP_ID": facts.app_id,
            "OCCAM_CLUSTER": facts.name,
            "OCCAM_MEMORY": str(facts.memory),
            "OCCAM_NET_SUBNET": subnet,
            "OCCAM_USER": facts.owner,
        },
        user=_STUDENT,
        secrets=tuple(
            desired.File(name, target, uid=_STUDENT, gid=_STUDENT)
            for name, target in ((called.conf, "/run/secrets/driver.conf"), (called.token, DRIVER_TOKEN))
        ),
        networks=(site.names.net(facts.owner), site.hub_net),
        constraints=(f"node.id=={node}",),
        cpu_limit=_DRIVER_CPU_LIMIT,
        mem_limit=facts.memory,
        mem_reserve=facts.memory,
        pids_limit=_DRIVER_PIDS,
        restart="any",
    )


# On the engine -------------------------------------------------------------------------------------------------------


def read(engine: Engine, course: str) -> list[Facts]:
    """Every cluster that the engine's labels tell of."""
    listed = ground.secrets(engine, {names.COURSE: course, names.KIND: "secret"})
    return [Facts(**json.loads(found)) for one in listed if (found := one["Spec"].get("Labels", {}).get(FACTS))]


def write(engine: Engine, site: Site, facts: Facts) -> None:
    """Remember the facts as they are now. Raises EngineError when the cluster's secret is gone."""
    ground.relabel_secret(engine, Secrets.of(site, facts).args, {FACTS: facts.label()})


def numbered(services: Iterable[Mapping[str, Any]], facts: Facts) -> dict[int, Mapping[str, Any]]:
    """The executors among `services` that belong to the cluster, by their number."""
    found = {}
    for one in services:
        labels = one["Spec"]["Labels"]
        mine = (labels.get(names.OWNER), labels.get(names.CLUSTER)) == (facts.owner, facts.name)
        if mine and labels.get(names.KIND) == "executor":
            found[int(labels[names.EXECUTOR])] = one
    return found


def node_of(service: Mapping[str, Any]) -> str:
    """Id of the node that a service is pinned to; "" when it is not."""
    for rule in service["Spec"]["TaskTemplate"].get("Placement", {}).get("Constraints") or ():
        if rule.startswith("node.id=="):
            return str(rule.removeprefix("node.id=="))
    return ""


def remove(engine: Engine, site: Site, facts: Facts, *, seconds: float = 60) -> None:
    """Remove services and secrets of one cluster and wait until no list shows them and no container is left.

    Raises TookTooLong with what is still there; calling it again goes on.
    """
    mine = {names.COURSE: site.course, names.OWNER: facts.owner, names.CLUSTER: facts.name}
    for one in swarm.services(engine, mine):
        swarm.remove_service(engine, one["Spec"]["Name"])
    swarm.wait_absent(engine, mine, seconds=seconds)
    # The one with the facts goes last: until then a gateway that restarts knows that there is something to finish.
    called = Secrets.of(site, facts)
    for name in (called.conf, called.token, called.args):
        ground.remove_secret(engine, name)


def ended(facts: Facts) -> Facts:
    return replace(facts, ending=True, wanted=0)
