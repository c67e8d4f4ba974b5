"""What students read: quotas, stages of jobs, notices, and why a job failed."""

from __future__ import annotations

from typing import Any

import pytest
from occam import cluster, explain, jobs, meter
from occam.gateway import Gateway
from occam.jobs import Stage
from occam.quotas import Quota

SAID = {
    "workers": {"limit": 4, "held": 2, "guarantee": 1, "free_on_hosts": 9},
    "cpus": {"limit": None, "held": 3.5},
    "memory": {"limit": 8 << 30, "held": 0},
}


def made(**more: Any) -> cluster.Cluster:
    lost = {"id": "3", "node": "node2", "state": "lost", "message": "out of memory: the container has 1024M"}
    said = {"name": "lab", "state": "running", "wanted": 2, "cores": 2, "memory": 1 << 30, "executors": [lost]}
    return cluster.from_answer(said | more)


def test_a_quota_reads_as_text_and_works_as_a_mapping() -> None:
    quota = Quota(SAID)
    assert repr(quota).splitlines() == [
        "workers: you hold 2, you may hold 4, sure to be yours 1, free now 9",
        "cpus: you hold 3.5, you may hold no limit",
        "memory: you hold 0 GB, you may hold 8 GB",
    ]
    assert (quota["workers"]["limit"], quota["cpus"]["limit"], list(quota), len(quota)) == (4, None, list(SAID), 3)
    assert "<td" in quota._repr_html_()


def test_a_quota_that_is_shared_says_what_all_hold_together() -> None:
    quota = Quota({"workers": {"limit": 4, "held": 0, "shared": [{"of": "group phd", "limit": 8, "held": 7}]}})
    assert repr(quota) == "workers: you hold 0, you may hold 4, all of group phd 7 of 8"
    assert "all of group phd</th>" in quota._repr_html_()


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("count at NativeMethodAccessorImpl.java:0", "count"),
        ("sum at /tmp/ipykernel_16/2287833289.py:4", "sum, line 4"),
        ("collect at /home/student/mine.py:7", "collect at mine.py:7"),
        ("$anonfun$withThreadLocalCaptured$1 at CompletableFuture.java:1768", "query"),
        ("run at ThreadPoolExecutor.java:1136", "query"),
        ("lone", "lone"),
    ],
)
def test_names_of_stages_are_those_of_the_students_calls(name: str, short: str) -> None:
    assert jobs.short(name) == short


class Tracker:
    """Spark's status tracker with one job of two stages."""

    def __init__(self, jobs: list[int]) -> None:
        self.jobs = jobs

    def getActiveJobsIds(self) -> list[int]:
        return self.jobs

    def getActiveStageIds(self) -> list[int]:
        return [1, 2]

    def getStageInfo(self, number: int) -> Any:
        class Info:
            name, numTasks, numActiveTasks, numCompletedTasks, numFailedTasks = "count at X.java:0", 8, 2, 4, 1

        return Info if number == 1 else None


def test_stages_become_a_line_with_a_bar() -> None:
    stages = jobs.active(Tracker([7]))
    assert stages == [Stage("count at X.java:0", 4, 2, 1, 8)]
    assert jobs.as_text(stages) == "count at X.java:0 [==========          ] 4 of 8 tasks, 2 running, 1 failed"
    assert 'value="4" max="8"' in jobs.as_html([Stage("<b>", 4, 2, 0, 8)])
    assert "<b>" not in jobs.as_html([Stage("<b>", 4, 2, 0, 8)])
    assert jobs.active(Tracker([])) is None


def test_a_line_outside_of_notebook_and_terminal_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    line = jobs.Line()
    line.show([Stage("count", 0, 1, 0, 2)])
    line._since -= 1
    line.show([Stage("count", 1, 1, 0, 2)])
    line.clear()
    assert capsys.readouterr() == ("", "")


LOST = "Job aborted due to stage failure: … ExecutorLostFailure (executor 3 exited caused by one of the running tasks)"


def test_a_worker_that_ran_out_of_memory_is_named_with_its_limit_and_what_to_change() -> None:
    words = explain.why(LOST, made())
    assert words.startswith("Worker 3 on node2 needed more memory than it has (1 GB, for 2 tasks at a time)")
    assert "occam.stop('lab'), then occam.spark(memory='2G')" in words
    assert "df.repartition(n)" in words


def test_the_gateways_notice_is_enough_to_know_it_was_memory() -> None:
    notices = [{"number": 1, "text": "worker 3 was ended for memory: 1G"}]
    assert "Worker 3 needed more memory" in explain.why(LOST, made(executors=[], notices=notices))


def test_an_error_that_comes_before_the_gateway_knows_names_the_worker_too() -> None:
    error = "Lost task 1.0 in stage 0.0 (TID 1) (172.17.0.2 executor 2): java.lang.OutOfMemoryError: Java heap space"
    assert explain.why(error, made(executors=[])).startswith("Worker 2 needed more memory than it has (1 GB")


def test_a_lost_host_is_not_called_a_lack_of_memory() -> None:
    gone = [{"id": "3", "node": "node2", "state": "lost", "message": "the host node2 is down"}]
    words = explain.why(LOST, made(executors=gone))
    assert words.startswith("The job lost workers on node2 more often than Spark tries again (the host node2 is down)")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("[SPARK-24942]: Barrier execution mode does not support dynamic resource allocation", "need a fixed one"),
        ("[SPARK-24819]: Barrier execution mode does not allow", "fewer partitions, or more workers"),
        ("is bigger than spark.driver.maxResultSize (1024.0 MiB)", "too large for the notebook"),
        ("ZeroDivisionError: division by zero", ""),
        ("[TABLE_OR_VIEW_NOT_FOUND] The table or view `x` cannot be found", ""),
    ],
)
def test_other_errors(error: str, words: str) -> None:
    told = explain.why(error, made(executors=[]))
    assert words in told
    assert bool(told) == bool(words)


def test_a_driver_that_ran_out_of_memory() -> None:
    assert "ran out of memory (1024m)" in explain.why("", None, driver_out_of_memory=True, driver_heap="1024m")


def test_the_newest_notice_and_the_bounds_are_part_of_a_cluster_as_text() -> None:
    notices = [{"number": 1, "text": "older"}, {"number": 2, "text": "2 workers were taken back"}]
    text = repr(made(notices=notices, adaptive=[1, 6], executors=[]))
    assert "adaptive: between 1 and 6 workers" in text
    assert "notice: 2 workers were taken back" in text
    assert "older" not in text


def test_the_page_of_another_notebooks_cluster_goes_through_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/course/user/anna/")
    there = cluster.from_answer({"name": "lab", "ui_port": 20001}, Gateway("http://gateway", "anna", "t"))
    assert there.ui == "/course/user/anna/proxy/20001/jobs/"
    assert cluster.from_answer({"name": "lab", "ui_port": None}, there.gateway).ui == ""


def test_a_place_in_the_queue_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    meter.Progress("lab", 2).queued({"position": 1, "of": 3, "message": "the hosts are full"})
    assert capsys.readouterr().err == "lab: place 1 of 3 in the queue · the hosts are full\n"
