"""Keras 3 and `tf_keras`, which is Keras 2 as it lives on: what of a model the two call differently.

Everything else of a training is the same for both. A network of `tf_keras` is known by its class; the library is never
imported for the others.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
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
        """The learning rate that callbacks may change; None when a schedule makes it."""
        kind = self.library.optimizers.schedules.LearningRateSchedule
        return None if isinstance(getattr(optimizer, "_learning_rate", None), kind) else float(optimizer.learning_rate)

    def build(self, model: Any, forms: Mapping[str, Form]) -> None:
        """Make all variables, those of the optimizer as well."""
        if not model.built:
            model.build((None, *forms["x"].shape))
        model.optimizer.build(model.trainable_variables)

    def one_row(self, model: Any, forms: Mapping[str, Form]) -> None:
        """Zeros through network, loss and metrics, as Keras says it when they do not fit."""
        rows = {name: tf.zeros((1, *form.shape), form.kind) for name, form in forms.items()}
        weight = tf.ones((1,)) if "w" in forms else None
        predicted = self.called(model, rows["x"], training=False)
        self.loss(model, rows["x"], rows["y"], predicted, weight, training=False)
        model.compute_metrics(rows["x"], rows["y"], predicted, sample_weight=weight)
        model.reset_metrics()

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

    def rate(self, optimizer: Any) -> float | None:
        return super().rate(getattr(optimizer, "inner_optimizer", optimizer))

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


def seed(number: int) -> None:
    """For what draws numbers from now on, in either."""
    keras.utils.set_random_seed(number)
    if (legacy := sys.modules.get("tf_keras")) is not None:
        legacy.utils.set_random_seed(number)
