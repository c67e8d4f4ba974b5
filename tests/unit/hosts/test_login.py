"""Who is trusted, and what is said: the parts that need no host."""

from __future__ import annotations

import subprocess
from pathlib import Path

import fabric
import paramiko
import pytest

from occamctl.hosts import login
from occamctl.sandbox import keys
from occamctl.spec.course import Host, Ssh


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    return tmp_path


def way(host: Host, ssh: Ssh) -> list[tuple[str, str, int]]:
    """User, name and port of every hop; none is opened."""
    target = login._made(host, ssh)
    hops = login._hops(host.proxy_jump or ssh.proxy_jump, target, ssh, {target.original_host, target.host})
    return [(hop.user, hop.host, int(hop.port)) for hop in [*hops, target]]


def test_a_fingerprint_is_what_ssh_keygen_prints(tmp_path: Path) -> None:
    keys.ensure_pair(tmp_path / "key")
    key = paramiko.Ed25519Key(filename=str(tmp_path / "key"))
    said = subprocess.run(["ssh-keygen", "-lf", str(tmp_path / "key")], capture_output=True, text=True, check=True)
    assert login.fingerprint(key) == said.stdout.split()[1]


@pytest.mark.parametrize(
    ("entry", "parts"), [("lab1", ("lab1", 22)), ("[lab1]:2222", ("lab1", 2222)), ("[fe80::1]:22", ("fe80::1", 22))]
)
def test_names_of_known_hosts(entry: str, parts: tuple[str, int]) -> None:
    assert login.split(entry) == parts


def test_jump_hosts_of_the_course_file(home: Path) -> None:
    ssh = Ssh(user="ops", port=2200)
    assert way(Host(hostname="lab1"), ssh) == [("ops", "lab1", 2200)]
    assert way(Host(hostname="lab1", proxy_jump="eve@door:22,inner"), ssh) == [
        ("eve", "door", 22),
        ("ops", "inner", 22),
        ("ops", "lab1", 2200),
    ]


def test_a_jump_host_for_all_is_reached_directly_itself(home: Path) -> None:
    ssh = Ssh(user="ops", proxy_jump="door")
    assert way(Host(hostname="door"), ssh) == [("ops", "door", 22)]
    assert way(Host(hostname="lab1"), ssh) == [("ops", "door", 22), ("ops", "lab1", 22)]


def test_ssh_config_gives_what_the_course_file_leaves_out(home: Path) -> None:
    (home / ".ssh" / "config").write_text(
        "Host lab*\n  User anna\n  Port 2222\n  ProxyJump eve@door:2022\nHost lab1\n  HostName 192.0.2.7\n"
        "Host far\n  ProxyJump none\n"
    )
    assert way(Host(hostname="lab1"), Ssh()) == [("eve", "door", 2022), ("anna", "192.0.2.7", 2222)]
    assert way(Host(hostname="lab1", user="root", port=22), Ssh()) == [("eve", "door", 2022), ("root", "192.0.2.7", 22)]
    assert len(way(Host(hostname="far"), Ssh(user="x"))) == 1


def test_every_hop_refuses_unknown_keys(home: Path) -> None:
    (home / ".ssh" / "config").write_text("Host lab\n  ProxyJump door\n")
    target = login._made(Host(hostname="lab"), Ssh())
    hops: list[fabric.Connection] = [*login._hops(None, target, Ssh(), {"lab"}), target]
    assert [hop.original_host for hop in hops] == ["door", "lab"]
    for hop in hops:
        assert isinstance(hop.client._policy, login._Refuse)
