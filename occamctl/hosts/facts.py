"""Facts of a host: one read-only command, one round trip, and a pure parser for each part of what it prints."""

from __future__ import annotations

import ipaddress
import re

from occamctl.errors import HostError
from occamctl.hosts import gpu
from occamctl.hosts.machine import Machine
from occamctl.plan.observed import HostFacts

# A part begins with its name. Programs that are not there print nothing.
_LOOK = (
    r"""
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
part() { printf '\n== %s\n' "$1"; }
part cores; nproc
part memory; cat /proc/meminfo
part load; cat /proc/loadavg
part system; cat /etc/os-release
part disk; df -Pk /var/lib/docker 2>/dev/null || df -Pk /var/lib
part route; cat /proc/net/route
part address; cat /proc/net/fib_trie
part address6; cat /proc/net/if_inet6 2>/dev/null
part tcp; cat /proc/net/tcp /proc/net/tcp6 2>/dev/null
part engine; command -v dockerd docker >/dev/null && { dockerd --version 2>/dev/null || docker --version; }
part running; grep '/run/docker\.sock$' /proc/net/unix
"""
    + gpu.LOOK
    + "exit 0\n"
)
OLDEST_ENGINE = (20, 10)
_LISTEN = "0A"
_ACCEPTS = "00010000"
"""The kernel's flag of a Unix socket that accepts connections."""
_GLOBAL, _TEMPORARY = "00", 0x01
"""Scope and flag of an IPv6 address, as the kernel writes them."""
_OURS = re.compile(r"docker|br-|veth|virbr|cni|lo$")


def gather(machine: Machine) -> HostFacts:
    """The facts of one host. Raises HostError."""
    return parse(machine.run(["sh", "-c", _LOOK], seconds=30).stdout, machine.name)


def parse(printed: str, host: str = "") -> HostFacts:
    """Facts from what the command printed. Raises HostError when a part is not as Linux prints it."""
    parts = dict(re.findall(r"^== (\w+)\n(.*?)(?=^== |\Z)", printed, re.MULTILINE | re.DOTALL))
    try:
        disk, disk_free = _disk(parts["disk"])
        interface, routes = _routes(parts["route"])
        return HostFacts(
            address=_address(parts["address"], parts["route"], interface),
            cores=int(parts["cores"]),
            memory=_meminfo(parts["memory"], "MemTotal"),
            memory_free=_meminfo(parts["memory"], "MemAvailable"),
            disk=disk,
            disk_free=disk_free,
            load=float(parts["load"].split()[0]),
            system=_system(parts["system"]),
            engine=_engine(parts["engine"]) if _listens(parts["running"]) else "",
            gpus=gpu.gpus(parts),
            support=gpu.support(parts),
            addresses=(*_addresses(parts["address"], parts["route"]), *_addresses6(parts.get("address6", ""))),
            routes=routes,
            listening=_listening(parts["tcp"]),
        )
    except (KeyError, ValueError, IndexError) as error:
        raise HostError(f"its facts cannot be read ({error!r}): is it a Linux host?", where=host) from None


def _meminfo(text: str, key: str) -> int:
    """Bytes; the kernel writes "kB" and means KiB."""
    found = re.search(rf"^{key}:\s+(\d+)", text, re.MULTILINE)
    if not found:
        raise ValueError(f"no {key}")
    return int(found[1]) * 1024


def _disk(text: str) -> tuple[int, int]:
    """Bytes in all and free, of `df -Pk`."""
    words = text.strip().splitlines()[-1].split()
    return int(words[1]) * 1024, int(words[3]) * 1024


def _system(text: str) -> str:
    values = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', text, re.MULTILINE))
    return f"{values.get('ID', 'linux')} {values.get('VERSION_ID', '')}".strip()


def _engine(text: str) -> str:
    found = re.search(r"version (\d[\w.]*)", text)
    return found[1] if found else ""


def _listens(sockets: str) -> bool:
    """Does an engine listen on its socket? The file alone also stays behind a killed one."""
    return any(line.split()[3] == _ACCEPTS for line in sockets.strip().splitlines())


def too_old(engine: str) -> bool:
    """Is this engine's version below the oldest that works?"""
    numbers = [int(number) for number in re.findall(r"\d+", engine)[:2]]
    return tuple(numbers) < OLDEST_ENGINE


def _quad(word: str) -> ipaddress.IPv4Address:
    """The kernel writes addresses as little-endian hexadecimal."""
    return ipaddress.IPv4Address(bytes.fromhex(word)[::-1])


def _routes(text: str) -> tuple[str, tuple[str, ...]]:
    """Interface of the default route, and the networks behind interfaces that are not the engine's own."""
    default, found = "", []
    for line in text.strip().splitlines()[1:]:
        interface, destination, _, _, _, _, _, mask = line.split()[:8]
        network = ipaddress.IPv4Network(f"{_quad(destination)}/{_quad(mask)}")
        if network.prefixlen == 0:
            default = default or interface
        elif not _OURS.match(interface):
            found.append(str(network))
    return default, tuple(sorted(set(found)))


def _local(trie: str) -> set[ipaddress.IPv4Address]:
    """Every address of the host, from the kernel's table of local addresses."""
    found = {ipaddress.IPv4Address(one) for one in re.findall(r"\|-- ([\d.]+)\n\s+/32 host LOCAL", trie)}
    return {one for one in found if not one.is_loopback}


def _addresses(trie: str, route: str) -> tuple[str, ...]:
    """IPv4 addresses of the host, but for link-local ones and those in networks of the engine's own bridges."""
    inside = [
        ipaddress.IPv4Network(f"{_quad(words[1])}/{_quad(words[7])}")
        for words in map(str.split, route.strip().splitlines()[1:])
        if _OURS.match(words[0])
    ]
    known = sorted(one for one in _local(trie) if not one.is_link_local)
    return tuple(str(one) for one in known if not any(one in network for network in inside))


def _addresses6(text: str) -> tuple[str, ...]:
    """Global IPv6 addresses; those that change by themselves (RFC 8981) are no way to reach a host."""
    rows = [line.split() for line in text.strip().splitlines()]
    found = {
        ipaddress.IPv6Address(bytes.fromhex(row[0]))
        for row in rows
        if row[3] == _GLOBAL and not int(row[4], 16) & _TEMPORARY and not _OURS.match(row[5])
    }
    return tuple(map(str, sorted(found)))


def _address(trie: str, route: str, interface: str) -> str:
    """The host's own address in the network of its default route."""
    local = _local(trie)
    for line in route.strip().splitlines()[1:]:
        words = line.split()
        network = ipaddress.IPv4Network(f"{_quad(words[1])}/{_quad(words[7])}")
        if words[0] == interface and network.prefixlen:
            for address in sorted(local):
                if address in network:
                    return str(address)
    return str(min(local)) if local else "127.0.0.1"


def _listening(text: str) -> frozenset[int]:
    ports = set()
    for line in text.splitlines():
        words = line.split()
        if len(words) > 3 and words[3] == _LISTEN:
            ports.add(int(words[1].rpartition(":")[2], 16))
    return frozenset(ports)
