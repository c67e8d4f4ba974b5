"""Three pretend hosts without images: who is let in, what is said when somebody is not, and an engine over SSH.

Host 1 is an ordinary one, host 2 asks for a password at sudo, host 3 has no engine.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from occamctl import sandbox, wait
from occamctl.engine.client import Engine
from occamctl.errors import Busy, HostError, TookTooLong
from occamctl.hosts import walls
from occamctl.hosts.connection import HostConnection, connect_all
from occamctl.hosts.lock import holding
from occamctl.hosts.prepare import prepare, undo_prepare
from occamctl.sandbox import keys
from occamctl.spec.course import Course, Host, Ssh

PASSWORD = "rehearsal"
NOBODY_THERE = "no-such-host.invalid"
Run = Callable[..., subprocess.CompletedProcess[str]]
Connect = Callable[..., HostConnection]


@pytest.fixture(scope="module")
def plain() -> Iterator[sandbox.Sandbox]:
    sandbox.down("plain")
    yield sandbox.up(3, name="plain", options={2: {"OCCAM_SUDO_PASSWORD": "1"}, 3: {"OCCAM_ENGINE": "none"}})
    sandbox.down("plain")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with nothing in it: what this machine's user trusts does not count."""
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def occamctl(plain: sandbox.Sandbox, tmp_path: Path, home: Path) -> Run:
    """Run occamctl as a person does; `hosts` and `ssh` go into the course file in place of the sandbox's."""

    def run(
        *words: str, hosts: list[Any] | None = None, env: dict[str, str] | None = None, **ssh: Any
    ) -> subprocess.CompletedProcess[str]:
        trusted = {"user": "ops", "identity_file": str(plain.key), "known_hosts": str(plain.known_hosts)}
        settings = {key: value for key, value in (trusted | {"connect_timeout": 5} | ssh).items() if value is not None}
        (tmp_path / "roster.csv").write_text("username\nanna\n")
        course = {"version": 1, "course": "plain", "students": "roster.csv", "ssh": settings}
        (tmp_path / "occam.yaml").write_text(yaml.safe_dump(course | {"hosts": hosts or list(plain.addresses)}))
        file = ["-c", str(tmp_path / "occam.yaml")]
        whole = [sys.executable, "-m", "occamctl", *words[:2], *file, *words[2:]]
        variables = {**os.environ, "HOME": str(home), "COLUMNS": "500", **(env or {})}
        ran = subprocess.run(whole, capture_output=True, text=True, timeout=300, check=False, env=variables)
        assert "Traceback" not in ran.stderr
        assert PASSWORD not in ran.stdout + ran.stderr
        return ran

    return run


@pytest.fixture
def connect(plain: sandbox.Sandbox) -> Iterator[Connect]:
    """Open connections that are closed at the end."""
    opened: list[HostConnection] = []

    def to(number: int, **more: Any) -> HostConnection:
        ssh = {"user": "ops", "identity_file": plain.key, "known_hosts": plain.known_hosts, "connect_timeout": 5}
        opened.append(HostConnection(Host(hostname=plain.addresses[number - 1]), Ssh.model_validate(ssh | more)))
        return opened[-1]

    yield to
    for one in opened:
        one.close()


def inside(number: int, *command: str) -> str:
    """What a command prints inside a host, not by way of SSH."""
    code, out, err = Engine.local().exec(f"plain-host{number}", command)
    assert code == 0, err
    return out.decode()


# Who is trusted -------------------------------------------------------------------------------------------------------


def test_an_unknown_host_key_is_refused_until_it_is_trusted(
    plain: sandbox.Sandbox, occamctl: Run, home: Path, tmp_path: Path
) -> None:
    one = [plain.addresses[0]]
    refused = occamctl("host", "list", hosts=one, known_hosts=None)
    shown = inside(1, "ssh-keygen", "-l", "-f", "/etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    assert refused.returncode == 3
    assert f"unknown host key ssh-ed25519 {shown}" in refused.stderr
    advice = refused.stderr.partition("then: ")[2].splitlines()[0]
    assert shlex.split(advice)[:2] == ["ssh-keyscan", "-p"]
    trusted = next(line for line in plain.known_hosts.read_text().splitlines() if line.startswith(one[0]))
    (home / ".ssh" / "known_hosts").write_text(f"{trusted}\n")
    assert occamctl("host", "list", hosts=one, known_hosts=None).returncode == 0


def test_a_changed_host_key_is_refused(plain: sandbox.Sandbox, occamctl: Run, tmp_path: Path) -> None:
    first, second = plain.known_hosts.read_text().splitlines()[:2]
    wrong = tmp_path / "known"
    wrong.write_text(f"{first.split()[0]} {' '.join(second.split()[1:])}\n")
    refused = occamctl("host", "list", hosts=[plain.addresses[0]], known_hosts=str(wrong))
    assert refused.returncode == 3
    assert "host key has CHANGED" in refused.stderr
    assert f"ssh-keygen -f {wrong} -R" in refused.stderr
    wrong.write_text(f"{first}\n")
    assert occamctl("host", "list", hosts=[plain.addresses[0]], known_hosts=str(wrong)).returncode == 0


def test_a_refused_login_names_the_user(plain: sandbox.Sandbox, occamctl: Run, tmp_path: Path) -> None:
    keys.ensure_pair(tmp_path / "other_key")
    one = [plain.addresses[0]]
    by_key = occamctl("host", "list", hosts=one, identity_file=str(tmp_path / "other_key"))
    by_user = occamctl("host", "list", hosts=one, user="nobody")
    no_file = occamctl("host", "list", hosts=one, identity_file=str(tmp_path / "missing"))
    assert [ran.returncode for ran in (by_key, by_user, no_file)] == [3, 3, 2]
    assert "login refused for ops" in by_key.stderr
    assert "login refused for nobody" in by_user.stderr
    assert "ssh.identity_file" in no_file.stderr
    assert occamctl("host", "list", hosts=one).returncode == 0


# One bad host does not hide the others --------------------------------------------------------------------------------


def test_unreachable_hosts_are_shown_beside_the_others(plain: sandbox.Sandbox, occamctl: Run) -> None:
    away = plain.addresses[0].rpartition(".")[0] + ".250"
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and says nothing
        mute = {"hostname": "127.0.0.1", "port": silent.getsockname()[1]}
        began = time.monotonic()
        hosts = [plain.addresses[0], away, NOBODY_THERE, mute, {"hostname": plain.addresses[1], "port": 2222}]
        ran = occamctl("host", "list", "-o", "json", hosts=hosts, connect_timeout=3)
    assert time.monotonic() - began < 25
    assert ran.returncode == 3
    rows = json.loads(ran.stdout)
    assert [row["host"] for row in rows] == [plain.addresses[0], away, NOBODY_THERE, "127.0.0.1", plain.addresses[1]]
    assert rows[0]["state"] == "ready"
    assert rows[0]["cores"] == os.cpu_count()
    assert rows[1]["state"] in ("cannot connect: No route to host", "cannot connect: no answer in time")
    assert rows[2]["state"] == "no such host name"
    assert "cannot connect" in rows[3]["state"]
    assert rows[4]["state"] == "cannot connect: Connection refused"
    assert f"ssh -p 2222 ops@{plain.addresses[1]} true" in ran.stderr
    assert ran.stderr.count("error:") == 4


def test_the_table_fits_80_columns(plain: sandbox.Sandbox, occamctl: Run) -> None:
    narrow = {"COLUMNS": "80"}
    ran = occamctl("host", "list", env=narrow | {"SUDO_PASSWORD": PASSWORD}, sudo_password="${SUDO_PASSWORD}")
    lines = ran.stdout.rstrip().splitlines()
    assert (ran.returncode, len(lines)) == (0, 4)
    without = occamctl("host", "list", env=narrow)
    assert (without.returncode, f"{plain.addresses[1]}: sudo asks for a password" in without.stderr) == (3, True)
    assert max(map(len, lines + without.stdout.splitlines())) <= 80
    assert "no engine; run: occamctl host prepare" in ran.stderr


def test_a_command_runs_on_every_host(plain: sandbox.Sandbox, occamctl: Run) -> None:
    ran = occamctl("host", "exec", "--", "sh", "-c", 'echo "$1"; hostname; echo to-stderr >&2', "sh", "a b;$HOME")
    assert ran.returncode == 0
    for number, address in enumerate(plain.addresses, 1):
        for said in ("a b;$HOME", f"plain-host{number}", "to-stderr"):
            assert f"{address}: {said}" in ran.stdout
    failed = occamctl("host", "exec", "--", "sh", "-c", "[ $(hostname) != plain-host2 ] || exit 7")
    assert failed.returncode == 1
    assert f"{plain.addresses[1]}: exit 7" in failed.stderr
    late = occamctl("host", "exec", "--timeout", "1", "--", "sleep", "20", hosts=[plain.addresses[0]])
    assert late.returncode == 3
    assert "sleep 20: no end after 1 s" in late.stderr


# Through another host -------------------------------------------------------------------------------------------------


def test_through_a_jump_host(plain: sandbox.Sandbox, occamctl: Run, tmp_path: Path) -> None:
    first, second = plain.addresses[:2]
    where_from = ("host", "exec", "--", "sh", "-c", "echo $SSH_CONNECTION")
    direct = occamctl(*where_from, hosts=[second])
    through = occamctl(*where_from, hosts=[{"hostname": second, "proxy_jump": f"ops@{first}:22"}])
    for_all = occamctl(*where_from, hosts=[first, second], proxy_jump=first)
    assert (direct.returncode, through.returncode, for_all.returncode) == (0, 0, 0)
    assert f"{second}: {first} " not in direct.stdout
    assert f"{second}: {first} " in through.stdout
    assert f"{second}: {first} " in for_all.stdout
    only_second = tmp_path / "known"
    only_second.write_text(plain.known_hosts.read_text().splitlines()[1] + "\n")
    jump = [{"hostname": second, "proxy_jump": first}]
    refused = occamctl(*where_from, hosts=jump, known_hosts=str(only_second))
    assert refused.returncode == 3
    assert f"through {first}" in refused.stderr
    assert "unknown host key" in refused.stderr
    nothing = occamctl(*where_from, hosts=[{"hostname": f"{second}9", "proxy_jump": first}])
    assert nothing.returncode == 3


def test_the_users_ssh_config_is_honoured_with_its_jump_hosts(
    plain: sandbox.Sandbox, occamctl: Run, home: Path, tmp_path: Path
) -> None:
    first, second = plain.addresses[:2]
    login = f"  User ops\n  IdentityFile {plain.key}\n  Port 22\n"
    config = f"Host door\n  HostName {first}\n{login}Host lab\n  HostName {second}\n  ProxyJump door\n{login}"
    (home / ".ssh" / "config").write_text(config)
    where_from = ("host", "exec", "--", "sh", "-c", "echo $SSH_CONNECTION")
    ran = occamctl(*where_from, hosts=["lab", "door"], user=None, identity_file=None)
    assert ran.returncode == 0
    assert f"lab: {first} " in ran.stdout
    # The jump host's key counts as well: the library by itself takes any.
    only_second = tmp_path / "known"
    only_second.write_text(plain.known_hosts.read_text().splitlines()[1] + "\n")
    mine = {"user": None, "identity_file": None}
    refused = occamctl(*where_from, hosts=["lab"], known_hosts=str(only_second), **mine)
    assert refused.returncode == 3
    assert "unknown host key" in refused.stderr
    (home / ".ssh" / "config").write_text(f"{config}Host *\n  UserKnownHostsFile {plain.known_hosts}\n")
    assert occamctl(*where_from, hosts=["lab"], known_hosts=None, **mine).returncode == 0


# Root -----------------------------------------------------------------------------------------------------------------


def test_sudo_without_and_with_a_password(plain: sandbox.Sandbox, occamctl: Run) -> None:
    free, asks = plain.addresses[:2]
    as_root = ("host", "exec", "--sudo", "--", "id", "-un")
    assert f"{free}: root" in occamctl(*as_root, hosts=[free]).stdout
    missing = occamctl(*as_root, hosts=[free, asks])
    assert missing.returncode == 3
    assert f"{free}: root" in missing.stdout
    assert f"{asks}: sudo asks for a password" in missing.stderr
    given = {"hosts": [free, asks], "sudo_password": "${SUDO_PASSWORD}"}
    wrong = occamctl(*as_root, env={"SUDO_PASSWORD": "not it"}, **given)
    assert (wrong.returncode, "the sudo password is wrong" in wrong.stderr) == (3, True)
    assert "not it" not in wrong.stdout + wrong.stderr
    right = occamctl(*as_root, env={"SUDO_PASSWORD": PASSWORD}, **given)
    assert right.returncode == 0
    assert f"{asks}: root" in right.stdout


def test_the_sudo_password_is_in_no_argument_list(connect: Connect) -> None:
    host = connect(2, sudo_password=PASSWORD)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(host.run, ["sleep", "2"], sudo=True)
        wait.until(lambda: inside(2, "ps", "-eo", "args"), lambda seen: "sleep 2" in seen, "sleep", seconds=5)
        arguments = inside(2, "sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'")
        running.result()
    assert "sudo" in arguments
    assert PASSWORD not in arguments.replace("plain-", "")


def test_what_a_command_reads_and_writes_arrives_whole(connect: Connect) -> None:
    host = connect(2, sudo_password=PASSWORD)
    text = "".join(f"line {number}\n" for number in range(400_000))  # more than a channel's window, both ways
    assert host.run(["cat"], stdin=text).stdout == text
    assert host.run(["sh", "-c", "cat >&2"], sudo=True, stdin=text).stderr == text
    host.put("/etc/occam/with space", text.encode(), mode=0o600)
    assert inside(2, "stat", "-c", "%a %U %s", "/etc/occam/with space") == f"600 root {len(text)}\n"
    began = time.monotonic()
    assert host.run(["sh", "-c", "exec >&-; sleep 1; exit 5"], check=False).code == 5
    with pytest.raises(TookTooLong, match="no end after 1 s"):
        host.run(["sleep", "30"], seconds=1)
    assert time.monotonic() - began < 10


# Engines --------------------------------------------------------------------------------------------------------------


def test_an_engine_is_installed_where_there_is_none_and_taken_away_again(
    plain: sandbox.Sandbox, occamctl: Run, connect: Connect
) -> None:
    host = connect(3)
    listed = ["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package}\\n"]
    before = host.run(listed).stdout
    with pytest.raises(HostError, match="occamctl host prepare"):
        host.docker_channel()
    refused = occamctl("course", "plan", hosts=[plain.addresses[0], plain.addresses[2]])
    assert refused.returncode == 3
    assert "occamctl host prepare" in refused.stderr
    first = occamctl("host", "prepare", hosts=[plain.addresses[0], plain.addresses[2]])
    assert first.returncode == 0, first.stderr
    assert f"{plain.addresses[2]}: installed" in first.stdout
    assert "set the rules for containers" in first.stdout
    assert walls.stand(host, "occam-plain")
    assert not walls.stand(host, "occam-another")
    again = occamctl("host", "prepare", hosts=[plain.addresses[0], plain.addresses[2]])
    assert again.stdout.count("an engine runs already; nothing to do") == 2
    engine = Engine.through(host.name, host.docker_channel)
    assert engine.api.info()["Name"] == "plain-host3"
    engine.api.create_volume("somebodys")
    refused = occamctl("host", "prepare", "--undo", hosts=[plain.addresses[2]])
    assert refused.returncode == 5
    assert "holds 0 containers and 1 volumes" in refused.stderr
    engine.api.remove_volume("somebodys")
    engine.api.create_network("somebodys-network")
    engine.close()
    undone = occamctl("host", "prepare", "--undo", hosts=[plain.addresses[2]])
    assert "the rules for containers removed" in undone.stdout, undone.stderr
    assert "packages removed" in undone.stdout
    assert [line for line in before.splitlines() if line.startswith("ii")] == [
        line for line in host.run(listed).stdout.splitlines() if line.startswith("ii")
    ]
    places = "/var/lib/docker/* /var/lib/containerd /etc/docker /opt/containerd /var/lib/occam /run/docker*"
    left = host.run(["sh", "-c", f"ls -d {places}; ip -br link; sudo iptables-save"])
    assert "br-" not in left.stdout
    # The chains DOCKER_… are of the engine around this host: its name server needs them.
    assert "docker" not in left.stdout.replace("DOCKER_", "").lower()
    assert host.run(["getent", "hosts", "plain-host1"]).code == 0
    assert "occam" not in left.stdout
    assert undo_prepare(host, print) == []


def test_a_killed_engine_is_seen_and_started_again(plain: sandbox.Sandbox, occamctl: Run, connect: Connect) -> None:
    """Also where another process has the killed engine's number by now (here: the host's first one)."""
    address = [plain.addresses[0]]
    inside(1, "sh", "-c", "pkill -KILL -x dockerd; pkill -KILL -x containerd; sleep 1; echo 1 >/var/run/docker.pid")
    rows = json.loads(occamctl("host", "list", "-o", "json", hosts=address).stdout)
    assert rows[0]["engine"] == "none"
    with pytest.raises(HostError, match="does not run"):
        connect(1).docker_channel()
    started = occamctl("host", "prepare", hosts=address)
    assert (started.returncode, started.stdout.strip()) == (0, f"{address[0]}: started the engine")
    assert json.loads(occamctl("host", "list", "-o", "json", hosts=address).stdout)[0]["state"] == "ready"


@pytest.fixture
def engines(connect: Connect) -> Iterator[tuple[Engine, Engine]]:
    """Engines of host 1, and of host 2 by way of sudo with a password; on host 1 an image of 30 MB."""
    one, two = connect(1), connect(2, sudo_password=PASSWORD)
    files = "bin/sh bin/cat bin/sleep lib64/ld-linux-x86-64.so.2 lib/x86_64-linux-gnu/libc.so.6"
    script = (
        "mkdir -p /tmp/tiny && head -c 30000000 /dev/urandom >/tmp/tiny/ballast && cd / && "
        f"tar -ch {files} -C /tmp tiny/ballast | docker import - tiny:1"
    )
    one.run(["sh", "-c", script], sudo=True)
    both = Engine.through(one.name, one.docker_channel), Engine.through(two.name, two.docker_channel)
    yield both
    for engine in both:
        engine.close()


def test_the_api_over_ssh(engines: tuple[Engine, Engine]) -> None:
    one, two = engines
    with ThreadPoolExecutor(20) as pool:
        names = list(pool.map(lambda number: one.api.info()["Name"], range(60)))
    assert set(names) == {"plain-host1"}
    made = one.api.create_container("tiny:1", ["sleep", "600"], host_config=one.api.create_host_config(init=False))
    one.api.start(made["Id"])
    content = os.urandom(20_000_000)  # more than every buffer on the way holds
    assert one.exec(made["Id"], ["cat"], content) == (0, content, b"")
    assert one.exec(made["Id"], ["sh", "-c", "exit 3"], content) == (3, b"", b"")
    assert one.exec(made["Id"], ["sh", "-c", "echo out; echo err >&2; exit 4"]) == (4, b"out\n", b"err\n")
    with pytest.raises(TookTooLong):
        one.exec(made["Id"], ["sleep", "50"], seconds=1)
    one.api.remove_container(made["Id"], force=True)
    # A long stream from the one engine to the other.
    assert two.api.images("tiny:1") == []
    list(two.client.images.load(one.api.get_image("tiny:1")))
    assert two.api.inspect_image("tiny:1")["Id"] == one.api.inspect_image("tiny:1")["Id"]
    two.api.remove_image("tiny:1")


def test_one_connection_carries_many_calls_commands_and_a_lock(connect: Connect) -> None:
    host = connect(1)
    engine = Engine.through(host.name, host.docker_channel)
    with holding(host, "many"), ThreadPoolExecutor(24) as pool:
        calls = [pool.submit(engine.api.info) for _ in range(40)]
        commands = [pool.submit(host.run, ["sleep", "0.3"]) for _ in range(16)]
        assert {call.result(60)["Name"] for call in calls} == {"plain-host1"}
        assert {command.result(60).code for command in commands} == {0}
    began = time.monotonic()
    for _ in range(10):
        host.run(["true"])
    assert time.monotonic() - began < 5
    engine.close()


def test_nothing_is_left_open(plain: sandbox.Sandbox) -> None:
    def open_now() -> int:
        return len(os.listdir("/proc/self/fd"))

    host = Host(hostname=plain.addresses[0])
    jump = f"ops@{plain.addresses[1]}"
    ssh = Ssh(user="ops", identity_file=plain.key, known_hosts=plain.known_hosts)
    before = open_now()
    for settings in (ssh, ssh.model_copy(update={"proxy_jump": jump})):
        machine = HostConnection(host, settings)
        engine = Engine.through(machine.name, machine.docker_channel)
        engine.api.version()
        engine.close()
        machine.close()
        with pytest.raises(HostError):
            HostConnection(host, settings.model_copy(update={"user": "nobody"}))
        with pytest.raises(HostError):
            HostConnection(host, settings.model_copy(update={"known_hosts": None}))
    wait.until(open_now, lambda seen: seen <= before, "open files", seconds=5)


# One writer at a time -------------------------------------------------------------------------------------------------

_HOLDER = """
import sys, time
from occamctl.hosts.connection import HostConnection
from occamctl.hosts.lock import holding
from occamctl.spec.course import Host, Ssh
host = HostConnection(Host(hostname=sys.argv[1]), Ssh(user="ops", identity_file=sys.argv[2], known_hosts=sys.argv[3]))
with holding(host, "plain"):
    print("held", flush=True)
    time.sleep(120)
"""


def test_two_cannot_change_a_course_at_once(plain: sandbox.Sandbox, connect: Connect) -> None:
    words = [sys.executable, "-c", _HOLDER, plain.addresses[0], str(plain.key), str(plain.known_hosts)]
    host = connect(1)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            with pytest.raises(Busy, match=f"process {holder.pid}") as refused, holding(host, "plain"):
                pass
            assert refused.value.exit_code == 6
            with holding(host, "another"):
                pass
        finally:
            holder.kill()

    def free() -> bool:
        try:
            with holding(host, "plain"):
                return True
        except Busy:
            return False

    wait.until(free, bool, "the lock of a killed holder", seconds=10)


def test_connect_all_gives_what_answers(plain: sandbox.Sandbox) -> None:
    ssh = Ssh(user="ops", identity_file=plain.key, known_hosts=plain.known_hosts, connect_timeout=3)
    hosts = tuple(Host(hostname=name) for name in (NOBODY_THERE, *plain.addresses))
    machines, errors = connect_all(Course(version=1, course="plain", ssh=ssh, hosts=hosts))
    assert list(machines) == list(plain.addresses)
    assert list(errors) == [NOBODY_THERE]
    assert prepare(machines[plain.addresses[0]], print) == []
    for machine in machines.values():
        machine.close()
