"""Synthetic events as a Spark DataFrame, made by the workers when a job needs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from occam.higgs import columns, parts
from occam.higgs.events import BLOCK, block

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ROWS = 1_000_000
NOTICE = (
    "occam.data.higgs: these events are synthetic, made by formulae in the form of the UCI HIGGS set.\n"
    "The instructor can give the real set to the course: occamctl data add higgs"
)
_told: list[bool] = []


def make(session: Any, rows: int | None, seed: int) -> DataFrame:
    """`rows` events; the first ones are the same whatever `rows` is, and so are all on any number of workers."""
    if not _told:
        print(NOTICE)
        _told.append(True)
    rows = rows or ROWS
    blocks = -(-rows // BLOCK)
    shares = parts.count(session, blocks, parts.ROWS // BLOCK)
    return session.range(0, blocks, 1, shares).mapInArrow(_Making(seed, rows), schema())


def schema() -> Any:
    """29 columns of 32-bit floats; the label's metadata tell what the events are."""
    from pyspark.sql import types

    told = {"comment": "synthetic events of occam.data.higgs, not the UCI HIGGS set"}
    fields = [types.StructField(name, types.FloatType(), False) for name in columns.COLUMNS]
    fields[0].metadata = told
    return types.StructType(fields)


class _Making:
    """Numbers of blocks in, their events out; sent to the workers by name, for they have this library too."""

    def __init__(self, seed: int, rows: int) -> None:
        self.seed, self.rows = seed, rows

    def __call__(self, batches: Iterable[Any]) -> Iterator[Any]:
        import pyarrow as pa

        for batch in batches:
            for number in batch.column(0).to_pylist():
                made = block(self.seed, number)
                left = self.rows - number * BLOCK
                yield pa.RecordBatch.from_pydict({name: pa.array(values[:left]) for name, values in made.items()})
