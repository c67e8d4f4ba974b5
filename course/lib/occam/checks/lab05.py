"""Checks of lab 5, Keras on one node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from occam.checks import check, filled, must, near, number


@check
def scale(mean: Any, deviation: Any, training: Any, everything: Any) -> str:
    """Exercise 1: both are one number for each feature, of the training set."""
    import numpy as np

    for what, values in (("mean", mean), ("deviation", deviation)):
        shape = np.shape(values)
        wanted = training.shape[1:]
        must(
            shape == wanted, f"{what} has the shape {shape}, and there are {wanted[0]} features", "which axis are rows?"
        )

    def same(values: Any, of: Any) -> bool:
        return bool(np.allclose(values, of, rtol=1e-4, atol=1e-5))

    leak = "the mean is that of all events: those of validation and test have been looked at"
    must(same(mean, training.mean(axis=0)) or not same(mean, everything.mean(axis=0)), leak, "take x_train")
    must(same(mean, training.mean(axis=0)), "these are not the means of x_train's columns")
    variance = "this is the variance" if same(deviation, training.var(axis=0)) else "this is another spread"
    rows = len(training)
    right = any(same(deviation, training.std(axis=0, ddof=ddof)) for ddof in (0, 1)) and rows > 1
    must(right, f"deviation is not the standard deviation of x_train's columns: {variance}")
    return "one scale, from the training set alone"


@check
def network(build_model: Callable[[], Any]) -> str:
    """Exercise 2: 28 features, two hidden layers of 64, a probability; compiled."""
    must(callable(build_model), "build_model is no function", "give the function, not what it returns")
    model = filled(build_model(), "what build_model() returns")
    must(hasattr(model, "layers"), f"build_model() returns {type(model).__name__}, no model", "compiled() returns one")
    must(model.built, "the model does not know its input yet", "begin with keras.Input((28,))")
    dense = [layer for layer in model.layers if type(layer).__name__ == "Dense"]
    told = ", ".join(str(layer.units) for layer in dense) or "none"
    must(
        [layer.units for layer in dense] == [64, 64, 1], f"its Dense layers have these neurons: {told}", "64, 64 and 1"
    )
    must(len({id(layer) for layer in dense}) == 3, "one layer is in it twice", "make a new Dense(64) for each")
    *hidden, last = [layer.activation.__name__ for layer in dense]
    must(
        hidden == ["relu"] * 2, f"the hidden layers' activations are {', '.join(hidden)}", "without one, two are a line"
    )
    must(last == "sigmoid", f"the last layer's activation is {last}: that is no probability", 'activation="sigmoid"')
    must(
        getattr(model, "optimizer", None) is not None and model.compiled,
        "the model is not compiled",
        "model.compile(…)",
    )
    must(
        type(model.optimizer).__name__ == "Adam",
        f"the optimizer is {type(model.optimizer).__name__}",
        "Adam is asked for",
    )
    near(model.optimizer.learning_rate, 1e-3, "the learning rate", "0.001 is Adam's usual one", off=1e-4)
    loss = model.loss if isinstance(model.loss, str) else getattr(model.loss, "name", str(model.loss))
    must("binary_crossentropy" in loss, f"the loss is {loss}", "two classes and a probability: binary_crossentropy")
    return f"a network of {model.count_params():,} numbers, ready to learn"


@check
def turning_point(best_epoch: Any, gap: Any, curves: Mapping[str, Sequence[float]]) -> str:
    """Exercise 3: where the validation loss was smallest, and the gap at the end."""
    valid, training = curves["val_loss"], curves["loss"]
    best = valid.index(min(valid)) + 1
    epoch = number(best_epoch, "best_epoch")
    must(
        epoch != valid.index(max(valid)) + 1 or epoch == best, "there the validation loss is largest", "argmin, argmax"
    )
    must(epoch != best - 1, f"best_epoch is {epoch:g}: one too small", "Python counts from 0, the figure from 1")
    must(epoch != training.index(min(training)) + 1 or epoch == best, "that is where the training loss is smallest")
    must(
        epoch == best,
        f"after epoch {epoch:g} the validation loss was not smallest",
        "look at the figure's lowest point",
    )
    wanted = valid[-1] - training[-1]
    must(number(gap, "gap") != -wanted, "gap has the wrong sign", "how much larger is validation than training?")
    near(gap, wanted, "gap", "validation minus training, both after the last epoch: [-1]", off=1e-3)
    return f"best after epoch {best} of {len(valid)}; everything after it was learned by heart"


@check
def stopping(callbacks: Iterable[Any]) -> str:
    """Exercise 4: early stopping that goes back to the best weights, and a checkpoint of the best model."""
    must(isinstance(callbacks, (list, tuple)), "callbacks is no list", "[ …, … ]")
    by_kind: dict[str, Any] = {type(one).__name__: one for one in callbacks}
    for name in ("EarlyStopping", "ModelCheckpoint"):
        has = ", ".join(by_kind) or "nothing"
        must(name in by_kind, f"there is no {name} in it, but {has}", f"keras.callbacks.{name}(…)")
        monitored = by_kind[name].monitor
        must(monitored == "val_loss", f"{name} monitors {monitored}", "over-fitting shows in val_loss alone")
    stop, save = by_kind["EarlyStopping"], by_kind["ModelCheckpoint"]
    must(stop.patience == 5, f"EarlyStopping has a patience of {stop.patience}", "it is the number of epochs it waits")
    must(stop.restore_best_weights, "it stops, and keeps the weights of the last epoch", "which argument goes back?")
    must(str(save.filepath).endswith("best.keras"), f"it saves {save.filepath}", "best.keras is asked for")
    must(save.save_best_only, "it saves after every epoch, the last one over the best one", "save_best_only")
    return "it stops in time, and the best network is kept"


@check
def logged(folder: Path) -> str:
    """Exercise 5: a run that TensorBoard can show, with both curves."""
    must(folder.is_dir(), f"there is no folder {folder}", "keras.callbacks.TensorBoard(LOGS / …), and fit with it")
    curves = {kind for kind in ("train", "validation") if any((folder / kind).glob("events.out.tfevents.*"))}
    must(
        "train" in curves, f"there are no events of a training in {folder}", "is the callback in callbacks=[…] of fit?"
    )
    must("validation" in curves, "the run has no validation curve", "fit(…, validation_data=valid)")
    return f"the run {folder.name!r} is there, with both curves"
