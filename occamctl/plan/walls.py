"""Rules for what comes out of containers, kept on every host of a course. Pure: an nftables ruleset and a service.

Overlay networks do not separate students by themselves. VXLAN knows no sender: whoever can send a packet to UDP 4789 of
a host puts frames into any student's network. The hosts' Swarm ports answer to containers as well, and so do the
addresses of a cloud's metadata, which give a host's credentials away.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import replace

from occamctl.plan import desired
from occamctl.plan.observed import HostFacts
from occamctl.plan.seen import Observed
from occamctl.plan.wanted import Desired, host_label
from occamctl.spec import names
from occamctl.spec.course import Course
from occamctl.spec.units import size

VXLAN = 4789
EVERY = 10
"""Seconds between two assertions: somebody's `nft flush ruleset` holds no longer."""
RULES = "/etc/occam/walls.nft"
# No trap: the table outlives its keeper, so an update or a restarted engine opens nothing. `course down` removes it.
_KEEP = f"while nft -f {RULES}; do sleep {EVERY}; done; exit 1"
# Where no table can even be listed none can have been set: `course down` goes on there.
_TAKE_AWAY = 'nft list tables >/dev/null || exit 0; nft "add table inet $1; delete table inet $1"'
_BRIDGES = ("docker0", "docker_gwbridge")
"""Where packets of containers come in. Not every bridge: one that an admin made may hold hosts of another swarm."""
_GOSSIP, _MANAGER, _ENGINE, _SSH = 7946, 2377, (2375, 2376), 22


def ruleset(course: str, addresses: Iterable[str] = (), ssh: Iterable[int] = (), data_port: int = VXLAN) -> str:
    """The rules as `nft -f` takes them; loading them again replaces them in one step, with no moment without.

    addresses  of the course's hosts, IPv4 and IPv6: their SSH does not answer, that of the rest of the world does
    ssh        ports of the hosts' SSH servers, besides 22
    data_port  UDP port of the swarm's overlay networks
    """
    table = names.Names(course).walls_table
    known = sorted({ipaddress.ip_address(one) for one in addresses}, key=lambda one: (one.version, one))
    doors = _set(sorted({_SSH, *ssh}))
    to_hosts = [
        f"{family} daddr {_set(these)} tcp dport {doors} drop"
        for family, version in (("ip", 4), ("ip6", 6))
        if (these := [one for one in known if one.version == version])
    ]
    within = _block(
        "chain containers",
        # An answer to somebody outside, whose own port may be any number.
        "meta l4proto tcp ct direction reply return",
        f"udp dport {_set(sorted({VXLAN, data_port, _GOSSIP}))} drop",
        f"tcp dport {_set((*_ENGINE, _MANAGER, _GOSSIP))} drop",
        *to_hosts,
        "ip daddr 169.254.0.0/16 jump link-local",
        "ip6 daddr fd00:ec2::254 drop",
    )
    # Some clouds have their name server there.
    link_local = _block("chain link-local", "udp dport 53 return", "tcp dport 53 return", "drop")
    where = "iifname { " + ", ".join(f'"{bridge}"' for bridge in _BRIDGES) + " }"
    to_host = _hook("input", f"{where} tcp dport {doors} drop", f"{where} jump containers")
    through = _hook("forward", f"{where} jump containers")
    body = "".join((link_local, within, to_host, through))
    return f"table inet {table}\ndelete table inet {table}\ntable inet {table} {{\n{body}}}\n"


def _set(members: Iterable[object]) -> str:
    return f"{{ {', '.join(map(str, members))} }}"


def _hook(hook: str, *rules: str) -> str:
    # Just before iptables' own chains; a drop is final whatever they say.
    return _block(f"chain {hook}", f"type filter hook {hook} priority -5; policy accept;", *rules)


def _block(head: str, *lines: str) -> str:
    return f"  {head} {{\n" + "".join(f"    {line}\n" for line in lines) + "  }\n"


def rules_for(course: Course, facts: Mapping[str, HostFacts], data_port: int = 0) -> str:
    """The ruleset of a course whose hosts have these facts; the same on every host."""
    addresses: set[str] = set()
    for host in course.hosts:
        there = facts.get(host.hostname)
        addresses |= {host.hostname, host.address or "", *((there.address, *there.addresses) if there else ())}
    # A lone host's own addresses are never forwarded to, and a laptop's change with every network.
    known = {one for one in addresses if _is_address(one)} if len(course.hosts) > 1 else set()
    ports = {port for port in (course.ssh.port, *(host.port for host in course.hosts)) if port}
    return ruleset(course.course, known, ports, data_port or VXLAN)


def _is_address(text: str) -> bool:
    try:
        return not ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


def walled(want: Desired, course: Course, seen: Observed) -> Desired:
    """`want` with the walls as its first service: they stand before anybody's container starts."""
    facts = {name: there.facts for name, there in seen.hosts.items() if there.facts}
    manager = seen.hosts.get(want.manager)
    text = rules_for(course, facts, manager.data_port if manager else 0)
    name = f"{course.course}-walls-settings-{names.digest(text)}"
    config = desired.Config(name, text.encode(), desired.labels(course.course, "config"))
    keeper = desired.Service(
        name=course.names.walls,
        # Every host has the notebooks' image, and it holds nft for their own firewall.
        image=want.images[want.manager][-1],
        labels=desired.labels(course.course, "walls"),
        command=("sh", "-c", _KEEP),
        user="0",
        cap_add=("CAP_NET_ADMIN",),
        configs=(desired.File(name, RULES, mode=0o444),),
        networks=("host",),
        constraints=(f"node.labels.{host_label(course.course)} == true",),
        mem_limit=size("64M"),
        pids_limit=32,
        stop_grace=2,
        mode="global",
    )
    return replace(want, configs=(config, *want.configs), services=(keeper, *want.services))


def removal(course: str) -> list[str]:
    """The command that removes the course's table from the host in whose network it runs; none there is fine."""
    return ["sh", "-c", _TAKE_AWAY, "sh", names.Names(course).walls_table]
