"""GPUs of hosts, from a bare driver to a proven GPU and back: on two pretend hosts with two simulated GPUs each.

The engine, the swarm and its generic resources are real; nvidia-smi and NVIDIA's container runtime are stand-ins.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from occamctl import sandbox, wait
from occamctl.actions.session import Session, open_course
from occamctl.engine import nodes, swarm
from occamctl.engine.client import Engine
from occamctl.plan import desired, gpus
from occamctl.plan.gpu_setup import CONFIG, DAEMON
from occamctl.plan.lending import WATCHER_PORT, visible

from .conftest import say

COURSE = "gpuhost"
STATE = "/var/lib/nvidia-simulated"
THEIRS = b'{"log-opts": {"max-size": "9m"},\n\t"log-driver":"json-file"  }'
"""A daemon.json as an administrator left it: no line end, a tab, two blanks."""
ASK = """
import json, sys, urllib.request
token = open("/run/secrets/gateway-token").read().strip()
for name in sys.argv[2:]:
    asked = urllib.request.Request(f"http://{name}:{sys.argv[1]}/", headers={"Authorization": f"token {token}"})
    print(urllib.request.urlopen(asked, timeout=10).read().decode())
"""
# A repository of one package, which brings NVIDIA's runtime as the stand-in that the host would have had.
REPOSITORY = """
set -e
rm -r /usr/bin/nvidia-container-runtime /usr/bin/nvidia-ctk /etc/nvidia-container-runtime
mkdir -p /srv/repo /tmp/deb/DEBIAN /tmp/deb/usr/bin /etc/apt/away
install -m 755 /usr/local/share/nvidia-simulated/nvidia-container-runtime /tmp/deb/usr/bin
printf '%s\n' 'Package: nvidia-container-toolkit' 'Version: 1.19.1-simulated' 'Architecture: all' \
  'Maintainer: nobody <nobody@localhost>' 'Description: simulated' >/tmp/deb/DEBIAN/control
dpkg-deb --build /tmp/deb /srv/repo/toolkit.deb >/dev/null
{ cat /tmp/deb/DEBIAN/control; echo Filename: ./toolkit.deb; echo "Size: $(stat -c %s /srv/repo/toolkit.deb)"
  echo "SHA256: $(sha256sum /srv/repo/toolkit.deb | cut -d' ' -f1)"; echo; } >/srv/repo/Packages
mv /etc/apt/sources.list.d/* /etc/apt/away/ 2>/dev/null || true
[ ! -e /etc/apt/sources.list ] || mv /etc/apt/sources.list /etc/apt/away/
rm -r /tmp/deb
"""
ADD_REPOSITORY = "echo 'deb [trusted=yes] file:/srv/repo ./' >/etc/apt/sources.list"


@dataclass
class Stage:
    """The course's two hosts."""

    file: Path
    hosts: tuple[str, ...]
    image: str
    before: dict[str, list[bytes]] = field(default_factory=dict)

    def ran(self, *words: str, seconds: int = 400) -> subprocess.CompletedProcess[str]:
        whole = [sys.executable, "-m", "occamctl", *words, "-c", str(self.file)]
        ran = subprocess.run(whole, capture_output=True, text=True, timeout=seconds, check=False)
        assert "Traceback" not in ran.stderr, ran.stderr
        return ran

    def occamctl(self, *words: str, code: int = 0) -> str:
        """Standard output; both streams when another exit code than 0 is expected."""
        ran = self.ran(*words)
        assert ran.returncode == code, f"{words}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout + ran.stderr if code else ran.stdout

    def on(self, number: int, script: str) -> bytes:
        """What a script prints on a host, as root."""
        code, out, err = Engine.local().exec(f"{COURSE}-host{number}", ["sh", "-c", script])
        assert code == 0, (script, out, err)
        return out

    def up_inside(self, number: int) -> bool:
        """Does the engine of a host answer?"""
        return self.on(number, "docker version >/dev/null 2>&1 && echo yes; true") == b"yes\n"

    def files(self, number: int) -> list[bytes]:
        """The two files that prepare changes, with their modes; and what stands beside them."""
        show = "for one in {} {}; do stat -c %a $one && base64 -w0 $one; echo; done 2>/dev/null; ls -A /etc/docker"
        return self.on(number, show.format(DAEMON, CONFIG) + " /var/lib/occam 2>&1; true").splitlines()

    def lent(self, number: int) -> list[str]:
        """UUIDs of a host's GPUs, by its own tool."""
        return sorted(visible(self.on(number, "nvidia-smi -L").decode()))

    def check(self, *more: str) -> tuple[int, list[dict[str, Any]]]:
        ran = self.ran("gpu", "check", "-o", "json", *more)
        return ran.returncode, json.loads(ran.stdout)

    def labels(self, session: Session, number: int) -> dict[str, str]:
        mine = nodes.own_id(session.engine(self.hosts[number - 1]))
        return dict(next(node.labels for node in swarm.nodes(session.manager) if node.id == mine))


@pytest.fixture(scope="module")
def stage(built: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    sandbox.down(COURSE)
    hosts = sandbox.up(2, name=COURSE, tags=built, say=say, gpus=2)
    file = tmp_path_factory.mktemp(COURSE) / "occam.yaml"
    file.write_text(f"version: 1\ncourse: {COURSE}\nstudents: [ada]\n" + hosts.as_yaml())
    made = Stage(file, hosts.addresses, built[-1])
    made.on(1, f"mkdir -p /etc/docker; printf %s {shlex.quote(THEIRS.decode())} >{DAEMON}; chmod 640 {DAEMON}")
    made.on(2, REPOSITORY)
    made.before = {"1": made.files(1), "2": made.files(2)}
    yield made
    sandbox.down(COURSE)


def test_the_sandbox_says_that_its_gpus_are_simulated(stage: Stage) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "occamctl", "sandbox", "list", "-o", "json"], capture_output=True, text=True, timeout=60
    )
    assert [row["gpus"] for row in json.loads(listed.stdout) if row["sandbox"] == COURSE] == [2, 2]
    rows = json.loads(stage.occamctl("host", "list", "-o", "json"))
    assert {model for row in rows for model in row["gpu_models"]} == {"NVIDIA A100-SXM4-40GB (simulated)"}


def test_check_names_what_is_missing_on_each_host(stage: Stage) -> None:
    code, rows = stage.check()
    assert code == 3
    assert [row["host"] for row in rows] == list(stage.hosts)
    for number, row in enumerate(rows, 1):
        assert [gpu["uuid"] for gpu in row["gpus"]] == sorted(row["lends"], key=row["lends"].index)
        assert sorted(row["lends"]) == stage.lent(number)
        said = "\n".join(one["what"] for one in row["missing"])
        assert ("no NVIDIA container toolkit" in said) == (number == 2)
        for word in ("swarm-resource", "no runtime nvidia", "default runtime is runc", "as generic resource"):
            assert word in said
        assert {one["fix"] for one in row["missing"]} == {"run: occamctl host prepare --gpu"}
    assert stage.check("--host", stage.hosts[1])[1] == rows[1:]
    told = stage.occamctl("gpu", "check", code=3)
    assert f"{stage.hosts[0]}: not ready (driver 570.00-simulated, cuda 12.8, toolkit 1.19.1-simulated)" in told
    assert "A100-SXM4-40GB (simulated), 40G, GPU-" in told
    assert "no host 'nobody'" in stage.occamctl("gpu", "check", "--host", "nobody", code=2)


def test_a_host_with_unprepared_gpus_is_planned_as_a_host_without(stage: Stage) -> None:
    ran = stage.ran("course", "plan")
    assert ran.returncode == 0
    assert "start service gpuhost-gpus" not in ran.stdout
    assert ran.stderr.count("(see: occamctl gpu check --host ") == 2


def test_what_cannot_be_merged_is_refused_and_left(stage: Stage) -> None:
    stage.on(2, f"mkdir -p /etc/docker; printf '{{broken' >{DAEMON}")
    stage.on(1, f"docker run -d --name busy {stage.image} sleep 600")
    told = stage.occamctl("host", "prepare", "--gpu", code=3)
    assert f"{DAEMON} is not JSON" in told
    assert "ends 1 running container" in told
    assert stage.on(2, f"cat {DAEMON}") == b"{broken"
    stage.on(2, f"rm {DAEMON}")


def test_a_toolkit_that_apt_does_not_know_is_not_ours_to_install(stage: Stage) -> None:
    told = stage.occamctl("host", "prepare", "--gpu", code=3)
    assert f"{stage.hosts[1]}: apt there knows no package nvidia-container-toolkit" in told
    assert "install-guide" in told
    assert stage.files(2) == stage.before["2"]
    stage.on(2, ADD_REPOSITORY)


def test_an_engine_with_running_containers_is_not_restarted(stage: Stage) -> None:
    told = stage.occamctl("host", "prepare", "--gpu", code=5)
    assert f"{stage.hosts[0]}: its engine must be restarted, and that ends 1 running container" in told
    assert "--restart-engine" in told
    assert stage.files(1)[:4] == stage.before["1"][:4]
    assert stage.on(1, "docker inspect -f '{{.State.Running}}' busy") == b"true\n"
    did = "installed nvidia-container-toolkit, told toolkit and engine of its GPUs, restarted the engine"
    assert f"{stage.hosts[1]}: {did}" in told


def test_an_engine_that_does_not_take_the_new_settings_gets_the_old_ones_back(stage: Stage) -> None:
    """As one that was started with an option which is in the file as well: it ends at once."""
    stage.on(1, "docker rm -f busy; kill $(cat /run/docker.pid); while pgrep -x dockerd; do sleep 0.2; done")
    stage.on(1, "setsid -f dockerd --default-runtime runc >/var/log/dockerd.log 2>&1 </dev/null")
    wait.until(lambda: stage.up_inside(1), bool, "the engine", seconds=30)
    told = stage.occamctl("host", "prepare", "--gpu", code=3)
    assert f"{stage.hosts[0]}: its engine did not take the new {DAEMON}" in told
    assert "default-runtime" in told, "the engine's own words"
    assert "the old one is back and the engine runs" in told
    assert stage.files(1) == stage.before["1"]
    assert stage.up_inside(1)
    stage.on(1, "kill $(cat /run/docker.pid); while pgrep -x dockerd; do sleep 0.2; done")
    stage.on(1, "setsid -f dockerd >/var/log/dockerd.log 2>&1 </dev/null")
    wait.until(lambda: stage.up_inside(1), bool, "the engine", seconds=30)


def test_prepare_once_and_nothing_the_second_time(stage: Stage) -> None:
    began = time.monotonic()
    told = stage.occamctl("host", "prepare", "--gpu")
    say(f"host prepare --gpu took {time.monotonic() - began:.1f} s with the engine's restart")
    assert f"{stage.hosts[0]}: told toolkit and engine of its GPUs, restarted the engine" in told
    assert stage.occamctl("host", "prepare", "--gpu").count("nothing to do") == 2
    written = json.loads(stage.on(1, f"cat {DAEMON}"))
    assert written["log-opts"] == {"max-size": "9m"}
    assert len(written["node-generic-resources"]) == 4, "its name and its shares, of each"
    assert stage.on(1, f"stat -c %a {DAEMON}") == b"640\n"
    code, rows = stage.check()
    assert (code, [row["state"] for row in rows]) == (0, ["ready", "ready"])
    with open_course(stage.file) as session:
        for number, host in enumerate(stage.hosts, 1):
            info = session.engine(host).api.info()
            assert info["DefaultRuntime"] == "nvidia"
            specs = [spec for one in info["GenericResources"] for spec in one.values()]
            told = {one["Kind"]: str(one["Value"]) for one in specs}
            assert all(gpus.known(uuid, told) for uuid in stage.lent(number))


def test_up_lends_proves_and_watches(stage: Stage) -> None:
    told = stage.ran("course", "up", "-y")
    assert told.returncode == 0, told.stderr
    assert "gpu check" not in told.stderr
    with open_course(stage.file) as session:
        for number in (1, 2):
            labels = stage.labels(session, number)
            node = nodes.own_id(session.engine(stage.hosts[number - 1]))
            there = next(one for one in swarm.nodes(session.manager) if one.id == node)
            assert sorted(one.uuid for one in gpus.usable(labels, there.generic)) == stage.lent(number)
            assert gpus.out(labels) == {}
        listed = {one["Spec"]["Name"] for one in swarm.services(session.manager, {"occam.course": COURSE})}
        assert not [name for name in listed if "probe" in name]
        assert f"{COURSE}-gpus" in listed
    began = time.monotonic()
    assert "Nothing to do" in stage.occamctl("course", "up", "-y")
    say(f"course up with nothing to do on two hosts with GPUs took {time.monotonic() - began:.1f} s")
    assert json.loads(stage.occamctl("course", "plan", "-o", "json")) == []


def watched(stage: Stage) -> dict[str, dict[str, Any]]:
    """What the watchers tell the gateway, by GPU; asked from inside its container."""
    with open_course(stage.file) as session:
        engine = session.manager
        gateway = engine.api.containers(filters={"label": [f"occam.course={COURSE}", "occam.kind=gateway"]})[0]["Id"]
        tasks = [one for one in swarm.tasks(engine, service_name=f"{COURSE}-gpus") if one.state == "running"]
        where = [address for task in tasks for address in task.addresses.values()]
        code, out, err = engine.exec(gateway, ["python", "-c", ASK, str(WATCHER_PORT), *where])
    assert code == 0, err
    said = [json.loads(line) for line in out.decode().splitlines()]
    return {gpu["uuid"]: gpu | {"trouble": one["trouble"]} for one in said for gpu in one["gpus"]}


def test_the_watcher_tells_the_gateway_what_each_gpu_does(stage: Stage) -> None:
    first, all_of_them = stage.lent(1)[0], sorted(stage.lent(1) + stage.lent(2))
    wait.until(lambda: sorted(watched(stage)), lambda seen: seen == all_of_them, "the watchers", seconds=40)
    stage.on(1, f"echo '57 1234 4711' >{STATE}/use/{first}")
    told = wait.until(
        lambda: watched(stage)[first], lambda one: one["utilization"] == 57, "the watcher's word", seconds=20
    )
    assert (told["memory_used"], told["memory"], told["processes"]) == (1234 << 20, 40 << 30, [4711])
    stage.on(1, f"rm {STATE}/use/{first}")


def run(stage: Stage, session: Session, name: str, uuids: list[str]) -> desired.Service:
    """A service that lists its GPUs, and stays."""
    service = desired.Service(
        name=name,
        image=stage.image,
        labels={"occam.test": COURSE},
        command=("sh", "-c", "nvidia-smi -L; env | grep DOCKER_RESOURCE; echo end; sleep 600"),
        env=gpus.visible(bool(uuids)),
        generic=tuple(gpus.kind(uuid) for uuid in uuids),
        stop_grace=0,
        restart="none",
    )
    swarm.ensure_service(session.manager, service)
    return service


def test_the_swarm_gives_each_gpu_once_and_a_container_sees_only_its_own(stage: Stage) -> None:
    mine, other = stage.lent(2)
    with open_course(stage.file) as session:
        names = {"one": [mine], "two": [other], "none": []}
        for name, uuids in names.items():
            run(stage, session, f"test-{name}", uuids)
        seen = {
            name: wait.until(
                lambda name=name: swarm.service_logs(session.manager, f"test-{name}"),
                lambda text: "end\n" in text,
                f"what {name} sees",
                seconds=60,
            )
            for name in names
        }
        assert {name: sorted(visible(text)) for name, text in seen.items()} == {
            "one": [mine],
            "two": [other],
            "none": [],
        }
        assert f"{gpus.variable(mine)}={mine}" in seen["one"]
        run(stage, session, "test-late", [mine])
        late = wait.until(
            lambda: [one.message for one in swarm.tasks(session.manager, service_name="test-late")],
            lambda said: any("insufficient resources" in one for one in said),
            "the swarm's refusal to give a GPU twice",
            seconds=30,
        )
        say(f"a GPU asked for twice: {late[0]}")
        for name in (*names, "late"):
            swarm.remove_service(session.manager, f"test-{name}")
        swarm.wait_absent(session.manager, {"occam.test": COURSE})


def test_a_broken_driver_and_one_that_hangs(stage: Stage) -> None:
    stage.on(2, f"echo mismatch >{STATE}/fault")
    code, rows = stage.check("--host", stage.hosts[1])
    assert (code, rows[0]["missing"][0]["what"]) == (
        3,
        "nvidia-smi says: Failed to initialize NVML: Driver/library version mismatch; NVML library version: 570.00",
    )
    stage.on(2, f"echo hang >{STATE}/fault")
    began = time.monotonic()
    code, rows = stage.check()
    say(f"gpu check on a host whose driver hangs took {time.monotonic() - began:.0f} s")
    assert time.monotonic() - began < 40
    assert (code, rows[0]["state"]) == (3, "ready")
    assert "the driver hangs" in rows[1]["missing"][0]["what"]
    told = stage.ran("course", "up", "-y")
    assert told.returncode == 0, told.stderr
    assert f"{stage.hosts[1]}: GPUs: nvidia-smi does not end: the driver hangs" in told.stderr
    with open_course(stage.file) as session:
        labels = stage.labels(session, 2)
        assert gpus.out(labels) == {gpus.EVERY: "its driver hangs"}
        assert len(gpus.lent(labels)) == 2, "what it has is still shown"
        assert gpus.out(stage.labels(session, 1)) == {}
    stage.on(2, f"rm {STATE}/fault")


def test_a_mended_driver_is_proven_again_and_a_lost_gpu_stays_out(stage: Stage) -> None:
    kept, lost = stage.lent(2)
    stage.on(2, f"touch {STATE}/lost/{lost}")
    told = stage.ran("course", "up", "-y")
    assert told.returncode == 0, told.stderr
    with open_course(stage.file) as session:
        labels = stage.labels(session, 2)
        assert set(gpus.out(labels)) == {lost}
        assert "Unknown Error" in gpus.out(labels)[lost]
        assert [one.uuid for one in gpus.lent(labels)] == [kept, lost]
        assert labels[gpus.PROVEN] == gpus.fingerprint([kept], "570.00-simulated", "1.19.1-simulated")
    stage.on(2, f"rm {STATE}/lost/{lost}")
    stage.occamctl("course", "up", "-y")
    with open_course(stage.file) as session:
        assert gpus.out(stage.labels(session, 2)) == {}
    assert json.loads(stage.occamctl("course", "plan", "-o", "json")) == []


def test_a_runtime_that_does_not_hear_the_swarm_is_found_out(stage: Stage) -> None:
    """As NVIDIA's toolkit 1.18, under a number that promises better."""
    stage.on(1, f"touch {STATE}/deaf; echo 1.20.9-simulated >{STATE}/toolkit")
    told = stage.ran("course", "up", "-y")
    assert told.returncode == 0, told.stderr
    first, second = stage.lent(1)
    with open_course(stage.file) as session:
        labels = stage.labels(session, 1)
        why = gpus.out(labels)[gpus.EVERY]
        say(f"out of service: {why}")
        assert why == f"a container that was assigned {first} sees {first}, {second}"
        assert gpus.PROVEN not in labels
    assert f"{stage.hosts[0]}: its GPUs out of service: a container that was assigned" in told.stderr
    stage.on(1, f"rm {STATE}/deaf {STATE}/toolkit")
    stage.occamctl("course", "up", "-y")
    with open_course(stage.file) as session:
        assert gpus.out(stage.labels(session, 1)) == {}
    assert "Nothing to do" in stage.occamctl("course", "up", "-y")


def test_undo_ends_nobodys_containers_and_overwrites_nobodys_changes(stage: Stage) -> None:
    written = stage.on(1, f"cat {DAEMON}").decode()
    stage.on(1, f"echo >>{DAEMON}")
    told = stage.occamctl("host", "prepare", "--undo", code=5)
    assert f"{stage.hosts[0]}: somebody has changed {DAEMON}" in told
    assert f"{stage.hosts[1]}: its engine must be restarted, and that ends" in told
    stage.on(1, f"printf %s {shlex.quote(written)} >{DAEMON}")
    assert stage.on(1, f"cat {DAEMON}").decode() == written


def test_down_puts_every_byte_back(stage: Stage) -> None:
    stage.occamctl("course", "down", "-y", "--keep-images")
    for number in (1, 2):
        assert stage.files(number) == stage.before[str(number)]
        assert stage.on(number, "docker info -f '{{.DefaultRuntime}} {{json .GenericResources}}'") == b"runc null\n"
    assert stage.on(2, "dpkg -l nvidia-container-toolkit 2>&1 | grep -c ^ii || true") == b"0\n"
    left = stage.on(2, "find /var/lib/apt/lists -type f; ls -d /etc/nvidia-container-runtime 2>/dev/null || true")
    assert left == b""
    assert stage.occamctl("host", "prepare", "--undo").count("nothing of ours is there") == 2
