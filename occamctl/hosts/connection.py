"""One SSH connection per host, and this machine with the same face. The only place that makes connections.

Fabric's `Connection` accepts any host key (fabric#2071): here known_hosts is loaded and an unknown key is refused.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import shlex
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Protocol

import fabric
import paramiko
from paramiko.ssh_exception import AuthenticationException, BadHostKeyException, NoValidConnectionsError, SSHException

from occamctl.errors import HostError, OccamError, TookTooLong
from occamctl.spec.course import Course, Host, Ssh

LOCAL = "localhost"
SECONDS = 60
MOST_AT_ONCE = 16
ENGINE_SOCKET = "/var/run/docker.sock"
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    stdout: str
    stderr: str


class Machine(Protocol):
    """A host, wherever it is."""

    @property
    def name(self) -> str: ...

    @property
    def is_local(self) -> bool: ...

    def run(
        self,
        command: Sequence[str],
        *,
        sudo: bool = False,
        stdin: str = "",
        seconds: float = SECONDS,
        check: bool = True,
    ) -> Ran:
        """Run a command. Raises HostError when it fails (with `check`), TookTooLong when it does not end."""

    def put(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Write a file as root, all or nothing."""

    def keep(self, command: Sequence[str]) -> Any:
        """A command that runs as long as the `with` block; gives its standard output."""

    def docker_channel(self) -> Any:
        """A new channel to the engine's API."""

    def close(self) -> None: ...


class _Machine:
    """What both kinds of machine do in the same way."""

    name: str

    def run(
        self,
        command: Sequence[str],
        *,
        sudo: bool = False,
        stdin: str = "",
        seconds: float = SECONDS,
        check: bool = True,
    ) -> Ran:
        raise NotImplementedError

    def put(self, path: str, content: bytes, mode: int = 0o644) -> None:
        draft = f"{path}.occam-new"
        text = base64.b64encode(content).decode()
        script = 'umask 077 && mkdir -p "$(dirname "$1")" && base64 -d >"$2" && chmod "$3" "$2" && mv "$2" "$1"'
        self.run(["sh", "-c", script, "sh", path, draft, f"{mode:o}"], sudo=True, stdin=text)


def _checked(ran: Ran, command: Sequence[str], host: str, check: bool) -> Ran:
    if check and ran.code:
        last = (ran.stderr.strip() or ran.stdout.strip()).splitlines()[-3:]
        raise HostError(f"{shlex.join(command)[:80]} failed ({ran.code}): {' | '.join(last)}", where=host)
    return ran


class LocalMachine(_Machine):
    """This machine, for a course without hosts."""

    name, is_local = LOCAL, True

    def run(
        self,
        command: Sequence[str],
        *,
        sudo: bool = False,
        stdin: str = "",
        seconds: float = SECONDS,
        check: bool = True,
    ) -> Ran:
        whole = ["sudo", "-n", "--", *command] if sudo and os.geteuid() else list(command)
        try:
            done = subprocess.run(whole, input=stdin, capture_output=True, text=True, timeout=seconds, check=False)
        except FileNotFoundError:
            return _checked(Ran(127, "", f"{whole[0]}: not found"), command, self.name, check)
        except subprocess.TimeoutExpired:
            raise TookTooLong(f"{shlex.join(command)[:80]}: no end after {seconds:g} s", where=self.name) from None
        return _checked(Ran(done.returncode, done.stdout, done.stderr), command, self.name, check)

    @contextmanager
    def keep(self, command: Sequence[str]) -> Iterator[IO[str]]:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdin is not None
            assert running.stdout is not None
            try:
                yield running.stdout
            finally:
                running.stdin.close()

    def docker_channel(self) -> Any:
        raise NotImplementedError("this machine's engine is reached by its socket: Engine.local()")

    def close(self) -> None: ...


class UnknownKey(SSHException):
    """The host's key is in no known_hosts file."""

    def __init__(self, hostname: str, key: paramiko.PKey) -> None:
        super().__init__(hostname)
        self.hostname, self.key = hostname, key


class _Refuse(paramiko.MissingHostKeyPolicy):
    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        raise UnknownKey(hostname, key)


def fingerprint(key: paramiko.PKey) -> str:
    """As `ssh-keygen -l` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")


class HostConnection(_Machine):
    """One host over one SSH connection. Opened at once; raises HostError that says why not, and how to mend it."""

    is_local = False

    def __init__(self, host: Host, ssh: Ssh) -> None:
        self.name = host.hostname
        self._host, self._ssh = host, ssh
        password = host.sudo_password or ssh.sudo_password
        self._password = password.get_secret_value() if password else None
        self._opening = threading.Lock()
        self._connection = self._connect()

    def _connect(self) -> fabric.Connection:
        jump = self._host.proxy_jump or self._ssh.proxy_jump
        gateway = None
        if jump:
            gateway = self._made(jump, Host(hostname=jump.rpartition("@")[2].partition(":")[0]), jump=True)
            with self._speaking(f"{self.name} (through {jump})"):
                gateway.open()
        made = self._made(self.name, self._host, gateway=gateway)
        with self._speaking(self.name):
            made.open()
        transport = made.client.get_transport()
        transport.set_keepalive(15)
        return made

    def _made(self, name: str, host: Host, *, gateway: Any = None, jump: bool = False) -> fabric.Connection:
        """A connection that refuses unknown keys; what the course file does not say, ~/.ssh/config does."""
        key = host.identity_file or self._ssh.identity_file
        user = host.user or self._ssh.user
        port = host.port or self._ssh.port
        if jump:
            user, port = _jump_parts(name, self._ssh)
        more = {"gateway": gateway} if gateway is not None else {}
        made = fabric.Connection(
            host.hostname,
            user=user,
            port=port,
            connect_timeout=self._ssh.connect_timeout,
            connect_kwargs={
                "banner_timeout": self._ssh.connect_timeout,
                "auth_timeout": self._ssh.connect_timeout,
                **({"key_filename": str(key), "look_for_keys": False, "allow_agent": False} if key else {}),
            },
            **more,
        )
        self._trust_known(made.client)
        return made

    def _trust_known(self, client: paramiko.SSHClient) -> None:
        client.load_system_host_keys()
        for path in (Path("/etc/ssh/ssh_known_hosts"), self._ssh.known_hosts):
            if path and path.exists():
                client.load_system_host_keys(str(path))
        client.set_missing_host_key_policy(_Refuse())

    @contextmanager
    def _speaking(self, where: str) -> Iterator[None]:
        """Translate the library's errors, once."""
        user = self._host.user or self._ssh.user
        try:
            yield
        except UnknownKey as error:
            scan = f"ssh-keyscan -p {self._port_of(error.hostname)} {_bare(error.hostname)} >> ~/.ssh/known_hosts"
            raise HostError(
                f"unknown host key {error.key.get_name()} {fingerprint(error.key)}",
                where=where,
                fix=f"compare it with what the host's admin says, then: {scan}",
            ) from None
        except BadHostKeyException as error:
            raise HostError(
                f"its host key has CHANGED to {fingerprint(error.key)}: another machine may be answering",
                where=where,
                fix=f"if the host was really reinstalled: ssh-keygen -R {_bare(error.hostname)}",
            ) from None
        except AuthenticationException:
            raise HostError(
                f"login refused{f' for {user}' if user else ''}",
                where=where,
                fix=f"try: ssh-copy-id {f'{user}@' if user else ''}{self.name}; see ssh.user and ssh.identity_file",
            ) from None
        except (NoValidConnectionsError, TimeoutError, OSError, EOFError) as error:
            if isinstance(error, FileNotFoundError):
                raise HostError(
                    f"no such key file: {error.filename}", where=where, fix="see ssh.identity_file"
                ) from None
            raise HostError("cannot connect", where=where, fix=f"try: ssh {self.name} true") from error
        except SSHException as error:
            raise HostError(f"cannot connect: {error}", where=where, fix=f"try: ssh {self.name} true") from error

    def _port_of(self, hostname: str) -> str:
        return hostname.rpartition(":")[2] if hostname.startswith("[") else "22"

    # Commands ---------------------------------------------------------------------------------------------------------

    def _open(self, command: str) -> paramiko.Channel:
        with self._speaking(self.name), self._opening:
            transport: paramiko.Transport = self._connection.client.get_transport()
            channel = transport.open_session(timeout=self._ssh.connect_timeout)
            channel.exec_command(command)
            return channel

    def run(
        self,
        command: Sequence[str],
        *,
        sudo: bool = False,
        stdin: str = "",
        seconds: float = SECONDS,
        check: bool = True,
    ) -> Ran:
        prefix, first = self._as_root if sudo else ((), "")
        channel = self._open(shlex.join([*prefix, *command]))
        what = f"{shlex.join(command)[:80]}"
        try:
            ran = _finish(channel, (first + stdin).encode(), time.monotonic() + seconds)
        except TimeoutError:
            raise TookTooLong(f"{what}: no end after {seconds:g} s", where=self.name) from None
        finally:
            channel.close()
        return _checked(ran, command, self.name, check)

    @cached_property
    def _as_root(self) -> tuple[tuple[str, ...], str]:
        """Words before a command that make it root's, and what they read first. Raises HostError."""
        if self.run(["id", "-u"]).stdout.strip() == "0":
            return (), ""
        if self.run(["sudo", "-n", "true"], check=False).code == 0:
            return ("sudo", "-n", "--"), ""
        if self._password is None:
            raise HostError(
                "sudo asks for a password",
                where=self.name,
                fix="export it and write ssh: {sudo_password: ${SUDO_PASSWORD}}, or allow sudo without one",
            )
        first = f"{self._password}\n"
        prefix = ("sudo", "-k", "-S", "-p", "", "--")
        tried = _finish(self._open(shlex.join([*prefix, "true"])), first.encode(), time.monotonic() + SECONDS)
        if tried.code:
            raise HostError("the sudo password is wrong", where=self.name, fix="see ssh.sudo_password")
        return prefix, first

    @contextmanager
    def keep(self, command: Sequence[str]) -> Iterator[Any]:
        channel = self._open(shlex.join(command))
        try:
            yield channel.makefile("r")
        finally:
            channel.shutdown_write()
            channel.recv_exit_status()
            channel.close()

    # The engine -------------------------------------------------------------------------------------------------------

    @cached_property
    def docker_via(self) -> str:
        """`direct` or `sudo`. Raises HostError when there is no engine."""
        script = f"command -v docker >/dev/null || exit 3; [ -S {ENGINE_SOCKET} ] || exit 4; [ -w {ENGINE_SOCKET} ]"
        code = self.run(["sh", "-c", script], check=False).code
        if code == 3:
            raise HostError("no container engine", where=self.name, fix="run: occamctl host prepare")
        if code == 4:
            raise HostError("its container engine does not run", where=self.name, fix="run: occamctl host prepare")
        return "sudo" if code else "direct"

    def docker_channel(self) -> paramiko.Channel:
        prefix, first = self._as_root if self.docker_via == "sudo" else ((), "")
        channel = self._open(shlex.join([*prefix, "docker", "system", "dial-stdio"]))
        if first:
            channel.sendall(first.encode())
        return channel

    def close(self) -> None:
        self._connection.close()
        if self._connection.gateway is not None:
            self._connection.gateway.close()


def _bare(hostname: str) -> str:
    """`[name]:port` as `name`."""
    return hostname.removeprefix("[").partition("]")[0]


def _jump_parts(jump: str, ssh: Ssh) -> tuple[str | None, int | None]:
    """User and port of `user@host:port`."""
    user, _, rest = jump.rpartition("@")
    port = rest.partition(":")[2]
    return user or ssh.user, int(port) if port else None


def _finish(channel: paramiko.Channel, stdin: bytes, deadline: float) -> Ran:
    """Feed and read a command to its end. Raises TimeoutError."""
    feeding = threading.Thread(target=_feed, args=(channel, stdin), daemon=True)
    feeding.start()
    out, err = bytearray(), bytearray()
    channel.settimeout(0.05)
    while True:
        progress = False
        if channel.recv_stderr_ready():
            err += channel.recv_stderr(65536)
            progress = True
        try:
            piece = channel.recv(65536)
        except TimeoutError:
            if time.monotonic() > deadline:
                raise
            continue
        out += piece
        if not piece and not progress and (channel.exit_status_ready() or channel.closed):
            break
        if time.monotonic() > deadline:
            raise TimeoutError
    while channel.recv_stderr_ready():
        err += channel.recv_stderr(65536)
    return Ran(channel.recv_exit_status(), out.decode(errors="replace"), err.decode(errors="replace"))


def _feed(channel: paramiko.Channel, stdin: bytes) -> None:
    try:
        if stdin:
            channel.sendall(stdin)
        channel.shutdown_write()
    except (OSError, SSHException):  # the command ended without reading everything
        return


def connect_all(
    course: Course, *, only: Sequence[str] | None = None
) -> tuple[dict[str, Machine], dict[str, HostError]]:
    """Connect to all hosts of the course (or those in `only`) at the same time; no hosts means this machine."""
    if not course.hosts:
        return {LOCAL: LocalMachine()}, {}
    wanted = [host for host in course.hosts if only is None or host.hostname in only]
    machines: dict[str, Machine] = {}
    errors: dict[str, HostError] = {}
    with ThreadPoolExecutor(max_workers=min(MOST_AT_ONCE, max(1, len(wanted)))) as pool:
        for host, asked in [(host, pool.submit(HostConnection, host, course.ssh)) for host in wanted]:
            try:
                machines[host.hostname] = asked.result()
            except HostError as error:
                errors[host.hostname] = error
            except OccamError as error:
                errors[host.hostname] = HostError(error.what, where=host.hostname, fix=error.fix)
    return machines, errors
