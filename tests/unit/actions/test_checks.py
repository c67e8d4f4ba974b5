"""What must hold before the first change."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from occamctl.actions.checks import IMAGES_NEED, check
from occamctl.actions.session import Session
from occamctl.errors import DoesNotFit, HostError
from occamctl.plan.observed import HostFacts
from occamctl.plan.seen import Observed, SeenHost, SeenService
from occamctl.plan.wanted import Tags, want
from occamctl.spec.course import Course

GIB = 1 << 30
FACTS = HostFacts(
    "192.0.2.1", 4, 8 * GIB, 6 * GIB, 99 * GIB, 50 * GIB, 0.0, "debian 12", "27.3", addresses=("192.0.2.1", "10.0.0.1")
)
HOST = SeenHost("a", facts=FACTS)
OTHER = SeenHost("b", facts=replace(FACTS, address="192.0.2.2", addresses=("192.0.2.2",)))
NET = {"ml-net": "10.186.0.0/22"}


def checked(asked: dict[str, Any], *hosts: SeenHost, **seen: Any) -> None:
    there = {host.name: host for host in hosts or (HOST, OTHER)}
    course = Course.model_validate({"version": 1, "course": "ml", "hosts": list(there)} | asked)
    check(want(course, Tags("hub:1", "nb:1")), Observed(hosts=there, **seen), Session(course, Path("o.yaml"), Future()))


def facts(**changed: Any) -> SeenHost:
    return replace(HOST, facts=replace(FACTS, **changed))


def test_an_ordinary_course_fits() -> None:
    checked({})


@pytest.mark.parametrize(
    ("asked", "what", "fix"),
    [
        (
            {"notebook": {"mem_limit": "16G"}},
            "notebook.mem_limit: 16G is more than any host has (12G)",
            "ask for at most 12G",
        ),
        (
            {"spark": {"worker": {"memory": "13G"}}},
            "spark.worker.memory: 13G is more than any host has (12G)",
            "ask for at most 12G",
        ),
        (
            {"notebook": {"cpu_limit": 8.5}},
            "notebook.cpu_limit: 8.5 is more than any host has (8)",
            "ask for at most 8",
        ),
        ({"spark": {"worker": {"cpus": 9}}}, "spark.worker.cpus: 9 is more than any host has (8)", "ask for at most 8"),
    ],
)
def test_more_than_the_largest_host_has(asked: dict[str, Any], what: str, fix: str) -> None:
    large = SeenHost("b", facts=replace(FACTS, cores=8, memory=12 * GIB))
    with pytest.raises(DoesNotFit) as caught:
        checked(asked, HOST, large)
    assert (caught.value.what, caught.value.where, caught.value.fix) == (what, "o.yaml", fix)
    assert caught.value.exit_code == 4
    checked(asked, HOST, replace(large, facts=replace(FACTS, cores=16, memory=32 * GIB)))


def test_a_disk_without_room_for_the_images() -> None:
    full = facts(disk_free=5 * GIB)
    with pytest.raises(DoesNotFit, match="5G of disk left, the images need 8G") as caught:
        checked({}, full, OTHER)
    assert caught.value.where == "a"
    checked({}, facts(disk_free=IMAGES_NEED), OTHER)
    checked({}, replace(full, images=frozenset({"hub:1", "nb:1"})), OTHER)  # it has them already


def proxy(port: int) -> dict[str, SeenService]:
    return {"ml-proxy": SeenService("", 1, 1, ports=frozenset({port}))}


def test_a_port_that_somebody_else_has() -> None:
    taken = facts(listening=frozenset({22, 80, 8000}))
    with pytest.raises(HostError, match="port 8000 is in use") as caught:
        checked({"hub": {"port": 8000}}, taken)
    assert (caught.value.where, caught.value.exit_code) == ("a", 3)
    checked({"hub": {"port": 8000}}, HOST, replace(taken, name="b"))  # the proxy runs on the manager only
    checked({"hub": {"port": 8000}}, taken, services=proxy(8000))


def test_a_port_to_move_to_that_somebody_else_has() -> None:
    """The proxy would end before it found out, and the course with it."""
    taken = facts(listening=frozenset({80, 8000}))
    with pytest.raises(HostError, match="port 80 is in use"):
        checked({"hub": {"port": 80}}, taken, services=proxy(8000))
    checked({"hub": {"port": 8080}}, taken, services=proxy(8000))


def test_a_pool_that_hides_a_network_that_a_host_reaches() -> None:
    routed = facts(routes=("0.0.0.0/0", "192.0.2.0/24", "10.186.4.0/24"))
    with pytest.raises(HostError, match=r"network.pool 10.186.0.0/16 overlaps with its route to 10.186.4.0/24") as told:
        checked({}, routed, OTHER)
    assert (told.value.where, told.value.fix) == (
        "a",
        "choose another private range as network.pool in the course file",
    )
    checked({"network": {"pool": "10.9.0.0/16"}}, routed, OTHER)
    checked({}, routed, OTHER, networks=NET)  # the route is the course's own: it is up


def addressed(address: str, host: SeenHost) -> None:
    checked({"hosts": [{"hostname": "a", "address": address}]}, host)


def test_the_address_for_the_other_hosts_is_one_of_the_host_s_own() -> None:
    addressed("10.0.0.1", HOST)
    with pytest.raises(HostError, match="is no address of this host; it has 192") as caught:
        addressed("10.9.9.9", HOST)
    assert caught.value.where == "a"


def test_a_host_that_is_in_the_swarm_or_silent_is_not_asked() -> None:
    addressed("10.9.9.9", replace(HOST, in_swarm=True))
    addressed("10.9.9.9", replace(HOST, facts=None))
