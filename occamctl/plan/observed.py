"""Facts about one host, as read from it."""

from __future__ import annotations

from dataclasses import dataclass


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
    addresses: tuple[str, ...] = ()
    """Every address of its own that others reach it by, IPv6 too; those of the engine's bridges left out."""
    routes: tuple[str, ...] = ()
    """Networks that it reaches directly, the course's own and the engine's bridges left out."""
    listening: frozenset[int] = frozenset()
    """TCP ports that something listens on."""
