"""The walls around a student's container: its firewall, its capabilities, its token, its home.

Each refusal has a twin that shows the same thing allowed where it should be.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from occamctl import wait
from occamctl.engine import images
from occamctl.engine.client import Engine
from occamctl.plan import walls

pytestmark = pytest.mark.engine

HUB_NET, OWN_NET = "10.197.41.0/28", "10.197.41.16/28"
CAPABILITIES = ["NET_ADMIN", "SETUID", "SETGID", "SETPCAP"]
TOKEN = "a-token-that-nobody-else-may-see"
LABELS = {"occam.test": "walls"}
# What stands in for the server: one port that is the server's, and one such as a kernel opens.
SERVE = """
cd /tmp
python -m http.server 9999 & python -m http.server 8888 &
trap 'sleep 1; echo ended in order; exit 0' TERM
while :; do wait; done
"""
SERVER = "$(pgrep -f '^python -m http.server 8888')"
TRY = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
except OSError as error:
    sys.exit(print(type(error).__name__))
print("open")
"""


@dataclass
class Stage:
    """Containers of one test run on two networks."""

    engine: Engine
    image: str
    secret: Path
    prefix: str
    networks: dict[str, str] = field(default_factory=dict)
    cleanup: ExitStack = field(default_factory=ExitStack)

    def network(self, name: str, subnet: str) -> None:
        api = self.engine.api
        ipam = {"Driver": "default", "Config": [{"Subnet": subnet}]}
        self.networks[name] = api.create_network(f"{self.prefix}-{name}", ipam=ipam, labels=LABELS)["Id"]
        self.cleanup.callback(api.remove_network, self.networks[name])

    def volume(self) -> str:
        name = f"{self.prefix}-{uuid.uuid4().hex[:6]}"
        self.engine.api.create_volume(name, labels=LABELS)
        self.cleanup.callback(self.engine.api.remove_volume, name, force=True)
        return name

    def start(
        self, command: list[str], networks: list[str], host: dict[str, Any], env: dict[str, str] | None = None
    ) -> str:
        api = self.engine.api
        made: str = api.create_container(
            self.image, command, environment=env, labels=LABELS,
            host_config=api.create_host_config(network_mode=self.networks[networks[0]], **host),
        )["Id"]  # fmt: skip
        self.cleanup.callback(api.remove_container, made, force=True, v=True)
        for name in networks[1:]:
            api.connect_container_to_network(made, self.networks[name])
        api.start(made)
        return made

    def notebook(self, volume: str, **home: str) -> str:
        """A container as the gateway makes it, with a stand-in for the server."""
        host = {
            "cap_drop": ["ALL"],
            "cap_add": CAPABILITIES,
            "binds": [f"{volume}:/home", f"{self.secret}:/run/secrets/notebook-env:ro"],
        }
        env = {"OCCAM_HUB_SUBNET": HUB_NET, "OCCAM_NET_SUBNET": OWN_NET, **home}
        return self.start(["occam-notebook", "sh", "-c", SERVE], ["hub", "own"], host, env)

    def address(self, container: str, network: str) -> str:
        there = self.engine.api.inspect_container(container)["NetworkSettings"]["Networks"]
        return str(there[f"{self.prefix}-{network}"]["IPAddress"])

    def said(self, container: str, *command: str, user: str = "1000") -> str:
        code, out, err = self.engine.exec(container, command, user=user, seconds=30)
        return (out + err).decode() + (f"exit {code}" if code else "")

    def reaches(self, container: str, address: str, port: int) -> str:
        return self.said(container, "python", "-c", TRY, address, str(port)).strip().removesuffix("exit 1").strip()

    def serving(self, container: str) -> str:
        wait.until(lambda: self.reaches(container, "127.0.0.1", 9999), "open".__eq__, "stand-in server", seconds=30)
        return container


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    engine = Engine.local()
    wanted = images.notebook_image()
    images.ensure_built(engine, wanted, print)
    secret = tmp_path_factory.mktemp("walls") / "notebook-env"
    secret.write_text(json.dumps({"JUPYTERHUB_API_TOKEN": TOKEN}))
    secret.chmod(0o400)
    made = Stage(engine, wanted.tag, secret, f"occam-walls-{uuid.uuid4().hex[:6]}")
    with made.cleanup:
        made.network("hub", HUB_NET)
        made.network("own", OWN_NET)
        yield made
    engine.close()


@pytest.fixture(scope="module")
def home(stage: Stage) -> str:
    return stage.volume()


@pytest.fixture(scope="module")
def notebook(stage: Stage, home: str) -> str:
    return stage.serving(stage.notebook(home, OCCAM_HOME_ID="home-1", OCCAM_HOME_STATE="new"))


@pytest.fixture(scope="module")
def neighbour(stage: Stage) -> str:
    """Another container on the hub's network, such as another student's notebook."""
    return stage.start(["sleep", "900"], ["hub"], {"cap_drop": ["ALL"]})


@pytest.fixture(scope="module")
def executor(stage: Stage) -> str:
    """A container on the student's own network."""
    return stage.start(["sleep", "900"], ["own"], {"cap_drop": ["ALL"]})


def test_only_the_servers_port_answers_on_the_hubs_network(stage: Stage, notebook: str, neighbour: str) -> None:
    address = stage.address(notebook, "hub")
    assert stage.reaches(neighbour, address, 8888) == "open"
    assert stage.reaches(neighbour, address, 9999) == "TimeoutError"


def test_twin_without_the_firewall_the_other_port_answers(stage: Stage, neighbour: str) -> None:
    bare = stage.serving(stage.start(["sh", "-c", SERVE], ["hub"], {"cap_drop": ["ALL"]}))
    assert stage.reaches(neighbour, stage.address(bare, "hub"), 9999) == "open"


def test_everything_answers_on_the_own_network(stage: Stage, notebook: str, executor: str) -> None:
    address = stage.address(notebook, "own")
    assert stage.reaches(executor, address, 9999) == "open"
    assert stage.reaches(executor, address, 8888) == "open"


def test_the_student_has_no_capability_and_gets_none(stage: Stage, notebook: str) -> None:
    status = dict(
        line.split(":", 1) for line in stage.said(notebook, "sh", "-c", f"cat /proc/{SERVER}/status").splitlines()
    )
    assert {
        name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    } == dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), 0)
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Uid"].split() == ["1000"] * 4
    assert status["Groups"].split() == []
    # The twin: what the container itself may do, as its first process could before.
    root = dict(line.split(":", 1) for line in stage.said(notebook, "cat", "/proc/self/status", user="0").splitlines())
    assert bin(int(root["CapEff"], 16)).count("1") == len(CAPABILITIES)


def test_no_process_of_root_is_left(stage: Stage, notebook: str) -> None:
    listed = stage.engine.api.top(notebook, ps_args="-eo uid,pid,args")["Processes"]
    assert {uid for uid, *_ in listed} == {"1000"}


def test_the_student_cannot_take_the_firewall_away(stage: Stage, notebook: str) -> None:
    assert "Operation not permitted" in stage.said(notebook, "/usr/sbin/nft", "flush", "ruleset")
    # The twin: the same command works for root, so it is the capability that is missing.
    assert "dport 8888 accept" in stage.said(notebook, "/usr/sbin/nft", "list", "ruleset", user="0")


def test_nothing_in_the_image_raises_privileges(stage: Stage, executor: str) -> None:
    assert stage.said(executor, "find", "/", "-xdev", "-perm", "/6000", "-type", "f", user="0") == ""


def test_the_token_is_the_students_alone(stage: Stage, notebook: str) -> None:
    assert stage.said(notebook, "cat", "/dev/shm/occam/token") == TOKEN
    assert stage.said(notebook, "stat", "-c", "%a %u", "/dev/shm/occam/token") == "400 1000\n"
    environment = f"tr '\\0' '\\n' < /proc/{SERVER}/environ"
    assert f"JUPYTERHUB_API_TOKEN={TOKEN}\n" in stage.said(notebook, "sh", "-c", environment)
    assert "OCCAM_DRIVER_HOST=" + stage.address(notebook, "own") in stage.said(notebook, "sh", "-c", environment)
    assert TOKEN not in json.dumps(stage.engine.api.inspect_container(notebook))
    assert TOKEN not in stage.said(notebook, "sh", "-c", "env; ps axww", user="0")
    assert TOKEN.encode() not in stage.engine.api.logs(notebook)
    assert "Permission denied" in stage.said(notebook, "cat", "/run/secrets/notebook-env")


def test_the_mark_of_a_home_is_not_the_students(stage: Stage, notebook: str) -> None:
    assert stage.said(notebook, "cat", "/home/.occam/home-id") == "home-1\n"
    assert "exit" in stage.said(notebook, "sh", "-c", "echo mine > /home/.occam/home-id")
    assert "exit" in stage.said(notebook, "sh", "-c", "mv /home/.occam /home/gone")
    assert stage.said(notebook, "sh", "-c", "echo mine > /home/student/file") == "", "the twin: their own folder"


Restart = Callable[[dict[str, str]], str]


@pytest.fixture
def restart(stage: Stage, home: str, notebook: str) -> Restart:
    """Starts another notebook container on the same home, as after a stop."""
    return lambda env: stage.notebook(env.pop("volume", home), **env)


def test_the_stop_signal_reaches_the_server_in_time_to_save(stage: Stage, restart: Restart) -> None:
    container = stage.serving(restart({"OCCAM_HOME_ID": "home-1", "OCCAM_HOME_STATE": "kept"}))
    stage.engine.api.stop(container, timeout=20)
    assert stage.engine.api.logs(container).decode().endswith("ended in order\n")
    assert stage.engine.api.inspect_container(container)["State"]["ExitCode"] == 0


def test_the_home_that_was_kept_is_taken_again(stage: Stage, restart: Restart) -> None:
    stage.serving(restart({"OCCAM_HOME_ID": "home-1", "OCCAM_HOME_STATE": "kept"}))


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({"OCCAM_HOME_ID": "home-2", "OCCAM_HOME_STATE": "kept"}, "is marked home-1"),
        ({"OCCAM_HOME_ID": "home-2", "OCCAM_HOME_STATE": "new"}, "is marked home-1"),
        ({"OCCAM_HOME_ID": "home-1", "OCCAM_HOME_STATE": "kept", "volume": "fresh"}, "has no mark"),
        ({"OCCAM_HOME_STATE": "kept"}, "OCCAM_HOME_ID is not set"),
        ({"OCCAM_HOME_ID": "home-1", "OCCAM_HUB_SUBNET": "10.1.2.0/24"}, "no address in OCCAM_HUB_SUBNET"),
    ],
    ids=["another's home", "not new after all", "an empty one", "no id", "not on the network"],
)
def test_nothing_starts_on_the_wrong_home(stage: Stage, restart: Restart, env: dict[str, str], why: str) -> None:
    asked = dict(env)
    if "volume" in asked:
        asked["volume"] = stage.volume()
    container = restart(asked)
    assert stage.engine.api.wait(container, timeout=30)["StatusCode"] == 78
    assert why in stage.engine.api.logs(container).decode()


# The rules of a host: that nft takes every form of them. tests/sandbox/test_host_walls.py tries what they do. --------


def test_nft_takes_the_rules_of_a_host_twice_and_gives_them_back(stage: Stage) -> None:
    host = {"cap_drop": ["ALL"], "cap_add": ["NET_ADMIN"]}
    container = stage.start(["sleep", "60"], ["own"], host)
    text = walls.ruleset("ml-2026", ["10.0.0.2", "2001:db8::2"], [2222], data_port=4800)
    load = ["nft", "-f", "-"]
    for _ in (1, 2):
        assert stage.engine.exec(container, load, text.encode(), user="0") == (0, b"", b"")
    listed = stage.said(container, "nft", "list", "table", "inet", "occam-ml-2026", user="0")
    # nft prints what it holds in its own words; nothing is missing, and nothing is there twice.
    assert [listed.count(f"dport {port}") for port in (53, "{ 22, 2222 }", "{ 4789, 4800, 7946 }")] == [2, 3, 1]
    assert stage.said(container, *walls.removal("ml-2026"), user="0") == ""
    assert stage.said(container, *walls.removal("ml-2026"), user="0") == "", "none there is fine"
    assert "occam" not in stage.said(container, "nft", "list", "ruleset", user="0")
    unable = stage.start(["sleep", "60"], ["own"], {"cap_drop": ["ALL"]})
    said = stage.said(unable, *walls.removal("ml-2026"), user="0")
    assert "not permitted" in said
    assert "exit" not in said, "who cannot list tables has set none"
