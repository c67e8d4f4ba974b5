"""Whatever dies while a job of a minute runs: `make soak`. On hosts of its own, because some of them do not come back.

Four hosts: the first three are managers of the swarm; the first runs hub, proxy and gateway. What is destroyed last is
the last host, and then that of a notebook: two managers of three are left.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from occamctl import sandbox, wait
from occamctl.actions.student import Kernel, Student
from occamctl.engine.client import Engine
from occamctl.sandbox.hosts import host_name

from .conftest import first_passwords, say
from .fault_stage import LEASE, Stage, kept_dead, moment, prepare, running, same

pytestmark = [pytest.mark.sandbox, pytest.mark.soak]

NAME = "faults"
HOSTS = [host_name(NAME, number) for number in (1, 2, 3, 4)]
PEOPLE = ("ada", "bo", "cy", "di")
PARTS, PAUSE, SECONDS = 54, 3, 60
"""Of a job on three workers."""
QUOTA_FREE = 120
"""Seconds after which nobody holds what was lost."""


def occamctl(course: Path, *words: str, code: int = 0) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "occamctl", *words, "-c", str(course)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == code, f"{words}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


@pytest.fixture(scope="module")
def course(built: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A course in which all students together may have six workers."""
    sandbox.down(NAME)
    hosts = sandbox.up(len(HOSTS), name=NAME, tags=built, say=say, options={1: {"OCCAM_DOCKER_GROUP": "1"}})
    file = tmp_path_factory.mktemp(NAME) / "occam.yaml"
    file.write_text(
        f"version: 1\ncourse: {NAME}\ninstructors: [prof]\nstudents: [{', '.join(PEOPLE)}]\n{hosts.as_yaml()}"
        "notebook: {cpu_limit: 2, mem_limit: 2G}\nspark: {worker: {cpus: 1, memory: 1G}}\n"
        "quotas: {course: {workers: 6}}\n"
    )
    yield file
    sandbox.down(NAME)


@pytest.fixture(scope="module")
def stage(course: Path) -> Stage:
    """The student is one whose notebook is not beside hub and gateway, nor on the last host."""
    said = occamctl(course, "course", "up", "-y")
    url = occamctl(course, "course", "url").strip()
    passwords = first_passwords(course, said)
    for name in PEOPLE:
        student = Student(url, name)
        student.sign_in(passwords[name])
        student.start_server()
        stage = Stage(course, NAME, student)
        if stage.notebooks_host() in HOSTS[1:3]:
            return stage
    raise AssertionError("every notebook is on the first host or on the last")


def another(stage: Stage, *, last: bool = False) -> tuple[str, str]:
    """A worker that is on no other host of importance: its number, and its host."""
    taken = {stage.front, stage.notebooks_host()}
    return next(
        (number, host) for number, host in stage.workers().items() if host not in taken and (host == HOSTS[3]) >= last
    )


def is_back(stage: Stage, host: str, seconds: float = 180) -> None:
    """The swarm has the host again, and is calm (a manager that returns has a leader elected); its walls stand."""
    listed = "docker node ls --format '{{.Status}}'"
    wait.until(
        lambda: stage.on(stage.front, "sh", "-c", listed, check=False).split(),
        lambda seen: set(seen) == {"Ready"} and bool(stage.container(host, stage.names.walls)),
        f"{host} in the swarm",
        seconds=seconds,
        every=1,
    )


@contextmanager
def cut_off(stage: Stage, host: str) -> Iterator[None]:
    """A host that loses every packet to and from the others; this machine still reaches it."""
    others = [address for address in sandbox.find(NAME).addresses if address != own_address(stage, host)]
    rules = [(chain, way, other) for other in others for chain, way in (("INPUT", "-s"), ("OUTPUT", "-d"))]
    for chain, way, other in rules:
        stage.on(host, "iptables", "-I", chain, way, other, "-j", "DROP")
    try:
        yield
    finally:
        for chain, way, other in rules:
            stage.on(host, "iptables", "-D", chain, way, other, "-j", "DROP")


def own_address(stage: Stage, host: str) -> str:
    return stage.on(host, "hostname", "-i").split()[0]


def restart_engine(stage: Stage, host: str) -> None:
    """As a package's update does it: no container of the host lives through it."""
    stage.on(host, "sh", "-c", "pkill -TERM -x dockerd; while pgrep -x dockerd; do sleep 0.2; done")
    start = 'nohup dockerd ${OCCAM_DNS:+--dns "$OCCAM_DNS"} >>/var/log/dockerd.log 2>&1 &'
    stage.on(host, "sh", "-c", start)


@pytest.mark.parametrize("fault", ["killed", "out of memory", "its engine restarted"])
def test_a_job_of_a_minute_bears_the_loss_of_an_executor(stage: Stage, fault: str) -> None:
    with stage.kernel("occam.spark(workers=3)") as kernel:
        job = prepare(kernel, PARTS, PAUSE)
        number, host = another(stage)
        service = stage.names.executor(stage.student.username, "lab", int(number))
        container = stage.container(host, service)
        with running(kernel, job) as work:
            wait.nap(SECONDS / 3)
            died = time.time()
            if fault == "killed":
                stage.on(host, "docker", "kill", container)
            elif fault == "out of memory":
                # What a task takes is more than the container has, and the kernel chooses the JVM.
                greedy = "echo 1000 >/proc/$(pgrep java)/oom_score_adj; python3 -c 'x = bytearray(2 << 30)'"
                stage.on(host, "docker", "exec", "--user", "1000", container, "sh", "-c", greedy, check=False)
            else:
                restart_engine(stage, host)
            same(job, work.result())
        took = time.time() - died
        sparks = stage.registered_again(3, 120, number)
        new = max(sparks, key=int)
        kept = {key for key, one in sparks.items() if one["isActive"]}
        assert kept == {"0", "1", "2", new} - {number}, "the others are not touched"
        assert set(stage.workers()) == kept
        assert stage.workers()[new] != host, "on another host, since there is room"
        assert stage.held() == 3
        told = stage.cluster()["notices"][-1]["text"]
        assert f"Worker {number} was lost" in told
        assert fault != "out of memory" or "out of memory: the container has 1024M" in told
        say(
            f"executor's loss ({fault}): Spark knew after {moment(sparks[number]['removeTime']) - died:.1f} s, another"
            f" one registered after {moment(sparks[new]['addTime']) - died:.1f} s on {stage.workers()[new]} (was on"
            f" {host}), the job ended after {took:.0f} s of {SECONDS * 2 / 3:.0f} s: {told}"
        )
    is_back(stage, host)


def test_a_job_goes_on_while_hub_proxy_and_gateway_die(stage: Stage) -> None:
    with stage.kernel("occam.spark(workers=3)") as kernel:
        job = prepare(kernel, PARTS, PAUSE)
        before = stage.workers()
        with running(kernel, job):  # what it would answer is lost with the proxy's connection: the kernel knows
            wait.nap(SECONDS / 3)
            for piece in (stage.names.hub, stage.names.gateway, stage.names.proxy):
                stage.kill(stage.front, piece)
            died = time.time()
            gateway = back(stage, died)
            assert stage.cluster()["lease_left"] > LEASE, "every lease has a grace period"
            wait.until(lambda: home(stage.student), (200).__eq__, "the hub", seconds=120, every=0.5)
            hub = time.time() - died
        again = Kernel(stage.student, kernel.id)
        ran = again.run("print('DIGEST', digest)", seconds=180)
        again.close()
        same(job, ran)
        assert stage.workers() == before
        say(f"hub, proxy and gateway kill -9: gateway back after {gateway:.1f} s, hub after {hub:.1f} s, same digest")


def back(stage: Stage, since: float) -> float:
    """Seconds from `since` until the gateway answers."""
    wait.until(lambda: stage.ask("/health")[0], (200).__eq__, "the gateway", seconds=90, every=0.5)
    return time.time() - since


def home(student: Student) -> int:
    """Status of the hub's page; 0 while nothing answers there."""
    try:
        return student.browser.get(f"{student.url}/hub/home", timeout=5).status_code
    except OSError:
        return 0


def test_a_job_goes_on_while_the_engine_of_the_first_host_restarts(stage: Stage) -> None:
    """Hub, proxy, gateway and the swarm's leader go at once; the next leader does not know a node's state at first."""
    with stage.kernel("occam.spark(workers=3)") as kernel:
        job = prepare(kernel, PARTS, PAUSE)
        elsewhere = {number for number, host in stage.workers().items() if host != stage.front}
        with running(kernel, job):
            wait.nap(SECONDS / 3)
            restart_engine(stage, stage.front)
            died = time.time()
            gateway = back(stage, died)
            wait.until(lambda: home(stage.student), (200).__eq__, "the hub", seconds=120, every=0.5)
        again = Kernel(stage.student, kernel.id)
        ran = again.run("print('DIGEST', digest)", seconds=180)
        again.close()
        same(job, ran)
        sparks = stage.registered_again(3, 120)
        assert elsewhere <= {number for number, one in sparks.items() if one["isActive"]}, "no other one was touched"
        say(f"the first host's engine restarted: gateway back after {gateway:.1f} s, {len(elsewhere)} executors stayed")
    for host in HOSTS:
        is_back(stage, host)


def test_a_gateway_that_is_away_for_longer_than_the_lease_ends_nothing(stage: Stage) -> None:
    """And what a job has asked for meanwhile it gets afterwards."""
    away = LEASE + 15
    with stage.kernel("occam.spark(adaptive=(1, 1))") as kernel, ExitStack() as dead:
        job = prepare(kernel, 72, 2)
        assert not kernel.run("_ = spark.cluster.adapt(1, 3)").error
        dead.enter_context(kept_dead(stage, stage.names.gateway))
        wait.until(lambda: stage.ask("/health")[0], (0).__eq__, "the gateway's death", seconds=20)
        with running(kernel, job) as work:
            wait.nap(away)
            assert not work.done()
            lives = time.time()
            dead.close()
            sparks = stage.registered_again(3, 60)
            same(job, work.result())
        added = sorted(moment(one["addTime"]) for one in sparks.values())
        took = added[-1] - lives
        say(f"gateway dead for {away} s: two more executors registered {took:.1f} s after it may live again")


def test_a_connect_server_that_is_killed_comes_back_with_its_workers(stage: Stage) -> None:
    occamctl(stage.course, "spark", "scale", "2")
    join = "import occam\nspark = occam.spark('course')\nprint('SUM', spark.range(1000).selectExpr('sum(id)').first())"
    with stage.student.kernel() as kernel:
        first = kernel.run(join, seconds=120)
        assert "SUM Row(sum(id)=499500)" in first.text, first.error
        driver = stage.names.driver("course", "main")
        host = next(one for one in HOSTS if stage.container(one, driver))
        before = stage.workers("course", "main").keys()
        died = stage.kill(host, driver)

        def whole() -> bool:
            there, now = stage.cluster("course", "main"), stage.workers("course", "main").keys()
            return there.get("registered") == 2 and there["state"] == "running" and not before & now

        wait.until(whole, bool, "the server with two workers", seconds=300, every=1)
        took = time.time() - died
        assert "SUM Row(sum(id)=499500)" in kernel.run(f"spark.stop()\n{join}", seconds=120).text
        say(f"Connect server kill -9: two workers registered with the next one after {took:.0f} s")
        died = time.time()
        occamctl(stage.course, "spark", "delete", "-y")
        stage.until_gone(died, 60, "course")
        nets = stage.on(stage.front, "docker", "network", "ls", "--format", "{{.Name}}").split()
        assert stage.names.net("course") not in nets, "nobody uses it"
        assert stage.names.net(stage.student.username) in nets, "the twin: a notebook does"


def test_a_paused_notebook_keeps_its_cluster_within_the_lease_and_loses_it_afterwards(stage: Stage) -> None:
    with stage.kernel("occam.spark(workers=2)") as kernel:
        job = prepare(kernel, 20, 1)
        host = stage.notebooks_host()
        notebook = stage.container(host, stage.names.notebook(stage.student.username))
        before = stage.workers()
        with running(kernel, job) as work:
            wait.nap(3)
            stage.on(host, "docker", "pause", notebook)
            wait.nap(LEASE * 2 / 3)
            stage.on(host, "docker", "unpause", notebook)
            same(job, work.result())
        assert stage.workers() == before
        stage.on(host, "docker", "pause", notebook)
        silent = time.time()
        try:
            took = stage.until_gone(silent, LEASE + 60)
        finally:
            stage.on(host, "docker", "unpause", notebook)
        assert stage.held() == 0
        say(f"notebook silent (lease {LEASE} s): lived after {LEASE * 2 / 3:.0f} s, was gone after {took:.0f} s")


def test_a_stopped_notebook_takes_its_cluster_along(stage: Stage) -> None:
    kernel = stage.student.api("POST", "kernels", {"name": "python3"}).json()["id"]
    ran = Kernel(stage.student, kernel).run("import occam; spark = occam.spark(workers=2)", seconds=200)
    assert not ran.error, ran.error
    stopped = time.time()
    occamctl(stage.course, "notebook", "stop", stage.student.username)
    took = stage.until_gone(stopped, LEASE + 60)
    assert stage.held() == 0
    say(f"notebook stopped: its cluster was gone {took:.0f} s after the command began")
    stage.student.start_server()


def test_an_executors_host_that_loses_its_network_is_replaced_and_comes_back_clean(stage: Stage) -> None:
    with stage.kernel("occam.spark(workers=3)") as kernel:
        job = prepare(kernel, PARTS, PAUSE)
        number, host = another(stage)
        with running(kernel, job, seconds=600) as work, ExitStack() as cut:
            wait.nap(SECONDS / 3)
            lost = time.time()
            cut.enter_context(cut_off(stage, host))
            known, took = replaced(stage, number, host, lost)
            same(job, work.result())
            ended = time.time() - lost
            wait.nap(max(0.0, 3 * LEASE - ended))
        is_back(stage, host)
        assert number not in stage.workers()
        service = stage.names.executor(stage.student.username, "lab", int(number))
        wait.until(lambda: stage.container(host, service), "".__eq__, "the end of the lost executor", seconds=60)
        say(
            f"an executor's host without network: not counted after {known:.0f} s, another one registered after"
            f" {took:.0f} s, the job ended after {ended:.0f} s of {SECONDS * 2 / 3:.0f} s; clean after it came back"
        )


def replaced(stage: Stage, number: str, host: str, since: float, workers: int = 3) -> tuple[float, float]:
    """Seconds from `since` until the gateway no longer counts the executor, and until another one registered."""

    def counted() -> bool:
        now = stage.workers()
        return number in now or not now

    wait.until(counted, (False).__eq__, f"the loss of executor {number}", seconds=120, every=1)
    known = time.time() - since
    sparks = stage.registered_again(workers, 120, number)
    new = max(sparks, key=int)
    assert host not in stage.workers().values()
    assert stage.held() == workers
    return known, moment(sparks[new]["addTime"]) - since


def test_a_notebooks_host_that_loses_its_network_loses_its_cluster_and_nothing_else(stage: Stage) -> None:
    kernel = stage.doomed("occam.spark(workers=3)")
    assert not kernel.run("open('kept.txt', 'w').write('mine')").error
    host = stage.notebooks_host()
    with cut_off(stage, host):
        lost = time.time()
        took = stage.until_gone(lost, LEASE + 60)
        wait.until(stage.held, (0).__eq__, "the quota", seconds=max(1.0, QUOTA_FREE - took), every=1)
        free = time.time() - lost
        wait.nap(max(0.0, 3 * LEASE - free))
    is_back(stage, host)
    wait.until(lambda: stage.left(HOSTS, stage.student.username), {}.__eq__, "containers everywhere", seconds=60)
    start_again(stage)
    with stage.kernel("occam.spark(workers=2)") as again:
        assert again.run("print(open('kept.txt').read(), spark.range(9).count())").text.strip() == "mine 9"
    say(f"a notebook's host without network: cluster gone after {took:.0f} s, quota free after {free:.0f} s")


def start_again(stage: Stage) -> None:
    """The old notebook, which the host still has, must end first; who asks too early is told so, and asks again."""
    words = ["-m", "occamctl", "notebook", "start", stage.student.username, "-c", str(stage.course)]
    wait.until(
        lambda: subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, timeout=300),
        lambda ran: ran.returncode == 0,
        "the notebook, once more",
        seconds=200,
        describe=lambda ran: str(ran.stderr),
    )
    stage.student.start_server()


def test_a_host_destroyed_without_goodbye(stage: Stage) -> None:
    """First the last one, with an executor; then the one with the notebook, and all that a student had."""
    kernel = stage.doomed("occam.spark(workers=4)")
    job = prepare(kernel, PARTS * 4 // 3, PAUSE)
    number, host = another(stage, last=True)
    with running(kernel, job, seconds=600) as work:
        wait.nap(SECONDS / 3)
        destroy(host)
        lost = time.time()
        known, took = replaced(stage, number, host, lost, workers=4)
        same(job, work.result())
    say(
        f"an executor's host destroyed: not counted after {known:.0f} s, another one registered after {took:.0f} s,"
        f" the job ended after {time.time() - lost:.0f} s of {SECONDS * 2 / 3:.0f} s"
    )
    destroy(stage.notebooks_host())
    lost = time.time()
    took = stage.until_gone(lost, QUOTA_FREE)
    assert stage.held() == 0
    status, quota = stage.ask(f"/users/{stage.student.username}/quota")
    assert (status, quota["memory"]["held"]) == (200, 0), "the notebook holds nothing either"
    say(f"a notebook's host destroyed: cluster gone and quota free after {took:.0f} s")


def destroy(host: str) -> None:
    Engine.local().api.remove_container(host, force=True, v=True)
