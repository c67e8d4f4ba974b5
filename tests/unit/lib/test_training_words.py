"""What is said of a training: its result, its progress, and errors that come out of Spark's long texts."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from occam.errors import TrainingFailed
from occam.training import curves, job, task
from occam.training.bar import Bar
from occam.training.result import Result, samples

HISTORY = {"accuracy": [0.5, 0.75], "loss": [0.7, 0.4], "val_loss": [0.8, float("nan")]}


def test_a_result_says_what_came_of_it() -> None:
    result = Result(dict(HISTORY), workers=2, rows=1000, seconds=[1.5, 0.5], resumed=1, stopped=True)
    assert (result.epochs, result.samples_per_second) == (2, 1000.0)
    assert repr(result) == (
        "<training; epochs: 2, ended by a callback; workers: 2; time: 2.0 s, 1,000 samples/s;"
        " at the end: accuracy 0.75, loss 0.4, val_loss nan; resumed: 1 time, after a worker was lost>"
    )
    assert "<svg" in result._repr_html_()
    assert "1,000 samples/s" in result._repr_html_()


def test_curves_are_pictures_of_each_quantity_loss_first() -> None:
    drawn = ET.fromstring(f"<all>{curves.svg(HISTORY)}</all>")
    named = [picture.get("aria-label") for picture in drawn]
    assert named == ["loss by epoch", "accuracy by epoch"]
    lines = [len(picture.findall("{http://www.w3.org/2000/svg}polyline")) for picture in drawn]
    assert lines == [2, 1]


@pytest.mark.parametrize("history", [{}, {"loss": []}, {"loss": [1.0]}, {"loss": [float("nan")]}, {"<b>": [1.0, 1.0]}])
def test_any_history_can_be_drawn(history: dict[str, list[float]]) -> None:
    ET.fromstring(f"<all>{curves.svg(history)}</all>")


def test_without_a_notebook_progress_is_a_line_for_each_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar(2, 2)
    bar.say("starting the workers")
    bar.say("starting the workers")
    bar.step(0, 1, 10, 0.7, 100)
    bar.epoch(0, {"loss": 0.65432}, 1.25, 51_234.5)
    bar.end()
    assert capsys.readouterr().err.splitlines() == [
        "training: starting the workers",
        "epoch 1 of 2: 1.2 s · loss 0.6543 · 51,234 samples/s",
    ]


def test_rates_are_read_at_a_glance() -> None:
    assert [samples(rate) for rate in (0.123, 45_300.4)] == ["0.12 samples/s", "45,300 samples/s"]


SPARKS = """An error occurred while calling o169.collectToPython.
: org.apache.spark.SparkException: Job aborted: Could not recover from a failed barrier ResultStage.
org.apache.spark.api.python.PythonException: [PYTHON_EXCEPTION] An exception was thrown from the worker: Traceback
  File "/opt/occam/lib/occam/training/task.py", line 56, in run
    raise Refusal("…")
occam.training.task.Refusal: {}
 SQLSTATE: 38000
\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator.handlePythonException(PythonRunner.scala:1097)
"""
GONE = "ExecutorLostFailure (executor 2 exited caused by one of the running tasks) Reason: Command exited with code 137"


def test_what_a_task_refuses_is_found_in_sparks_text() -> None:
    refused = job.refusal(
        SPARKS.format("libraries of workers and notebook differ: keras 3.14 on workers, 3.15 in the notebook")
    )
    assert refused == "libraries of workers and notebook differ: keras 3.14 on workers, 3.15 in the notebook"
    assert job.is_a_refusal(refused)
    assert job.refusal("java.lang.OutOfMemoryError") == ""


@pytest.mark.parametrize("code", [-9, 3, 5])
def test_a_killed_process_is_no_refusal(code: int) -> None:
    said = job.refusal(SPARKS.format(f"the process of rank 1 {task._ended(code)}\nlast words"))
    assert said.startswith("the process of rank 1 ")
    assert not job.is_a_refusal(said)


def test_a_lost_worker_is_known_from_a_mistake() -> None:
    assert job.lost_a_worker(GONE)
    assert not job.lost_a_worker(SPARKS.format("a mistake"))


def test_versions_that_differ_are_named() -> None:
    assert task.differences({"keras": "3.15", "Python": "3.11"}, {"keras": "3.15", "Python": "3.11"}) == ""
    told = task.differences({"keras": "3.14", "Python": "3.11"}, {"keras": "3.15", "Python": "3.11", "numpy": "2"})
    assert told == "keras 3.14 on workers, 3.15 in the notebook; numpy is not on workers, 2 in the notebook"


def test_an_error_has_the_workers_traceback_and_what_came_before() -> None:
    failed = TrainingFailed("rank 1 failed: ValueError: no", trace="Traceback …", result=Result())
    assert "On the worker:\nTraceback …" in "".join(failed._render_traceback_())
    assert failed.result.epochs == 0
