"""One rank's epochs: its rows, its network, and what it tells the notebook."""

from __future__ import annotations

import pickle
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from occam.training import wire
from occam.training.forms import TRAIN, VALIDATION
from occam.training.loop import Network
from occam.training.order import shuffled
from occam.training.shard import Files, Shard, by_class, unfit

if TYPE_CHECKING:
    from occam.training.child import Words
    from occam.training.plan import Order
    from occam.training.ring import Ring

TELL = 0.3
"""Seconds between two words about how far it is."""


class Rank:
    """Raises what the student's build_model raises."""

    def __init__(self, order: Order, line: wire.Line, words: Words, ring: Ring | None) -> None:
        self._plan, self._rank, self._line, self._words = order.plan, order.rank, line, words
        self._files = Files(order.files)
        plan = order.plan
        self._network = Network(
            pickle.loads(plan.build),
            plan.forms,
            seed=plan.seed,
            rank=order.rank,
            workers=plan.workers,
            weighted=bool(plan.class_weight),
            ring=ring,
        )
        self._shards: dict[str, Shard] = {}

    def take_rows(self) -> None:
        """Open the rows, after the notebook has sent those that it has itself. Raises ValueError for a wrong number."""
        if not self._plan.from_spark:
            self._words.now = "taking the rows"
            while isinstance(told := self._line.next(), wire.Rows):
                self._files.write(told.part, told.pieces)
        for part, layout in self._plan.layouts.items():
            self._shards[part] = Shard(self._files, part, self._plan.forms)
            if self._shards[part].rows != layout.held(self._rank):
                raise ValueError(f"{self._shards[part].rows} rows came, not {layout.held(self._rank)}")

    def train(self, told: wire.Train) -> None:
        """One epoch, and what came of it to the notebook, which ends everything when the loss is no number any more."""
        if told.state is not None:
            self._network.take(told.state)
        if told.learning_rate is not None:
            self._network.set_rate(told.learning_rate)
        self._network.reset_metrics()
        began = time.monotonic()
        trained = self._pass_over_training(told.epoch)
        if trained is None:
            return
        seconds = time.monotonic() - began
        score = wire.Score(trained.loss_sum, trained.rows_of_all, self._network.metrics())
        validated = self._validate() if VALIDATION in self._shards else None
        state = self._network.state() if self._rank == 0 else None
        digest = self._network.digest()
        self._words.now = "waiting for the notebook"
        self._line.say(wire.Epoch(told.epoch, seconds, trained.rows, score, validated, digest, trained.losses, state))

    def _pass_over_training(self, epoch: int) -> _Sums | None:
        shard, layout = self._shards[TRAIN], self._plan.layouts[TRAIN]
        seed = self._plan.seed if self._plan.shuffle else None
        sums = _Sums()
        for done, batch in enumerate(shuffled(layout.full, layout.batches, epoch, seed)):
            first, last = layout.slice(self._rank, batch)
            size = layout.size(batch)
            rows = self._rows(shard, first, last)
            came = self._network.train(*rows, (last - first) / size)
            sums.add(came.whole, size, last - first)
            if came.anywhere:
                # Everybody has the same sum and stops here; who says so is where it came from.
                if came.here:
                    self._line.say(wire.NotFinite(epoch, done + 1, came.mine, unfit(rows, self._plan.names)))
                return None
            self._tell(epoch, done + 1, layout.batches, sums)
        return sums

    def _validate(self) -> wire.Score:
        shard, layout = self._shards[VALIDATION], self._plan.layouts[VALIDATION]
        self._network.reset_metrics()
        total = rows = 0.0
        for batch in range(layout.batches):
            self._words.now = f"validating, batch {batch + 1} of {layout.batches}"
            first, last = layout.slice(self._rank, batch)
            if last > first:
                total += self._network.evaluate(*shard.read(first, last)) * (last - first)
                rows += last - first
        return wire.Score(total, int(rows), self._network.metrics())

    def _rows(self, shard: Shard, first: int, last: int) -> tuple[Any, Any, Any]:
        x, y, w = shard.read(first, last)
        return x, y, by_class(y, self._plan.class_weight) if self._plan.class_weight else w

    def _tell(self, epoch: int, done: int, steps: int, sums: _Sums) -> None:
        self._words.now = f"epoch {epoch + 1}, step {done} of {steps}"
        now = time.monotonic()
        if self._rank == 0 and (now - sums.told > TELL or done in (1, steps)):
            sums.told = now
            self._line.say(wire.Step(epoch, done, steps, sums.loss_sum / sums.rows_of_all, sums.rows_of_all))


@dataclass
class _Sums:
    """Over the batches of an epoch; the loss is that of all ranks, each batch's mean times its rows."""

    loss_sum: float = 0.0
    rows_of_all: int = 0
    rows: int = 0
    losses: list[float] = field(default_factory=list)
    told: float = field(default_factory=time.monotonic)

    def add(self, loss: float, rows_of_all: int, rows: int) -> None:
        self.loss_sum += loss * rows_of_all
        self.rows_of_all += rows_of_all
        self.rows += rows
        self.losses.append(loss)
