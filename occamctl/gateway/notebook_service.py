"""A notebook's service, its secret, and what is remembered of a home: plain objects from plain facts. Pure."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from occamctl.gateway.gpu_grants import Grant
from occamctl.gateway.settings import Settings
from occamctl.plan import desired, gpus
from occamctl.spec import names
from occamctl.spec.units import size

HOME_STATE = "occam.home.state"
ENV = "occam.env"
"""Label with a hash of the environment that the hub gave: tells whether a start is for the server that runs."""
GROUPS = "occam.groups"
"""Label with the hub's groups of the owner, as JSON: what the notebook holds counts for them too."""
BEFORE = "occam.before"
"""Label with the id of the last task before this start: that one says nothing about it."""
_RESERVED = size("256M")
_PIDS = 1024
_STOP_GRACE = 30
_CAPABILITIES = ("CAP_NET_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
"""For the entrypoint: it sets the firewall, then becomes the student with none of these."""


@dataclass(frozen=True)
class Home:
    """A home: its id, the node it is on, and whether it was ever used."""

    id: str
    node: str
    state: Literal["new", "kept"]

    def labels(self) -> dict[str, str]:
        return {names.HOME: self.id, names.HOME_NODE: self.node, HOME_STATE: self.state}


def home_of(labels: Mapping[str, str]) -> Home:
    """The home that a service's (or a memory's) labels tell of."""
    return Home(labels[names.HOME], labels[names.HOME_NODE], "new" if labels.get(HOME_STATE) == "new" else "kept")


def memory(settings: Settings, user: str, home: Home) -> desired.Secret:
    """What stays of a notebook that is forgotten: a secret whose labels say where the home is."""
    labels = desired.labels(settings.course, "home", user) | home.labels()
    return desired.Secret(settings.names.home(user), b"see the labels", labels)


def environment_secret(settings: Settings, user: str, environment: Mapping[str, str]) -> desired.Secret:
    """What the hub gives to the student's server, tokens too; a new secret at every start."""
    name = f"{settings.names.notebook(user)}-env-{secrets.token_hex(4)}"
    return desired.Secret(name, json.dumps(dict(environment)).encode(), desired.labels(settings.course, "secret", user))


def groups_of(labels: Mapping[str, str]) -> tuple[str, ...]:
    """The owner's groups that a service's labels tell of."""
    return tuple(json.loads(labels.get(GROUPS, "[]")))


def service(
    settings: Settings,
    user: str,
    home: Home,
    subnet: str,
    secret: str,
    *,
    mark: str,
    before: str,
    groups: tuple[str, ...] = (),
    grant: Grant | None = None,
) -> desired.Service:
    """The notebook: pinned to the node of its home, on the hub's network and the student's own.

    mark, before, groups  values of the labels ENV, BEFORE and GROUPS
    grant                 its GPUs
    """
    held = grant.gpus if grant else ()
    told = {ENV: mark, BEFORE: before, GROUPS: json.dumps(groups)} | (grant.labels() if grant else {})
    made = settings.names
    volume_labels = desired.labels(settings.course, "home", user) | {names.HOME: home.id, names.HOME_NODE: home.node}
    return desired.Service(
        name=made.notebook(user),
        image=(held and settings.gpu_image) or settings.image,
        labels=desired.labels(settings.course, "notebook", user) | home.labels() | told,
        command=("occam-notebook",),
        env={
            "OCCAM_COURSE": settings.course,
            "OCCAM_GATEWAY_URL": settings.url,
            "OCCAM_HOME_ID": home.id,
            "OCCAM_HOME_STATE": home.state,
            "OCCAM_HUB_SUBNET": settings.hub_subnet,
            "OCCAM_MATERIAL_URL": settings.material,
            "OCCAM_NET_SUBNET": subnet,
            "OCCAM_NOTEBOOK_CPUS": f"{settings.notebook_cpus:g}",
            "OCCAM_NOTEBOOK_MEMORY": str(settings.notebook_memory),
            "OCCAM_USER": user,
            "OCCAM_WORKER_CPUS": str(settings.worker_cpus),
            "OCCAM_WORKER_MEMORY": str(settings.worker_memory),
        }
        | gpus.visible(bool(held)),
        user="0",
        cap_add=_CAPABILITIES,
        # The image brings its own init, which runs as the student: the engine's runs as root without CAP_KILL, and so
        # could not pass the stop signal on; the server would be killed with its kernels in the middle of a save.
        init=False,
        stop_grace=_STOP_GRACE,
        mounts=(desired.Mount(made.home(user), "/home", labels=volume_labels), desired.data(settings.course)),
        secrets=(desired.File(secret, "/run/secrets/notebook-env"),),
        networks=(settings.hub_net, made.net(user)),
        constraints=(f"node.id=={home.node}",),
        cpu_limit=settings.notebook_cpus,
        mem_limit=settings.notebook_memory,
        mem_reserve=_RESERVED,
        pids_limit=_PIDS,
        # A server that ended is for the hub and its student to start again: they see why it ended.
        restart="none",
        generic=tuple(gpus.kind(one.uuid) for one in held),
    )


def runs_with(there: Mapping[str, Any]) -> frozenset[str]:
    """Kinds of the GPUs that the service's containers have."""
    template = there["Spec"]["TaskTemplate"]
    reserved = (template.get("Resources") or {}).get("Reservations") or {}
    listed = [one.get("DiscreteResourceSpec") or {} for one in reserved.get("GenericResources") or ()]
    told = gpus.told((template.get("ContainerSpec") or {}).get("Env") or ())
    return frozenset(str(one["Kind"]) for one in listed if "Kind" in one) | told.keys()
