"""The ranks of one attempt as the notebook sees them: a Spark job, and what its processes say.

Every wait here has an end: a rank that says nothing for a while is lost, and a training in which nothing moves fails.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

from occam.errors import Refused, TrainingFailed
from occam.training import job as jobs
from occam.training import preflight, task, wire
from occam.training.desk import Desk, Lost
from occam.training.job import Job
from occam.training.plan import Plan

LOOK = 0.25
"""Seconds to wait for a word."""
LOOKS = 1.0
"""Seconds between two looks at whether all goes well."""
FAREWELL = 20.0
"""Seconds that ranks have to end when there are no more epochs."""
SETTLE = 2.0
"""Seconds that others have to say what they know of a rank's end."""


class Again(Exception):
    """A rank was lost: it may go better with another one."""


class Ranks:
    """Use as a context: its end is the end of every rank. `plan` lacks address and key, which are this attempt's own.

    timeout  seconds in which nothing moves
    """

    def __init__(self, spark: Any, frame: Any, plan: Plan, conf: Mapping[str, str], timeout: float) -> None:
        self._workers, self._timeout = plan.workers, timeout
        self._desk = Desk()
        plan = replace(plan, address=self._desk.address, key=self._desk.key)
        self._job = Job(spark, frame, plan, self._desk, conf)
        self._doing: dict[int, str] = {}
        self._moved = self._looked = time.monotonic()
        self._tasks, self._ended = 0, False

    def __enter__(self) -> Ranks:
        return self

    def __exit__(self, *_error: object) -> None:
        self._desk.close()
        if not self._ended:
            self._job.cancel()

    def say(self, message: Any, rank: int | None = None) -> None:
        """To one rank, or to all."""
        self._desk.say(message, rank)

    def hear(self) -> tuple[int, Any]:
        """The next message that is no mere sign of life. Raises Again when a rank is lost, Refused, TrainingFailed."""
        while True:
            came = self._desk.next(LOOK)
            if time.monotonic() - self._looked > LOOKS:
                self._look()
            if came is None:
                continue
            rank, message = came
            if rank < 0:
                raise self._job_ended(message)
            if isinstance(message, (Lost, wire.Alone)):
                raise self._lost(rank if isinstance(message, Lost) else None)
            if isinstance(message, wire.Failed):
                raise _exception(rank, message)
            if isinstance(message, wire.NotFinite):
                raise self._not_finite(rank, message)
            if isinstance(message, wire.Alive) and self._doing.get(rank) == message.doing:
                continue
            self._moved = time.monotonic()
            if not isinstance(message, wire.Alive):
                return rank, message
            self._doing[rank] = message.doing

    def await_end(self) -> None:
        """After Done was said; a rank that does not end by itself is ended."""
        end = time.monotonic() + FAREWELL
        while not self._ended and time.monotonic() < end:
            came = self._desk.next(LOOK)
            self._ended = came is not None and came[0] < 0

    # What went wrong --------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._looked = time.monotonic()
        if silent := self._desk.silent():
            raise Again(f"rank {silent[0]} was not heard of for {wire.SILENCE:g} s")
        if len(self._desk.heard) < self._workers:  # rows are on their way
            tasks = self._job.finished_tasks()
            if tasks != self._tasks:
                self._tasks, self._moved = tasks, self._looked
        if self._looked - self._moved > self._timeout:
            doing = "; ".join(f"rank {rank} was {words}" for rank, words in sorted(self._doing.items()))
            raise TrainingFailed(
                f"nothing moved for {self._timeout:g} s ({doing or 'the workers did not start'})",
                "perhaps other jobs hold the workers; timeout=… allows more time",
            )

    def _soon(self, seconds: float = SETTLE) -> Iterator[tuple[int, Any]]:
        """What comes within so many seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            came = self._desk.next(left)
            if came is not None:
                yield came

    def _lost(self, rank: int | None) -> Exception:
        """A connection ended, or a sum failed. Others may know more."""
        for other, message in self._soon():
            if other < 0:
                return self._job_ended(message, rank)
            if isinstance(message, wire.Failed):
                return _exception(other, message)
            if isinstance(message, Lost) and rank is None:
                rank = other
        return _again(rank)

    def _job_ended(self, error: BaseException | None, lost: int | None = None) -> Exception:
        self._ended = True
        text = str(error)
        said = jobs.refusal(text)
        if said.startswith(task.DIFFER):
            return Refused(said, preflight.OVER)
        if jobs.is_a_refusal(said):
            return TrainingFailed(said)
        if "was ended by signal" in said:
            return Again(said.splitlines()[0])
        if said or lost is not None or jobs.lost_a_worker(text):
            return _again(lost)
        first = text.splitlines()[0] if error else "without a word"
        return TrainingFailed(f"Spark ended the training: {first}", trace=text)

    def _not_finite(self, rank: int, first: wire.NotFinite) -> TrainingFailed:
        """All ranks stop in the same step; which of them had it in their own rows says where it came from."""
        said = {rank: first}
        for other, message in self._soon(SETTLE / 2):
            if isinstance(message, wire.NotFinite):
                said[other] = message
            if len(said) == self._workers:
                break
        what = f"the loss is {first.loss}" if not isfinite(first.loss) else "the gradient is no finite number"
        where = f"{what} at epoch {first.epoch + 1}, step {first.step}"
        if found := [f"; rank {one}: {words.rows}" for one, words in sorted(said.items()) if words.rows]:
            return TrainingFailed(
                f"{where}, on {self._named(said)}{found[0]}", "leave such rows out: DataFrame.dropna()"
            )
        hints = ["look for such values in the data", "a smaller learning rate"]
        if len(said) == self._workers > 1:
            hints.reverse()
        return TrainingFailed(f"{where}, on {self._named(said)}", ", or ".join(hints))

    def _named(self, ranks: Iterable[int]) -> str:
        found = sorted(ranks)
        if len(found) == self._workers > 1:
            return "every rank"
        return f"rank {', '.join(map(str, found))}{' only' if self._workers > 1 else ''}"


def _again(rank: int | None) -> Again:
    return Again("a rank was lost" if rank is None else f"rank {rank} was lost")


def _exception(rank: int, failed: wire.Failed) -> TrainingFailed:
    return TrainingFailed(f"rank {rank} failed: {failed.what}", trace=failed.trace)
