"""The student's network in the notebook: what is asked of it before it trains, and kept between epochs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import tensorflow as tf
from pyspark import cloudpickle

from occam.errors import Refused
from occam.training import dialects, preflight
from occam.training.dialects import Dialect
from occam.training.forms import Form
from occam.training.loop import digest
from occam.training.preflight import Size
from occam.training.wire import Score, State


def pickled(build: Callable[[], Any]) -> bytes:
    """The function for the ranks. One of a module of the student's own goes with all of that module."""
    module = sys.modules.get(getattr(build, "__module__", "") or "")
    file = getattr(module, "__file__", None) or ""
    own = bool(file) and not file.startswith((sys.prefix, sys.base_prefix)) and module is not None
    if not own:
        return bytes(cloudpickle.dumps(build))
    cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps(build))
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def built(build: object) -> Any:
    """What build_model returns here. Raises Refused when it is nothing that can be trained on several ranks."""
    if not callable(build) or dialects.of(build) is not None:
        raise Refused(
            "build_model must be a function that returns a compiled Keras model",
            "def build_model(): …; return model; then occam.train(build_model, …)",
        )
    model = build()
    dialect = dialects.of(model)
    if dialect is None:
        raise Refused(f"build_model returned {type(model).__name__}, and not a model of Keras", "return keras.Model(…)")
    _check(model, dialect)
    return model


def _check(model: Any, dialect: Dialect) -> None:
    """Raises Refused."""
    optimizer = model.optimizer
    if not dialect.is_compiled(model) or optimizer is None:
        raise Refused("the model is not compiled", 'model.compile(optimizer="adam", loss=…), in build_model')
    if dialect.is_old(optimizer):
        name = type(optimizer).__name__
        raise Refused(f"tf_keras.optimizers.legacy.{name} is no longer kept up", f"tf_keras.optimizers.{name}")
    if type(model).train_step is not dialect.library.Model.train_step:
        raise Refused(
            "the model has a train_step of its own, and occam.train has one for all ranks", "override compute_loss"
        )
    losses = _each(model.loss)
    if len(losses) != 1 or not (isinstance(losses[0], str) or callable(losses[0])):
        raise Refused("the model has not one loss but several or none", "give it one output, and one loss")
    reduction = getattr(losses[0], "reduction", dialect.averages[-1])
    if reduction not in dialect.averages:
        raise Refused(
            f"the loss has reduction={reduction!r}, and ranks add up means", f"reduction={dialect.averages[-1]!r}"
        )


def _each(loss: Any) -> list[Any]:
    """Keras takes one for each output, by name or in order."""
    if isinstance(loss, Mapping):
        return list(loss.values())
    return list(loss) if isinstance(loss, (list, tuple)) else [loss]


def wanted_shape(model: Any) -> tuple[int | None, ...] | None:
    """Of a row of x; None when the model takes what comes. Raises Refused when it has several inputs."""
    if not model.built:
        return None
    shape = getattr(model, "input_shape", None)
    if isinstance(shape, (list, dict)):
        raise Refused(
            f"the network has {len(shape)} inputs, and occam.train has one x for each row", "give it one Input"
        )
    return tuple(shape[1:]) if shape else None


def rehearse(model: Any, forms: Mapping[str, Form]) -> Size:
    """One row through network, loss and metrics. Raises Refused with Keras' words when they do not fit."""
    dialect = dialects.of(model)
    assert dialect is not None
    try:
        states = dialect.one_row(model, forms)
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        raise Refused(f"the network does not take the data: {error}", _fits(forms)) from error
    preflight.sums([getattr(one, "path", one.name) for one in dialects.metric_variables(model)], *states)
    model.optimizer.build(model.trainable_variables)
    return Size(_values(model.weights), _values(model.optimizer.variables))


def _values(variables: list[Any]) -> int:
    return sum(prod(one.shape) for one in variables)


def _fits(forms: Mapping[str, Form]) -> str:
    x, y = forms["x"], forms["y"]
    return f"a row has x of shape {x.shape} and y of shape {y.shape} ({y.kind})"


def state(model: Any) -> State:
    return State(model.get_weights(), [np.array(one) for one in model.optimizer.variables])


def take(model: Any, state: State) -> None:
    model.set_weights(state.weights)
    for variable, value in zip(model.optimizer.variables, state.optimizer, strict=True):
        variable.assign(value)


def weights_digest(model: Any) -> str:
    return digest(model.get_weights())


def scores(model: Any, parts: Sequence[Score], *, loss_of_all: bool) -> dict[str, float]:
    """Loss and metrics of all ranks' rows. loss_of_all: each rank's loss is the sum over all ranks already."""
    model.reset_metrics()
    for variable, *states in zip(dialects.metric_variables(model), *(one.metrics for one in parts), strict=True):
        zero = np.array(variable)
        variable.assign(zero + sum(one - zero for one in states))
    found: dict[str, float] = {}
    for name, value in model.get_metrics_result().items():
        values = np.array(value).ravel().tolist()
        found |= (
            {f"{name}_{number}": one for number, one in enumerate(values)} if len(values) > 1 else {name: values[0]}
        )
    model.reset_metrics()
    counted = parts[:1] if loss_of_all else parts
    return found | {"loss": sum(one.loss for one in counted) / max(sum(one.rows for one in counted), 1)}
