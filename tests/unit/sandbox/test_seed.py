"""Names of layers in an engine's store, by the OCI image specification's own rule."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml

from occamctl.sandbox.hosts import Sandbox
from occamctl.sandbox.seed import _chains

FIRST, SECOND, THIRD = (f"sha256:{hashlib.sha256(word).hexdigest()}" for word in (b"base", b"apt", b"pip"))


def test_a_chain_names_a_layer_with_all_below_it() -> None:
    pair = "sha256:" + hashlib.sha256(f"{FIRST} {SECOND}".encode()).hexdigest()
    whole = "sha256:" + hashlib.sha256(f"{pair} {THIRD}".encode()).hexdigest()
    plain = [one.removeprefix("sha256:") for one in (FIRST, pair, whole)]
    assert list(_chains([FIRST, SECOND, THIRD])) == plain
    assert list(_chains([FIRST])) == plain[:1]
    assert list(_chains([])) == []


def test_a_sandbox_reads_as_a_part_of_a_course_file() -> None:
    made = Sandbox("s", ("10.99.0.11", "10.99.0.12"), Path("/somewhere/s"))
    read = yaml.safe_load(made.as_yaml())
    assert read["hosts"] == ["10.99.0.11", "10.99.0.12"]
    assert read["ssh"]["identity_file"] == "/somewhere/s/id_ed25519"
    assert read["ssh"]["user"] == "ops"
