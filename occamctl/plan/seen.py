"""What exists, as read from hosts and engine: the other half of a plan. There is no state file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from occamctl.errors import HostError
from occamctl.plan.observed import EngineGpus, HostFacts
from occamctl.plan.wanted import Account


@dataclass(frozen=True)
class SeenService:
    """One of the course's own services."""

    spec_hash: str
    replicas: int
    running: int
    """Tasks that run with the settings that the service has now."""
    configs: tuple[str, ...] = ()
    trouble: str = ""
    """The scheduler's or the container's own words, when fewer run than should."""
    nodes: frozenset[str] = frozenset()
    """Ids of the nodes where a task runs with the settings that the service has now."""
    failing: Mapping[str, str] = field(default_factory=dict)
    """Ids of the nodes where none runs and one has failed, to the last words of that."""
    ports: frozenset[int] = frozenset()
    """Ports of its host that it has, or will have."""


@dataclass(frozen=True)
class SeenData:
    """A data set that a host has whole. Hosts with the same `version` have the same files."""

    version: str
    sha256: str
    """Of the source that it was made of."""
    source: str


@dataclass(frozen=True)
class SeenHost:
    """One host, its engine and its place in the swarm."""

    name: str
    facts: HostFacts | None = None
    in_swarm: bool = False
    node_id: str = ""
    images: frozenset[str] = frozenset()
    subnets: tuple[str, ...] = ()
    """Subnets that its local networks use."""
    engine_gpus: EngineGpus | None = None
    """What its engine knows of GPUs; None when none answers."""
    data: Mapping[str, SeenData] = field(default_factory=dict)
    """Data sets by name; read only for a course that declares some."""
    data_port: int = 0
    """UDP port of the swarm's overlay networks; only a manager knows it, and 0 means the usual one."""


@dataclass(frozen=True)
class SeenCluster:
    """One of the course's own Spark clusters. `declared`: a course file asked for it, nobody made it by hand."""

    workers: int
    declared: bool = True


@dataclass(frozen=True)
class SeenMaterial:
    """What the keeper of the material has.

    digest    of the manifest that it follows; "" when it was told none yet
    contents  names of what was sent to it
    folders   one row for each: into, source, content, files, released, next (seconds since 1970), next_files
    trouble   why it cannot publish
    """

    digest: str
    contents: frozenset[str] = frozenset()
    folders: tuple[Mapping[str, Any], ...] = ()
    trouble: str = ""


@dataclass(frozen=True)
class Observed:
    """Hosts that answered, hosts that did not, and what the manager's engine holds of this course."""

    hosts: Mapping[str, SeenHost]
    errors: Mapping[str, HostError] = field(default_factory=dict)
    swarm_nodes: frozenset[str] = frozenset()
    """Ids of the nodes of the manager's swarm."""
    node_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Host name to the labels of its node."""
    node_roles: Mapping[str, str] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()
    configs: frozenset[str] = frozenset()
    services: Mapping[str, SeenService] = field(default_factory=dict)
    accounts: tuple[Account, ...] | None = None
    """None while the hub does not answer."""
    clusters: Mapping[str, SeenCluster] | None = None
    """The course's own clusters; None while the gateway does not answer."""
    material: SeenMaterial | None = None
    """None while the keeper of the material does not answer."""
    probed: frozenset[str] = frozenset()
    """Hosts whose GPUs were probed by this very command: it tries once."""
    builder: str = ""
    """The host that builds images; "" when this machine's engine does, for hosts elsewhere."""
    builder_images: frozenset[str] = frozenset()
