"""Parquet files that each worker reads by itself, and takes its own rows of.

A network's rows are small beside what Spark needs to bring them to their ranks: to number, exchange and sort them. So
every rank decodes all files, keeps the rows that are its own, and writes each to its place in its file. That serves as
long as a rank's file fits in memory, because rows come in another order than they are written in. Spark brings those
of larger sets, and of what is no plain folder of files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from occam.training.columns import Choice, Column
from occam.training.forms import Forms
from occam.training.order import Layout, Permutation

if TYPE_CHECKING:
    from occam.training.shard import Files

_BATCH = 1 << 16
"""Rows that are decoded at a time."""
_SPARKS = {
    "bool": "boolean", "int8": "tinyint", "int16": "smallint", "int32": "int", "int64": "bigint",
    "uint8": "smallint", "uint16": "int", "uint32": "bigint", "float": "float", "double": "double",
    "string": "string", "large_string": "string", "date32[day]": "date",
}  # fmt: skip
"""Spark's names of Arrow's types."""


class Unfit(Exception):
    """Why a rank cannot take its rows: words for the student."""


@dataclass(frozen=True)
class Listing:
    """The files of one part in order, `rows` of each, and what is made of them."""

    files: tuple[str, ...]
    rows: tuple[int, ...]
    choice: Choice
    order: Permutation


def opened(path: str) -> Any:
    """A Parquet file, whose footer is read. Raises OSError and pyarrow's ArrowInvalid, a ValueError."""
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(path, memory_map=True)


def types(schema: Any) -> list[tuple[str, str]] | None:
    """Name and type of each column, in Spark's words; None when one is of a kind that only Spark knows."""
    found = [(field.name, _type(field.type)) for field in schema]
    return None if any(kind is None for _, kind in found) else [(name, str(kind)) for name, kind in found]


def _type(kind: Any) -> str | None:
    inside = getattr(kind, "value_type", None)
    if str(kind).startswith(("list<", "large_list<")) and inside is not None:
        name = _SPARKS.get(str(inside))
        return name and f"array<{name}>"
    return "timestamp" if str(kind).startswith("timestamp") else _SPARKS.get(str(kind))


def lengths(files: tuple[str, ...], wanted: list[Column]) -> dict[str, int] | None:
    """How many numbers the first row has in each of these columns; None when it has nothing in one, or is not."""
    for path in files:
        for batch in opened(path).iter_batches(1, columns=[one.name for one in wanted], use_threads=False):
            first = batch.to_pylist()[0]
            return None if None in first.values() else {name: len(values) for name, values in first.items()}
    return None


def write(listing: Listing, layout: Layout, rank: int, forms: Forms, part: str, files: Files) -> None:
    """This rank's rows of one part into its files, each in its place. Raises Unfit and OSError."""
    places = files.room(part, forms, layout.held(rank))
    begin = written = 0
    for path, rows in zip(listing.files, listing.rows, strict=True):
        seen = 0
        for batch in _batches(path, listing.choice):
            mine, places_of = _mine(begin + seen, batch.num_rows, layout, listing.order, rank)
            for name, block in _blocks(batch, listing.choice, forms, mine):
                places[name][places_of] = block
            seen += batch.num_rows
            written += len(places_of)
        if seen != rows:
            raise Unfit(f"{path} has {seen} rows, and {rows} when they were counted: do not write to it meanwhile")
        begin += rows
    if written != layout.held(rank):
        raise Unfit(f"{written} rows came to rank {rank}, not {layout.held(rank)}: a fault of occam's own")


def loaded(listing: Listing, forms: Forms) -> tuple[Any, ...]:
    """All rows as arrays x, y and perhaps w. Raises Unfit and OSError."""
    import numpy as np

    pieces: dict[str, list[Any]] = {name: [] for name in forms}
    for path in listing.files:
        for batch in _batches(path, listing.choice):
            for name, block in _blocks(batch, listing.choice, forms, np.arange(batch.num_rows)):
                pieces[name].append(block)
    return tuple(np.concatenate(found) for found in pieces.values())


def _batches(path: str, choice: Choice) -> Iterator[Any]:
    names = {one.name for one in choice.all}
    try:
        yield from opened(path).iter_batches(_BATCH, columns=sorted(names), use_threads=False)
    except FileNotFoundError:
        raise Unfit(f"the workers do not see {path}, which the notebook does: put it where both see it") from None


def _mine(first: int, rows: int, layout: Layout, order: Permutation, rank: int) -> tuple[Any, Any]:
    """Which of these rows are this rank's, and where each of them goes among all that it has: order.py's sums."""
    import numpy as np

    position = (order.factor * np.arange(first, first + rows, dtype=np.int64) + order.shift) % layout.rows
    batch, inside = np.divmod(position, layout.batch)
    size = np.where(batch < layout.full, layout.batch, max(layout.rows % layout.batch, 1))
    mine = np.flatnonzero(((inside + 1) * layout.workers - 1) // size == rank)
    before = size[mine] * rank // layout.workers  # rows of the batch that the ranks before this one have
    return mine, batch[mine] * (layout.batch // layout.workers) + inside[mine] - before


def _blocks(batch: Any, choice: Choice, forms: Forms, mine: Any) -> Iterator[tuple[str, Any]]:
    """x, y and w of the rows `mine`."""
    parts: Mapping[str, tuple[str, tuple[Column, ...]]] = {
        "x": ("features", choice.features),
        "y": ("label", choice.label),
        "w": ("weight", (choice.weight,) if choice.weight else ()),
    }
    for name, form in forms.items():
        what, columns = parts[name]
        yield name, _together([_values(batch.column(one.name), one, what) for one in columns], form, mine, what)


def _together(columns: list[Any], form: Any, mine: Any, what: str) -> Any:
    import numpy as np

    if sum(one.shape[1] for one in columns) != form.values:
        raise Unfit(f"the {what} have not the same length in all rows, {form.values} values")
    block = np.empty((len(mine), form.values), form.kind)
    at = 0
    for one in columns:
        block[:, at : at + one.shape[1]] = one[mine]
        at += one.shape[1]
    return block.reshape(len(mine), *form.shape)


def _values(column: Any, told: Column, what: str) -> Any:
    """The numbers of a column, a line for each row."""
    if column.null_count:
        raise Unfit(f"{column.null_count} rows in {len(column)} have nothing (null) in {told.name!r}: dropna() first")
    if not told.several:
        return column.to_numpy(zero_copy_only=False).reshape(-1, 1)
    flat = column.flatten()
    if flat.null_count:
        raise Unfit(f"a value in {told.name!r} is missing (null): dropna() first")
    long = len(flat) // max(len(column), 1)
    if set(column.value_lengths().unique().to_pylist()) - {long}:
        raise Unfit(f"the {what} have not the same length in all rows, {long} values")
    return flat.to_numpy(zero_copy_only=False).reshape(len(column), long)
