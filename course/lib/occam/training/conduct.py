"""A training from the notebook's side: it starts the ranks, leads them, and begins again once if one is lost.

Every wait here has an end: a rank that says nothing for a while is lost, and a training in which nothing moves fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from math import isfinite
from typing import Any

from occam.errors import TrainingFailed
from occam.training import job as jobs
from occam.training import network, wire
from occam.training.bar import Bar
from occam.training.between import Between
from occam.training.desk import Desk, Lost
from occam.training.forms import TRAIN
from occam.training.job import Job
from occam.training.plan import Plan
from occam.training.result import Result
from occam.training.source import Source

LOOK = 0.25
"""Seconds between two looks at whether all goes well, while nothing comes."""
REPLACED = 45.0
"""Seconds that another worker may take to come in place of one that was lost."""
FAREWELL = 20.0
"""Seconds that ranks have to end when there are no more epochs."""
SETTLE = 2.0
"""Seconds that Spark has to notice that a worker is gone, before its workers are counted."""


class _Again(Exception):
    """A rank was lost."""


class Training:
    """`plan` lacks address and key, which each attempt has of its own; `slots` counts what the cluster has now."""

    def __init__(
        self, spark: Any, plan: Plan, source: Source, between: Between, bar: Bar, slots: Callable[[], int]
    ) -> None:
        self._spark, self._plan, self._source = spark, plan, source
        self._between, self._bar, self._slots = between, bar, slots
        self._workers, self._rows = plan.workers, plan.layouts[TRAIN].rows
        self.result = Result(model=between.model, workers=self._workers, rows=self._rows)
        self._state = network.state(between.model)
        self._began = time.monotonic()
        self._rates: list[float] = []

    def run(self, epochs: int, retries: int, timeout: float) -> Result:
        """Raises TrainingFailed; an interrupt ends it, with all ranks."""
        self._epochs, self._timeout = epochs, timeout
        self._between.begin()
        try:
            while not self._attempt(retries):
                retries -= 1
                self.result.resumed += 1
                self._await_workers()
        finally:
            self._bar.end()
        self._between.end({name: values[-1] for name, values in self.result.history.items()})
        self.result.digest = network.weights_digest(self._between.model)
        return self.result

    def _attempt(self, retries: int) -> bool:
        """Train what is left. False when a worker was lost and it may be tried again."""
        self._bar.say("starting the workers")
        with Desk() as desk:
            plan = replace(self._plan, address=desk.address, key=desk.key)
            self._desk, self._doing, self._ended = desk, dict[int, str](), False
            frame = self._source.frame(self._spark, plan)
            self._job = Job(self._spark, frame, plan, desk, self._source.conf())
            self._moved, self._tasks = time.monotonic(), 0
            try:
                self._meet()
                self._train()
                return True
            except _Again as lost:
                if not retries:
                    raise self._failed(
                        f"{lost}, and it was tried again before" if self.result.resumed else str(lost),
                        "occam.train(…) again, perhaps with larger workers: spark.cluster.logs() has their last words",
                    ) from None
                self._bar.say(f"{lost}: beginning again after epoch {self.result.epochs}")
                return False
            finally:
                desk.__exit__()
                if not self._ended:
                    self._job.cancel()

    # The parts of an attempt ------------------------------------------------------------------------------------------

    def _meet(self) -> None:
        there: set[int] = set()
        while len(there) < self._workers:
            rank, message = self._hear()
            if isinstance(message, wire.Hello):
                there.add(rank)
                self._bar.say(f"{len(there)} of {self._workers} ranks are there")
        if not self._source.from_spark:
            for rank in range(self._workers):
                for rows in self._source.of_rank(rank, self._plan.layouts):
                    self._desk.say(rows, rank)
            self._desk.say(wire.NoMoreRows())

    def _train(self) -> None:
        state: wire.State | None = self._state
        while self.result.epochs < self._epochs and not self.result.stopped:
            epoch = self.result.epochs
            rate = self._between.before(epoch)
            self._desk.say(wire.Train(epoch, rate, state))
            state = self._finish(epoch, self._epoch(epoch))
        self._desk.say(wire.Done())
        self._await_end()

    def _epoch(self, epoch: int) -> list[wire.Epoch]:
        """What all ranks say of it, in their order."""
        said: dict[int, wire.Epoch] = {}
        while len(said) < self._workers:
            rank, message = self._hear()
            if isinstance(message, wire.Epoch):
                said[rank] = message
            elif isinstance(message, wire.Step):
                self._first_step()
                self._bar.step(epoch, message.done, message.steps, message.loss, self._rate_now(message))
            elif isinstance(message, wire.NotFinite):
                raise self._not_finite(rank, message)
        return [said[rank] for rank in range(self._workers)]

    def _finish(self, epoch: int, said: list[wire.Epoch]) -> wire.State | None:
        """Keep what came of an epoch, and ask the callbacks. The weights to go on with, when they changed them."""
        if len({one.digest for one in said}) > 1:
            raise self._failed(
                f"the ranks have not the same weights after epoch {epoch + 1}: this is a fault of occam's"
            )
        self._first_step()
        state = said[0].state
        assert state is not None
        self._state = state
        logs = network.scores(self._between.model, [one.trained for one in said], loss_of_all=True)
        if validated := [one.validated for one in said if one.validated]:
            found = network.scores(self._between.model, validated, loss_of_all=False)
            logs |= {f"val_{name}": value for name, value in found.items()}
        seconds = max(one.seconds for one in said)
        self.result.seconds.append(seconds)
        self.result.losses += said[0].losses
        self.result.worker_seconds.append([one.seconds for one in said])
        changed = self._between.after(epoch, logs, state)
        self.result.history = self._between.history
        self._state = changed or state
        self.result.stopped = self._between.stop and epoch + 1 < self._epochs
        self._bar.epoch(epoch, logs, seconds, self._rows / seconds if seconds else 0)
        return changed

    def _await_end(self) -> None:
        end = time.monotonic() + FAREWELL
        while not self._ended and time.monotonic() < end:
            came = self._desk.next(LOOK)
            self._ended = came is not None and came[0] < 0

    # Listening --------------------------------------------------------------------------------------------------------

    def _hear(self) -> tuple[int, Any]:
        """The next message that matters. Raises _Again when a rank is lost, and TrainingFailed."""
        while True:
            came = self._desk.next(LOOK)
            if came is None:
                self._look()
                continue
            rank, message = came
            if rank < 0:
                self._ended = True
                raise self._job_ended(message)
            if isinstance(message, Lost):
                raise self._lost(rank)
            if isinstance(message, wire.Alone):
                raise self._lost(None)
            if isinstance(message, wire.Failed):
                raise self._exception(rank, message)
            if isinstance(message, wire.Alive) and self._doing.get(rank) == message.doing:
                continue
            self._moved = time.monotonic()
            if not isinstance(message, wire.Alive):
                return rank, message
            self._doing[rank] = message.doing

    def _look(self) -> None:
        if silent := self._desk.silent():
            raise _Again(f"rank {silent[0]} was not heard of for {wire.SILENCE:g} s")
        quiet = time.monotonic() - self._moved
        if quiet > 1 and len(self._desk.heard) < self._workers:
            tasks = self._job.finished_tasks()
            if tasks != self._tasks:
                self._tasks, self._moved = tasks, time.monotonic()
        if quiet > self._timeout:
            doing = "; ".join(f"rank {rank} was {words}" for rank, words in sorted(self._doing.items()))
            raise self._failed(
                f"nothing moved for {self._timeout:g} s ({doing or 'the workers did not start'})",
                "perhaps other jobs hold the workers; timeout=… allows more time",
            )

    def _lost(self, rank: int | None) -> Exception:
        """A connection ended, or a sum failed. Others may know more: wait a moment for it."""
        lost, end = rank, time.monotonic() + SETTLE
        while (left := end - time.monotonic()) > 0:
            came = self._desk.next(left)
            if came is None:
                break
            if came[0] < 0:
                self._ended = True
                return self._job_ended(came[1], lost)
            if isinstance(came[1], wire.Failed):
                return self._exception(*came)
            if isinstance(came[1], Lost) and lost is None:
                lost = came[0]
        return _Again("a rank was lost" if lost is None else f"rank {lost} was lost")

    def _exception(self, rank: int, failed: wire.Failed) -> TrainingFailed:
        return self._failed(f"rank {rank} failed: {failed.what}", trace=failed.trace)

    def _job_ended(self, error: BaseException | None, lost: int | None = None) -> Exception:
        text = str(error)
        said = jobs.refusal(text)
        if jobs.is_a_refusal(said):
            return self._failed(said)
        if said or lost is not None or jobs.lost_a_worker(text):
            return _Again(
                said.splitlines()[0] if said else "a worker was lost" if lost is None else f"rank {lost} was lost"
            )
        return self._failed(
            f"Spark ended the training: {text.splitlines()[0] if text else 'without a word'}", trace=text
        )

    def _not_finite(self, rank: int, first: wire.NotFinite) -> TrainingFailed:
        """All ranks stop in the same step; which of them had it in their own rows says where it came from."""
        ranks, end = {rank}, time.monotonic() + SETTLE / 2
        while (left := end - time.monotonic()) > 0 and len(ranks) < self._workers:
            came = self._desk.next(left)
            if came is not None and isinstance(came[1], wire.NotFinite):
                ranks.add(came[0])
        where = f"epoch {first.epoch + 1}, step {first.step}"
        what = f"the loss is {first.loss} at" if not isfinite(first.loss) else "the gradient is no finite number at"
        if len(ranks) == self._workers:
            who = "on every rank" if self._workers > 1 else "on rank 0"
            return self._failed(
                f"{what} {where}, {who}",
                "a smaller learning rate, or look for such values in the data",
            )
        named = ", ".join(map(str, sorted(ranks)))
        return self._failed(
            f"{what} {where}, on rank {named} only",
            "look for values that are no numbers in the data",
        )

    # Small things -----------------------------------------------------------------------------------------------------

    def _await_workers(self) -> None:
        """Until there are enough again. Raises TrainingFailed."""
        time.sleep(SETTLE)
        end = time.monotonic() + REPLACED
        while (slots := self._slots()) < self._workers:
            if time.monotonic() > end:
                raise self._failed(
                    f"a worker was lost and no other came within {REPLACED:g} s: {slots} of {self._workers} are there",
                    "spark.cluster shows its state; occam.train(…) again when all are there",
                )
            time.sleep(LOOK)

    def _first_step(self) -> None:
        self.result.until_first = self.result.until_first or time.monotonic() - self._began

    def _rate_now(self, step: wire.Step) -> float:
        if step.done == 1 or not self._rates:
            self._rates = [time.monotonic(), step.rows]
        since, rows = self._rates
        passed = time.monotonic() - since
        return (step.rows - rows) / passed if passed > 0 and step.rows > rows else 0.0

    def _failed(self, what: str, fix: str = "", trace: str = "") -> TrainingFailed:
        return TrainingFailed(what, fix, trace=trace, result=self.result)
