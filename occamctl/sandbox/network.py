"""A network of this machine for each sandbox, with addresses that nothing here uses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping

from occamctl.engine.client import Engine, speaking_to
from occamctl.errors import DoesNotFit, EngineError

RANGE = ipaddress.IPv4Network("10.99.0.0/16")


def ensure(engine: Engine, network: str, labels: Mapping[str, str], routes: Iterable[str]) -> ipaddress.IPv4Network:
    """The network's addresses; it is made when it is not there.

    routes  networks that this machine reaches, which must not be hidden by ours

    Raises DoesNotFit when every part of the range is taken.
    """
    with speaking_to(engine.name):
        there = engine.api.networks()
    for one in there:
        if one["Name"] == network:
            return ipaddress.IPv4Network(one["IPAM"]["Config"][0]["Subnet"])
    parts = [part["Subnet"] for one in there for part in (one["IPAM"].get("Config") or []) if "Subnet" in part]
    for subnet in free(RANGE, [*parts, *routes]):
        try:
            with speaking_to(engine.name):
                ipam = {"Config": [{"Subnet": str(subnet)}]}
                engine.api.create_network(network, driver="bridge", ipam=ipam, labels=dict(labels))
        except EngineError as error:
            if "overlaps" in error.what:  # another sandbox was quicker
                continue
            raise
        return subnet
    raise DoesNotFit(f"no free addresses in {RANGE}", fix="remove a sandbox that nobody uses: occamctl sandbox list")


def free(whole: ipaddress.IPv4Network, used: Iterable[str]) -> Iterator[ipaddress.IPv4Network]:
    """Parts of `whole`, 256 addresses each, that overlap nothing in `used` (IPv6 is passed over)."""
    taken = [ipaddress.IPv4Network(one) for one in used if ":" not in one]
    return (part for part in whole.subnets(new_prefix=24) if not any(part.overlaps(one) for one in taken))
