"""The UCI HIGGS set as `occamctl data add higgs` laid it down: a folder of Parquet files, each a fair sample."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from occam.errors import Refused
from occam.higgs import columns, parts
from occam.higgs.events import BLOCK

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class Piece(NamedTuple):
    """`rows` of a file's row group, from its row `first` on."""

    file: str
    group: int
    first: int
    rows: int


def read(session: Any, folder: Path, rows: int | None, seed: int) -> DataFrame:
    """All rows, or `rows` of them: whole row groups in an order of the seed, and the first rows of one more.

    Only the ends of the files are read here, which say how many rows they have. Raises Refused.
    """
    if rows is None:
        return session.read.parquet(f"file://{folder}")
    there = groups(folder)
    total = sum(one.rows for one in there)
    if rows > total:
        raise Refused(f"rows={rows:,}: the set has {total:,}", "ask for fewer, or leave rows away for all")
    random.Random(seed).shuffle(there)
    shares = spread(there, rows, parts.count(session, rows, parts.ROWS))
    return session.range(0, len(shares), 1, len(shares)).mapInArrow(_Reading(shares), _schema())


def groups(folder: Path) -> list[Piece]:
    """The row groups of all files, in order."""
    from pyarrow import parquet

    found = []
    for file in sorted(folder.glob("*.parquet")):
        end = parquet.read_metadata(file)
        found += [Piece(str(file), at, 0, end.row_group(at).num_rows) for at in range(end.num_row_groups)]
    return found


def spread(whole: Iterable[Piece], rows: int, shares: int) -> list[list[Piece]]:
    """The first `rows` rows of these pieces in so many shares, one after the other, that differ by a row at most."""
    there = list(whole)
    begins = list(accumulate((one.rows for one in there), initial=0))
    cuts = [rows * number // shares for number in range(shares + 1)]
    return [
        [
            one._replace(first=one.first + max(low - begin, 0), rows=min(high, begin + one.rows) - max(low, begin))
            for one, begin in zip(there, begins, strict=False)
            if begin < high and begin + one.rows > low
        ]
        for low, high in pairwise(cuts)
    ]


def _schema() -> Any:
    from pyspark.sql import types

    return types.StructType([types.StructField(name, types.FloatType()) for name in columns.COLUMNS])


class _Reading:
    """Numbers of shares in, their rows out.

    Over Spark's own reader with a limit: that one brings what it has found first to a single task.
    """

    def __init__(self, shares: list[list[Piece]]) -> None:
        self.shares = shares

    def __call__(self, batches: Iterable[Any]) -> Iterator[Any]:
        import pyarrow as pa
        from pyarrow import parquet

        form = pa.schema([(name, pa.float32()) for name in columns.COLUMNS])
        for batch in batches:
            for piece in (one for number in batch.column(0).to_pylist() for one in self.shares[number]):
                with parquet.ParquetFile(piece.file) as file:
                    table = file.read_row_group(piece.group, columns=form.names, use_threads=False)
                yield from table.slice(piece.first, piece.rows).cast(form).to_batches(BLOCK)
