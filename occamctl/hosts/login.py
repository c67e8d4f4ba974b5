"""Opening SSH connections: ~/.ssh/config, jump hosts, trusted keys, and errors that say how to mend them.

Fabric's `Connection` accepts any host key, and so do the jump hosts that it finds in ~/.ssh/config (fabric#2071). The
only place that makes connections is this one: known_hosts is loaded, and an unknown key is refused, on every hop.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fabric
import paramiko
from paramiko.ssh_exception import (
    AuthenticationException,
    BadHostKeyException,
    ChannelException,
    NoValidConnectionsError,
    PasswordRequiredException,
    SSHException,
)

from occamctl.errors import HostError
from occamctl.spec.course import Host, Ssh

KNOWN_BY_ALL = Path("/etc/ssh/ssh_known_hosts")
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


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


def log_in(host: Host, ssh: Ssh) -> list[fabric.Connection]:
    """Open connections to the host's jump hosts, in order, and to the host itself, which is the last.

    Raises HostError; nothing stays open then.
    """
    with _speaking(host.hostname, host.hostname, ssh):
        target = _made(host, ssh)
        way = [*_hops(host.proxy_jump or ssh.proxy_jump, target, ssh, {target.original_host, target.host}), target]
    opened: list[fabric.Connection] = []
    try:
        for one in way:
            where = host.hostname if one is target else f"{host.hostname} (through {one.original_host})"
            with _speaking(where, one.original_host, ssh, one, opened[-1] if opened else None):
                if opened:
                    one.connect_kwargs["sock"] = opened[-1].transport.open_channel(
                        "direct-tcpip", (one.host, int(one.port)), ("", 0), timeout=ssh.connect_timeout
                    )
                one.open()
            opened.append(one)
    except BaseException:
        for one in reversed(way):
            one.client.close()  # also the one that failed half-way, which Fabric takes for never opened
        raise
    return opened


def _made(host: Host, ssh: Ssh) -> fabric.Connection:
    """A connection that refuses unknown keys; what the course file does not say, ~/.ssh/config does."""
    key = host.identity_file or ssh.identity_file
    made = fabric.Connection(
        host.hostname,
        user=host.user or ssh.user,
        port=host.port or ssh.port,
        forward_agent=False,
        gateway=False,
        connect_timeout=ssh.connect_timeout,
        connect_kwargs={
            "banner_timeout": ssh.connect_timeout,
            "auth_timeout": ssh.connect_timeout,
            "channel_timeout": ssh.connect_timeout,
            # The agent is asked all the same: it may hold the very key, without its passphrase.
            **({"key_filename": str(key), "look_for_keys": False} if key else {}),
        },
    )
    command = made.ssh_config.get("proxycommand", "none")
    if not (host.proxy_jump or ssh.proxy_jump) and command != "none":
        made.gateway = command
    # As ssh does: a key that ~/.ssh/config names and that is not there is passed over. One of the course file is not.
    keys = [name for name in made.connect_kwargs.get("key_filename", []) if name == str(key) or Path(name).exists()]
    made.connect_kwargs["key_filename"] = keys
    _trust_known(made, ssh)
    return made


def _trust_known(made: fabric.Connection, ssh: Ssh) -> None:
    client: paramiko.SSHClient = made.client
    client.load_system_host_keys()
    own = made.ssh_config.get("userknownhostsfile", "").split()
    for path in (KNOWN_BY_ALL, ssh.known_hosts, *(Path(one).expanduser() for one in own)):
        if path and path.exists():
            client.load_system_host_keys(str(path))
    client.set_missing_host_key_policy(_Refuse())


def _hops(jump: str | None, target: fabric.Connection, ssh: Ssh, seen: set[str]) -> list[fabric.Connection]:
    """Connections to the jump hosts on the way to `target`, those before the first one too; none is open."""
    words = jump or target.ssh_config.get("proxyjump", "none")
    if words == "none":
        return []
    first, *rest = [
        _made(_jump_host(word, ssh), ssh.model_copy(update={"proxy_jump": None, "port": None}))
        for word in words.split(",")
    ]
    if first.host in seen or first.original_host in seen:
        return []  # the default for every host names the jump host itself, too
    return [*_hops(None, first, ssh, seen | {first.host, first.original_host}), first, *rest]


def _jump_host(word: str, ssh: Ssh) -> Host:
    """`user@host:port`. A port given for all hosts is theirs, not the jump host's."""
    user, _, rest = word.rpartition("@")
    name, _, port = rest.partition(":")
    return Host(hostname=name, user=user or ssh.user, port=int(port) if port else None)


@contextmanager
def _speaking(
    where: str, name: str, ssh: Ssh, made: fabric.Connection | None = None, before: fabric.Connection | None = None
) -> Iterator[None]:
    """Translate the libraries' errors, once. `name` is who is spoken to, `before` the hop on the way to it."""
    user = made.user if made else ""
    port = f"-p {made.port} " if made and int(made.port) != 22 else ""
    step = f"-J {before.user}@{before.host} " if before else ""
    try_it = f"try: ssh {step}{port}{f'{user}@' if user else ''}{name} true"
    try:
        yield
    except UnknownKey as error:
        raise _unknown_key(error, where, step) from None
    except BadHostKeyException as error:
        raise _changed_key(error, where, made, ssh) from None
    except PasswordRequiredException:
        raise HostError(
            "its private key has a passphrase", where=where, fix="give the key to the agent: ssh-add KEY"
        ) from None
    except AuthenticationException:
        raise _refused(where, user, name) from None
    except FileNotFoundError as error:
        raise HostError(f"no such key file: {error.filename}", where=where, fix="see ssh.identity_file") from None
    except PermissionError as error:
        raise HostError(f"cannot read the key file {error.filename}", where=where, fix="see its mode") from None
    except socket.gaierror:
        raise HostError("no such host name", where=where, fix=f"is it spelt right? {try_it}") from None
    except ChannelException:
        raise HostError(f"cannot be reached from {before.host if before else '?'}", where=where, fix=try_it) from None
    except SSHException as error:
        transport = made.client.get_transport() if made else None
        if transport is not None and transport.is_active() and transport.initial_kex_done:
            # Keys of another kind than the one that was refused make paramiko speak of their format.
            raise _refused(where, user, name) from error
        raise HostError(f"cannot connect: {error}", where=where, fix=try_it) from error
    except (OSError, EOFError) as error:
        raise HostError(f"cannot connect{_why(error)}", where=where, fix=try_it) from error


def _why(error: OSError | EOFError) -> str:
    """The system's own words, which the library hides behind "[Errno None]"."""
    if isinstance(error, TimeoutError):
        return ": no answer in time"
    said = next(iter(error.errors.values()), error) if isinstance(error, NoValidConnectionsError) else error
    words = said.strerror if isinstance(said, OSError) else ""
    return f": {words}" if words else ""


def _refused(where: str, user: str, name: str) -> HostError:
    return HostError(
        f"login refused{f' for {user}' if user else ''}",
        where=where,
        fix=f"try: ssh-copy-id {f'{user}@' if user else ''}{name}; see ssh.user and ssh.identity_file",
    )


def _unknown_key(error: UnknownKey, where: str, step: str) -> HostError:
    bare, port = split(error.hostname)
    trust = f"ssh {step}-p {port} {bare}" if step else f"ssh-keyscan -p {port} {bare} >> ~/.ssh/known_hosts"
    return HostError(
        f"unknown host key {error.key.get_name()} {fingerprint(error.key)}",
        where=where,
        fix=f"compare it with what the host's admin says, then: {trust}",
    )


def _changed_key(error: BadHostKeyException, where: str, made: fabric.Connection | None, ssh: Ssh) -> HostError:
    port = int(made.port) if made else 22
    entry = error.hostname if port == 22 else f"[{error.hostname}]:{port}"
    file = f"-f {ssh.known_hosts} " if ssh.known_hosts else ""
    return HostError(
        f"its host key has CHANGED to {fingerprint(error.key)}: another machine may be answering",
        where=where,
        fix=f"only if the host was really reinstalled: ssh-keygen {file}-R '{entry}'",
    )


def split(hostname: str) -> tuple[str, int]:
    """Name and port of known_hosts' `name` or `[name]:port`."""
    if not hostname.startswith("["):
        return hostname, 22
    name, _, port = hostname[1:].partition("]:")
    return name, int(port)
