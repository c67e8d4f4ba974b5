"""The data of a training, wherever it comes from: a DataFrame, Parquet files, or arrays of the notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike, fspath
from typing import Any, Protocol

from occam import show
from occam.errors import Refused
from occam.training import columns, direct, frame, job, parquet, preflight
from occam.training.columns import Choice, Names
from occam.training.direct import Listing
from occam.training.forms import TRAIN, VALIDATION, Form, row_bytes
from occam.training.order import Layout, Permutation
from occam.training.plan import Plan

_WHAT = {TRAIN: "data", VALIDATION: "validation data"}


class Source(Protocol):
    """forms: of one row, for which Spark may have to look at one; names: of its features, where they are columns. Then
    asked: reach, arrange, and the rest for each attempt."""

    names: tuple[str, ...]
    from_spark: bool
    listings: Mapping[str, Listing]

    @property
    def forms(self) -> dict[str, Form]: ...

    def reach(self, spark: Any, room: Room) -> Source:
        """Whatever brings these rows to the workers, who are asked what they see. Raises Refused."""

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


@dataclass(frozen=True)
class Room:
    """`ranks` that can have so many `bytes` of rows in memory, all together."""

    ranks: int
    bytes: int


def of(data: object, validation: object, spark: Any, names: tuple[Names, Names, str | None]) -> Source:
    """names: features, label and weight, of columns. Raises Refused for what is no data to train on.

    Runs no job of Spark, but for the first look at Parquet files that only Spark can read.
    """
    if isinstance(data, (tuple, list)):
        if validation is not None and not isinstance(validation, (tuple, list)):
            raise Refused("the data are arrays and the validation data are not", "validation=(x, y)")
        return FromArrays(data, validation)
    if isinstance(validation, (tuple, list)):
        raise Refused("the validation data are arrays and the data are not", "give a DataFrame, or a path, for both")
    if isinstance(validation, float):
        raise Refused("validation is data, not a fraction", "train, held_back = df.randomSplit([0.8, 0.2], seed=1)")
    paths = [fspath(one) for one in (data, validation) if isinstance(one, (str, PathLike))]
    found = _from_files(paths, names) if len(paths) == 1 + (validation is not None) else None
    return found or FromSpark(data, validation, spark, names)


def _unseen(paths: list[str], spark: Any, ranks: int) -> str:
    """Which of them the workers do not see, in words; "" when they see them all."""
    if all(parquet.is_seen(spark, one, ranks) for one in paths if parquet.look(one)):
        return ""
    return f"the workers do not see {' and '.join(paths)}, which the notebook does"


_SEEN = "the course's data, under /data, are seen everywhere; or give arrays"


def _from_files(paths: list[str], names: tuple[Names, Names, str | None]) -> FromFiles | None:
    """None when Spark has to bring the rows."""
    parts = (TRAIN, VALIDATION)[: len(paths)]
    types: dict[str, list[tuple[str, str]]] = {}
    listings: dict[str, Listing] = {}
    listed = {part: parquet.listed(path) for part, path in zip(parts, paths, strict=True)}
    for part, files in listed.items():
        if not files or (known := direct.types(files[0][1])) is None:
            return None
        types[part] = known
    choices = _alike(columns.choose(types[TRAIN], *names), types)
    for part, choice in choices.items():
        files = listed[part] or []
        if not choice.is_plain or any(not choice.is_in(direct.types(schema)) for _, schema, _ in files):
            return None
        rows = tuple(rows for _, _, rows in files)
        preflight.rows(sum(rows), 1, _WHAT[part])
        listings[part] = Listing(tuple(path for path, _, _ in files), rows, choice, Permutation(sum(rows)))
    first = listings[TRAIN]
    wanted = first.choice.lengths_wanted
    lengths = direct.lengths(first.files, wanted) if wanted else {}
    if lengths is None:
        return None
    return FromFiles(paths, names, listings, first.choice.forms(lengths))


class _NoTable:
    """What sources have in common whose rows are in no DataFrame: a task for each rank, and no settings."""

    def frame(self, spark: Any, plan: Plan) -> Any:
        return spark.range(0, plan.workers, 1, plan.workers)

    def conf(self) -> Mapping[str, str]:
        return {}


class FromFiles(_NoTable):
    """Parquet files that the ranks read by themselves."""

    from_spark = True

    listings: Mapping[str, Listing]

    def __init__(
        self,
        paths: list[str],
        columns: tuple[Names, Names, str | None],
        listings: Mapping[str, Listing],
        forms: dict[str, Form],
    ) -> None:
        self._paths, self._columns = paths, columns
        self.listings, self.forms = listings, forms
        self.names = listings[TRAIN].choice.names
        self.bytes = sum(sum(one.rows) for one in listings.values()) * row_bytes(forms)

    def reach(self, spark: Any, room: Room) -> Source:
        """Files that the notebook alone has go to the workers from there, if they are not too much; and Spark brings
        what is too much to be written in any order."""
        if told := _unseen(self._paths, spark, room.ranks):
            return self._sent(told)
        if self.bytes <= room.bytes:
            return self
        data, validation = (*self._paths, None)[:2]
        return FromSpark(data, validation, spark, self._columns, self.forms)

    def _sent(self, told: str) -> Source:
        if self.bytes > preflight.ARRAYS:
            raise Refused(f"{told}, and the rows are too many to be sent from there ({show.size(self.bytes)})", _SEEN)
        try:
            parts = {part: direct.loaded(one, self.forms) for part, one in self.listings.items()}
        except (direct.Unfit, OSError) as error:
            raise Refused(str(error)) from None
        found = FromArrays(parts[TRAIN], parts.get(VALIDATION))
        found.names, found.forms = self.names, self.forms
        return found

    def arrange(self, batch: int, workers: int, seed: int | None) -> dict[str, Layout]:
        layouts, listings = {}, {}
        for part, one in self.listings.items():
            rows = preflight.rows(sum(one.rows), workers, _WHAT[part])
            listings[part] = replace(one, order=_order(part, rows, seed))
            layouts[part] = Layout(rows, batch, workers)
        self.listings = listings
        return layouts

    def of_rank(self, rank: int, layouts: Mapping[str, Layout]) -> Iterator[Any]:
        return iter(())

    def close(self) -> None:
        """The files are the student's."""


class FromSpark:
    from_spark = True
    listings: Mapping[str, Listing] = {}

    def __init__(
        self,
        data: object,
        validation: object,
        spark: Any,
        names: tuple[Names, Names, str | None],
        forms: dict[str, Form] | None = None,
    ) -> None:
        given = {TRAIN: data} | ({} if validation is None else {VALIDATION: validation})
        self._spark, self._known = spark, forms
        self._files = {part: fspath(one) for part, one in given.items() if isinstance(one, (str, PathLike))}
        self._frames = {part: _frame(spark, one) for part, one in given.items()}
        types = {part: one.dtypes for part, one in self._frames.items()}
        self._choices = _alike(columns.choose(types[TRAIN], *names), types)
        self.names = self._choices[TRAIN].names
        self._parts: list[tuple[frame.Table, Layout, Permutation]] = []

    @cached_property
    def forms(self) -> dict[str, Form]:
        wanted = self._choices[TRAIN].lengths_wanted
        return self._known or self._choices[TRAIN].forms(frame.lengths(self._frames[TRAIN], wanted) if wanted else {})

    def reach(self, spark: Any, room: Room) -> Source:
        if told := _unseen(list(self._files.values()), spark, room.ranks):
            raise Refused(told, _SEEN)
        return self

    def arrange(self, batch: int, workers: int, seed: int | None) -> dict[str, Layout]:
        self._parts = []
        for part, one in self._frames.items():
            with job.settings(self._spark, self.conf()):
                table = frame.table(one, self._choices[part], from_file=part in self._files)
            rows = preflight.rows(table.rows, workers, _WHAT[part])
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


class FromArrays(_NoTable):
    from_spark = False
    listings: Mapping[str, Listing] = {}
    names: tuple[str, ...] = ()

    def __init__(self, data: Any, validation: Any) -> None:
        from occam.training import arrays

        given = {TRAIN: data} | ({} if validation is None else {VALIDATION: validation})
        self._arrays = {part: arrays.taken(tuple(one)) for part, one in given.items()}
        preflight.arrays(sum(map(arrays.size, self._arrays.values())))
        for part, one in self._arrays.items():
            preflight.rows(len(one["x"]), 1, _WHAT[part])
        if validation is not None:
            self._arrays = dict(zip(given, arrays.alike(*self._arrays.values()), strict=True))
        self.forms = arrays.forms(self._arrays[TRAIN])
        if validation is not None and arrays.forms(self._arrays[VALIDATION]) != self.forms:
            raise Refused(
                "rows of the validation data have another shape or type than those of the data: "
                f"{_in_words(arrays.forms(self._arrays[VALIDATION]))}, and not {_in_words(self.forms)}",
                "make both in the same way",
            )
        self._orders: dict[str, Permutation] = {}

    def reach(self, spark: Any, room: Room) -> Source:
        return self

    def arrange(self, batch: int, workers: int, seed: int | None) -> dict[str, Layout]:
        layouts = {}
        for part, one in self._arrays.items():
            rows = preflight.rows(len(one["x"]), workers, _WHAT[part])
            self._orders[part] = _order(part, rows, seed)
            layouts[part] = Layout(rows, batch, workers)
        return layouts

    def of_rank(self, rank: int, layouts: Mapping[str, Layout]) -> Iterator[Any]:
        from occam.training import arrays

        for part, one in self._arrays.items():
            yield from arrays.of_rank(rank, part, one, layouts[part], self._orders[part])

    def close(self) -> None:
        """The arrays are the notebook's."""


def _order(part: str, rows: int, seed: int | None) -> Permutation:
    """Rows to train on are mixed by the seed; those to validate by, and all without a seed, stay in order."""
    return Permutation(rows) if seed is None or part != TRAIN else Permutation.seeded(rows, seed)


def _in_words(forms: Mapping[str, Form]) -> str:
    return ", ".join(f"{name} {form.kind}{list(form.shape) if form.shape else ''}" for name, form in forms.items())


def _frame(spark: Any, data: object) -> Any:
    if isinstance(data, (str, PathLike)):
        return parquet.read(spark, fspath(data))
    if type(data).__module__.startswith("pandas."):
        raise Refused("pandas has its table in the notebook's memory", "spark.createDataFrame(table), or arrays (x, y)")
    if not hasattr(data, "sparkSession"):
        raise Refused(
            f"{type(data).__name__} is no data to train on", "a Spark DataFrame, the path of Parquet files, or (x, y)"
        )
    return data


def _alike(first: Choice, types: Mapping[str, list[tuple[str, str]]]) -> dict[str, Choice]:
    """Validation data have the same columns in the same places; raises Refused when they have not."""
    if VALIDATION not in types:
        return {TRAIN: first}
    features = [one.name for one in first.features]
    labels = [one.name for one in first.label]
    weight = first.weight.name if first.weight else None
    second = columns.choose(types[VALIDATION], features, labels, weight, _WHAT[VALIDATION])
    for one, other in zip(first.features + first.label, second.features + second.label, strict=True):
        if one.several != other.several:
            raise Refused(
                f"the column {one.name!r} holds several numbers in the data or in the validation data, not in both",
                "make both in the same way",
            )
    # The label has one type on its way to the network: that of the training data.
    label = tuple(replace(one, kind=mine.kind) for one, mine in zip(second.label, first.label, strict=True))
    return {TRAIN: first, VALIDATION: replace(second, label=label)}
