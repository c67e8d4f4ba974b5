"""Bodies of requests, checked before anything is done with them. Pure."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from occamctl.errors import SpecError
from occamctl.spec import names
from occamctl.spec.units import human_size, size

SMALLEST = size("768M")
Kind = TypeVar("Kind", str, int, bool)


@dataclass(frozen=True)
class Wish:
    """A cluster as somebody asks for it; 0 means the course's own size. Memory in bytes of one executor's container."""

    name: str
    workers: int
    cores: int = 0
    memory: int = 0
    driver: Literal["notebook", "connect"] = "notebook"
    driver_host: str = ""
    driver_port: int = 0
    kernel: str = ""
    declared: bool = False


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
    made = Wish(
        name=name,
        workers=count(said, "workers"),
        cores=count(said, "cores", 0, most=1024),
        memory=count(said, "memory", 0, most=1 << 50),
        driver="connect" if driver == "connect" else "notebook",
        driver_host=take(said, "driver_host", str, ""),
        driver_port=count(said, "driver_port", 0, most=65535),
        kernel=take(said, "kernel", str, "")[:128],
        declared=take(said, "declared", bool, False),
    )
    if driver != made.driver:
        raise SpecError(f"driver: {driver!r:.60} is neither notebook nor connect")
    if made.memory and made.memory < SMALLEST:
        raise SpecError(
            f"memory: {human_size(made.memory)} is less than Spark needs", fix=f"at least {human_size(SMALLEST)}"
        )
    if made.driver == "notebook":
        _must_be_address(made)
    return made


def _must_be_address(made: Wish) -> None:
    try:
        ipaddress.IPv4Address(made.driver_host)
    except ValueError:
        raise SpecError(f"driver_host: {made.driver_host!r:.60} is not an IPv4 address") from None
    if not made.driver_port:
        raise SpecError("driver_port: the port where the driver listens is missing")
