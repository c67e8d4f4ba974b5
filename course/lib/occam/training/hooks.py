"""Which of Keras' callbacks can be called in the notebook, between two epochs. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from occam.errors import Refused

_HOOKS = [f"on_{what}batch_{when}" for what in ("", "train_", "test_") for when in ("begin", "end")]
_HOOKS += ["on_test_begin", "on_test_end"]
"""What is never called here: batches are trained on the workers, and validation is done there as well."""
_OWN = ("ModelCheckpoint", "TensorBoard", "TerminateOnNaN", "BackupAndRestore")
"""Keras' own that have such hooks and serve without them, with their usual settings."""


def checked(given: Iterable[Any], base: type, keras: str) -> list[Any]:
    """Those of class `base`, the one of `keras`, if all can be called here. Raises Refused, with why."""
    taken = list(given)
    for one in taken:
        name = type(one).__name__
        if not isinstance(one, base):
            raise Refused(f"{name} is no callback of {keras}, of which the network is", f"an object of {_public(base)}")
        _check_own(one, name, keras)
        if hooks := [hook for hook in _HOOKS if _has(one, hook, base)]:
            raise Refused(
                f"the callback {name} has {hooks[0]}, and callbacks are called in the notebook, between epochs: batches"
                " are trained on the workers",
                "use on_epoch_begin and on_epoch_end",
            )
    return taken


def _check_own(one: Any, name: str, keras: str) -> None:
    """The settings with which Keras' own do not serve."""
    kinds = {kind.__name__ for kind in type(one).__mro__ if _is_keras(kind)}
    settings = [getattr(one, key, "epoch") for key in ("save_freq", "update_freq")]
    if kinds & set(_OWN) and settings != ["epoch", "epoch"]:
        raise Refused(
            f"{name} wants to be called every few batches, and callbacks are called between epochs only",
            'save_freq="epoch", or update_freq="epoch"',
        )
    if "TensorBoard" in kinds and getattr(one, "_stop_batch", 0) > 0:
        raise Refused(
            "TensorBoard is to profile batches, which are trained on the workers and not in the notebook",
            "profile_batch=0; scalars, the graph and histograms of the weights are written",
        )
    if "BackupAndRestore" in kinds and keras != "Keras 3":
        raise Refused(
            f"BackupAndRestore of {keras} works inside its fit only", "ModelCheckpoint, and load_weights in build_model"
        )


def _has(one: Any, hook: str, base: type) -> bool:
    if hook in vars(one):
        return True
    owner = next((kind for kind in type(one).__mro__ if hook in vars(kind)), base)
    return not issubclass(base, owner) and not (_is_keras(owner) and owner.__name__ in _OWN)


def _is_keras(kind: type) -> bool:
    return kind.__module__.startswith(("keras.", "tf_keras."))


def _public(base: type) -> str:
    return f"{base.__module__.partition('.')[0]}.callbacks.Callback"
