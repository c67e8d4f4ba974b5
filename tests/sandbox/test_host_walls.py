"""The walls between students and hosts: forged frames and the hosts' own ports, with and without the rules.

Two hosts. On each a container of one overlay network attacks, with a student's rights, and one of another is attacked.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from occamctl import sandbox, wait
from occamctl.actions.session import Session, open_course
from occamctl.engine import ground, leftovers, nodes, swarm
from occamctl.engine.client import Engine
from occamctl.errors import OccamError
from occamctl.plan import desired
from occamctl.plan.wanted import host_label

from .conftest import say

COURSE = "walled"
TABLE = f"occam-{COURSE}"
FRAMES = 100
NEVER = (22, 2375, 2376, 2377, 7946)
METADATA = "169.254.77.7"
BACK = 60
"""Seconds after which the rules must be back when a host was restarted."""
# Counts what reaches it, and answers on TCP.
VICTIM = """
import socket, threading
door = socket.create_server(("0.0.0.0", 5556))
threading.Thread(target=lambda: [door.accept()[0].close() for _ in iter(int, 1)], daemon=True).start()
ears = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ears.bind(("0.0.0.0", 5555))
while True:
    print(ears.recvfrom(2048)[0].decode(), flush=True)
"""
# A frame for a container of another network, in VXLAN, in a UDP packet as anybody may send one.
FORGE = """
import socket, struct, sys, time
target, vni, victim, tag, count = sys.argv[1:]
victim = socket.inet_aton(victim)
def total(data):
    n = sum(struct.unpack(f">{len(data) // 2}H", data))
    n = (n >> 16) + (n & 0xffff)
    return ~(n + (n >> 16)) & 0xffff
sender = victim[:3] + b"\\xfa"
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(int(count)):
    text = f"{tag} {number}".encode()
    udp = struct.pack(">HHHH", 4444, 5555, 8 + len(text), 0) + text
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, sender, victim)
    head = head[:10] + struct.pack(">H", total(head)) + head[12:]
    frame = b"\\x02\\x42" + victim + b"\\x02\\x42" + sender + b"\\x08\\x00" + head + udp
    out.sendto(struct.pack(">II", 0x08000000, int(vni) << 8) + frame, (target, 4789))
    time.sleep(0.002)
"""
# Which of address:port answer.
KNOCK = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor
def knock(where):
    host, port = where.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError:
        return ""
    return where
with ThreadPoolExecutor(32) as pool:
    print(*filter(None, pool.map(knock, sys.argv[1:])))
"""
# Stands for an engine that an admin opened on TCP, and for a cloud's metadata and name server.
LISTEN = """
import socket, sys, threading
for where in sys.argv[1:]:
    host, port = where.rsplit(":", 1)
    threading.Thread(target=lambda one: [one.accept()[0].close() for _ in iter(int, 1)],
                     args=(socket.create_server((host, int(port))),)).start()
print("listening", flush=True)
"""


@dataclass
class Stage:
    """The course's hosts, and the containers on them. `before` is each host's packet filter before the first `up`."""

    file: Path
    hosts: tuple[str, ...]
    session: Session
    image: str = ""
    before: dict[str, str] = field(default_factory=dict)
    attackers: dict[str, str] = field(default_factory=dict)
    victims: dict[str, str] = field(default_factory=dict)

    def engine(self, host: str) -> Engine:
        return self.session.engine(host)

    def occamctl(self, *words: str, code: int = 0) -> str:
        whole = [sys.executable, "-m", "occamctl", *words, "-c", str(self.file)]
        ran = subprocess.run(whole, capture_output=True, text=True, timeout=300, check=False)
        assert ran.returncode == code, f"{words}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def start(self, host: str, script: str, *words: str, net: str, user: str = "1000") -> str:
        api = self.engine(host).api
        made: str = api.create_container(
            self.image, ["python", "-u", "-c", script, *words], user=user, labels={"occam.test": COURSE},
            host_config=api.create_host_config(network_mode=net, cap_drop=["ALL"]),
        )["Id"]  # fmt: skip
        api.start(made)
        return made

    def said(self, host: str, container: str, *command: str, user: str = "1000") -> str:
        code, out, err = self.engine(host).exec(container, command, user=user, seconds=60)
        assert code == 0, (command[:1], out, err)
        return out.decode().strip()

    def address(self, host: str, container: str, net: str) -> str:
        there = self.engine(host).api.inspect_container(container)["NetworkSettings"]["Networks"]
        return str(there[net]["IPAddress"])

    def on_host(self, host: str, *command: str) -> str:
        """What a command prints that runs on the host itself, as root."""
        number = self.hosts.index(host) + 1
        code, out, err = Engine.local().exec(f"{COURSE}-host{number}", command)
        assert code == 0, (command, out, err)
        return out.decode()

    def nft(self, host: str, *words: str) -> str:
        """nft in the host's network; the host itself has none."""
        command = ["docker", "run", "--rm", "--network=host", "--cap-drop=ALL", "--cap-add=NET_ADMIN", "--user=0"]
        return self.on_host(host, *command, self.image, "nft", *words)

    def stands(self, host: str) -> bool:
        return f"table inet {TABLE}" in self.nft(host, "list", "tables")

    def keeper(self, host: str) -> str:
        listed = self.engine(host).api.containers(filters={"label": [f"occam.course={COURSE}", "occam.kind=walls"]})
        return str(listed[0]["Id"]) if listed else ""

    def vni(self, net: str) -> str:
        listed = self.engine(self.hosts[0]).api.networks(names=[net])
        return str(listed[0]["Options"]["com.docker.network.driver.overlay.vxlanid_list"])

    def gateway(self, host: str) -> str:
        """The bridge that leads out of every container of an overlay network."""
        config = self.engine(host).api.inspect_network("docker_gwbridge")["IPAM"]["Config"]
        return str(config[0]["Gateway"])

    @contextmanager
    def without_rules(self, host: str) -> Iterator[None]:
        """The keeper holds still, and the table is gone."""
        keeper, api = self.keeper(host), self.engine(host).api
        api.pause(keeper)
        try:
            self.nft(host, "delete", "table", "inet", TABLE)
            yield
        finally:
            api.unpause(keeper)
            wait.until(lambda: self.stands(host), bool, f"the rules on {host}", seconds=20)

    def forged(self, host: str, target: str, victim_on: str, tag: str) -> int:
        """How many of FRAMES frames from the attacker on `host`, sent to `target`, reach the victim on `victim_on`."""
        victim = self.victims[victim_on]
        address = self.address(victim_on, victim, "private")
        words = [target, self.vni("private"), address, tag, str(FRAMES)]
        self.said(host, self.attackers[host], "python", "-c", FORGE, *words)
        wait.nap(1)
        heard = self.engine(victim_on).api.logs(victim).decode().splitlines()
        return len({line for line in heard if line.startswith(f"{tag} ")})

    def knock(self, host: str, *where: str) -> set[str]:
        return set(self.said(host, self.attackers[host], "python", "-c", KNOCK, *where).split())

    def doors(self, host: str) -> list[str]:
        """Everything that must not answer to a container of `host`."""
        ways = (self.gateway(host), "172.17.0.1", *self.hosts)
        return [f"{way}:{port}" for way in ways for port in NEVER] + [f"{METADATA}:80"]


def filters(stage: Stage, host: str) -> str:
    """The host's packet filter: iptables' rules without their counters, and every table of nftables.

    Left out are the ports of the name server that the engine around the host gives it, new at each of its starts.
    """
    saved = stage.on_host(host, "sh", "-c", "iptables-save; ip6tables-save")
    rules = [
        line.partition(" [")[0] for line in saved.splitlines() if not line.startswith("#") and "127.0.0.11" not in line
    ]
    return "\n".join([*rules, stage.nft(host, "list", "tables")])


@pytest.fixture(scope="module")
def stage(built: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    sandbox.down(COURSE)
    hosts = sandbox.up(2, name=COURSE, tags=built, say=say)
    file = tmp_path_factory.mktemp(COURSE) / "occam.yaml"
    file.write_text(f"version: 1\ncourse: {COURSE}\nstudents: [ada]\n" + hosts.as_yaml())
    with open_course(file) as session:
        made = Stage(file, hosts.addresses, session, built[-1])
        made.before = {host: filters(made, host) for host in made.hosts}
        made.occamctl("course", "up", "-y")
        for name, subnet in (("private", "10.197.51.0/24"), ("elsewhere", "10.197.52.0/24")):
            ground.ensure_network(made.engine(made.hosts[0]), desired.Network(name, subnet, {"occam.test": COURSE}))
        for host in made.hosts:
            made.victims[host] = made.start(host, VICTIM, net="private")
            made.attackers[host] = made.start(host, "import time; time.sleep(3600)", net="elsewhere")
            made.on_host(host, "ip", "address", "add", f"{METADATA}/32", "dev", "lo")
            open_to_all = [f"0.0.0.0:{port}" for port in (2375, 2376)] + [f"{METADATA}:{port}" for port in (53, 80)]
            made.start(host, LISTEN, *open_to_all, net="host", user="0")
        yield made
    sandbox.down(COURSE)


def ways(stage: Stage, host: str) -> list[tuple[str, str]]:
    """Addresses to which frames are sent, with the host that they reach."""
    other = next(one for one in stage.hosts if one != host)
    return [(stage.gateway(host), host), ("172.17.0.1", host), (host, host), (other, other)]


def test_no_forged_frame_arrives(stage: Stage) -> None:
    host = stage.hosts[1]
    arrived = {way: stage.forged(host, way, reached, f"walled-{way}") for way, reached in ways(stage, host)}
    say(f"forged frames with the rules: {arrived}, of {FRAMES} each")
    assert set(arrived.values()) == {0}


def test_twin_without_the_rules_forged_frames_arrive(stage: Stage) -> None:
    host = stage.hosts[1]
    with stage.without_rules(host):
        arrived = {way: stage.forged(host, way, reached, f"open-{way}") for way, reached in ways(stage, host)}
    say(f"forged frames without the rules: {arrived}, of {FRAMES} each")
    assert set(arrived.values()) == {FRAMES}


def test_no_port_of_a_host_answers_to_a_container(stage: Stage) -> None:
    asked = {host: stage.doors(host) for host in stage.hosts}
    assert {host: stage.knock(host, *doors) for host, doors in asked.items()} == {host: set() for host in stage.hosts}
    say(f"ports of hosts that answer with the rules: 0 of {sum(map(len, asked.values()))}")


def test_twin_without_the_rules_they_answer(stage: Stage) -> None:
    for host in stage.hosts:
        other = next(one for one in stage.hosts if one != host)
        with stage.without_rules(host):
            answered = stage.knock(host, *stage.doors(host))
        say(f"ports of hosts that answer on {host} without the rules: {len(answered)}")
        assert answered >= {f"{one}:{port}" for one in (host, other) for port in (22, 2375, 2376, 7946)}
        assert answered >= {f"{stage.hosts[0]}:2377", f"{stage.gateway(host)}:22", f"{METADATA}:80"}


def test_what_a_student_needs_works(stage: Stage) -> None:
    first, second = stage.hosts
    victim = stage.address(first, stage.victims[first], "private")
    name = stage.victims[first][:12]
    client = "import socket, sys; socket.create_connection((sys.argv[1], 5556), timeout=10).close(); print('open')"
    through = stage.start(second, "import time; time.sleep(3600)", net="private")
    assert stage.said(second, through, "python", "-c", client, victim) == "open", "an overlay between two hosts"
    assert stage.said(second, through, "python", "-c", client, name) == "open", "the engine's own DNS"
    door = f"{first}:8000"
    assert stage.knock(first, door) == {door}, "the published port, from its own host"
    assert stage.knock(second, door, f"{METADATA}:53") == {door, f"{METADATA}:53"}, "and a link-local name server"
    assert "Sign in" in stage.on_host(second, "curl", "-sL", "--max-time", "10", f"http://{door}/hub/login")


def test_up_again_changes_nothing_and_nothing_is_wrong(stage: Stage) -> None:
    assert json.loads(stage.occamctl("course", "plan", "-o", "json")) == []
    seen = json.loads(stage.occamctl("status", "-o", "json"))
    assert seen["wrong"] == []
    assert {"service": f"{COURSE}-walls", "state": "running", "message": ""} in seen["services"]


def test_rules_that_somebody_flushes_come_back(stage: Stage) -> None:
    host = stage.hosts[1]
    stage.nft(host, "delete", "table", "inet", TABLE)
    began = time.monotonic()
    wait.until(lambda: stage.stands(host), bool, "the rules", seconds=20)
    say(f"flushed rules were back after {time.monotonic() - began:.0f} s")


def test_a_killed_keeper_leaves_the_rules_and_is_replaced(stage: Stage) -> None:
    host = stage.hosts[1]
    gone = stage.keeper(host)
    stage.engine(host).api.kill(gone)
    assert stage.stands(host)
    wait.until(lambda: stage.keeper(host), lambda now: now not in ("", gone), "a new keeper", seconds=30)


def test_a_host_without_its_keeper_is_named_and_up_brings_it_back(stage: Stage) -> None:
    first, second = stage.hosts
    node = nodes.own_id(stage.engine(second))
    nodes.label(stage.engine(first), node, {host_label(COURSE): None})
    wait.until(lambda: stage.keeper(second), lambda now: not now, "the keeper's end", seconds=30)
    wrong = json.loads(stage.occamctl("status", "-o", "json", code=1))["wrong"]
    assert [one for one in wrong if one.startswith(f"{second}: nobody keeps the rules")], wrong
    stage.occamctl("course", "up", "-y")
    assert stage.keeper(second)
    assert json.loads(stage.occamctl("status", "-o", "json"))["wrong"] == []


def _patient(look: Callable[[], bool]) -> Callable[[], bool]:
    def ask() -> bool:
        try:
            return look()
        except (AssertionError, OccamError):  # the engine inside is not there yet
            return False

    return ask


def test_a_restarted_host_has_its_rules_again(stage: Stage) -> None:
    """Its network name space is a new one, as after a reboot: no table is left."""
    for number, host in reversed(list(enumerate(stage.hosts, 1))):
        Engine.local().api.restart(f"{COURSE}-host{number}", timeout=20)
        began = time.monotonic()
        wait.until(_patient(lambda host=host: stage.stands(host)), bool, f"the rules on {host}", seconds=BACK)
        say(f"rules of host {number} were back {time.monotonic() - began:.0f} s after its restart")


def test_down_leaves_every_packet_filter_as_it_was(stage: Stage) -> None:
    """Rules that somebody else made meanwhile stay."""
    rule = ("FORWARD", "-s", "192.0.2.1", "-j", "DROP")
    for host in stage.hosts:
        stage.on_host(host, "iptables", "-A", *rule)
        stage.nft(host, "add", "table", "inet", "admins")
    with open_course(stage.file) as session:
        for host in stage.hosts:
            for one in session.engine(host).api.containers(all=True, filters={"label": f"occam.test={COURSE}"}):
                session.engine(host).api.remove_container(one["Id"], force=True)
        for name in ("private", "elsewhere"):
            ground.remove_network(session.manager, name)
    stage.occamctl("course", "down", "-y", "--keep-images")
    with open_course(stage.file) as session:
        for host, engine in session.engines.items():
            assert swarm.in_swarm(engine) is None
            left = leftovers.left(engine, COURSE)
            assert (left.containers, left.services, left.networks) == ((), (), ())
            stage.on_host(host, "iptables", "-D", *rule)
            stage.nft(host, "delete", "table", "inet", "admins")
            assert filters(stage, host) == stage.before[host]
