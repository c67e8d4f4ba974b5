"""The data of a training, wherever it comes from: a DataFrame, Parquet files, or arrays of the notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from os import PathLike, fspath
from typing import Any, Protocol

from occam.errors import Refused
from occam.training import columns, frame, job, preflight
from occam.training.columns import Choice, Names
from occam.training.forms import TRAIN, VALIDATION, Form, row_bytes
from occam.training.order import Layout, Permutation
from occam.training.plan import Plan


class Source(Protocol):
    """forms: of one row. What is asked in this order: count, arrange, then the rest for each attempt."""

    forms: dict[str, Form]
    from_spark: bool

    def arrange(self, batch: int, workers: int, seed: int | None) -> dict[str, Layout]:
        """Count the rows, and settle who gets which; without a seed they stay in order. Raises Refused."""

    def frame(self, spark: Any, plan: Plan) -> Any:
        """What the tasks read: one partition for each rank."""

    def conf(self) -> Mapping[str, str]:
        """Spark's settings while they read it."""

    def of_rank(self, rank: int, layouts: Mapping[str, Layout]) -> Iterator[Any]:
        """The rows that the notebook sends to a rank, as messages."""

    def close(self) -> None:
        """The training is over."""


def of(data: object, validation: object, spark: Any, names: tuple[Names, Names, str | None]) -> Source:
    """names: features, label and weight, of columns. Raises Refused for what is no data to train on."""
    if isinstance(data, (tuple, list)):
        if validation is not None and not isinstance(validation, (tuple, list)):
            raise Refused("the data are arrays and the validation data are not", "validation=(x, y)")
        return FromArrays(data, validation)
    if isinstance(validation, (tuple, list)):
        raise Refused("the validation data are arrays and the data are not", "give a DataFrame, or a path, for both")
    if isinstance(validation, float):
        raise Refused("validation is data, not a fraction", "train, held_back = df.randomSplit([0.8, 0.2], seed=1)")
    return FromSpark(data, validation, spark, names)


class FromSpark:
    from_spark = True

    def __init__(self, data: object, validation: object, spark: Any, names: tuple[Names, Names, str | None]) -> None:
        given = {TRAIN: data} | ({} if validation is None else {VALIDATION: validation})
        self._spark = spark
        self._files = {part: isinstance(one, (str, PathLike)) for part, one in given.items()}
        self._frames = {part: _frame(spark, one) for part, one in given.items()}
        self._choices = {part: columns.choose(one.dtypes, *names) for part, one in self._frames.items()}
        self._choices = _alike(self._choices, {part: one.dtypes for part, one in self._frames.items()})
        self.forms = frame.forms(self._frames[TRAIN], self._choices[TRAIN])
        self._parts: list[tuple[frame.Table, Layout, Permutation]] = []

    def arrange(self, batch: int, workers: int, seed: int | None) -> dict[str, Layout]:
        self._parts = []
        for part, one in self._frames.items():
            with job.settings(self._spark, self.conf()):
                table = frame.table(one, self._choices[part], from_file=self._files[part])
            rows = preflight.rows(table.rows, workers, "data" if part == TRAIN else "validation data")
            mixed = seed is not None and part == TRAIN
            order = Permutation.seeded(rows, seed or 0) if mixed else Permutation(rows)
            self._parts.append((table, Layout(rows, batch, workers), order))
        return {part: one[1] for part, one in zip(self._frames, self._parts, strict=True)}

    def frame(self, spark: Any, plan: Plan) -> Any:
        return frame.to_ranks(self._parts)

    def conf(self) -> Mapping[str, str]:
        return frame.settings(row_bytes(self.forms))

    def of_rank(self, rank: int, layouts: Mapping[str, Layout]) -> Iterator[Any]:
        return iter(())

    def close(self) -> None:
        for table, _, _ in self._parts:
            table.drop()


class FromArrays:
    from_spark = False

    def __init__(self, data: Any, validation: Any) -> None:
        from occam.training import arrays

        given = {TRAIN: data} | ({} if validation is None else {VALIDATION: validation})
        self._arrays = {part: arrays.taken(tuple(one)) for part, one in given.items()}
        preflight.arrays(sum(map(arrays.size, self._arrays.values())))
        self.forms = arrays.forms(self._arrays[TRAIN])
        if validation is not None and arrays.forms(self._arrays[VALIDATION]) != self.forms:
            raise Refused("rows of the validation data have another shape or type than those of the data")
        self._orders: dict[str, Permutation] = {}

    def arrange(self, batch: int, workers: int, seed: int | None) -> dict[str, Layout]:
        layouts = {}
        for part, one in self._arrays.items():
            rows = preflight.rows(len(one["x"]), workers, "data" if part == TRAIN else "validation data")
            mixed = seed is not None and part == TRAIN
            self._orders[part] = Permutation.seeded(rows, seed or 0) if mixed else Permutation(rows)
            layouts[part] = Layout(rows, batch, workers)
        return layouts

    def frame(self, spark: Any, plan: Plan) -> Any:
        return spark.range(0, plan.workers, 1, plan.workers)

    def conf(self) -> Mapping[str, str]:
        return {}

    def of_rank(self, rank: int, layouts: Mapping[str, Layout]) -> Iterator[Any]:
        from occam.training import arrays

        for part, one in self._arrays.items():
            yield from arrays.of_rank(rank, part, one, layouts[part], self._orders[part])

    def close(self) -> None:
        """The arrays are the notebook's."""


def _frame(spark: Any, data: object) -> Any:
    if isinstance(data, (str, PathLike)):
        return spark.read.parquet(fspath(data))
    if not hasattr(data, "sparkSession"):
        raise Refused(
            f"{type(data).__name__} is no data to train on", "a Spark DataFrame, the path of Parquet files, or (x, y)"
        )
    return data


def _alike(choices: dict[str, Choice], types: Mapping[str, list[tuple[str, str]]]) -> dict[str, Choice]:
    """Validation data have the same columns in the same places; raises Refused when they have not."""
    if VALIDATION not in choices:
        return choices
    first = choices[TRAIN]
    features = [one.name for one in first.features]
    labels = [one.name for one in first.label]
    second = columns.choose(types[VALIDATION], features, labels, first.weight.name if first.weight else None)
    if [one.several for one in first.features + first.label] != [one.several for one in second.features + second.label]:
        raise Refused("columns of the validation data have other types than those of the data")
    # The label has one type on its way to the network: that of the training data.
    label = tuple(replace(one, kind=mine.kind) for one, mine in zip(second.label, first.label, strict=True))
    return {TRAIN: first, VALIDATION: replace(second, label=label)}
