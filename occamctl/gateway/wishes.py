"""Bodies of requests, checked before anything is done with them. Pure."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast, get_args

from occamctl.errors import SpecError
from occamctl.gateway import application
from occamctl.plan import gpus
from occamctl.plan.gpus import GpuWish
from occamctl.spark.clusters import Profile
from occamctl.spec import names
from occamctl.spec.units import human_size, size

SMALLEST = size("768M")
MOST_PROFILES = 16
KindOfDriver = Literal["notebook", "connect", "application"]
Kind = TypeVar("Kind", str, int, bool)


@dataclass(frozen=True)
class Wish:
    """A cluster as somebody asks for it; 0 means the course's own size. Memory in bytes of one executor's container.

    gpu       the GPUs of each worker; None: none
    adaptive  fewest and most workers between which Spark chooses; None: a fixed number
    wait      seconds to wait for room, if there is none; 0: to be refused at once
    ticket    the place in the queue that an earlier answer gave
    application  what runs, when the driver is an application
    """

    name: str
    workers: int
    cores: int = 0
    memory: int = 0
    driver: KindOfDriver = "notebook"
    driver_host: str = ""
    driver_port: int = 0
    ui_port: int = 0
    """Port of Spark's page in the owner's notebook; 0 when there is none."""
    kernel: str = ""
    declared: bool = False
    gpu: GpuWish | None = None
    adaptive: tuple[int, int] | None = None
    wait: int = 0
    ticket: str = ""
    application: application.Application | None = None


def body(text: bytes) -> dict[str, Any]:
    """The JSON object in a request. Raises SpecError."""
    try:
        said = json.loads(text or b"{}")
    except (ValueError, RecursionError):
        raise SpecError("the request's body is not JSON") from None
    if not isinstance(said, dict):
        raise SpecError("the request's body is not a JSON object")
    return said


def take(said: Mapping[str, Any], key: str, kind: type[Kind], default: Kind | None = None) -> Kind:
    """`said[key]`, if it is of this kind. Raises SpecError when it is not, or is missing and there is no default."""
    value = said.get(key)
    if value is None and default is not None:
        return default
    # In Python True is an int; in a request it is not.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise SpecError(f"{key}: not {_CALLED[kind]}: {value!r:.60}")
    return value


_CALLED: dict[type, str] = {str: "a text", int: "a whole number", bool: "true or false"}


def count(said: Mapping[str, Any], key: str, default: int | None = None, *, least: int = 0, most: int = 10_000) -> int:
    """A whole number within bounds. Raises SpecError."""
    value = take(said, key, int, default)
    if not least <= value <= most:
        raise SpecError(f"{key}: {value} is not between {least} and {most}")
    return value


def wish(said: Mapping[str, Any]) -> Wish:
    """A cluster as the body of a request asks for it. Raises SpecError."""
    unknown = sorted(said.keys() - Wish.__dataclass_fields__.keys())
    if unknown:
        raise SpecError(f"unknown key {unknown[0]!r}", fix=f"known are {', '.join(Wish.__dataclass_fields__)}")
    name = take(said, "name", str)
    if len(name) > names.MAX_CLUSTER or not names.CLUSTER_NAME.fullmatch(name):
        raise SpecError(
            f"name: {name!r:.60} cannot be a cluster's name",
            fix=f"at most {names.MAX_CLUSTER} small letters, digits and single hyphens, a letter first",
        )
    driver = take(said, "driver", str, "notebook")
    if driver not in get_args(KindOfDriver):
        raise SpecError(f"driver: {driver!r:.60} is none of {', '.join(get_args(KindOfDriver))}")
    made = Wish(
        name=name,
        workers=count(said, "workers"),
        cores=count(said, "cores", 0, most=1024),
        memory=count(said, "memory", 0, most=1 << 50),
        driver=cast(KindOfDriver, driver),
        driver_host=take(said, "driver_host", str, ""),
        driver_port=count(said, "driver_port", 0, most=65535),
        ui_port=count(said, "ui_port", 0, most=65535),
        kernel=take(said, "kernel", str, "")[:128],
        declared=take(said, "declared", bool, False),
        gpu=gpu(said),
        adaptive=_adaptive(said),
        wait=count(said, "wait", 0, most=86_400),
        ticket=take(said, "ticket", str, "")[:64],
        application=application.read(said.get("application")) if driver == "application" else None,
    )
    if made.memory and made.memory < SMALLEST:
        raise SpecError(
            f"memory: {human_size(made.memory)} is less than Spark needs", fix=f"at least {human_size(SMALLEST)}"
        )
    if made.driver == "notebook":
        _must_be_address(made)
    return made


def gpu(said: Mapping[str, Any]) -> GpuWish | None:
    """The GPUs that `gpu` asks for: true, a number, a model, a MIG profile or an object. Raises SpecError."""
    try:
        return gpus.wish(said.get("gpu"))
    except ValueError as error:
        raise SpecError(f"gpu: {error}", fix="write 1, A100, 1g.10gb or {count: 2, memory: 40G}") from None


def _adaptive(said: Mapping[str, Any]) -> tuple[int, int] | None:
    value = said.get("adaptive")
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise SpecError(f"adaptive: not two numbers: {value!r:.60}", fix="the fewest and the most workers: [1, 6]")
    return bounds({"min": value[0], "max": value[1]})


def bounds(said: Mapping[str, Any]) -> tuple[int, int]:
    """`min` and `max` workers of an adaptive cluster. Raises SpecError."""
    least, most = count(said, "min"), count(said, "max", least=1)
    if least > most:
        raise SpecError(f"min: {least} is more than max ({most})")
    return least, most


def totals(said: Mapping[str, Any]) -> tuple[dict[int, int], dict[int, Profile]]:
    """What Spark's scheduler asks for: executors by profile, and the sizes of those other than 0. Raises SpecError."""
    profiles, sizes = said.get("profiles"), said.get("sizes", {})
    if profiles is None:
        return {0: count(said, "total")}, {}
    if not isinstance(profiles, dict) or not isinstance(sizes, dict) or len(profiles) > MOST_PROFILES:
        raise SpecError("profiles, sizes: not objects by profile id")
    wants = {_profile(key): count(profiles, key) for key in profiles}
    told = {_profile(key): _sized(_profile(key), size) for key, size in sizes.items()}
    return wants, {number: size for number, size in told.items() if number != 0}


def _profile(key: str) -> int:
    if not key.isdecimal() or len(key) > 6:
        raise SpecError(f"{key!r:.60} is not the id of a resource profile")
    return int(key)


def _sized(number: int, said: Any) -> Profile:
    if not isinstance(said, dict):
        raise SpecError("sizes: not objects")
    return Profile(
        number,
        0,
        count(said, "cores", least=1, most=1024),
        count(said, "memory", least=SMALLEST, most=1 << 50),
        count(said, "gpus", 0, most=gpus.MOST),
        count(said, "heap", 0, most=1 << 50),
    )


def _must_be_address(made: Wish) -> None:
    try:
        ipaddress.IPv4Address(made.driver_host)
    except ValueError:
        raise SpecError(f"driver_host: {made.driver_host!r:.60} is not an IPv4 address") from None
    if not made.driver_port:
        raise SpecError("driver_port: the port where the driver listens is missing")
