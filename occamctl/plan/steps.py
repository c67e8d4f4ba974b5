"""Steps of `course up` as data; they name things by our names, never by engine ids. `actions/apply.py` does them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, Literal

from occamctl.plan import desired


class Stage(Enum):
    """The order in which a course comes up; a later stage is planned again on what an earlier one did."""

    SWARM = "Swarm"
    IMAGES = "Images"
    GROUND = "Networks, secrets, settings"
    GPUS = "GPUs"
    FRONT = "Gateway, hub, proxy"
    MATERIAL = "Material"
    PEOPLE = "Accounts"
    CLUSTERS = "Spark clusters"
    DATA = "Data"
    TIDY = "Left over"

    @property
    def title(self) -> str:
        return self.value


@dataclass(frozen=True)
class Step:
    """One thing to do on one host ("" for the course as a whole)."""

    stage: ClassVar[Stage]
    kind: ClassVar[Literal["add", "change", "remove"]] = "add"
    host: str

    @property
    def what(self) -> str:
        raise NotImplementedError


@dataclass(frozen=True)
class FormSwarm(Step):
    stage = Stage.SWARM
    address: str

    @property
    def what(self) -> str:
        return f"form a swarm at {self.address}"


@dataclass(frozen=True)
class JoinSwarm(Step):
    stage = Stage.SWARM
    address: str
    role: Literal["manager", "worker"]

    @property
    def what(self) -> str:
        return f"join the swarm as {self.role}"


@dataclass(frozen=True)
class LabelNode(Step):
    stage = Stage.SWARM
    kind = "change"
    labels: tuple[tuple[str, str], ...]

    @property
    def what(self) -> str:
        return "label the node " + ", ".join(f"{key}={value}" for key, value in self.labels)


@dataclass(frozen=True)
class BuildImage(Step):
    stage = Stage.IMAGES
    tag: str

    @property
    def what(self) -> str:
        return f"build image {self.tag}"


@dataclass(frozen=True)
class SendImage(Step):
    stage = Stage.IMAGES
    tag: str

    @property
    def what(self) -> str:
        return f"deliver image {self.tag}"


@dataclass(frozen=True)
class MakeNetwork(Step):
    stage = Stage.GROUND
    network: desired.Network

    @property
    def what(self) -> str:
        return f"network {self.network.name} ({self.network.subnet})"


@dataclass(frozen=True)
class MakeSecret(Step):
    stage = Stage.GROUND
    name: str

    @property
    def what(self) -> str:
        return f"secret {self.name}"


@dataclass(frozen=True)
class MakeConfig(Step):
    stage = Stage.GROUND
    config: desired.Config

    @property
    def what(self) -> str:
        return f"settings {self.config.name}"


@dataclass(frozen=True)
class LendGpus(Step):
    """Label the node with the GPUs that its host lends, `count` of them in use; None takes a label away."""

    stage = Stage.GPUS
    kind = "change"
    labels: tuple[tuple[str, str | None], ...]
    count: int

    @property
    def what(self) -> str:
        return f"lend {self.count} GPU{'s' if self.count != 1 else ''}" if self.count else "lend no GPU"


@dataclass(frozen=True)
class ProveGpus(Step):
    """See whether containers see the GPUs that they are assigned; `keep` are those out of service in any case."""

    stage = Stage.GPUS
    kind = "change"
    gpus: tuple[str, ...]
    fingerprint: str
    keep: tuple[tuple[str, str], ...] = ()

    @property
    def what(self) -> str:
        return "prove that containers see the GPUs that they are given"


@dataclass(frozen=True)
class PutService(Step):
    stage = Stage.FRONT
    service: desired.Service
    new: bool

    @property
    def kind(self) -> Literal["add", "change"]:  # type: ignore[override]
        return "add" if self.new else "change"

    @property
    def what(self) -> str:
        return f"{'start' if self.new else 'change'} service {self.service.name}"


@dataclass(frozen=True)
class AwaitService(Step):
    """`on` names the hosts where a global service does not run yet."""

    stage = Stage.FRONT
    kind = "change"
    name: str
    on: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        return f"wait until {self.name} runs" + (f" on {_some(self.on)}" if self.on else "")


@dataclass(frozen=True)
class PutMaterial(Step):
    """Send what the keeper of the material lacks, and tell it what is released when."""

    stage = Stage.MATERIAL
    folders: tuple[str, ...]
    new: bool

    @property
    def kind(self) -> Literal["add", "change"]:  # type: ignore[override]
        return "add" if self.new else "change"

    @property
    def what(self) -> str:
        return f"{'deliver' if self.new else 'update'} the material for {_some(self.folders)}"


@dataclass(frozen=True)
class PutAccounts(Step):
    """Make accounts equal to the roster."""

    stage = Stage.PEOPLE
    kind = "change"
    add: tuple[str, ...] = ()
    change: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        parts = [
            f"{verb} {len(people)} account{'s' if len(people) != 1 else ''} ({_some(people)})"
            for verb, people in (("add", self.add), ("change", self.change), ("remove", self.remove))
            if people
        ]
        return ", ".join(parts)


@dataclass(frozen=True)
class PutCluster(Step):
    stage = Stage.CLUSTERS
    name: str
    workers: int
    now: int | None = field(default=None)
    """Workers of the one that is there; None when none is."""
    adopt: bool = False
    """Whether the one that is there was made by hand, and is the course file's from now on."""

    @property
    def kind(self) -> Literal["add", "change"]:  # type: ignore[override]
        return "add" if self.now is None else "change"

    @property
    def what(self) -> str:
        change = (
            f"{self.workers} workers" if self.now in (None, self.workers) else f"{self.now} → {self.workers} workers"
        )
        return f"Spark cluster {self.name}: {change}{', was made by hand' if self.adopt else ''}"


@dataclass(frozen=True)
class RemoveCluster(Step):
    stage = Stage.CLUSTERS
    kind = "remove"
    name: str

    @property
    def what(self) -> str:
        return f"Spark cluster {self.name}"


@dataclass(frozen=True)
class FetchData(Step):
    """Bring a data set to the manager, which no host has as the course file wants it."""

    stage = Stage.DATA
    name: str
    source: str

    @property
    def what(self) -> str:
        return f"data set {self.name} from {self.source}"


@dataclass(frozen=True)
class SendData(Step):
    """Give a host the data set that the host `source` has."""

    stage = Stage.DATA
    name: str
    source: str

    @property
    def what(self) -> str:
        return f"data set {self.name} as {self.source} has it"


@dataclass(frozen=True)
class RemoveConfig(Step):
    stage = Stage.TIDY
    kind = "remove"
    name: str

    @property
    def what(self) -> str:
        return f"settings {self.name}, no longer used"


@dataclass(frozen=True)
class RemoveService(Step):
    stage = Stage.TIDY
    kind = "remove"
    name: str

    @property
    def what(self) -> str:
        return f"service {self.name}, no longer needed"


def _some(people: tuple[str, ...], most: int = 4) -> str:
    return ", ".join(people[:most]) + (f" and {len(people) - most} more" if len(people) > most else "")
