"""What the tests of faults share: a job with a digest, one student's cluster seen from three sides, ways to break it.

The three sides: the gateway (as an operator asks it), Spark itself (its own page, through the student's notebook), and
the engines of the hosts. When Spark lost an executor and when another one registered is taken from Spark's own record.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from occamctl import wait
from occamctl.actions.student import Kernel, Ran, Student
from occamctl.engine.client import Engine
from occamctl.sandbox.hosts import host_name
from occamctl.spec import names

LEASE = 60
"""Seconds: `spark.lease` of a course file that does not say otherwise."""
BEFORE = """
import hashlib, json, time
def slowly(seconds):
    def part(rows):
        time.sleep(seconds)
        yield from rows
    return part
def job(parts, pause):
    numbers = spark.sparkContext.parallelize(range(parts * 500), parts)
    pairs = numbers.mapPartitions(slowly(pause)).map(lambda n: (n % 97, n * n % 1009))
    sums = pairs.reduceByKey(lambda a, b: a + b, 6).mapPartitions(slowly(pause)).collect()
    return hashlib.sha256(json.dumps(sorted(sums)).encode()).hexdigest()
"""


@dataclass(frozen=True)
class Job:
    """A job of `parts` tasks of `pause` seconds, and six more after a shuffle; `undisturbed` is its result's digest."""

    parts: int
    pause: float
    undisturbed: str

    def code(self) -> str:
        return f"print('BEGIN', flush=True)\ndigest = job({self.parts}, {self.pause})\nprint('DIGEST', digest)"


@dataclass
class Stage:
    """A course on the pretend hosts of `sandbox`, and a student of it who is signed in."""

    course: Path
    sandbox: str
    student: Student
    page: str = ""
    """Port of Spark's page in the notebook."""

    @property
    def names(self) -> names.Names:
        return names.Names(self.sandbox)

    @property
    def front(self) -> str:
        return host_name(self.sandbox, 1)

    # Hosts ------------------------------------------------------------------------------------------------------

    def on(self, host: str, *words: str, stdin: bytes = b"", check: bool = True) -> str:
        """What a command says on a pretend host."""
        code, out, err = Engine.local().exec(host, words, stdin)
        assert code == 0 or not check, f"{host}: {words}: {code} {(out + err).decode(errors='replace')}"
        return out.decode(errors="replace").strip()

    def container(self, host: str, service: str) -> str:
        """Id of the running container of a service on a host; "" when there is none."""
        label = f"label=com.docker.swarm.service.name={service}"
        return (self.on(host, "docker", "ps", "-q", "--no-trunc", "--filter", label).splitlines() or [""])[0]

    def kill(self, host: str, service: str) -> float:
        """Kill a container as `kill -9` of its first process does; returns the moment."""
        self.on(host, "docker", "kill", self.container(host, service))
        return time.time()

    def left(self, hosts: list[str], owner: str) -> dict[str, list[str]]:
        """What there is of a person's clusters: services, secrets and configs of the swarm, containers on `hosts`.

        While the swarm has no leader nobody knows.
        """
        mine = f"--filter label={names.OWNER}={owner} --filter label={names.CLUSTER}"
        listed = {
            kind: self.on(self.front, "sh", "-c", f"docker {kind} ls -q {mine} || echo unknown").split()
            for kind in ("service", "secret", "config")
        }
        # A container carries the labels of its task; a dead one is no trouble but for its disk.
        listed |= {host: self.on(host, "sh", "-c", f"docker ps -q {mine}").split() for host in hosts}
        return {where: those for where, those in listed.items() if those}

    # The gateway ------------------------------------------------------------------------------------------------

    def ask(self, path: str, method: str = "GET", body: object = None) -> tuple[int, Any]:
        """Status and answer of the gateway, asked with the operator's token; 0 when it does not answer."""
        gateway = self.container(self.front, self.names.gateway)
        question = json.dumps({"method": method, "path": path, "body": body, "timeout": 20}).encode()
        words = ("docker", "exec", "-i", gateway, "python", "-m", "occamctl.gateway.ask")
        said = self.on(self.front, *words, stdin=question, check=False) if gateway else ""
        try:
            answer = json.loads(said)
        except ValueError:
            return 0, None
        return answer["status"], answer["body"]

    def cluster(self, owner: str = "", name: str = "lab") -> dict[str, Any]:
        """The cluster as the gateway shows it; nothing when it is gone, or when the gateway is away."""
        status, body = self.ask(f"/users/{quote(owner or self.student.username, safe='')}/clusters/{name}")
        return body if status == 200 else {}

    def held(self, owner: str = "") -> int | None:
        """Workers that count for a person now; None when the gateway does not answer."""
        status, body = self.ask(f"/users/{quote(owner or self.student.username, safe='')}/quota")
        return int(body["workers"]["held"]) if status == 200 else None

    def workers(self, owner: str = "", name: str = "lab") -> dict[str, str]:
        """Number and host of the executors that the gateway counts."""
        there = self.cluster(owner, name).get("executors", ())
        return {one["id"]: one["node"] for one in there if one["state"] != "lost"}

    def until_gone(self, since: float, seconds: float, owner: str = "") -> float:
        """Seconds from `since` until the gateway knows no cluster of the person and nothing of one is left."""
        owner = owner or self.student.username
        path = f"/users/{quote(owner, safe='')}/clusters"
        wait.until(
            lambda: (self.ask(path), self.left([self.front], owner)),
            lambda seen: seen[0] == (200, []) and not seen[1],
            f"the end of the cluster of {owner}",
            seconds=seconds,
            every=1,
        )
        return time.time() - since

    # Spark ------------------------------------------------------------------------------------------------------

    def sparks(self) -> dict[str, dict[str, Any]]:
        """Spark's own record of all executors that it had, by their id; the driver is not among them."""
        api = f"{self.student.path}/proxy/{self.page}/api/v1/applications"
        app = self.student.get(api).json()[0]["id"]
        listed = self.student.get(f"{api}/{app}/allexecutors").json()
        return {one["id"]: one for one in listed if one["id"] != "driver"}

    def registered_again(self, workers: int, seconds: float, lost: str = "") -> dict[str, dict[str, Any]]:
        """Spark's record as soon as `workers` executors work there, and no longer the one that was lost."""

        def active(seen: dict[str, dict[str, Any]]) -> int:
            return sum(one["isActive"] for one in seen.values())

        return wait.until(
            self.sparks,
            lambda seen: active(seen) == workers and not (lost and seen[lost]["isActive"]),
            f"{workers} executors in Spark's own count",
            seconds=seconds,
            every=1,
            describe=lambda seen: str({key: one["isActive"] for key, one in seen.items()}),
        )

    @contextmanager
    def kernel(self, begin: str) -> Iterator[Kernel]:
        """A kernel with a cluster and the job's functions; it is shut down at the end."""
        with self.student.kernel() as kernel:
            self._begin(kernel, begin)
            yield kernel

    def doomed(self, begin: str) -> Kernel:
        """The same, for one that will be lost with its notebook: nobody can shut it down."""
        kernel = Kernel(self.student, self.student.api("POST", "kernels", {"name": "python3"}).json()["id"])
        self._begin(kernel, begin)
        return kernel

    def _begin(self, kernel: Kernel, begin: str) -> None:
        words = f"import occam\nspark = {begin}\noccam.progress(False)\n{BEFORE}\nprint('PAGE', spark._held.ui)"
        began = kernel.run(words, seconds=300)
        assert not began.error, began.error
        self.page = began.text.split()[-1]

    def notebooks_host(self) -> str:
        """The pretend host on which the student's notebook runs."""
        status, body = self.ask(f"/users/{quote(self.student.username, safe='')}/notebook")
        assert status == 200, body
        return str(body["node"])


@contextmanager
def kept_dead(stage: Stage, service: str) -> Iterator[None]:
    """A service of the front host is killed, and again each time that the swarm has started it."""
    stop = threading.Event()

    def work() -> None:
        while not wait.nap(0.3, stop):
            if there := stage.container(stage.front, service):
                stage.on(stage.front, "docker", "kill", there, check=False)

    killer = threading.Thread(target=work)
    killer.start()
    try:
        yield
    finally:
        stop.set()
        killer.join()


def prepare(kernel: Kernel, parts: int, pause: float) -> Job:
    """A job whose digest is known from a run that nothing disturbs, without its pauses."""
    ran = kernel.run(f"print(job({parts}, 0))", seconds=120)
    assert not ran.error, ran.error
    return Job(parts, pause, ran.text.split()[-1])


@contextmanager
def running(kernel: Kernel, job: Job, seconds: float = 400) -> Iterator[Future[Ran]]:
    """The job, from the moment that it has begun."""
    begun = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(kernel.run, job.code(), seconds=seconds, told=lambda text: begun.set())
        assert begun.wait(30)
        yield work


def same(job: Job, ran: Ran) -> None:
    """The job ended, with the digest of the undisturbed run."""
    assert not ran.error, ran.error
    assert f"DIGEST {job.undisturbed}" in ran.text, ran.text


def moment(sparks: str) -> float:
    """Seconds since 1970 of Spark's `2026-11-25T01:20:11.123GMT`."""
    return datetime.strptime(sparks, "%Y-%m-%dT%H:%M:%S.%fGMT").replace(tzinfo=UTC).timestamp()
