"""One rank's network: Keras' own layers, loss, metrics and optimizer, in a step whose gradients are those of all ranks.

Synchronous data parallelism (Chen et al., Revisiting Distributed Synchronous SGD, arXiv:1604.00981): each rank computes
the gradient of the mean loss over its slice of the global batch; the sum of these, each weighted by its share of the
batch's rows, is the gradient over the whole batch. It is summed by ONE operation a step, over one vector that holds all
gradients, the loss, and what layers such as BatchNormalization keep; then all do the same update. Ranks on CPUs sum
around a ring of connections (ring.py), those on GPUs by TensorFlow's collective, which has the GPUs' own ways.

The model is a plain one, outside of any strategy's scope: under MultiWorkerMirroredStrategy's, `fit` of Keras 3 raises.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from occam.training import dialects
from occam.training.forms import Form
from occam.training.ring import PATIENCE, Ring
from occam.training.wire import State

_GROUP, _STEP = 7001, 7101
"""Names of the group of ranks and of the operation; TensorFlow's strategies count theirs from 1 on."""


class Network:
    """A compiled model and its step. weighted: rows of the training data have weights, though the forms have none.

    Raises whatever `build` raises, and ValueError when what it returns is not what the notebook has.
    """

    def __init__(
        self,
        build: Callable[[], Any],
        forms: Mapping[str, Form],
        *,
        seed: int,
        rank: int = 0,
        workers: int = 1,
        weighted: bool = False,
        ring: Ring | None = None,
    ) -> None:
        dialects.seed(seed)
        self.model = build()
        dialect = dialects.of(self.model)
        if dialect is None:
            raise ValueError(f"build_model returned {type(self.model).__name__} here, and a model in the notebook")
        self._keras, self.forms, self._workers, self._ring = dialect, forms, workers, ring
        dialect.build(self.model, forms)
        self._optimizer = self.model.optimizer
        self._scales = dialect.scales(self._optimizer)
        dialect.differ_in_chance(self.model, seed, rank)
        self._moving = self._what_moves()
        self._step = self._compiled(
            self._train, ["x", "y", "w"] if weighted or "w" in forms else ["x", "y"], share=True
        )
        self._look = self._compiled(self._evaluate, list(forms), share=False)
        self._pass = tf.function(self._wait)

    def _compiled(self, function: Callable[..., Any], names: list[str], *, share: bool) -> Any:
        """A graph for any number of rows of these columns."""
        forms = {"w": Form("float32"), **self.forms}
        signature = [tf.TensorSpec((None, *forms[name].shape), forms[name].kind) for name in names]
        signature += [tf.TensorSpec((), tf.float32)] if share else []
        if "w" in names:
            return tf.function(function, signature)
        return tf.function(lambda x, y, *rest: function(x, y, None, *rest), signature)

    # State ---------------------------------------------------------------------------------------------------------

    def state(self) -> State:
        return State(self.model.get_weights(), [np.array(one) for one in self._optimizer.variables])

    def take(self, state: State) -> None:
        """Raises ValueError when the shapes are not this network's."""
        self.model.set_weights(state.weights)
        for variable, value in zip(self._optimizer.variables, state.optimizer, strict=True):
            variable.assign(value)

    def set_rate(self, rate: float) -> None:
        self._optimizer.learning_rate = rate

    def digest(self) -> str:
        return digest(self.model.get_weights())

    def metrics(self) -> list[Any]:
        return [np.array(one) for one in dialects.metric_variables(self.model)]

    def reset_metrics(self) -> None:
        self.model.reset_metrics()

    # One batch -----------------------------------------------------------------------------------------------------

    def train(self, x: Any, y: Any, w: Any, share: float) -> Outcome:
        """One step; `share` is this slice's part of the batch's rows."""
        if len(x):
            mine, whole, here, anywhere = self._step(*_given(x, y, w), tf.constant(share, tf.float32))
        else:
            (whole, anywhere), mine, here = self._pass(), 0.0, False
        return Outcome(float(mine), float(whole), bool(here), bool(anywhere))

    def evaluate(self, x: Any, y: Any, w: Any) -> float:
        """The mean loss of these rows; the metrics take them in."""
        return float(self._look(*_given(x, y, w)))

    def _train(self, x: Any, y: Any, w: Any, share: Any) -> tuple[Any, Any, Any, Any]:
        with tf.GradientTape() as tape:
            predicted = self._keras.called(self.model, x, training=True)
            loss = self._keras.loss(self.model, x, y, predicted, w, training=True)
            scaled = self._keras.scaled(self._optimizer, loss)
        gradients = tape.gradient(scaled, self.model.trainable_variables)
        self.model.compute_metrics(x, y, predicted, sample_weight=w)
        whole, anywhere = self._apply(gradients, loss, share)
        here = tf.cond(anywhere, lambda: self._is_broken(loss, gradients), lambda: False)
        return loss, whole, here, anywhere

    def _wait(self) -> tuple[Any, Any]:
        """The step of a rank without rows in this batch: a small last one has fewer rows than there are ranks."""
        nothing = [tf.zeros(one.shape, one.dtype) for one in self.model.trainable_variables]
        return self._apply(nothing, tf.zeros(()), tf.zeros(()))

    def _evaluate(self, x: Any, y: Any, w: Any) -> Any:
        predicted = self._keras.called(self.model, x, training=False)
        loss = self._keras.loss(self.model, x, y, predicted, w, training=False)
        self.model.compute_metrics(x, y, predicted, sample_weight=w)
        return loss

    def _apply(self, gradients: list[Any], loss: Any, share: Any) -> tuple[Any, Any]:
        """The loss of the whole batch, and whether something in it is no finite number."""
        variables = self.model.trainable_variables
        if self._workers == 1:
            self._keras.apply(self._optimizer, gradients, variables)
            return loss, self._is_broken(loss, gradients)
        # A weight that the loss does not depend on has no gradient, on no rank; it takes its place all the same, for a
        # rank that waits cannot know.
        there = [one is not None for one in gradients]
        dense = [
            tf.zeros(variable.shape, variable.dtype) if one is None else tf.convert_to_tensor(one)
            for one, variable in zip(gradients, variables, strict=True)
        ]
        total, *summed, whole = self._sum([*dense, *map(tf.convert_to_tensor, self._moving), loss], share)
        for variable, value in zip(self._moving, summed[len(dense) :], strict=True):
            variable.assign(value)
        reduced = [one if known else None for one, known in zip(summed[: len(dense)], there, strict=True)]
        self._keras.apply(self._optimizer, reduced, variables)
        return whole, self._is_broken(whole, [total])

    def _sum(self, tensors: list[Any], share: Any) -> list[Any]:
        """The sums over ranks of these tensors, each times its rank's share; before them all of it as one vector."""
        wide = tf.float64 if any(one.dtype == tf.float64 for one in tensors) else tf.float32
        flat = tf.concat([tf.reshape(tf.cast(one, wide), [-1]) for one in tensors], 0) * tf.cast(share, wide)
        total = self._summed(flat)
        pieces = tf.split(total, [one.shape.num_elements() for one in tensors])
        summed = [tf.cast(tf.reshape(piece, one.shape), one.dtype) for piece, one in zip(pieces, tensors, strict=True)]
        return [total, *summed]

    def _summed(self, vector: Any) -> Any:
        """Over all ranks."""
        if self._ring is None:
            return tf.raw_ops.CollectiveReduceV2(
                input=vector, group_size=self._workers, group_key=_GROUP, instance_key=_STEP, ordering_token=[],
                merge_op="Add", final_op="Id", timeout_seconds=PATIENCE,
            )  # fmt: skip
        total = tf.numpy_function(self._ring.sum, [vector], vector.dtype)
        total.set_shape(vector.shape)
        return total

    def _is_broken(self, loss: Any, gradients: list[Any]) -> Any:
        """A scaled loss may give gradients that are not finite: its optimizer leaves such a step out."""
        return _broken([loss] if self._scales else [loss, *gradients])

    def _what_moves(self) -> list[Any]:
        """What a forward pass changes, as BatchNormalization's moving averages, and not what is merely frozen."""
        still = [one for one in self.model.non_trainable_variables if tf.as_dtype(one.dtype).is_floating]
        if not still:
            return []
        before = [np.array(one) for one in still]
        self._keras.called(self.model, tf.constant(dialects.numbers(2, self.forms["x"])), training=True)
        moved = [one for one, was in zip(still, before, strict=True) if not np.array_equal(np.array(one), was)]
        for one, was in zip(still, before, strict=True):
            one.assign(was)
        return moved


class Outcome(NamedTuple):
    """Of a step: the loss of this rank's rows and of the whole batch. Where it, or a gradient, is not finite.

    Both are looked at: after a relu, which makes 0 of what is no number, a loss may look sound when weights are not.
    """

    mine: float
    whole: float
    here: bool
    anywhere: bool


def _broken(tensors: list[Any]) -> Any:
    """Whether something among them is not finite: then their sum is not either."""
    values = [one.values if isinstance(one, tf.IndexedSlices) else one for one in tensors if one is not None]
    return tf.logical_not(tf.math.is_finite(tf.add_n([tf.cast(tf.reduce_sum(one), tf.float32) for one in values])))


def digest(weights: list[Any]) -> str:
    """SHA-256 of weights, to compare ranks by."""
    found = hashlib.sha256()
    for one in weights:
        found.update(np.ascontiguousarray(one).tobytes())
    return found.hexdigest()


def _given(x: Any, y: Any, w: Any) -> list[Any]:
    return [tf.constant(one) for one in (x, y, w) if one is not None]
