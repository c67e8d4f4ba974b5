"""Commands over channels of one SSH connection: fed, read and ended within a deadline."""

from __future__ import annotations

import threading
import time

import paramiko
from paramiko.ssh_exception import ChannelException, SSHException

from occamctl import wait
from occamctl.hosts.machine import Ran

_CHUNK = 65536


class Lost(Exception):
    """The connection ended before the command did."""


def opened(transport: paramiko.Transport, command: str, seconds: float, one_by_one: threading.Lock) -> paramiko.Channel:
    """A channel that runs `command`. Raises SSHException when the host gives none in time.

    sshd allows a number of channels at once (MaxSessions) and frees an ended one a moment late: so it is asked again.
    Under a lock, since the library tells a refusal to whichever thread waits for a channel.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            with one_by_one:
                channel = transport.open_session(timeout=seconds)
        except ChannelException as refused:
            if time.monotonic() > deadline:
                raise SSHException("sshd gives no more sessions on this connection (MaxSessions)") from refused
            wait.nap(0.1)
            continue
        channel.settimeout(seconds)
        channel.exec_command(command)
        return channel


def finish(channel: paramiko.Channel, stdin: bytes, seconds: float) -> Ran:
    """Feed a command and read it to its end. Raises TimeoutError after `seconds`, Lost when the connection ended."""
    deadline = time.monotonic() + seconds
    out, err = bytearray(), bytearray()
    channel.settimeout(max(seconds, 0.01))
    # Three ways at once: a command may write before it has read everything, and to both of its outputs.
    beside = [
        threading.Thread(target=_feed, args=(channel, stdin), daemon=True),
        threading.Thread(target=_drain, args=(channel, err), daemon=True),
    ]
    for thread in beside:
        thread.start()
    while piece := _within(channel, deadline):
        out += piece
    if not channel.status_event.wait(max(0.0, deadline - time.monotonic())):
        raise TimeoutError
    for thread in beside:
        thread.join(max(0.1, deadline - time.monotonic()) if thread is beside[1] else 0)
    if channel.exit_status < 0 and not channel.get_transport().is_active():
        raise Lost
    return Ran(channel.exit_status, out.decode(errors="replace"), err.decode(errors="replace"))


def _within(channel: paramiko.Channel, deadline: float) -> bytes:
    channel.settimeout(max(0.01, deadline - time.monotonic()))
    return channel.recv(_CHUNK)


def _drain(channel: paramiko.Channel, into: bytearray) -> None:
    try:
        while piece := channel.recv_stderr(_CHUNK):
            into += piece
    except OSError:  # the deadline, which the one who reads standard output reports
        return


def _feed(channel: paramiko.Channel, stdin: bytes) -> None:
    try:
        if stdin:
            channel.sendall(stdin)
        channel.shutdown_write()
    except (OSError, SSHException):  # the command ended without reading everything
        return
