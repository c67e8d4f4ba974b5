"""What requests may say, and what is said back when they are wrong."""

from __future__ import annotations

from typing import Any

import pytest

from occamctl.errors import SpecError
from occamctl.gateway import wishes

GOOD: dict[str, Any] = {"name": "lab", "workers": 2, "driver_host": "10.186.4.3", "driver_port": 40000}


def test_a_whole_wish() -> None:
    made = wishes.wish(GOOD | {"cores": 2, "memory": 1 << 30, "kernel": "k-1", "driver": "notebook", "declared": False})
    assert (made.name, made.workers, made.cores, made.memory, made.kernel) == ("lab", 2, 2, 1 << 30, "k-1")


def test_a_connect_driver_needs_no_address() -> None:
    assert wishes.wish({"name": "main", "workers": 0, "driver": "connect"}).driver == "connect"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"nmae": "x"}, "unknown key 'nmae'"),
        ({"name": "Lab"}, "cannot be a cluster's name"),
        ({"name": "a" * 13}, "cannot be a cluster's name"),
        ({"name": "lab\n"}, "cannot be a cluster's name"),
        ({"name": None}, "name: not a text"),
        ({"workers": -1}, "workers: -1 is not between"),
        ({"workers": True}, "workers: not a whole number"),
        ({"workers": "2"}, "workers: not a whole number"),
        ({"workers": 2.0}, "workers: not a whole number"),
        ({"workers": None}, "workers: not a whole number"),
        ({"memory": 1000}, "less than Spark needs"),
        ({"driver": "standalone"}, "none of notebook, connect, application"),
        ({"driver_host": "evil.example.org"}, "not an IPv4 address"),
        ({"driver_host": "10.0.0.1 --conf x"}, "not an IPv4 address"),
        ({"driver_port": 0}, "port where the driver listens is missing"),
        ({"driver_port": 70000}, "driver_port: 70000 is not between"),
        ({"declared": 1}, "declared: not true or false"),
    ],
)
def test_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError) as refused:
        wishes.wish(GOOD | wrong)
    assert says in refused.value.what


@pytest.mark.parametrize("text", [b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000])
def test_not_an_object(text: bytes) -> None:
    with pytest.raises(SpecError, match="body is not"):
        wishes.body(text)


def test_an_empty_body_is_an_empty_object() -> None:
    assert wishes.body(b"") == {}
