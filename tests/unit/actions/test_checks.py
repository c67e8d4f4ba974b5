"""What must hold before the first change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from occamctl.actions.checks import _own_addresses
from occamctl.errors import HostError
from occamctl.plan.observed import HostFacts
from occamctl.plan.seen import Observed, SeenHost
from occamctl.plan.wanted import Tags, want
from occamctl.spec.course import Course

FACTS = HostFacts("192.0.2.1", 2, 1, 1, 1, 1, 0.0, "debian 12", "27.3", addresses=("192.0.2.1", "10.0.0.1"))
HOST = SeenHost("a", facts=FACTS)


def check(address: str, host: SeenHost) -> None:
    hosts = [{"hostname": "a", "address": address}]
    course = Course.model_validate({"version": 1, "course": "ml", "hosts": hosts})
    _own_addresses(want(course, Tags("hub:1", "notebook:1")), Observed(hosts={"a": host}))


def test_the_address_for_the_other_hosts_is_one_of_the_host_s_own() -> None:
    check("10.0.0.1", HOST)
    with pytest.raises(HostError, match="is no address of this host; it has 192") as caught:
        check("10.9.9.9", HOST)
    assert caught.value.where == "a"


def test_a_host_that_is_in_the_swarm_or_silent_is_not_asked() -> None:
    check("10.9.9.9", replace(HOST, in_swarm=True))
    check("10.9.9.9", replace(HOST, facts=None))
