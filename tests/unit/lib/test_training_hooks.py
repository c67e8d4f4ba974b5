"""Callbacks: which of them can be called between epochs, and what is said of the others."""

from __future__ import annotations

from typing import Any

import pytest
from occam.errors import Refused
from occam.training import hooks


class Callback:
    """As Keras' base class."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None: ...
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None: ...
    def on_test_begin(self, logs: Any = None) -> None: ...


class Mine(Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None: ...


class EveryBatch(Callback):
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None: ...


class AtValidation(Callback):
    def on_test_begin(self, logs: Any = None) -> None: ...


def keras_own(name: str, **settings: object) -> Any:
    """One of Keras' own, whose class has a hook for batches."""
    one = type(name, (EveryBatch,), {"__module__": "keras.src.callbacks", "on_train_batch_end": None})()
    vars(one).update(settings)
    return one


def test_callbacks_are_those_that_can_be_called_between_epochs() -> None:
    mine = Mine()
    assert hooks.checked([mine], Callback, "Keras 3") == [mine]
    with pytest.raises(Refused, match="EveryBatch has on_train_batch_end"):
        hooks.checked([mine, EveryBatch()], Callback, "Keras 3")
    with pytest.raises(Refused, match="AtValidation has on_test_begin"):
        hooks.checked([AtValidation()], Callback, "Keras 3")
    late = Mine()
    late.on_train_batch_end = print  # type: ignore[assignment]
    with pytest.raises(Refused, match="Mine has on_train_batch_end"):
        hooks.checked([late], Callback, "Keras 3")
    with pytest.raises(Refused, match="no callback of tf_keras, of which the network is"):
        hooks.checked([print], Callback, "tf_keras")


def test_kerass_own_serve_unless_they_count_batches() -> None:
    for name in ("ModelCheckpoint", "TerminateOnNaN", "BackupAndRestore"):
        assert hooks.checked([keras_own(name, save_freq="epoch")], Callback, "Keras 3")
        with pytest.raises(Refused, match='save_freq="epoch"'):
            hooks.checked([keras_own(name, save_freq=100)], Callback, "Keras 3")
    assert hooks.checked([keras_own("TensorBoard", update_freq="epoch", _stop_batch=0)], Callback, "Keras 3")
    with pytest.raises(Refused, match="profile_batch=0"):
        hooks.checked([keras_own("TensorBoard", update_freq="epoch", _stop_batch=20)], Callback, "Keras 3")
    with pytest.raises(Refused, match="inside its fit only"):
        hooks.checked([keras_own("BackupAndRestore", save_freq="epoch")], Callback, "tf_keras")


def test_what_a_student_made_of_kerass_own_serves_as_well() -> None:
    kind = type(keras_own("ModelCheckpoint"))
    mine = type("Best", (kind,), {"__module__": "__main__", "save_freq": "epoch"})()
    assert hooks.checked([mine], Callback, "Keras 3") == [mine]
    mine.save_freq = 100
    with pytest.raises(Refused, match="every few batches"):
        hooks.checked([mine], Callback, "Keras 3")
