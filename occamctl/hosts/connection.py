"""One SSH connection per host, for commands and for the engine's API. The only place that makes connections."""

from __future__ import annotations

import shlex
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import paramiko
from paramiko.ssh_exception import SSHException

from occamctl.errors import HostError, OccamError, TookTooLong
from occamctl.hosts import channels
from occamctl.hosts.login import log_in
from occamctl.hosts.machine import LOCAL, SECONDS, LocalMachine, Machine, Ran, checked, write_as_root
from occamctl.spec.course import Course, Host, Ssh
from occamctl.wait import Together

__all__ = ["LOCAL", "HostConnection", "LocalMachine", "Machine", "Ran", "connect_all"]

MOST_AT_ONCE = 16
MOST_COMMANDS = 3
"""At once on a host: sshd allows ten sessions, of which six are the engine's (engine/client.py) and one the lock's."""
ENGINE_SOCKET = "/var/run/docker.sock"
ALIVE_SECONDS = 15
DEAD_SECONDS = 45
"""A host that acknowledges nothing for so long is gone; TCP itself would wait for a quarter of an hour."""
# Is somebody listening on the engine's socket? The file alone also stays behind a killed engine. And, if it is not
# for this user: does sudo work without a password? That is asked here as well, to save two round trips.
_ENGINE = """command -v docker >/dev/null || exit 3
grep -q ' 00010000 .*/run/docker\\.sock$' /proc/net/unix || exit 4
[ -w "$1" ] && exit 0
sudo -n -- true 2>/dev/null && exit 5
exit 6"""
_SUDO = ("sudo", "-n", "--")


class HostConnection:
    """One host over one SSH connection. Opened at once; raises HostError that says why not, and how to mend it."""

    is_local = False

    def __init__(self, host: Host, ssh: Ssh) -> None:
        self.name = host.hostname
        self._seconds = ssh.connect_timeout
        password = host.sudo_password or ssh.sudo_password
        self._password = password.get_secret_value() if password else None
        self._asking = threading.RLock()
        self._root: tuple[tuple[str, ...], str] | None = None
        self._via = ""
        self._opening = threading.Lock()
        self._commands = threading.BoundedSemaphore(MOST_COMMANDS)
        self._way = log_in(host, ssh)
        for hop in self._way:
            _watch(hop.client.get_transport())

    # Commands ---------------------------------------------------------------------------------------------------------

    def _open(self, command: Sequence[str]) -> paramiko.Channel:
        try:
            transport = self._way[-1].client.get_transport()
            return channels.opened(transport, shlex.join(command), self._seconds, self._opening)
        except (SSHException, OSError, EOFError) as error:
            raise HostError(f"the connection is of no use: {error}", where=self.name, fix="run it again") from error

    def run(
        self,
        command: Sequence[str],
        *,
        sudo: bool = False,
        stdin: str = "",
        seconds: float = SECONDS,
        check: bool = True,
    ) -> Ran:
        prefix, first = self._as_root() if sudo else ((), "")
        return checked(self._ran([*prefix, *command], first + stdin, seconds), command, self.name, check=check)

    def _ran(self, command: Sequence[str], stdin: str, seconds: float) -> Ran:
        what = shlex.join(command)[:80]
        with self._commands:
            return self._to_its_end(self._open(command), what, stdin, seconds)

    def _to_its_end(self, channel: paramiko.Channel, what: str, stdin: str, seconds: float) -> Ran:
        try:
            return channels.finish(channel, stdin.encode(), seconds)
        except TimeoutError:
            raise TookTooLong(f"{what}: no end after {seconds:g} s", where=self.name) from None
        except channels.Lost:
            raise HostError(f"the connection was lost during: {what}", where=self.name, fix="run it again") from None
        finally:
            channel.close()

    def _as_root(self) -> tuple[tuple[str, ...], str]:
        """Words before a command that make it root's, and what they read first. Raises HostError."""
        with self._asking:
            if self._root is None:
                self._root = self._find_root()
            return self._root

    def _find_root(self) -> tuple[tuple[str, ...], str]:
        if self.run(["id", "-u"]).stdout.strip() == "0":
            return (), ""
        tried = self.run([*_SUDO, "true"], check=False)
        if tried.code == 0:
            return _SUDO, ""
        if tried.code == 127:
            raise HostError(
                "no sudo, and the user is not root", where=self.name, fix="install sudo, or use ssh.user: root"
            )
        if self._password is None:
            raise HostError(
                "sudo asks for a password",
                where=self.name,
                fix="export it and write ssh: {sudo_password: ${SUDO_PASSWORD}}, or allow sudo without one",
            )
        # The password goes to sudo's standard input, before the command's own: never into the arguments.
        prefix, first = ("sudo", "-k", "-S", "-p", "", "--"), f"{self._password}\n"
        if self._ran([*prefix, "true"], first, SECONDS).code:
            raise HostError("the sudo password is wrong", where=self.name, fix="see ssh.sudo_password")
        return prefix, first

    @contextmanager
    def keep(self, command: Sequence[str]) -> Iterator[Any]:
        channel = self._open(command)
        channel.settimeout(SECONDS)
        try:
            yield channel.makefile("r")
        finally:
            channel.shutdown_write()
            channel.status_event.wait(self._seconds)
            channel.close()

    # The engine -------------------------------------------------------------------------------------------------------

    @property
    def docker_via(self) -> str:
        """`direct` or `sudo`. Raises HostError when there is no engine."""
        with self._asking:
            self._via = self._via or self._find_engine()
            return self._via

    def _find_engine(self) -> str:
        code = self.run(["sh", "-c", _ENGINE, "sh", ENGINE_SOCKET], check=False).code
        if code == 3:
            raise HostError("no container engine", where=self.name, fix="run: occamctl host prepare")
        if code == 4:
            raise HostError("its container engine does not run", where=self.name, fix="run: occamctl host prepare")
        if code == 5:
            self._root = self._root or (_SUDO, "")
        return "sudo" if code else "direct"

    def docker_channel(self) -> paramiko.Channel:
        prefix, first = self._as_root() if self.docker_via == "sudo" else ((), "")
        # Said in full, because a context or DOCKER_HOST of the user's may mean another engine.
        channel = self._open([*prefix, "docker", "-H", f"unix://{ENGINE_SOCKET}", "system", "dial-stdio"])
        if first:
            channel.sendall(first.encode())
        return channel

    def put(self, path: str, content: bytes, mode: int = 0o644) -> None:
        write_as_root(self, path, content, mode)

    def close(self) -> None:
        for hop in reversed(self._way):
            hop.close()


def _watch(transport: paramiko.Transport) -> None:
    """Notice when the other side is gone."""
    transport.set_keepalive(ALIVE_SECONDS)
    if not isinstance(transport.sock, socket.socket):
        return
    # Small packets go at once: waiting for more costs 40 ms for each command.
    transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_SECONDS * 1000)


def connect_all(
    course: Course, *, only: Sequence[str] | None = None
) -> tuple[dict[str, Machine], dict[str, HostError]]:
    """Connect to all hosts of the course (or those in `only`) at the same time; no hosts means this machine."""
    if not course.hosts:
        return {LOCAL: LocalMachine()}, {}
    wanted = [host for host in course.hosts if only is None or host.hostname in only]
    machines: dict[str, Machine] = {}
    errors: dict[str, HostError] = {}
    with Together(max_workers=min(MOST_AT_ONCE, max(1, len(wanted)))) as pool:
        for host, asked in [(host, pool.submit(HostConnection, host, course.ssh)) for host in wanted]:
            try:
                machines[host.hostname] = asked.result()
            except HostError as error:
                errors[host.hostname] = error
            except OccamError as error:
                errors[host.hostname] = HostError(error.what, where=host.hostname, fix=error.fix)
    return machines, errors
