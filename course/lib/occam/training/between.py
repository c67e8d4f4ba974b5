"""Keras' callbacks, called in the notebook between two epochs, with a model that has the weights of the moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from occam.training import dialects, hooks, network
from occam.training.wire import State


def checked(callbacks: Iterable[Any], model: Any) -> list[Any]:
    """Raises Refused for callbacks that cannot be called between epochs, or are not of this model's Keras."""
    dialect = dialects.of(model)
    assert dialect is not None
    return hooks.checked(callbacks, dialect.library.callbacks.Callback, dialect.name)


class Between:
    """What callbacks change, weights, learning rate or that it shall end, goes to all ranks."""

    def __init__(self, model: Any, callbacks: Iterable[Any], epochs: int, steps: int) -> None:
        dialect = dialects.of(model)
        assert dialect is not None
        self.model, self._keras = model, dialect
        kinds = dialect.library.callbacks
        self._history = kinds.History()  # the last one: it has what the others add
        self._list = kinds.CallbackList([*callbacks, self._history], model=model, verbose=0, epochs=epochs, steps=steps)
        model.stop_training = False

    def begin(self) -> int:
        """Epochs that are over already, of which BackupAndRestore knows. Callbacks may change the weights."""
        self.model._initial_epoch = None
        self._list.on_train_begin()
        return int(self.model._initial_epoch or 0)

    def before(self, epoch: int) -> tuple[float | None, State | None]:
        """The learning rate to train this epoch with, None when a schedule makes it; the weights, if they changed."""
        changed = self._what_changes(lambda: self._list.on_epoch_begin(epoch))
        return self._keras.rate(self.model.optimizer), changed

    def after(self, epoch: int, logs: dict[str, float], state: State) -> State | None:
        """Give the callbacks the epoch's weights and figures. The weights, if they changed them."""
        rate = self._keras.rate(self.model.optimizer)
        network.take(self.model, state)
        if rate is not None:
            self.model.optimizer.learning_rate = rate
        return self._what_changes(lambda: self._list.on_epoch_end(epoch, logs))

    def _what_changes(self, call: Callable[[], None]) -> State | None:
        before = network.weights_digest(self.model)
        call()
        return network.state(self.model) if network.weights_digest(self.model) != before else None

    @property
    def history(self) -> dict[str, list[float]]:
        """Of each quantity its value after each epoch."""
        return {name: [float(value) for value in values] for name, values in self._history.history.items()}

    @property
    def stop(self) -> bool:
        return bool(self.model.stop_training)

    def end(self, logs: dict[str, float]) -> None:
        self._keras.finish(self.model)
        self._list.on_train_end(logs)
