"""Networks of the course's people: small ones, cut from one pool, none of them used twice."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable, Iterable

from occamctl.engine import ground
from occamctl.engine.client import Engine
from occamctl.errors import DoesNotFit
from occamctl.plan import desired
from occamctl.spec import names

PREFIX = 26
"""62 addresses: a notebook, a driver and their executors."""


def free(pool: str, used: Iterable[str], prefix: int = PREFIX) -> str:
    """The first subnet of `pool` that overlaps none of `used`. Raises DoesNotFit when there is none left."""
    taken = [ipaddress.ip_network(one, strict=False) for one in used]
    for candidate in ipaddress.ip_network(pool).subnets(new_prefix=prefix):
        if not any(one.version == candidate.version and candidate.overlaps(one) for one in taken):
            return str(candidate)
    raise DoesNotFit(f"no address range is left in network.pool ({pool})", fix="give the course a larger pool")


class Networks:
    """Makes the network of a person at its first use."""

    def __init__(self, engine: Engine, course: str, pool: str, hub_subnet: str) -> None:
        self._engine, self._course, self._pool, self._hub_subnet = engine, course, pool, hub_subnet
        self._names = names.Names(course)
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def _alone(self, owner: str) -> threading.Lock:
        """Held while the owner's network is made or removed: removing it may wait for the engine."""
        with self._lock:
            return self._locks.setdefault(owner, threading.Lock())

    def ensure(self, owner: str) -> str:
        """The subnet of `owner`'s network, which is made if it is not there. Raises DoesNotFit, EngineError."""
        name = self._names.net(owner)
        with self._alone(owner), self._lock:
            subnets = {one["Name"]: _subnets(one) for one in ground.networks(self._engine)}
            used = [self._hub_subnet, *(one for these in subnets.values() for one in these)]
            subnet = subnets[name][0] if subnets.get(name) else free(self._pool, used)
            labels = desired.labels(self._course, "network", owner)
            ground.ensure_network(self._engine, desired.Network(name, subnet, labels))  # refuses somebody else's
            return subnet

    def remove(self, owner: str) -> None:
        """Remove it and wait until it is gone. Raises TookTooLong while something still uses it."""
        with self._alone(owner):
            ground.remove_network(self._engine, self._names.net(owner))

    def remove_unused(self, owner: str, used: Callable[[], bool]) -> None:
        """Remove it unless somebody uses it; who wants to is known to `used` before `ensure` is called."""
        with self._alone(owner):
            if not used():
                ground.remove_network(self._engine, self._names.net(owner))


def _subnets(network: dict[str, object]) -> list[str]:
    ipam = network.get("IPAM")
    configs = (ipam.get("Config") if isinstance(ipam, dict) else None) or []
    return [one["Subnet"] for one in configs if one.get("Subnet")]
