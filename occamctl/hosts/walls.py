"""A course's rules for containers on a host that has nft, over SSH: there before the first container is.

`course up` keeps the same table from a container, so a host without nft lacks nothing.
"""

from __future__ import annotations

from occamctl.hosts.machine import Machine

_NFT = 'PATH="$PATH:/usr/sbin:/sbin"; '
_THERE = _NFT + 'nft list table inet "$1"'
_LOAD = _NFT + "nft -f -"
_DELETE = _NFT + 'nft delete table inet "$1"'


def _known(machine: Machine) -> bool:
    return machine.run(["sh", "-c", f"{_NFT}command -v nft"], check=False).code == 0


def stand(machine: Machine, table: str) -> bool:
    """Is the table there? False also where nft is not, or where this user may not become root."""
    return _known(machine) and machine.run(["sh", "-c", _THERE, "sh", table], sudo=True, check=False).code == 0


def ensure(machine: Machine, table: str, rules: str) -> bool:
    """Set the rules; True when they were not there before and are now. A host that cannot is left to `course up`."""
    if not _known(machine):
        return False
    before = stand(machine, table)
    loaded = machine.run(["sh", "-c", _LOAD], sudo=True, stdin=rules, check=False)
    return not before and loaded.code == 0


def take_away(machine: Machine, table: str) -> bool:
    """Remove the table; True when there was one."""
    if not stand(machine, table):
        return False
    machine.run(["sh", "-c", _DELETE, "sh", table], sudo=True)
    return True
