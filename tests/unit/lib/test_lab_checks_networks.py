"""What the checks of labs 5 to 9 say of answers: the right one passes, and the usual wrong ones are named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from occam.checks import Wrong, lab05, lab06, lab07, lab08, lab09

RANDOM = np.random.default_rng(1)
ALL = RANDOM.normal(3, 2, size=(100, 28))
TRAIN = ALL[:60]


class Dense:
    """As a check sees a layer of Keras."""

    def __init__(self, units: int, activation: str) -> None:
        self.units, self.activation = units, SimpleNamespace(__name__=activation)


class Adam:
    def __init__(self, learning_rate: float = 1e-3) -> None:
        self.learning_rate = learning_rate


def network(*units: int, hidden: str = "relu", last: str = "sigmoid", **more: Any) -> Any:
    layers = [Dense(one, hidden) for one in units[:-1]] + [Dense(units[-1], last)]
    told = {"layers": layers, "built": True, "compiled": True, "optimizer": Adam(), "loss": "binary_crossentropy"}
    return lambda: SimpleNamespace(**told | more, count_params=lambda: 6138)


class EarlyStopping:
    def __init__(self, patience: int = 5, restore: bool = True, monitor: str = "val_loss") -> None:
        self.patience, self.restore_best_weights, self.monitor = patience, restore, monitor


class ModelCheckpoint:
    def __init__(self, filepath: str = "best.keras", best: bool = True, monitor: str = "val_loss") -> None:
        self.filepath, self.save_best_only, self.monitor = filepath, best, monitor


CURVES = {"loss": [0.7, 0.5, 0.3, 0.1], "val_loss": [0.7, 0.6, 0.8, 0.9]}


@pytest.mark.parametrize(
    ("check", "answers", "words"),
    [
        (lab05.scale, (TRAIN.mean(axis=0), TRAIN.std(axis=0)), ""),
        (lab05.scale, (TRAIN.mean(), TRAIN.std(axis=0)), "28 features"),
        (lab05.scale, (ALL.mean(axis=0), TRAIN.std(axis=0)), "of all events"),
        (lab05.scale, (TRAIN.mean(axis=0), TRAIN.var(axis=0)), "variance"),
        (lab05.network, (network(64, 64, 1),), ""),
        (lab05.network, (network(64, 1),), "64, 1"),
        (lab05.network, (network(64, 64, 1, hidden="linear"),), "activations are linear"),
        (lab05.network, (network(64, 64, 1, last="relu"),), "no probability"),
        (lab05.network, (network(64, 64, 1, compiled=False),), "not compiled"),
        (lab05.network, (network(64, 64, 1, loss="mse"),), "the loss is mse"),
        (lab05.network, (network(64, 64, 1, optimizer=Adam(0.1)),), "learning rate"),
        (lab05.network, (lambda: None,), "is None"),
        (lab05.turning_point, (2, 0.8, CURVES), ""),
        (lab05.turning_point, (1, 0.8, CURVES), "one too small"),
        (lab05.turning_point, (4, 0.8, CURVES), "largest"),
        (lab05.turning_point, (2, -0.8, CURVES), "sign"),
        (lab05.stopping, ([EarlyStopping(), ModelCheckpoint()],), ""),
        (lab05.stopping, ([EarlyStopping()],), "no ModelCheckpoint"),
        (lab05.stopping, ([EarlyStopping(monitor="loss"), ModelCheckpoint()],), "monitors loss"),
        (lab05.stopping, ([EarlyStopping(restore=False), ModelCheckpoint()],), "last epoch"),
        (lab05.stopping, ([EarlyStopping(), ModelCheckpoint(best=False)],), "every epoch"),
    ],
)
def test_lab_5(check: Any, answers: tuple[Any, ...], words: str) -> None:
    of(check, *answers, *((TRAIN, ALL) if check is lab05.scale else ()), words=words)


def of(check: Any, *answers: Any, words: str) -> None:
    if words:
        with pytest.raises(Wrong, match=words):
            check(*answers)
    else:
        check(*answers)


def test_a_run_for_tensorboard_has_both_curves(tmp_path: Path) -> None:
    run = tmp_path / "rate 1e-05"
    of(lab05.logged, run, words="no folder")
    for kind, words in (("train", "no validation curve"), ("validation", "")):
        (run / kind).mkdir(parents=True)
        (run / kind / "events.out.tfevents.1.host").touch()
        of(lab05.logged, run, words=words)


GRADIENTS = [RANDOM.normal(size=28) for _ in range(3)]
ROWS = [1, 2, 5]
WHOLE = sum(rows * one for rows, one in zip(ROWS, GRADIENTS, strict=True)) / 8
SECONDS = {1: 8.0, 2: 5.0, 4: 4.0}
FASTER = {1: 1.0, 2: 1.6, 4: 2.0}


def trained(*shapes: tuple[int, ...], others: int = 0) -> Any:
    numbers = sum(int(np.prod(one)) for one in shapes)
    variables = [SimpleNamespace(shape=one) for one in shapes]
    return SimpleNamespace(trainable_variables=variables, count_params=lambda: numbers + others)


NETWORK = trained((28, 8), (8,), others=57)


@pytest.mark.parametrize(
    ("check", "answers", "words"),
    [
        (lab06.together, (WHOLE, WHOLE, GRADIENTS), ""),
        (lab06.together, (np.mean(GRADIENTS, axis=0), WHOLE, GRADIENTS), "plain mean"),
        (lab06.together, (np.sum(GRADIENTS, axis=0), WHOLE, GRADIENTS), "sum of means"),
        (lab06.together, (WHOLE[:3], WHOLE, GRADIENTS), "shape"),
        (lab06.speed, (FASTER, {1: 1.0, 2: 0.8, 4: 0.5}, SECONDS), ""),
        (lab06.speed, ({1: 1.0, 2: 0.625, 4: 0.5}, {1: 1, 2: 1, 4: 1}, SECONDS), "upside down"),
        (lab06.speed, (FASTER, FASTER, SECONDS), r"efficiency\[2\]"),
        (lab06.speed, (2.0, 0.5, SECONDS), "no dict"),
        (lab06.handed_over, (4 * 232, NETWORK), ""),
        (lab06.handed_over, (232, NETWORK), "how many numbers"),
        (lab06.handed_over, (4 * 289, NETWORK), "normalisation"),
        (lab06.updates, (176, 44), ""),
        (lab06.updates, (175, 44), "one is missing"),
        (lab06.updates, (44, 44), "of all workers"),
        (lab06.updates, (704, 44), "one update"),
        (lab06.linear_rule, (lambda rate, base, batch: rate * batch / base,), ""),
        (lab06.linear_rule, (lambda rate, base, batch: rate * base / batch,), "smaller rate"),
        (lab06.linear_rule, (lambda rate, base, batch: rate * (batch / base) ** 0.5,), "square root"),
        (lab06.linear_rule, (lambda rate, base, batch: None,), "None"),
    ],
)
def test_lab_6(check: Any, answers: tuple[Any, ...], words: str) -> None:
    of(check, *answers, words=words)


@pytest.mark.parametrize(
    ("check", "answers", "words"),
    [
        (lab07.asked, ({"workers": 3, "gpu": "A100", "wait": "5m"},), ""),
        (lab07.asked, ({"workers": 3, "gpu": {"model": "A100"}, "wait": 300},), ""),
        (lab07.asked, ({"workers": 3, "gpu": 3, "wait": "5m"},), "nine in all"),
        (lab07.asked, ({"workers": 3, "gpu": "A100", "wait": 5},), "five seconds"),
        (lab07.asked, ({"workers": 3, "gpu": "A100"},), "does not queue"),
        (lab07.asked, ("occam.spark(workers=3)",), "no dict"),
        (lab07.work, (6 * 2048 * lab07.WEIGHTS, 6 * 2048 * lab07.WEIGHTS / 1e10), ""),
        (lab07.work, (2 * 2048 * lab07.WEIGHTS, 1), "forward alone"),
        (lab07.work, (6 * 2048 * lab07.WEIGHTS, 6 * 2048 * lab07.WEIGHTS / 1e13), "seconds"),
        (lab07.memory, (0.8, 0.33), ""),
        (lab07.memory, (0.2, 0.33), "weights alone"),
        (lab07.memory, (0.8, 0.08192), "numbers, not bytes"),
        (lab07.whole, (2.69,), ""),
        (lab07.whole, (30,), "only the computing"),
        (lab07.whole, (0.35 + 0.65 / 30,), "new time"),
    ],
)
def test_lab_7(check: Any, answers: tuple[Any, ...], words: str) -> None:
    of(check, *answers, words=words)


class Batch:
    """As a check sees a DataFrame of pandas."""

    def __init__(self, rows: int) -> None:
        self.values = np.arange(2.0 * rows, dtype="float32").reshape(rows, 2)

    def to_numpy(self, kind: str) -> Any:
        return self.values.astype(kind)


class Series(list[float]):
    """As a check sees a Series of pandas."""


def good(batches: Iterator[Any], load: Any) -> Iterator[Any]:
    model = load()
    for one in batches:
        yield Series(model.predict_on_batch(one.to_numpy("float32"))[:, 0])


def each_time(batches: Iterator[Any], load: Any) -> Iterator[Any]:
    for one in batches:
        yield Series(load().predict_on_batch(one.to_numpy("float32"))[:, 0])


def a_column(batches: Iterator[Any], load: Any) -> Iterator[Any]:
    model = load()
    for one in batches:
        yield model.predict_on_batch(one.to_numpy("float32"))


def an_array(batches: Iterator[Any], load: Any) -> Iterator[Any]:
    for one in a_column(batches, load):
        yield one[:, 0]


def frames(batches: Iterator[Any], load: Any) -> Iterator[Any]:
    model = load()
    for one in batches:
        yield model(one)


def the_first(batches: Iterator[Any], load: Any) -> Iterator[Any]:
    yield next(good(batches, load))


CLOCK = {"load": np.array([1.0, 0.0]), "wait": np.array([1.0, 2.0]), "compute": np.array([3.0, 3.0])}
SIGNAL, BACKGROUND = np.arange(50.0), np.arange(50.0)[::-1]
KEPT = SIGNAL[30:].sum() / SIGNAL.sum()
PURE = SIGNAL[30:].sum() / (SIGNAL[30:].sum() + BACKGROUND[30:].sum())


@pytest.mark.parametrize(
    ("check", "answers", "words"),
    [
        (lab08.too_much, (1.232, 9.856), ""),
        (lab08.too_much, (0.308, 9.856), "one byte"),
        (lab08.too_much, (1.232, 1.232), "giga"),
        (lab08.once, (good, [Batch(3), Batch(2)]), ""),
        (lab08.once, (each_time, [Batch(3), Batch(2)]), "loaded 2 times for 2 batches"),
        (lab08.once, (a_column, [Batch(3), Batch(2)]), "a table of one column"),
        (lab08.once, (an_array, [Batch(3), Batch(2)]), "Series"),
        (lab08.once, (frames, [Batch(3), Batch(2)]), "fed a Batch"),
        (lab08.once, (the_first, [Batch(3), Batch(2)]), "2 batches gave 1 results"),
        (lab08.once, (lambda batches, load: [load()], [Batch(3)]), "returns a list"),
        (lab08.once, (lambda batches, load: None, [Batch(3)]), "is None"),
        (lab08.computing, (0.6, CLOCK), ""),
        (lab08.computing, (6 / 9, CLOCK), "loading is missing"),
        (lab08.computing, (60, CLOCK), "between 0 and 1"),
        (lab08.selected, (KEPT, PURE, SIGNAL, BACKGROUND), ""),
        (lab08.selected, (1 - KEPT, PURE, SIGNAL, BACKGROUND), "thrown away"),
        (lab08.selected, (SIGNAL[31:].sum() / SIGNAL.sum(), PURE, SIGNAL, BACKGROUND), "one bin is missing"),
        (lab08.selected, (KEPT, 1 - PURE, SIGNAL, BACKGROUND), "part of background"),
    ],
)
def test_lab_8(check: Any, answers: tuple[Any, ...], words: str) -> None:
    of(check, *answers, words=words)


class Table(set[int]):
    """As a check sees a DataFrame of Spark."""

    def count(self) -> int:
        return len(self)

    def intersect(self, other: Table) -> Table:
        return Table(self & other)

    def distinct(self) -> Table:
        return self


TABLE = Table(range(1000))
CARD = {
    "title": "Lines and networks",
    "question": "How much larger is the AUC?",
    "data": "higgs, 100,000 rows",
    "metric": "AUC on the test set",
    "baseline": "logistic regression",
    "members": ["Anna"],
}


def thirds(first: int, second: int) -> Any:
    return lambda table: [Table(range(first)), Table(range(first, second)), Table(range(second, 1000))]


def any_rows(table: Table) -> list[Table]:
    mixed = [int(one) for one in RANDOM.permutation(1000)]
    return [Table(mixed[:600]), Table(mixed[600:800]), Table(mixed[800:])]


ERRORS = 0.0041151, 0.0058715
RECORD = {"settings": {"rows": 10}, "versions": {"keras": "3.15", "pyspark": "4.3"}, "test": {"network": 0.8}}


@pytest.mark.parametrize(
    ("check", "answers", "words"),
    [
        (lab09.card, (CARD,), ""),
        (lab09.card, (CARD | {"question": ...},), "still"),
        (lab09.card, (CARD | {"question": "Deep learning on flights"},), "question mark"),
        (lab09.card, (CARD | {"members": "Anna"},), "list of names"),
        (lab09.card, (CARD | {"metric": "AUC"},), "too little"),
        (lab09.apart, (thirds(600, 800), TABLE), ""),
        (lab09.apart, (thirds(800, 900), TABLE), "80%, 10%, 10%"),
        (lab09.apart, (lambda table: [Table(range(700)), *thirds(600, 800)(table)[1:]], TABLE), "in two parts"),
        (lab09.apart, (lambda table: [Table(range(500)), *thirds(600, 800)(table)[1:]], TABLE), "rows are lost"),
        (lab09.apart, (any_rows, TABLE), "other rows"),
        (lab09.apart, (lambda table: None, TABLE), "is None"),
        (lab09.error_bars, (*ERRORS, False), ""),
        (lab09.error_bars, (0.784 * 0.216 / 10_000, ERRORS[1], False), "variance"),
        (lab09.error_bars, (ERRORS[0], 0.0041151 + 0.0041758, False), "do not add up"),
        (lab09.error_bars, (*ERRORS, True), "not more than two"),
        (lab09.record, (RECORD, {"rows": 10}, {"network": 0.8}), ""),
        (lab09.record, (RECORD, {"rows": 99}, {"network": 0.8}), "not SETTINGS"),
        (lab09.record, (RECORD | {"versions": {"keras": "3.15"}}, {"rows": 10}, {"network": 0.8}), "pyspark"),
        (lab09.record, (RECORD | {"test": {"network": np.float32(0.8)}}, {"rows": 10}, {"network": 0.8}), "JSON"),
    ],
)
def test_lab_9(check: Any, answers: tuple[Any, ...], words: str) -> None:
    of(check, *answers, words=words)
