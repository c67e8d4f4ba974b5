"""Making, cloning images into, and removing pretend hosts, on this machine's engine."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from occamctl import sandbox
from occamctl.engine import images
from occamctl.engine.client import Engine
from occamctl.hosts.connection import HostConnection
from occamctl.spec.course import Host, Ssh

NAMES = ("cloned", "beside")
CLONED = "localhost/occam-test/cloned:1"


def occamctl(*words: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "occamctl", *words], capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def traces(name: str) -> list[str]:
    """Everything on this machine's engine that belongs to a sandbox."""
    engine, ours = Engine.local(), {"label": [f"occam.sandbox={name}"]}
    containers = [one["Names"][0] for one in engine.api.containers(all=True, filters=ours)]
    volumes = [one["Name"] for one in engine.api.volumes(filters=ours)["Volumes"] or []]
    networks = [one["Name"] for one in engine.api.networks(filters=ours)]
    return containers + volumes + networks


@pytest.fixture
def gone() -> Iterator[None]:
    for name in NAMES:
        sandbox.down(name)
    yield
    for name in NAMES:
        sandbox.down(name)


@pytest.fixture
def image() -> Iterator[str]:
    """An image of two layers on this machine's engine, of which the upper one changes a file of the lower one."""
    engine = Engine.local()
    base = images.host_image()
    images.ensure_built(engine, base, print)
    made = engine.api.create_container(base.tag, ["-c", "echo cloned >/etc/issue"], entrypoint=["sh"])
    engine.api.start(made)
    assert engine.api.wait(made)["StatusCode"] == 0
    engine.api.commit(made, *CLONED.split(":"), conf={"Entrypoint": []})
    engine.api.remove_container(made)
    yield CLONED
    engine.api.remove_image(CLONED)


def test_a_cloned_image_runs_and_two_sandboxes_live_side_by_side(gone: None, image: str) -> None:
    started = time.monotonic()
    with ThreadPoolExecutor() as pool:
        made = list(pool.map(lambda name: sandbox.up(1, name=name, tags=[image]), NAMES))
    assert time.monotonic() - started < 90
    assert len({one.addresses[0] for one in made}) == 2
    for one in made:
        ssh = Ssh(user="ops", identity_file=one.key, known_hosts=one.known_hosts)
        machine = HostConnection(Host(hostname=one.addresses[0]), ssh)
        said = machine.run(["docker", "run", "--rm", image, "cat", "/etc/issue"], sudo=True)
        machine.close()
        assert said.stdout == "cloned\n"
    assert sandbox.down(NAMES[0])
    assert sandbox.find(NAMES[1]).addresses == made[1].addresses
    assert traces(NAMES[0]) == []
    # The layers were links to this machine's own: they are still whole here.
    engine = Engine.local()
    made_here = engine.api.create_container(image, ["cat", "/etc/issue"])
    engine.api.start(made_here)
    engine.api.wait(made_here)
    assert engine.api.logs(made_here) == b"cloned\n"
    engine.api.remove_container(made_here)


def test_up_list_up_again_down(gone: None) -> None:
    name = NAMES[0]
    assert "1 host: " in occamctl("sandbox", "up", "--hosts", "1", "--name", name)
    (first,) = [row for row in json.loads(occamctl("sandbox", "list", "-o", "json")) if row["sandbox"] == name]
    assert first["state"] == "running"
    assert "is right" in occamctl("validate", "-c", first["course_file"])
    assert "2 hosts: " in occamctl("sandbox", "up", "--hosts", "2", "--name", name)
    rows = [row for row in json.loads(occamctl("sandbox", "list", "-o", "json")) if row["sandbox"] == name]
    assert rows[0] == first
    assert len(rows) == 2
    listed = json.loads(occamctl("host", "list", "-o", "json", "-c", first["course_file"]))
    assert [row["state"] for row in listed] == ["ready", "ready"]
    Engine.local().api.kill(rows[1]["host"])
    occamctl("sandbox", "up", "--hosts", "2", "--name", name)
    listed = json.loads(occamctl("host", "list", "-o", "json", "-c", first["course_file"]))
    assert [row["state"] for row in listed] == ["ready", "ready"]
    assert "is gone" in occamctl("sandbox", "down", "--name", name)
    assert traces(name) == []
    assert "Nothing to do" in occamctl("sandbox", "down", "--name", name)
