"""A training from the notebook's side: epoch by epoch, and once again from the last whole one if a worker is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from occam.errors import TrainingFailed
from occam.training import network, wire
from occam.training.bar import Bar
from occam.training.between import Between
from occam.training.forms import TRAIN
from occam.training.plan import Plan
from occam.training.ranks import SETTLE, Again, Ranks
from occam.training.result import Result
from occam.training.source import Source

REPLACED = 45.0
"""Seconds that another worker may take to come in place of one that was lost."""


class Training:
    """`slots` counts the ranks that the cluster has room for now; `began` is when the student called."""

    def __init__(
        self, spark: Any, plan: Plan, source: Source, between: Between, bar: Bar, slots: Callable[[], int], began: float
    ) -> None:
        self._spark, self._plan, self._source = spark, plan, source
        self._between, self._bar, self._slots = between, bar, slots
        self._workers, self._rows = plan.workers, plan.layouts[TRAIN].rows
        self.result = Result(model=between.model, workers=self._workers, rows=self._rows)
        self._first = 0
        self._began = began
        self._since, self._before = 0.0, 0
        self._begun = -1
        self._learning_rate: float | None = None

    def run(self, epochs: int, retries: int, timeout: float) -> Result:
        """Raises TrainingFailed; an interrupt ends it, with all ranks."""
        self._epochs, self._timeout = epochs, timeout
        self._first = self._between.begin()
        self._state = network.state(self._between.model)
        try:
            while not self._attempt(retries):
                retries -= 1
                self.result.resumed += 1
                self._await_workers()
        except TrainingFailed as failed:
            failed.result = self.result
            raise
        finally:
            self._bar.end()
        self._between.end({name: values[-1] for name, values in self.result.history.items()})
        self.result.digest = network.weights_digest(self._between.model)
        return self.result

    def _attempt(self, retries: int) -> bool:
        """Train what is left. False when a worker was lost and it may be tried again."""
        self._bar.say("starting the workers")
        frame = self._source.frame(self._spark, self._plan)
        try:
            with Ranks(self._spark, frame, self._plan, self._source.conf(), self._timeout) as ranks:
                self._meet(ranks)
                self._train(ranks)
            return True
        except Again as lost:
            if not retries:
                raise TrainingFailed(
                    f"{lost}, and it was tried again before" if self.result.resumed else str(lost),
                    "occam.train(…) again, perhaps with larger workers: spark.cluster.logs() has their last words",
                ) from None
            self._bar.say(f"{lost}: beginning again after epoch {self._done}")
            return False

    def _meet(self, ranks: Ranks) -> None:
        there: set[int] = set()
        while len(there) < self._workers:
            rank, message = ranks.hear()
            if isinstance(message, wire.Hello):
                there.add(rank)
                self._bar.say(f"{len(there)} of {self._workers} ranks are there")
        if not self._source.from_spark:
            for rank in range(self._workers):
                for rows in self._source.of_rank(rank, self._plan.layouts):
                    ranks.say(rows, rank)
            ranks.say(wire.NoMoreRows())

    def _train(self, ranks: Ranks) -> None:
        theirs: wire.State | None = None
        while (epoch := self._done) < self._epochs and not self.result.stopped:
            self._begin(epoch)
            ranks.say(wire.Train(epoch, self._learning_rate, None if self._state is theirs else self._state))
            theirs = self._finish(epoch, self._epoch(ranks, epoch))
        ranks.say(wire.Done())
        ranks.await_end()

    def _begin(self, epoch: int) -> None:
        """Ask the callbacks, once: in an epoch that begins again after a loss, what they changed is changed already."""
        if epoch == self._begun:
            return
        self._begun = epoch
        self._learning_rate, changed = self._between.before(epoch)
        self._state = changed or self._state

    def _epoch(self, ranks: Ranks, epoch: int) -> list[wire.Epoch]:
        """What all ranks say of it, in their order."""
        said: dict[int, wire.Epoch] = {}
        while len(said) < self._workers:
            rank, message = ranks.hear()
            if isinstance(message, wire.Epoch):
                said[rank] = message
            elif isinstance(message, wire.Step):
                self._first_step()
                self._bar.step(epoch, message.done, message.steps, message.loss, self._rate(message))
        return [said[rank] for rank in range(self._workers)]

    def _finish(self, epoch: int, said: list[wire.Epoch]) -> wire.State:
        """Keep what came of an epoch, and ask the callbacks. The ranks' weights, which callbacks may have changed."""
        if len({one.digest for one in said}) > 1:
            raise TrainingFailed(f"the ranks have not the same weights after epoch {epoch + 1}: a fault of occam's own")
        state = said[0].state
        assert state is not None
        logs = network.scores(self._between.model, [one.trained for one in said], loss_of_all=True)
        if validated := [one.validated for one in said if one.validated]:
            found = network.scores(self._between.model, validated, loss_of_all=False)
            logs |= {f"val_{name}": value for name, value in found.items()}
        seconds = max(one.seconds for one in said)
        self._state = self._between.after(epoch, logs, state) or state
        self.result.seconds.append(seconds)
        self.result.losses += said[0].losses
        self.result.worker_seconds.append([one.seconds for one in said])
        self.result.history = self._between.history
        self.result.stopped = self._between.stop and epoch + 1 < self._epochs
        self._bar.epoch(epoch, logs, seconds, self._rows / seconds if seconds else 0)
        return state

    @property
    def _done(self) -> int:
        """Epochs that are over, with those of a training before whose backup a callback restored."""
        return self._first + self.result.epochs

    def _await_workers(self) -> None:
        """Until there are enough again. Raises TrainingFailed."""
        time.sleep(SETTLE)  # Spark has to notice, before its workers are counted
        end = time.monotonic() + REPLACED
        while (slots := self._slots()) < self._workers:
            if time.monotonic() > end:
                raise TrainingFailed(
                    f"a worker was lost and no other came within {REPLACED:g} s: {slots} of {self._workers} are there",
                    "spark.cluster shows its state; occam.train(…) again when all are there",
                )
            time.sleep(0.25)

    def _first_step(self) -> None:
        self.result.until_first = self.result.until_first or time.monotonic() - self._began

    def _rate(self, step: wire.Step) -> float:
        """Rows a second since the first step of this epoch, which may have made the graph."""
        now = time.monotonic()
        if step.done == 1:
            self._since, self._before = now, step.rows
        return (step.rows - self._before) / (now - self._since) if now > self._since else 0.0
