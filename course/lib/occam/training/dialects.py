"""Keras 3 and `tf_keras`, which is Keras 2 as it lives on: what of a model the two call differently.

Everything else of a training is the same for both. A network of `tf_keras` is known by its class; the library is never
imported for the others.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from occam.training.forms import Form

_APART = 7919
"""Between the seeds of two ranks."""


class Keras3:
    name = "Keras 3"
    library: Any = keras
    averages: tuple[str, ...] = ("sum_over_batch_size",)
    """The reductions of a loss that are means over rows."""

    def is_compiled(self, model: Any) -> bool:
        return bool(model.compiled)

    def is_old(self, optimizer: Any) -> bool:
        """Whether it is one that lacks what is asked of an optimizer here."""
        return False

    def scales(self, optimizer: Any) -> bool:
        """Whether it scales the loss, and leaves out steps whose gradients are not finite."""
        return isinstance(optimizer, keras.optimizers.LossScaleOptimizer)

    def called(self, model: Any, x: Any, *, training: bool) -> Any:
        return model(x, training=training) if getattr(model, "_call_has_training_arg", True) else model(x)

    def loss(self, model: Any, x: Any, y: Any, predicted: Any, w: Any, *, training: bool) -> Any:
        return model.compute_loss(x=x, y=y, y_pred=predicted, sample_weight=w, training=training)

    def scaled(self, optimizer: Any, loss: Any) -> Any:
        return optimizer.scale_loss(loss)

    def apply(self, optimizer: Any, gradients: list[Any], variables: list[Any]) -> None:
        optimizer.apply(gradients, variables)

    def rate(self, optimizer: Any) -> float | None:
        """The learning rate that callbacks may change; None when a schedule, or a function, makes it."""
        own = getattr(optimizer, "inner_optimizer", optimizer)
        return None if callable(getattr(own, "_learning_rate", None)) else float(own.learning_rate)

    def finish(self, model: Any) -> None:
        """As fit ends: weights become their average where the optimizer keeps one."""
        model.optimizer.finalize_variable_values(model.trainable_variables)

    def build(self, model: Any, forms: Mapping[str, Form]) -> None:
        """Make all variables, those of the optimizer as well."""
        if not model.built:
            model.build((None, *forms["x"].shape))
        model.optimizer.build(model.trainable_variables)

    def one_row(self, model: Any, forms: Mapping[str, Form]) -> list[list[Any]]:
        """A row through network, loss and metrics, as Keras says it when they do not fit.

        What the metrics have before it, after it, and after it once more.
        """
        x, y = tf.constant(numbers(1, forms["x"])), tf.zeros((1, *forms["y"].shape), forms["y"].kind)
        weight = tf.ones((1,)) if "w" in forms else None
        predicted = self.called(model, x, training=False)
        self.loss(model, x, y, predicted, weight, training=False)
        states = []
        for times in range(3):
            model.compute_metrics(x, y, predicted, sample_weight=weight)
            if not times:  # now they have their variables
                model.reset_metrics()
            states.append([np.array(one) for one in metric_variables(model)])
        model.reset_metrics()
        return states

    def differ_in_chance(self, model: Any, seed: int, rank: int) -> None:
        """Dropout and the like: with the same seed each rank would drop the same units of its slice."""
        for variable in model.variables:
            if "seed_generator" in variable.path:
                first, *rest = np.array(variable)
                variable.assign(np.array([(int(first) + _APART * rank) % (1 << 32), *rest], np.uint32))


class TfKeras(Keras3):
    name = "tf_keras"
    averages = ("auto", "sum_over_batch_size")

    def __init__(self, library: Any) -> None:
        self.library = library

    def is_compiled(self, model: Any) -> bool:
        return bool(model._is_compiled)

    def is_old(self, optimizer: Any) -> bool:
        return isinstance(optimizer, self.library.optimizers.legacy.Optimizer)

    def scales(self, optimizer: Any) -> bool:
        return isinstance(optimizer, self.library.mixed_precision.LossScaleOptimizer)

    def called(self, model: Any, x: Any, *, training: bool) -> Any:
        return model(x, training=training)

    def loss(self, model: Any, x: Any, y: Any, predicted: Any, w: Any, *, training: bool) -> Any:
        return model.compute_loss(x=x, y=y, y_pred=predicted, sample_weight=w)

    def scaled(self, optimizer: Any, loss: Any) -> Any:
        return optimizer.get_scaled_loss(loss) if self.scales(optimizer) else loss

    def apply(self, optimizer: Any, gradients: list[Any], variables: list[Any]) -> None:
        if self.scales(optimizer):
            gradients = optimizer.get_unscaled_gradients(gradients)
        optimizer.apply_gradients(zip(gradients, variables, strict=True), skip_gradients_aggregation=True)

    def build(self, model: Any, forms: Mapping[str, Form]) -> None:
        """Its metrics have no variables before they have seen a row."""
        self.one_row(model, forms)
        model.optimizer.build(model.trainable_variables)

    def differ_in_chance(self, model: Any, seed: int, rank: int) -> None:
        """Its operations without a generator of their own draw by TensorFlow's seed, when their graph is made."""
        tf.random.set_seed(seed + _APART * rank)
        for number, layer in enumerate(model._flatten_layers()):
            generator = getattr(getattr(layer, "_random_generator", None), "_generator", None)
            if generator is not None:
                generator.reset_from_seed(seed + number + _APART * rank)


Dialect = Keras3


def of(model: object) -> Dialect | None:
    """That of a model; None for what is no model."""
    legacy = sys.modules.get("tf_keras")
    if legacy is not None and isinstance(model, legacy.Model):
        return TfKeras(legacy)
    return Keras3() if isinstance(model, keras.Model) else None


def metric_variables(model: Any) -> list[Any]:
    """The states of the metrics that the student compiled; sums and counts, which add up over ranks."""
    return [variable for metric in model.metrics if metric.name != "loss" for variable in metric.variables]


def numbers(rows: int, form: Form) -> Any:
    """Between 0 and 1, always the same; whole ones are 0, which any network takes."""
    return np.random.default_rng(0).random((rows, *form.shape)).astype(form.kind)


@contextmanager
def seeded(number: int) -> Iterator[None]:
    """As seed does; after that chance in this process goes on as if nothing had been.

    TensorFlow does not tell where it was: it is seeded by what would have been the next number of Python's.
    """
    python, numpy = random.getstate(), np.random.get_state()
    seed(number)
    try:
        yield
    finally:
        random.setstate(python)
        seed(random.getrandbits(32))
        random.setstate(python)
        np.random.set_state(numpy)


def seed(number: int) -> None:
    """For what draws numbers from now on, in either."""
    keras.utils.set_random_seed(number)
    if (legacy := sys.modules.get("tf_keras")) is not None:
        legacy.utils.set_random_seed(number)
