"""The parts of a sandbox that need no engine."""

from __future__ import annotations

import ipaddress
from itertools import islice
from pathlib import Path

import pytest
import yaml

from occamctl import sandbox
from occamctl.errors import SpecError
from occamctl.sandbox import keys, network
from occamctl.spec.course import Ssh

RANGE = ipaddress.IPv4Network("10.99.0.0/16")


@pytest.mark.parametrize(
    ("used", "first"),
    [
        ([], "10.99.0.0/24"),
        (["172.17.0.0/16", "fd00::/64"], "10.99.0.0/24"),
        (["10.99.0.0/24", "10.99.2.0/24"], "10.99.1.0/24"),
        (["10.99.0.128/25", "10.99.1.0/30"], "10.99.2.0/24"),
        (["10.99.0.0/17"], "10.99.128.0/24"),
    ],
)
def test_the_first_free_addresses_are_taken(used: list[str], first: str) -> None:
    assert str(next(network.free(RANGE, used))) == first


def test_a_full_range_has_nothing_free() -> None:
    assert list(network.free(RANGE, ["10.0.0.0/8"])) == []
    assert len(list(islice(network.free(RANGE, []), 300))) == 256


def test_what_goes_into_a_course_file(tmp_path: Path) -> None:
    made = sandbox.Sandbox("rehearsal", ("10.99.0.11", "10.99.0.12"), tmp_path)
    said = yaml.safe_load(made.as_yaml())
    assert said["hosts"] == ["10.99.0.11", "10.99.0.12"]
    ssh = Ssh.model_validate(said["ssh"])
    assert (ssh.user, ssh.identity_file, ssh.known_hosts) == ("ops", made.key, made.known_hosts)


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "A", "-x", "x" * 40, "a b", "/"])
def test_a_name_that_leads_elsewhere_removes_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    kept = tmp_path / "occam" / "sandbox" / "mine" / "id_ed25519"
    keys.ensure_pair(kept)
    for ask in (sandbox.down, sandbox.find, lambda name: sandbox.up(1, name=name)):
        with pytest.raises(SpecError, match="no name for a sandbox"):
            ask(name)
    assert kept.exists()
