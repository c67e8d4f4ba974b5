"""Facts about one host, as read from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Gpu:
    """One GPU, or one MIG instance of one, as nvidia-smi names it.

    memory   bytes
    profile  of a MIG instance, such as 1g.10gb
    """

    uuid: str
    model: str
    memory: int
    profile: str = ""


@dataclass(frozen=True)
class GpuSupport:
    """What a host has around its GPUs: driver, container toolkit, and the files that tell both to the engine."""

    cards: int = 0
    """NVIDIA's display and compute controllers on its PCI bus, whether a driver knows them or not."""
    tool: bool = False
    """Whether nvidia-smi is there."""
    driver: str = ""
    cuda: str = ""
    """The newest CUDA that the driver can serve."""
    hangs: bool = False
    """Whether nvidia-smi did not end within its deadline."""
    trouble: tuple[str, ...] = ()
    """What nvidia-smi said in place of a GPU, in its words."""
    toolkit: str = ""
    """Version of nvidia-container-runtime; "" when it is not there."""
    config: HostFile = field(default_factory=lambda: HostFile())
    """The toolkit's config.toml."""
    daemon: HostFile = field(default_factory=lambda: HostFile())
    """The engine's daemon.json."""


@dataclass(frozen=True)
class HostFile:
    """A file of a host as its user reads it. Not in a repr: a daemon.json may hold a proxy's password.

    text      None when there is none, or it cannot be read
    readable  False when there is one that this user may not read
    """

    text: str | None = field(default=None, repr=False)
    readable: bool = True


@dataclass(frozen=True)
class EngineGpus:
    """What a running engine knows of GPUs: the truth, whatever its files say since it was started.

    generic  named generic resources, kind to value
    """

    default_runtime: str = ""
    runtimes: frozenset[str] = frozenset()
    generic: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HostFacts:
    """What a host has. Sizes in bytes; `load` is the average of one minute."""

    address: str
    """The IPv4 address that its default route leaves from."""
    cores: int
    memory: int
    memory_free: int
    disk: int
    """Of the file system with the engine's data."""
    disk_free: int
    load: float
    system: str
    """ID and VERSION_ID of os-release, such as `debian 12`."""
    engine: str
    """Version of the container engine; "" when none answers."""
    gpus: tuple[Gpu, ...] = ()
    """Those that can be given to somebody: a GPU in MIG mode stands for its instances."""
    support: GpuSupport = field(default_factory=GpuSupport)
    addresses: tuple[str, ...] = ()
    """Every address of its own that others reach it by, IPv6 too; those of the engine's bridges left out."""
    routes: tuple[str, ...] = ()
    """Networks that it reaches directly, the course's own and the engine's bridges left out."""
    listening: frozenset[int] = frozenset()
    """TCP ports that something listens on."""
