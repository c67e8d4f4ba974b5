"""Facts from what real hosts printed (and one Ubuntu with GPUs, written by hand after its documentation)."""

from __future__ import annotations

from pathlib import Path

import pytest

from occamctl.errors import HostError
from occamctl.hosts.facts import parse, too_old
from occamctl.plan.observed import Gpu

RECORDED = Path(__file__).parent / "recorded"


def printed(name: str) -> str:
    return (RECORDED / f"{name}.txt").read_text()


def with_part(text: str, name: str, content: str) -> str:
    """The recording, with another content of one part."""
    before, _, rest = text.partition(f"== {name}\n")
    _, mark, after = rest.partition("\n== ")
    return f"{before}== {name}\n{content}{mark}{after}"


def test_a_machine() -> None:
    facts = parse(printed("debian-12-vm"))
    assert (facts.address, facts.routes) == ("192.0.2.2", ("192.0.2.0/24",))
    assert (facts.cores, facts.memory, facts.memory_free) == (2, 24684084 * 1024, 21449412 * 1024)
    assert (facts.disk, facts.disk_free) == (264212084 * 1024, 67670308 * 1024)
    assert (facts.load, facts.system, facts.engine, facts.gpus) == (9.97, "debian 12", "20.10.24", ())
    assert facts.listening == {2024}


def test_a_pretend_host() -> None:
    facts = parse(printed("debian-12-pretend-host"))
    assert (facts.address, facts.routes) == ("10.99.2.11", ("10.99.2.0/24",))
    assert 22 in facts.listening
    assert facts.engine == "20.10.24"


def test_ubuntu_with_gpus_and_a_vpn() -> None:
    facts = parse(printed("ubuntu-24.04-gpus-written-by-hand"))
    assert facts.system == "ubuntu 24.04"
    assert facts.address == "130.168.1.77"
    assert facts.routes == ("10.8.0.0/16", "130.168.1.0/24")
    assert facts.listening == {8000}
    assert [gpu.memory for gpu in facts.gpus] == [40 << 30, 40 << 30]
    assert facts.gpus[0] == Gpu("GPU-7f0c1c2e-6a51-4a2b-9d5c-0b6f6f3a1e11", "NVIDIA A100-SXM4-40GB", 40 << 30)


def test_addresses_are_the_hosts_own_and_not_its_engines() -> None:
    facts = parse(printed("ubuntu-24.04-gpus-written-by-hand"))
    assert facts.addresses == ("10.8.0.6", "130.168.1.77")
    assert parse(printed("debian-12-pretend-host")).addresses == ("10.99.2.11",)


def test_ipv6_addresses_that_stay() -> None:
    rows = (
        "00000000000000000000000000000001 01 80 10 80       lo\n"
        "20010db8000000000000000000000077 02 40 00 80     eth0\n"
        "20010db80000000000000000abcdef01 02 40 00 01     eth0\n"
        "fe80000000000000025056fffe000001 02 40 20 80     eth0\n"
        "fd000000000000000000000000000001 05 40 00 80  docker0\n"
    )
    text = printed("debian-12-pretend-host").replace("== tcp\n", f"== address6\n{rows}\n== tcp\n")
    assert parse(text).addresses == ("10.99.2.11", "2001:db8::77")


@pytest.mark.parametrize(
    ("sockets", "engine"),
    [
        ("", ""),
        # A connection that is still open, but nobody accepts new ones.
        ("0000000000000000: 00000003 00000000 00000000 0001 03 41001 /run/docker.sock\n", ""),
        ("0000000000000000: 00000002 00000000 00010000 0001 01 31001 /run/docker.sock\n", "27.3.1"),
    ],
)
def test_an_engine_is_one_that_accepts_connections(sockets: str, engine: str) -> None:
    assert parse(with_part(printed("ubuntu-24.04-gpus-written-by-hand"), "running", sockets)).engine == engine


@pytest.mark.parametrize(("part", "content"), [("memory", "nothing\n"), ("cores", "\n"), ("disk", "\n"), ("load", "")])
def test_what_is_not_linux_is_named(part: str, content: str) -> None:
    with pytest.raises(HostError, match="is it a Linux host") as error:
        parse(with_part(printed("debian-12-vm"), part, content), "mac1")
    assert error.value.where == "mac1"


@pytest.mark.parametrize(
    ("engine", "old"),
    [("20.10.24", False), ("27.3.1", False), ("26.1.5", False), ("20.10", False), ("19.03.15", True), ("1.13.1", True)],
)
def test_too_old(engine: str, old: bool) -> None:
    assert too_old(engine) == old
