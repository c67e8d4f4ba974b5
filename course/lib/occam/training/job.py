"""The Spark job whose barrier tasks are the ranks: it runs beside the notebook's cell, which can end it."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from occam.training.desk import Desk
from occam.training.plan import Plan

_REFUSAL = re.compile(r"Refusal: (.+?)(?:\n\s*SQLSTATE|\n\s*at |\Z)", re.DOTALL)
_PATIENCE = 5.0
"""Seconds that Spark has to hear of the end of the job."""


class Job:
    """Begins at once. Its end is told to the desk, with the error that it had."""

    def __init__(self, spark: Any, frame: Any, plan: Plan, desk: Desk, conf: Mapping[str, str]) -> None:
        self._spark, self._frame, self._plan, self._desk, self._conf = spark, frame, plan, desk, conf
        self.group = f"occam-train-{uuid.uuid4().hex[:8]}"
        self._thread = threading.Thread(target=self._run, name="occam-train-job", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """End it; its tasks are interrupted, and their processes end with them. From a thread: Spark may not answer."""
        cancel = threading.Thread(target=self._spark.sparkContext.cancelJobGroup, args=(self.group,), daemon=True)
        cancel.start()
        cancel.join(_PATIENCE)
        self._thread.join(_PATIENCE)

    def finished_tasks(self) -> int:
        """A sign of life while rows are moved, before the ranks are there."""
        tracker = self._spark.sparkContext.statusTracker()
        stages = [tracker.getStageInfo(one) for one in tracker.getActiveStageIds()]
        return sum(one.numCompletedTasks for one in stages if one) + len(tracker.getJobIdsForGroup(self.group))

    def _run(self) -> None:
        # Names of their own, so that cloudpickle takes neither this object nor its session along.
        plan = self._plan

        def work(batches: Any) -> Any:
            from occam.training import task

            return task.run(plan, batches)

        error: BaseException | None = None
        try:
            self._spark.sparkContext.setJobGroup(self.group, "occam.train", interruptOnCancel=True)
            with settings(self._spark, self._conf):
                self._frame.mapInArrow(work, "rank int", barrier=True).collect()
        except BaseException as caught:  # noqa: BLE001  whatever it is, the cell hears of it from the desk
            error = caught
        self._desk.came.put((-1, error))


@contextmanager
def settings(spark: Any, conf: Mapping[str, str]) -> Iterator[None]:
    """Spark's settings for a while."""
    before = {key: spark.conf.get(key, None) for key in conf}
    for key, value in conf.items():
        spark.conf.set(key, value)
    try:
        yield
    finally:
        for key, was in before.items():
            if was is None:
                spark.conf.unset(key)
            else:
                spark.conf.set(key, was)


def refusal(text: str) -> str:
    """What a task said to the student, found in Spark's text of an error; "" when it said nothing."""
    found = _REFUSAL.search(text)
    return found[1].strip() if found else ""


def is_a_refusal(said: str) -> bool:
    """Whether it would be said again if it were tried again: not so when a process was killed, or lost the others."""
    return bool(said) and not re.match(r"the process of rank \d+ (was ended by signal|lost )", said)


def lost_a_worker(text: str) -> bool:
    """Whether Spark's text of an error is about a worker that went, and not about a mistake."""
    return bool(re.search(r"ExecutorLost|executor \S+ (lost|exited|decommission)|FetchFailed", text, re.IGNORECASE))
