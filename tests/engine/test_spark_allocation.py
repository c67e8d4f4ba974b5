"""An adaptive cluster: Spark asks for executors and gives them back, with a gateway that grants less, or is away.

One driver for all tests, which build on each other: the last one kills it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from occamctl import wait

from . import spark_stage
from .spark_stage import PATH, Stage

pytestmark = pytest.mark.engine

LEAST, MOST = 1, 3
HEARTBEAT = 5
IDLE = {"spark.dynamicAllocation.executorIdleTimeout": "4s", "spark.dynamicAllocation.cachedExecutorIdleTimeout": "4s"}
WORK = """
import threading, time
def work(tasks, seconds=1):
    nap = lambda n: (time.sleep(seconds), n)[1]
    return sc.parallelize(range(tasks), tasks).map(nap).sum()

# Jobs one after another, beside what other cells do.
enough, sums = threading.Event(), []
def go_on():
    while not enough.is_set():
        sums.append(work(12))
def start():
    global busy
    enough.clear(), sums.clear()
    busy = threading.Thread(target=go_on)
    busy.start()
def end():
    enough.set(), busy.join()
    return set(sums)
"""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with spark_stage.built() as (engine, image), spark_stage.stage(engine, image) as there:
        there.start_kernel(adaptive=(LEAST, MOST), conf=IDLE)
        there.cell(WORK)
        yield there


@pytest.fixture(autouse=True)
def _as_usual(stage: Stage) -> Iterator[None]:
    """What one test that fails leaves behind is not the next one's."""
    yield
    stage.ask("PUT", "/answer", "{}")
    stage.cell("enough.set()")


def registered(stage: Stage) -> int:
    return int(stage.cell("said = spark._held.registered()"))


def calm(stage: Stage) -> None:
    """Wait until Spark has given back what it does not need, also what had not come to it yet."""
    there = lambda: (registered(stage), running(stage))  # noqa: E731
    wait.until(there, (LEAST, LEAST).__eq__, "the idle executors' end", seconds=60)


def running(stage: Stage) -> int:
    return sum(one["state"] == "running" for one in stage.ask("GET", PATH)["executors"])


def must_come_with_the_next_heartbeat(stage: Stage) -> None:
    began = time.monotonic()
    wait.until(lambda: running(stage), MOST.__eq__, "the start of all executors", seconds=60)
    assert time.monotonic() - began < 2 * HEARTBEAT


def wishes(stage: Stage) -> list[dict[str, int]]:
    """What Spark asked for, by profile; the same thing asked again is left out."""
    asked = [one["profiles"] for one in stage.requests("PUT", f"{PATH}/executors")]
    return [one for one, before in zip(asked, [None, *asked], strict=False) if one != before]


def driver_log(stage: Stage, words: str) -> list[str]:
    return [line for line in stage.cell("said = spark._held.driver.log.read_text()").splitlines() if words in line]


def test_spark_asks_for_executors_and_gives_back_those_it_chooses(stage: Stage) -> None:
    assert stage.cell("said = work(24)") == sum(range(24))
    assert {"0": MOST} in wishes(stage)
    calm(stage)
    given_back = [number for one in stage.requests("POST", f"{PATH}/executors/kill") for number in one["ids"]]
    assert len(given_back) == MOST - LEAST
    assert wishes(stage)[-1] == {"0": LEAST}
    ends = stage.shell(f"tail -qn1 $(printf '/tmp/executor-lab-%s.log ' {' '.join(given_back)})").splitlines()
    assert [line for line in ends if not line.endswith("(exit 0)")] == []
    assert driver_log(stage, " lost") == [], "who was given back is not lost"


def test_what_is_not_granted_comes_when_there_is_room(stage: Stage) -> None:
    stage.ask("PUT", "/answer", json.dumps({"room": 2}))
    stage.cell("start()")
    wait.until(lambda: registered(stage), (2).__eq__, "the second executor", seconds=60)
    stage.cell("time.sleep(2)")
    assert running(stage) == 2
    stage.ask("PUT", "/answer", "{}")
    must_come_with_the_next_heartbeat(stage)
    assert stage.cell("said = list(end())") == [sum(range(12))], "the jobs went on"
    told, asked = driver_log(stage, f"2 of {MOST} granted"), wishes(stage).count({"0": MOST})
    assert 0 < len(told) <= asked, "told once for each wish, however often it was asked again"
    calm(stage)


def test_a_refusal_is_one_line_and_the_job_goes_on(stage: Stage) -> None:
    error = {"what": "over the quota", "where": "", "fix": "", "exit_code": 4}
    stage.ask("PUT", "/answer", json.dumps({"status": 409, "error": error}))
    assert stage.cell("said = work(8)") == sum(range(8))
    stage.ask("PUT", "/answer", "{}")
    (line,) = driver_log(stage, "over the quota")
    assert " WARN " in line
    assert driver_log(stage, "Unable to reach the cluster manager") == []
    calm(stage)


def test_while_the_gateway_is_away_jobs_go_on_and_get_their_executors_when_it_is_back(stage: Stage) -> None:
    stage.ask("PUT", "/answer", json.dumps({"away": True}))
    stage.cell("start()")
    wait.until(lambda: stage.cell("said = len(sums)"), bool, "the end of a job that goes on", seconds=60)
    assert running(stage) == 1
    stage.ask("PUT", "/answer", "{}")
    must_come_with_the_next_heartbeat(stage)
    assert stage.cell("said = list(end())") == [sum(range(12))]
    assert len(driver_log(stage, "renewing the lease: no answer")) == 1
    calm(stage)


def test_who_goes_hands_over_what_it_shuffled_and_cached(stage: Stage) -> None:
    # Executors that have worked already: one that has just come cannot take anything over yet.
    stage.cell("start()")
    wait.until(lambda: registered(stage), MOST.__eq__, "all executors", seconds=60)
    stage.cell("time.sleep(3)\nend()")
    stage.cell("""
        computed = sc.accumulator(0)
        def slowly(n):
            computed.add(1)
            time.sleep(0.3)
            return n % 3, n
        rows = sc.parallelize(range(15), 15).map(slowly).cache()
        sums = rows.reduceByKey(lambda a, b: a + b, 4)
        first = sorted(sums.collect())
    """)
    calm(stage)
    said = stage.cell("said = [first, computed.value, sorted(sums.collect()), rows.count(), computed.value]")
    first, before, again, count, after = said
    assert first == again == [[k, sum(range(k, 15, 3))] for k in range(3)]
    assert (before, count, after) == (15, 15, 15), "nothing was computed again"


def test_a_barrier_stage_is_refused_with_the_reason(stage: Stage) -> None:
    said = stage.cell("""
        try:
            sc.parallelize(range(2), 2).barrier().mapPartitions(lambda part: part).collect()
        except Exception as refused:
            said = str(refused)
    """)
    assert "does not support dynamic resource allocation" in said


def test_a_stage_may_ask_for_executors_of_its_own_kind(stage: Stage) -> None:
    said = stage.cell("""
        from pyspark.resource import ExecutorResourceRequests, ResourceProfileBuilder, TaskResourceRequests
        executor = ExecutorResourceRequests().cores(1).memory("600m").memoryOverhead("500m").resource("gpu", 2)
        task = TaskResourceRequests().cpus(1).resource("gpu", 1)
        profile = ResourceProfileBuilder().require(executor).require(task).build
        def mine(_):
            import os
            from pyspark import TaskContext
            return TaskContext.get().resources()["gpu"].addresses + [os.environ["CUDA_VISIBLE_DEVICES"]]
        said = [sc.parallelize(range(2), 2).withResources(profile).map(mine).collect(), str(profile.id)]
    """)
    addresses, profile = said
    assert all(len(one) == 2 and one[0] == one[1] and one[0].startswith("GPU-") for one in addresses), addresses
    asked = [one for one in stage.requests("PUT", f"{PATH}/executors") if profile in one["profiles"]]
    assert asked[0]["total"] == sum(asked[0]["profiles"].values())
    assert asked[0]["sizes"] == {profile: {"cores": 1, "memory": 1100 << 20, "heap": 600 << 20, "gpus": 2}}
    number = next(one["id"] for one in stage.ask("GET", PATH)["executors"] if one["profile"] == profile)
    assert "heap 600m" in stage.executor_log(int(number))


def test_a_stage_whose_workers_will_never_come_fails_and_says_why(stage: Stage) -> None:
    stage.ask("POST", "/answer", json.dumps({"never": "no host of this course has 8 GPUs"}))
    said = stage.cell(
        """
        large = ResourceProfileBuilder().require(ExecutorResourceRequests().cores(1).resource("gpu", 8)).build
        try:
            sc.parallelize(range(2), 2).withResources(large).count()
        except Exception as error:
            said = str(error)
    """,
        seconds=60,
    )
    stage.ask("POST", "/answer", "{}")
    assert "no worker for it will come: no host of this course has 8 GPUs" in said
    assert stage.cell("said = work(2)") == 1


def test_executors_end_within_seconds_of_their_driver_and_say_so(stage: Stage) -> None:
    alive = [one["id"] for one in stage.ask("GET", PATH)["executors"] if one["state"] == "running"]
    assert alive
    stage.shell("kill -9 $(pgrep -f deploy.SparkSubmi[t])")
    # Not every java: the driver's is a zombie, for its kernel does not ask after it.
    executors = lambda: stage.shell("pgrep -fc 'OccamExecutorBacken[d]|bin/occam-executo[r]' || true")  # noqa: E731
    wait.until(executors, "0".__eq__, "the executors' end", seconds=30)
    ends = [stage.executor_log(int(number)).splitlines()[-1] for number in alive]
    assert [line for line in ends if not line.endswith(" is gone (exit 1)")] == []
