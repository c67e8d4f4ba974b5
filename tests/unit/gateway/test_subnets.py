"""Subnets of people's networks."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from occamctl.errors import DoesNotFit
from occamctl.gateway import subnets
from occamctl.gateway.subnets import Networks, free


@pytest.mark.parametrize(
    ("used", "found"),
    [
        (["10.186.0.0/22"], "10.186.4.0/26"),
        (["10.186.0.0/22", "10.186.4.0/26"], "10.186.4.64/26"),
        (["10.186.0.0/22", "10.186.4.64/26"], "10.186.4.0/26"),
        (["10.186.0.0/22", "10.186.4.32/30"], "10.186.4.64/26"),  # somebody's small network in the middle
        (["10.0.0.0/8"], None),
        (["172.17.0.0/16", "fd00::/64"], "10.186.0.0/26"),
        (["10.186.4.1/26", "10.186.0.0/22"], "10.186.4.64/26"),  # written with a host's address
    ],
)
def test_free(used: list[str], found: str | None) -> None:
    if found is None:
        with pytest.raises(DoesNotFit, match="no address range is left"):
            free("10.186.0.0/16", used)
    else:
        assert free("10.186.0.0/16", used) == found


def test_a_class_has_room() -> None:
    used = ["10.186.0.0/22"]
    for _ in range(150):
        used.append(free("10.186.0.0/16", used))
    assert len(set(used)) == 151


def test_a_network_that_is_removed_is_not_given_to_who_comes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    there, going, may_go = {"ml-anna-net"}, threading.Event(), threading.Event()

    def remove(_engine: object, name: str) -> None:
        going.set()
        assert may_go.wait(10)
        there.discard(name)

    def ensure(_engine: object, network: Any) -> None:
        there.add(network.name)

    monkeypatch.setattr(subnets.ground, "networks", lambda _engine: [{"Name": name} for name in there])
    monkeypatch.setattr(subnets.ground, "remove_network", remove)
    monkeypatch.setattr(subnets.ground, "ensure_network", ensure)
    networks = Networks(None, "ml", "10.186.0.0/16", "10.186.0.0/22")  # type: ignore[arg-type]
    networks.remove_unused("anna", lambda: True)
    assert there == {"ml-anna-net"}, "somebody uses it"
    leaving = threading.Thread(target=networks.remove_unused, args=("anna", lambda: False))
    coming = threading.Thread(target=networks.ensure, args=("anna",))
    leaving.start()
    assert going.wait(10)
    coming.start()
    networks.ensure("bob")  # others do not wait
    may_go.set()
    leaving.join(10)
    coming.join(10)
    assert there == {"ml-anna-net", "ml-bob-net"}
