"""Spark clusters as Swarm services: one per executor, one for a driver of its own, and one secret that remembers.

The builders are pure. Everything there is to know of a cluster is in labels: what was asked for lies, as JSON, in the
label FACTS of the cluster's secret (Swarm lets labels of a secret change, its contents never), and which executors
there are is the list of services. So a gateway that restarts reads all of it back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from occamctl.engine import ground, swarm
from occamctl.engine.client import Engine
from occamctl.plan import desired, gpus
from occamctl.plan.gpus import GpuWish
from occamctl.plan.observed import Gpu
from occamctl.spark import settings
from occamctl.spec import names

FACTS = "occam.facts"
DRIVER_TOKEN = "/run/secrets/driver-token"
UI_PORT = 4040
"""Where Spark's page of a driver in a container of its own answers, on that container's loopback."""
GPU_WORKERS = -1
"""Profile of workers with GPUs beside those without: to Spark, which counts its own from 0, they are of profile 0 too,
so every task may run on either."""
_STUDENT = "1000"
_EXECUTOR_PIDS, _DRIVER_PIDS = 2048, 1024
_DRIVER_WAIT = 7 * 24 * 3600
"""Seconds that an application's executors wait for Spark to begin in it: it ends them when it ends itself."""
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
    gpu_image: str = ""
    """Of containers with GPUs; "": as of the others."""

    @property
    def names(self) -> names.Names:
        return names.Names(self.course)


@dataclass(frozen=True)
class Profile:
    """Executors of one size: one of Spark's resource profiles, by its id. Memory in bytes of a container.

    gpus  GPUs of one executor; which ones will do, see plan/gpus.py
    heap  bytes of the JVM's heap, when Spark says it; 0: half of the memory
    """

    id: int
    wanted: int
    cores: int
    memory: int
    gpus: int = 0
    heap: int = 0
    gpu_model: str = ""
    gpu_profile: str = ""
    gpu_memory: int = 0

    def with_gpus(self, gpu: GpuWish | None) -> Profile:
        return replace(self, **_flat(gpu))

    @property
    def gpu(self) -> GpuWish | None:
        """The GPUs of one executor; None when it has none."""
        return GpuWish(self.gpus, self.gpu_model, self.gpu_profile, self.gpu_memory) if self.gpus else None


def _flat(gpu: GpuWish | None) -> dict[str, Any]:
    """The GPUs of one executor as they stand in Profile and Facts, which are kept as JSON."""
    wish = gpu or GpuWish(0)
    return {"gpus": wish.count, "gpu_model": wish.model, "gpu_profile": wish.profile, "gpu_memory": wish.memory}


@dataclass(frozen=True)
class Facts:
    """One cluster as it was asked for, and how many executors it should have now.

    memory   bytes of one executor's container
    nonce    tells secrets of this cluster from those of an earlier one with the same name
    wanted   executors of the default profile it should have
    gpus     GPUs of one executor, and which ones will do, as in Profile
    adaptive fewest and most executors that Spark may ask for; None: a fixed cluster
    profiles other resource profiles of its application, for stages that ask for them
    groups   the hub's groups of its owner
    next_id  number of the next executor: Spark wants each number used once within an application
    ui_port  port of Spark's page in the owner's notebook; 0 when nobody can open one
    notebook id of the task of the notebook that drives it: it ends with that task
    ending   its removal has begun and must be finished, whatever happens
    """

    owner: str
    name: str
    app_id: str
    nonce: str
    driver: Literal["notebook", "connect", "application"]
    driver_host: str
    driver_port: int
    cores: int
    memory: int
    wanted: int
    since: str
    kernel: str = ""
    notebook: str = ""
    declared: bool = False
    ui_port: int = 0
    next_id: int = 0
    ending: bool = False
    gpus: int = 0
    adaptive: tuple[int, int] | None = None
    profiles: tuple[Profile, ...] = ()
    groups: tuple[str, ...] = ()
    gpu_model: str = ""
    gpu_profile: str = ""
    gpu_memory: int = 0

    def label(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def read(cls, label: str) -> Facts:
        """The facts that `label` wrote."""
        told = json.loads(label)
        adaptive, profiles = told.pop("adaptive", None), told.pop("profiles", ())
        return cls(
            **told | {"groups": tuple(told.get("groups", ()))},
            adaptive=(adaptive[0], adaptive[1]) if adaptive else None,
            profiles=tuple(Profile(**one) for one in profiles),
        )

    @property
    def own_driver(self) -> bool:
        """Whether its driver has a container of its own: a Connect server, or a submitted application."""
        return self.driver != "notebook"

    @property
    def sizes(self) -> tuple[Profile, ...]:
        """Every profile, the default one first."""
        usual = Profile(
            0,
            self.wanted,
            self.cores,
            self.memory,
            self.gpus,
            gpu_model=self.gpu_model,
            gpu_profile=self.gpu_profile,
            gpu_memory=self.gpu_memory,
        )
        return usual, *self.profiles

    @property
    def total(self) -> int:
        """Executors of all profiles that it should have."""
        return sum(one.wanted for one in self.sizes)

    def size(self, profile: int) -> Profile:
        """The profile with this id; the default one when there is none."""
        return next((one for one in self.sizes if one.id == profile), self.sizes[0])

    def with_gpus(self, gpu: GpuWish | None) -> Facts:
        """The same, with these GPUs for each executor of the default profile."""
        return replace(self, **_flat(gpu))

    def having(self, size: Profile) -> Facts:
        """The same with this profile; of one that it has already, as many executors stay wanted."""
        others = tuple(one for one in self.profiles if one.id != size.id)
        there = next((one.wanted for one in self.profiles if one.id == size.id), 0)
        return replace(self, profiles=(*others, replace(size, wanted=there)))

    def wanting(self, wants: Mapping[int, int]) -> Facts:
        """The same with other numbers of executors, by profile; those that are not named keep theirs."""
        others = tuple(replace(one, wanted=wants.get(one.id, one.wanted)) for one in self.profiles)
        return replace(self, wanted=wants.get(0, self.wanted), profiles=others)


@dataclass(frozen=True)
class Secrets:
    """Names of a cluster's secrets."""

    args: str
    conf: str
    token: str
    application: str

    @classmethod
    def of(cls, site: Site, facts: Facts) -> Secrets:
        prefix = site.names.cluster(facts.owner, facts.name)
        return cls(*(f"{prefix}-{piece}-{facts.nonce}" for piece in ("args", "conf", "auth", "app")))

    @property
    def in_order(self) -> tuple[str, ...]:
        """As they are removed: the one with the facts goes last; until then it is known that there is more."""
        return self.conf, self.token, self.application, self.args


def _labels(site: Site, kind: str, facts: Facts, **more: str) -> dict[str, str]:
    return desired.labels(site.course, kind, facts.owner, cluster=facts.name, **more)


def secret(site: Site, facts: Facts, value: str) -> desired.Secret:
    """The cluster's secret: the executors' java options, and in its label the facts."""
    name = Secrets.of(site, facts).args
    labels = _labels(site, "secret", facts) | {FACTS: facts.label()}
    return desired.Secret(name, settings.executor_args(value).encode(), labels)


def driver_secrets(
    site: Site,
    facts: Facts,
    value: str,
    token: str,
    *,
    conf: Mapping[str, str] = MappingProxyType({}),
    packed: bytes = b"",
) -> list[desired.Secret]:
    """What a driver of its own needs: its configuration, its token for the gateway, an application's files.

    conf    more of Spark's settings, checked already
    packed  the application's files and words (gateway/application.py)
    """
    called, labels = Secrets.of(site, facts), _labels(site, "secret", facts)
    text = settings.conf_file(driver_conf(site, facts) | dict(conf), value)
    made = [desired.Secret(called.conf, text.encode(), labels), desired.Secret(called.token, token.encode(), labels)]
    return [*made, desired.Secret(called.application, packed, labels)] if packed else made


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
        token_file=DRIVER_TOKEN if facts.own_driver else "",
    )
    return settings.driver_conf(
        driver,
        workers=facts.wanted,
        cores=facts.cores,
        memory=facts.memory,
        adaptive=facts.adaptive,
        gpus=facts.gpus,
    )


def executor(
    site: Site,
    facts: Facts,
    number: int,
    node: str,
    subnet: str,
    profile: int = 0,
    held: tuple[Gpu, ...] = (),
) -> desired.Service:
    """One executor: pinned to the node that was chosen for it, never restarted (a lost one gets a new number).

    held  the GPUs that were chosen for it: each is a kind of generic resource of its own
    """
    size = facts.size(profile)
    return desired.Service(
        name=site.names.executor(facts.owner, facts.name, number),
        image=(held and site.gpu_image) or site.image,
        labels=_labels(site, "executor", facts, executor=str(number), profile=str(profile))
        | ({gpus.HELD: gpus.label(held)} if held else {}),
        command=("occam-executor",),
        env={
            "OCCAM_APP_ID": facts.app_id,
            "OCCAM_CLUSTER": facts.name,
            "OCCAM_CORES": str(size.cores),
            "OCCAM_DRIVER_HOST": facts.driver_host,
            "OCCAM_DRIVER_PORT": str(facts.driver_port),
            "OCCAM_EXECUTOR_ID": str(number),
            "OCCAM_GPUS": str(size.gpus),
            "OCCAM_MEMORY": str(size.memory),
            "OCCAM_NET_SUBNET": subnet,
            "OCCAM_RESOURCE_PROFILE": str(max(profile, 0)),
            **({"OCCAM_HEAP": str(size.heap)} if size.heap else {}),
            "OCCAM_USER": facts.owner,
        }
        | ({"OCCAM_DRIVER_WAIT": str(_DRIVER_WAIT)} if facts.driver == "application" else {})
        | gpus.visible(bool(held)),
        user=_STUDENT,
        stop_signal="SIGPWR",
        stop_grace=_GRACE,
        mounts=(desired.data(site.course),),
        secrets=(desired.File(Secrets.of(site, facts).args, "/run/secrets/executor.args", uid=_STUDENT, gid=_STUDENT),),
        networks=(site.names.net(facts.owner),),
        constraints=(f"node.id=={node}",),
        cpu_limit=size.cores,
        mem_limit=size.memory,
        cpu_reserve=size.cores,
        mem_reserve=size.memory,
        pids_limit=_EXECUTOR_PIDS,
        restart="none",
        generic=tuple(gpus.kind(one.uuid) for one in held),
    )


def driver(site: Site, facts: Facts, node: str, subnet: str) -> desired.Service:
    """A Spark Connect server, or an application: on the owner's network, and the hub's to talk to the gateway.

    An application runs once: who submitted it wants its exit code, not another try.
    """
    called, application = Secrets.of(site, facts), facts.driver == "application"
    files = [(called.conf, "/run/secrets/driver.conf"), (called.token, DRIVER_TOKEN)]
    files += [(called.application, "/run/secrets/application")] if application else []
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
        }
        | gpus.visible(False),
        user=_STUDENT,
        mounts=(desired.data(site.course),),
        secrets=tuple(desired.File(name, target, uid=_STUDENT, gid=_STUDENT) for name, target in files),
        networks=(site.names.net(facts.owner), site.hub_net),
        constraints=(f"node.id=={node}",),
        cpu_limit=_DRIVER_CPU_LIMIT,
        mem_limit=facts.memory,
        mem_reserve=facts.memory,
        pids_limit=_DRIVER_PIDS,
        restart="none" if application else "any",
    )


# On the engine -------------------------------------------------------------------------------------------------------


def read(engine: Engine, course: str) -> list[Facts]:
    """Every cluster that the engine's labels tell of."""
    listed = ground.secrets(engine, {names.COURSE: course, names.KIND: "secret"})
    return [Facts.read(found) for one in listed if (found := one["Spec"].get("Labels", {}).get(FACTS))]


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
    for name in Secrets.of(site, facts).in_order:
        ground.remove_secret(engine, name)


def ended(facts: Facts) -> Facts:
    return replace(facts, ending=True, wanted=0, profiles=())
