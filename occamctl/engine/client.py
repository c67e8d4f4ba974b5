"""One Docker engine: this machine's own, or a host's through the SSH connection that we already have to it."""

from __future__ import annotations

import io
import queue
import socket
import struct
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import docker
import requests
import urllib3
from docker.errors import APIError, DockerException, NotFound
from docker.transport.basehttpadapter import BaseHTTPAdapter

from occamctl.errors import EngineError, HostError, OccamError, TookTooLong

Channel = Any
OpenChannel = Callable[[], Channel]
"""Opens a channel that speaks the engine's API: `docker system dial-stdio` at its other end."""

TIMEOUT = 120
"""Seconds without a byte from the engine."""
EXEC_SECONDS = 120
# sshd allows ten sessions on one connection (MaxSessions); four are left for commands and a lock.
MOST_CHANNELS = 6
OLDEST_API = (1, 41)
"""That of Docker 20.10."""
STDOUT, STDERR = 1, 2


class Engine:
    """`api` is the SDK's low-level client, `client` its friendlier face; `name` is the host's name."""

    def __init__(self, name: str, client: docker.DockerClient) -> None:
        self.name, self.client = name, client
        self.api = client.api
        if tuple(int(number) for number in self.api.api_version.split(".")) < OLDEST_API:
            raise HostError("its container engine is too old", where=name, fix="install Docker 20.10 or newer there")

    @classmethod
    def local(cls, at: str = "/var/run/docker.sock") -> Engine:
        """This machine's engine, by its socket. Raises HostError when none answers."""
        name = "localhost"
        with speaking_to(name):
            return cls(name, docker.DockerClient(base_url=f"unix://{at}", version="auto", timeout=TIMEOUT))

    @classmethod
    def through(cls, name: str, open_channel: OpenChannel) -> Engine:
        """The engine at the other end of SSH channels. Raises HostError when none answers."""
        with speaking_to(name):
            # The address is never dialled: the adapter below takes every request to it. The SDK finds out the
            # version at once, before there is a place to mount the adapter, so it is asked for afterwards.
            client = docker.DockerClient(base_url="http://occam-over-ssh:2375", version="1.41", timeout=TIMEOUT)
            adapter = _OverSsh(open_channel)
            client.api._custom_adapter = adapter
            client.api.mount("http://", adapter)
            client.api.trust_env = False
            client.api.base_url = "http+docker://ssh"
            client.api.mount("http+docker://", adapter)
            client.api._version = client.api._retrieve_server_version()
            return cls(name, client)

    def exec(
        self,
        container: str,
        command: Sequence[str],
        stdin: bytes = b"",
        *,
        user: str = "",
        seconds: float = EXEC_SECONDS,
    ) -> tuple[int, bytes, bytes]:
        """Run a command in a container: exit code, standard output, standard error.

        Raises EngineError when the container is gone, TookTooLong after `seconds`.
        """
        with speaking_to(self.name):
            number, answer = self.start_exec(container, command, stdin=bool(stdin), user=user)
            try:
                out, err = _talk(Raw(answer), stdin, time.monotonic() + seconds)
            except TimeoutError:
                what = " ".join(command)[:60]
                raise TookTooLong(f"{what} in {container}: no end after {seconds:g} s", where=self.name) from None
            finally:
                answer.close()
            return int(self.api.exec_inspect(number)["ExitCode"] or 0), out, err

    def read_file(self, container: str, path: str) -> bytes | None:
        """A small file of a container's own or of its volumes, not of a tmpfs; None when it is not there.

        It costs the engine half of what a command costs that only prints it.
        """
        with speaking_to(self.name):
            try:
                pieces, _ = self.api.get_archive(container, path)
            except NotFound:
                return None
            with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
                found = archive.extractfile(archive.getmembers()[0])
                return found.read() if found else None

    def start_exec(
        self, container: str, command: Sequence[str], *, stdin: bool, user: str
    ) -> tuple[str, requests.Response]:
        """A command that runs now: its id, and the answer under which its streams lie. Raises what the SDK raises."""
        made = self.api.exec_create(container, list(command), stdin=stdin, user=user)
        answer = self.api._post_json(
            self.api._url("/exec/{0}/start", made["Id"]),
            headers={"Connection": "Upgrade", "Upgrade": "tcp"},
            data={"Tty": False, "Detach": False},
            stream=True,
        )
        try:
            self.api._raise_for_status(answer)
        except APIError:
            answer.close()
            raise
        return str(made["Id"]), answer

    def close(self) -> None:
        self.client.close()


class Raw:
    """The connection under a response that was upgraded, with what came along with the response's headers."""

    def __init__(self, answer: requests.Response) -> None:
        response: Any = answer.raw
        self.socket = response._connection.sock
        self._early = _buffered(response._fp.fp, self.socket)

    def send(self, content: bytes, deadline: float) -> None:
        self.socket.settimeout(max(0.1, deadline - time.monotonic()))
        self.socket.sendall(content)
        channel = hasattr(self.socket, "shutdown_write")
        self.socket.shutdown_write() if channel else self.socket.shutdown(socket.SHUT_WR)

    def receive(self, deadline: float) -> bytes:
        """The next piece, b"" at the end. Raises TimeoutError."""
        self.socket.settimeout(max(0.1, deadline - time.monotonic()))
        piece = self.next()
        if time.monotonic() > deadline:
            raise TimeoutError
        return piece

    def next(self) -> bytes:
        """The next piece, b"" at the end; waits as the socket does."""
        if self._early:
            early, self._early = self._early, b""
            return early
        return bytes(self.socket.recv(1 << 16))


def _buffered(reader: Any, source: Any) -> bytes:
    """What `reader` has taken from `source` already: HTTP's own reader takes more than the headers if it can."""
    if hasattr(reader, "_rbuffer"):  # paramiko's
        return bytes(reader._rbuffer)
    source.setblocking(False)
    return bytes(reader.peek())


def _talk(raw: Raw, stdin: bytes, deadline: float) -> tuple[bytes, bytes]:
    """Send all of `stdin` while reading the engine's multiplexed stream to its end. Raises TimeoutError."""
    if stdin:  # beside the reading: a command that answers before it has read everything would wait for ever
        threading.Thread(target=_feed, args=(raw, stdin, deadline), daemon=True).start()
    streams = {STDOUT: bytearray(), STDERR: bytearray()}
    for stream, piece in frames(lambda: raw.receive(deadline)):
        streams.setdefault(stream, bytearray()).extend(piece)
    return bytes(streams[STDOUT]), bytes(streams[STDERR])


def frames(receive: Callable[[], bytes]) -> Iterator[tuple[int, bytes]]:
    """The pieces of the engine's multiplexed stream: (1 for standard output or 2 for standard error, piece)."""
    buffer = bytearray()
    while piece := receive():
        buffer += piece
        while len(buffer) >= 8:
            stream, size = struct.unpack(">BxxxI", buffer[:8])
            if len(buffer) < 8 + size:
                break
            yield stream, bytes(buffer[8 : 8 + size])
            del buffer[: 8 + size]


def _feed(raw: Raw, stdin: bytes, deadline: float) -> None:
    try:
        raw.send(stdin, deadline)
    except OSError:  # the command ended without reading everything, or the one who reads tells that it took too long
        return


class _Connection(urllib3.connection.HTTPConnection):
    """HTTP over a channel in place of a socket."""

    def __init__(self, open_channel: OpenChannel) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._open_channel = open_channel

    def connect(self) -> None:
        channel = self._open_channel()
        channel.settimeout(TIMEOUT)
        self.sock = channel


class _Pool(urllib3.connectionpool.HTTPConnectionPool):
    scheme = "http"

    def __init__(self, open_channel: OpenChannel) -> None:
        super().__init__("localhost", timeout=TIMEOUT, maxsize=MOST_CHANNELS, block=True)
        self._open_channel = open_channel

    def _new_conn(self) -> Any:
        return _Connection(self._open_channel)

    def _get_conn(self, timeout: float | None = None) -> Any:
        # urllib3 would call select() on the channel, which has no file descriptor of its own until asked for one, and
        # then two for each (docker-py's ssh adapter avoids it the same way).
        try:
            connection = self.pool.get(block=True, timeout=TIMEOUT)  # type: ignore[union-attr]
        except queue.Empty:
            raise TimeoutError from None
        if connection is not None and connection.sock is not None and connection.sock.closed:
            connection.close()
        return connection or self._new_conn()


class _OverSsh(BaseHTTPAdapter):
    def __init__(self, open_channel: OpenChannel) -> None:
        self._pool = _Pool(open_channel)
        super().__init__()

    def get_connection(self, url: Any, proxies: Any = None) -> Any:
        return self._pool

    def get_connection_with_tls_context(self, request: Any, verify: Any, proxies: Any = None, cert: Any = None) -> Any:
        return self._pool

    def request_url(self, request: Any, proxies: Any) -> Any:
        return request.path_url

    def close(self) -> None:
        self._pool.close()


@contextmanager
def speaking_to(host: str) -> Iterator[None]:
    """Translate the SDK's errors, and name the host."""
    try:
        yield
    except OccamError:
        raise
    except NotFound as error:
        raise EngineError(f"the engine has no such thing: {error.explanation}", where=host) from error
    except APIError as error:
        if "not a swarm manager" in str(error.explanation):
            raise EngineError(
                "its engine manages no swarm: no course is up there", where=host, fix="run: occamctl course up"
            ) from error
        raise EngineError(f"the engine refused: {error.explanation}", where=host) from error
    except (requests.Timeout, TimeoutError) as error:
        raise TookTooLong("the engine does not answer", where=host, fix=f"look at its log on {host}") from error
    except (requests.ConnectionError, urllib3.exceptions.HTTPError, DockerException, EOFError, OSError) as error:
        if ours := _ours(error):
            raise ours from None
        raise HostError(
            "no container engine answers",
            where=host,
            fix=f"run: occamctl host prepare, or look at the engine on {host}",
        ) from error


def _ours(error: BaseException | None) -> OccamError | None:
    """What we said ourselves on the way to the engine (a sudo password is wrong): the SDK wraps what it meets."""
    while error is not None and not isinstance(error, OccamError):
        error = error.__cause__ or error.__context__
    return error
