"""A course file as desired state: what `course up` makes on the engines itself. Pure.

What people ask for later (notebooks, clusters) is made by the gateway.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from occamctl import __version__
from occamctl.plan import desired
from occamctl.spec import names
from occamctl.spec.course import Course

if TYPE_CHECKING:
    from occamctl.plan.lending import Lending

LOCAL = "localhost"
"""Name of this machine in a course without hosts."""
MANAGERS = 3
"""So many hosts keep the swarm's state, when there are so many: one lost manager of one is all state lost."""
HUB_DATA = "/srv/hub"
_HUB_UID = "1000"
_HUB_NET_PREFIX = 22


@dataclass(frozen=True)
class Account:
    """A person who may sign in."""

    username: str
    role: str
    group: str = ""
    name: str = ""
    email: str = ""


@dataclass(frozen=True)
class Tags:
    """The images of one course, by content."""

    hub: str
    notebook: str
    gpu: str = ""
    """In place of the notebook's, for containers with GPUs; "": there is no such image."""


@dataclass(frozen=True)
class Data:
    """A data set that every host should have. `source` is as it may be shown; sha256 "": any."""

    name: str
    source: str
    sha256: str = ""


@dataclass(frozen=True)
class Desired:
    """Everything that a course file asks for, but for the contents of secrets."""

    course: str
    manager: str
    hosts: tuple[str, ...]
    roles: Mapping[str, str]
    node_labels: Mapping[str, dict[str, str]]
    addresses: Mapping[str, str]
    """Host name to its address for the other hosts, where the course file says one."""
    images: Mapping[str, tuple[str, ...]]
    network: desired.Network
    secrets: tuple[str, ...]
    configs: tuple[desired.Config, ...]
    services: tuple[desired.Service, ...]
    accounts: tuple[Account, ...]
    clusters: Mapping[str, int]
    data: tuple[Data, ...] = ()
    gpu_image: str = ""
    """Tag of the image for containers with GPUs; "": there is none."""
    unawaited: frozenset[str] = frozenset()
    """Services that the course is up without."""
    lending: Mapping[str, Lending] = field(default_factory=dict)
    """Host name to the GPUs that it lends; of hosts that answered."""
    material: str = ""
    """Digest of the material's manifest; "": there is none (plan/material.py)."""
    folders: tuple[str, ...] = ()
    """Folders of a home that material comes into."""


def front_label(course: str) -> str:
    """The node label of the host where proxy, hub and gateway run."""
    return f"occam.front.{course}"


def host_label(course: str) -> str:
    """The node label of every host of the course: a swarm that was there before may have other nodes."""
    return f"occam.host.{course}"


def hosts_of(course: Course) -> tuple[str, ...]:
    """Names of the course's hosts, the manager first."""
    manager = course.manager
    if manager is None:
        return (LOCAL,)
    return (manager.hostname, *(host.hostname for host in course.hosts if host is not manager))


def want(course: Course, tags: Tags, tls: str = "") -> Desired:
    """The desired state of `course`, with the images that `tags` name.

    tls  fingerprint of the certificate that the course file names, if it does
    """
    hosts = hosts_of(course)
    given = {host.hostname: host.labels for host in course.hosts}
    return Desired(
        course=course.course,
        manager=hosts[0],
        hosts=hosts,
        roles={
            host: "manager" if number == 0 or (number < MANAGERS and len(hosts) >= MANAGERS) else "worker"
            for number, host in enumerate(hosts)
        },
        node_labels={
            host: {
                **given.get(host, {}),
                host_label(course.course): "true",
                **({front_label(course.course): "true"} if number == 0 else {}),
            }
            for number, host in enumerate(hosts)
        },
        addresses={host.hostname: host.address for host in course.hosts if host.address},
        images={
            host: (tags.hub, tags.notebook) if number == 0 else (tags.notebook,) for number, host in enumerate(hosts)
        },
        network=hub_network(course),
        secrets=(
            course.names.proxy_token,
            course.names.gateway_token,
            *(tls_secrets(course, tls) if tls else ()),
        ),
        configs=(_hub_config(course), _gateway_config(course, tags)),
        services=(_gateway(course, tags), _hub(course, tags), _proxy(course, tags, tls)),
        accounts=accounts(course),
        clusters={cluster.name: cluster.workers for cluster in course.spark.clusters},
        data=tuple(Data(one.name, one.shown, one.sha256 or "") for one in course.data),
        gpu_image=tags.gpu,
    )


def accounts(course: Course) -> tuple[Account, ...]:
    return tuple(
        Account(person.username, course.role(person.username), person.group, person.name, person.email)
        for person in course.people
    )


def material_url(course: Course) -> str:
    """The repository that notebooks pull material from; "" when the course has none."""
    return f"git://tasks.{course.names.material}/material.git" if course.material else ""


def hub_network(course: Course) -> desired.Network:
    """The first part of the pool, at most a /22: a thousand notebooks."""
    pool = ipaddress.ip_network(course.network.pool)
    subnet = next(iter(pool.subnets(new_prefix=max(_HUB_NET_PREFIX, pool.prefixlen))))
    return desired.Network(course.names.hub_net, str(subnet), desired.labels(course.course, "network"))


def _config(course: Course, piece: str, settings: Mapping[str, object]) -> desired.Config:
    text = json.dumps(settings, indent=1, sort_keys=True)
    name = f"{course.course}-{piece}-settings-{names.digest(text)}"
    return desired.Config(name, text.encode(), desired.labels(course.course, "config"))


def _hub_config(course: Course) -> desired.Config:
    made = course.names
    return _config(
        course,
        "hub",
        {
            "course": course.course,
            "title": course.title or course.course,
            "port": course.hub.port,
            "gateway_url": f"http://tasks.{made.gateway}:8080/services/gateway/api",
            "hub_url": f"http://tasks.{made.hub}:8081",
            "proxy_api": f"http://tasks.{made.proxy}:8001",
            "notebook": {"idle_timeout": course.notebook.idle_timeout},
        },
    )


def _gateway_config(course: Course, tags: Tags) -> desired.Config:
    worker, quotas = course.spark.worker, course.quotas
    return _config(
        course,
        "gateway",
        {
            "course": course.course,
            "version": __version__,
            "hub_api": f"http://tasks.{course.names.hub}:8081/hub/api",
            "hub_net": course.names.hub_net,
            "network": {"pool": course.network.pool, "hub_subnet": hub_network(course).subnet},
            "images": {"notebook": tags.notebook, "gpu": tags.gpu},
            "notebook": {
                "cpu_limit": course.notebook.cpu_limit,
                "mem_limit": course.notebook.mem_limit,
                "gpu_idle_timeout": course.notebook.gpu_idle_timeout,
                "gpu_idle_utilization": course.notebook.gpu_idle_utilization,
            },
            "spark": {
                "worker": {"cpus": worker.cpus, "memory": worker.memory},
                "lease": course.spark.lease,
                "idle_timeout": course.spark.idle_timeout,
            },
            "quotas": quotas.model_dump(),
            "public_url": course.hub.url or "",
            "material": material_url(course),
        },
    )


def _front(course: Course, piece: str, image: str, name: str, **more: object) -> desired.Service:
    return desired.Service(
        name=name,
        image=image,
        labels=desired.labels(course.course, piece),
        command=(f"occam-{piece}",),
        networks=(course.names.hub_net,),
        constraints=(f"node.labels.{front_label(course.course)} == true",),
        pids_limit=512,
        **more,  # type: ignore[arg-type]
    )


def _gateway(course: Course, tags: Tags) -> desired.Service:
    config = _gateway_config(course, tags)
    return _front(
        course,
        "gateway",
        tags.hub,
        course.names.gateway,
        mounts=(desired.Mount("/var/run/docker.sock", "/var/run/docker.sock", type="bind"),),
        secrets=(desired.File(course.names.gateway_token, "/run/secrets/gateway-token"),),
        configs=(desired.File(config.name, "/etc/occam/gateway.json", mode=0o444),),
        user="0",
    )


def _hub(course: Course, tags: Tags) -> desired.Service:
    config = _hub_config(course)
    secrets = ((course.names.proxy_token, "proxy-token"), (course.names.gateway_token, "gateway-token"))
    return _front(
        course,
        "hub",
        tags.hub,
        course.names.hub,
        mounts=(desired.Mount(course.names.hub_data, HUB_DATA, labels=desired.labels(course.course, "volume")),),
        secrets=tuple(
            desired.File(name, f"/run/secrets/{target}", uid=_HUB_UID, gid=_HUB_UID) for name, target in secrets
        ),
        configs=(desired.File(config.name, "/etc/occam/hub.json", mode=0o444),),
        user=_HUB_UID,
    )


def tls_secrets(course: Course, fingerprint: str) -> tuple[str, str]:
    """Names of the secrets with the certificate and its key; a new certificate has new names."""
    return f"{course.course}-certificate-{fingerprint}", f"{course.course}-key-{fingerprint}"


def _proxy(course: Course, tags: Tags, tls: str) -> desired.Service:
    made = course.names
    token = desired.File(made.proxy_token, "/run/secrets/proxy-token", uid=_HUB_UID, gid=_HUB_UID)
    pair = tuple(
        desired.File(name, f"/run/secrets/{target}", uid=_HUB_UID, gid=_HUB_UID)
        for name, target in zip(tls_secrets(course, tls), ("certificate", "key"), strict=True)
    )
    return _front(
        course,
        "proxy",
        tags.hub,
        made.proxy,
        args=(
            "--ip=0.0.0.0",
            "--port=8000",
            "--api-ip=0.0.0.0",
            "--api-port=8001",
            f"--default-target=http://tasks.{made.hub}:8081",
            f"--error-target=http://tasks.{made.hub}:8081/hub/error",
            *(("--ssl-cert=/run/secrets/certificate", "--ssl-key=/run/secrets/key") if tls else ()),
        ),
        secrets=(token, *(pair if tls else ())),
        ports=(desired.Port(course.hub.port, 8000),),
        user=_HUB_UID,
    )
