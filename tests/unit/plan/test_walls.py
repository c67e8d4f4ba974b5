"""Rules for what comes out of containers, and the service that keeps them, as parts of a plan."""

from __future__ import annotations

from dataclasses import replace

import pytest

from occamctl.plan import steps
from occamctl.plan.diff import diff
from occamctl.plan.observed import HostFacts
from occamctl.plan.seen import Observed, SeenHost, SeenService
from occamctl.plan.walls import removal, rules_for, ruleset, walled
from occamctl.plan.wanted import Tags, host_label, want
from occamctl.spec.course import Course

# What they do to packets is tried on the hosts of a sandbox.
RULES = """\
table inet occam-ml
delete table inet occam-ml
table inet occam-ml {
  chain link-local {
    udp dport 53 return
    tcp dport 53 return
    drop
  }
  chain containers {
    meta l4proto tcp ct direction reply return
    udp dport { 4789, 7946 } drop
    tcp dport { 2375, 2376, 2377, 7946 } drop
    ip daddr { 10.0.0.2, 10.0.0.10 } tcp dport { 22, 2222 } drop
    ip6 daddr { 2001:db8::2 } tcp dport { 22, 2222 } drop
    ip daddr 169.254.0.0/16 jump link-local
    ip6 daddr fd00:ec2::254 drop
  }
  chain input {
    type filter hook input priority -5; policy accept;
    iifname { "docker0", "docker_gwbridge" } tcp dport { 22, 2222 } drop
    iifname { "docker0", "docker_gwbridge" } jump containers
  }
  chain forward {
    type filter hook forward priority -5; policy accept;
    iifname { "docker0", "docker_gwbridge" } jump containers
  }
}
"""
TAGS = Tags("occam/hub:1", "occam/notebook:1")


def course(*hosts: object, **more: object) -> Course:
    return Course.model_validate({"version": 1, "course": "ml", "hosts": list(hosts), "students": ["anna"], **more})


def facts(*addresses: str) -> HostFacts:
    return HostFacts(addresses[0], 2, 1, 1, 1, 1, 0.0, "debian 12", "27.3", addresses=addresses)


def seen(wanted: Course, **addresses: tuple[str, ...]) -> Observed:
    hosts = {
        host.hostname: SeenHost(host.hostname, facts(*addresses[host.hostname]), in_swarm=True, node_id=host.hostname)
        for host in wanted.hosts
    }
    return Observed(hosts=hosts)


def test_the_rules() -> None:
    assert ruleset("ml", ["10.0.0.10", "10.0.0.2", "2001:db8::2", "10.0.0.2"], [2222]) == RULES


def test_without_addresses_there_is_no_empty_set() -> None:
    assert "daddr { }" not in ruleset("ml")
    assert "daddr {" not in ruleset("ml")


def test_a_swarm_with_another_port_for_its_networks() -> None:
    assert "udp dport { 4789, 4800, 7946 } drop" in ruleset("ml", data_port=4800)


def test_addresses_and_ports_of_hosts_are_taken_from_file_and_facts() -> None:
    two = course({"hostname": "a", "address": "192.0.2.7", "port": 2200}, "192.0.2.9", ssh={"port": 2222})
    text = rules_for(two, {"a": facts("10.0.0.1", "10.9.0.1"), "192.0.2.9": facts("10.0.0.2", "2001:db8::9")})
    assert "ip daddr { 10.0.0.1, 10.0.0.2, 10.9.0.1, 192.0.2.7, 192.0.2.9 } tcp dport { 22, 2200, 2222 } drop" in text
    assert "ip6 daddr { 2001:db8::9 } tcp" in text


def test_a_lone_hosts_new_address_changes_nothing() -> None:
    assert rules_for(course("a"), {"a": facts("10.0.0.1")}) == rules_for(course("a"), {"a": facts("10.0.0.2")})
    assert rules_for(course(), {"localhost": facts("10.0.0.1")}) == ruleset("ml")


def test_the_keeper_runs_on_every_host_of_the_course_and_may_do_nothing_else() -> None:
    two = course("a", "b")
    wanted = walled(want(two, TAGS), two, seen(two, a=("10.0.0.1",), b=("10.0.0.2",)))
    keeper, config = wanted.services[0], wanted.configs[0]
    assert (keeper.name, keeper.image, keeper.mode, keeper.networks) == (
        "ml-walls",
        "occam/notebook:1",
        "global",
        ("host",),
    )
    assert (keeper.cap_drop, keeper.cap_add) == (("ALL",), ("CAP_NET_ADMIN",))
    assert (keeper.mounts, keeper.secrets, keeper.ports) == ((), (), ())
    assert keeper.constraints == (f"node.labels.{host_label('ml')} == true",)
    assert [one.name for one in keeper.configs] == [config.name]
    assert {host: labels[host_label("ml")] for host, labels in wanted.node_labels.items()} == {"a": "true", "b": "true"}


def test_one_more_host_changes_the_keeper() -> None:
    two, three = course("a", "b"), course("a", "b", "c")
    before = walled(want(two, TAGS), two, seen(two, a=("10.0.0.1",), b=("10.0.0.2",)))
    after = walled(want(three, TAGS), three, seen(three, a=("10.0.0.1",), b=("10.0.0.2",), c=("10.0.0.3",)))
    assert before.services[0].spec_hash != after.services[0].spec_hash
    assert before.configs[0].name != after.configs[0].name


@pytest.mark.parametrize(
    ("on", "planned"),
    [
        ({"a", "b"}, []),
        ({"a"}, [steps.AwaitService("", "ml-walls", ("b",))]),
        (set(), [steps.AwaitService("", "ml-walls", ("a", "b"))]),
        ({"a", "somebody-elses"}, [steps.AwaitService("", "ml-walls", ("b",))]),
    ],
)
def test_it_is_waited_for_on_every_host(on: set[str], planned: list[steps.Step]) -> None:
    two = course("a", "b")
    there = seen(two, a=("10.0.0.1",), b=("10.0.0.2",))
    wanted = walled(want(two, TAGS), two, there)
    services = {
        one.name: SeenService(one.spec_hash, 1, 1, tuple(file.name for file in one.configs), nodes=frozenset(on))
        for one in wanted.services
    }
    complete = replace(
        there,
        hosts={name: replace(one, images=frozenset(wanted.images[name])) for name, one in there.hosts.items()},
        node_labels=wanted.node_labels,
        networks={wanted.network.name: wanted.network.subnet},
        secrets=frozenset(wanted.secrets),
        configs=frozenset(config.name for config in wanted.configs),
        services=services,
        accounts=wanted.accounts,
        clusters={},
    )
    assert diff(wanted, complete) == planned
    assert all("ml-walls" in step.what for step in planned)


def test_the_way_back_names_the_courses_table_alone() -> None:
    assert removal("ml")[-1] == "occam-ml"
