"""Something dies while a job runs: the ones that take less than a minute. The others are in test_faults_long.py."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from occamctl import wait
from occamctl.actions.student import Student

from .conftest import STUDENTS, say
from .fault_stage import LEASE, Stage, kept_dead, moment, prepare, running, same

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def stage(course: Path, url: str, passwords: dict[str, str]) -> Stage:
    student = Student(url, STUDENTS[0])
    student.sign_in(passwords[STUDENTS[0]])
    student.start_server()
    return Stage(course, "journey", student)


def test_an_executor_killed_in_a_job_is_replaced_and_the_result_is_the_same(stage: Stage) -> None:
    with stage.kernel("occam.spark(workers=2)") as kernel:
        job = prepare(kernel, 20, 1)
        number, host = min(stage.workers().items())
        with running(kernel, job) as work:
            wait.nap(3)
            service = stage.names.executor(stage.student.username, "lab", int(number))
            container, killed = stage.container(host, service), time.time()
            stage.on(host, "docker", "exec", container, "pkill", "-KILL", "java")
            same(job, work.result())
        took = time.time() - killed
        sparks = stage.registered_again(2, 60, number)
        new = max(sparks, key=int)
        assert int(new) == len(sparks) - 1 == 2, "a number is never used twice"
        assert number not in stage.workers()
        assert stage.workers()[new] != host, "on another host, since there is room"
        assert stage.held() == 2
        notices = [one["text"] for one in stage.cluster()["notices"]]
        assert f"Worker {number} was lost, on {host}: " in notices[-1]
        assert "ended by signal KILL" in notices[-1]
        say(
            f"executor kill -9: Spark knew after {moment(sparks[number]['removeTime']) - killed:.1f} s, another one"
            f" registered after {moment(sparks[new]['addTime']) - killed:.1f} s, the job ended after {took:.1f} s"
        )


def test_a_job_that_asks_for_more_while_the_gateway_is_dead_gets_it_afterwards(stage: Stage) -> None:
    with stage.kernel("occam.spark(adaptive=(1, 1))") as kernel, ExitStack() as dead:
        job = prepare(kernel, 30, 1.5)
        assert not kernel.run("_ = spark.cluster.adapt(1, 3)").error
        dead.enter_context(kept_dead(stage, stage.names.gateway))
        wait.until(lambda: stage.ask("/health")[0], (0).__eq__, "the gateway's death", seconds=20)
        with running(kernel, job) as work:
            wait.nap(12)
            assert not work.done()
            back = time.time()
            dead.close()
            sparks = stage.registered_again(3, 60)
            same(job, work.result())
        log = kernel.run("print(open(spark._held.driver.log).read())").text
        assert "asking for executors: no answer from" in log, log[-2000:]
        added = sorted(moment(one["addTime"]) for one in sparks.values())
        assert added[-2] > back, "none came while the gateway was dead"
        say(f"gateway dead for 12 s: two more executors registered {added[-1] - back:.1f} s after it may live again")


@pytest.mark.soak
def test_a_kernel_killed_with_its_cluster_leaves_nothing(stage: Stage) -> None:
    """Jupyter starts it again by itself, and the driver waits for it: nobody asks for the cluster again, so it ends."""
    with stage.kernel("occam.spark(workers=2)") as kernel:
        pid = kernel.run("import os; print(os.getpid())").text.strip()
        host = stage.notebooks_host()
        notebook = stage.container(host, stage.names.notebook(stage.student.username))
        stage.on(host, "docker", "exec", "--user", "1000", notebook, "kill", "-KILL", pid)
        killed = time.time()
        wait.nap(LEASE / 2)
        assert len(stage.workers()) == 2, "within the grace it waits for its kernel"
        took = stage.until_gone(killed, LEASE + 60)
        assert stage.held() == 0
        say(f"kernel kill -9: its cluster was gone, and nothing of it left, after {took:.0f} s (grace {LEASE} s)")
