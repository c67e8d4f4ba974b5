"""From a DataFrame to one that gives each rank its rows, in the order that it trains on them.

Rows are numbered without being moved: those of a Parquet file by file and place in it, which do not depend on the
cluster; others by partition and place in it. What makes such a DataFrame might give another order each time it runs, so
it runs once, and its rows are kept on the workers' disks until the training ends. The ranks notice if it ran again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyspark import StorageLevel
from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

from occam.errors import Refused
from occam.training.columns import Choice, Column
from occam.training.order import Layout, Permutation

_SETTINGS = {
    # Partitions are the same when the rows are counted and when they are read.
    "spark.sql.adaptive.enabled": "false",
}
_ARROW = 4 << 20
"""Bytes of rows that come to a rank at a time."""


@dataclass(frozen=True)
class Table:
    """Columns x, y and w, besides `place` and `inside`, which number the rows; `rows` of each place, in its order."""

    frame: Any
    rows_of: Mapping[Any, int]
    kept: Any = None

    @property
    def rows(self) -> int:
        return sum(self.rows_of.values())

    def drop(self) -> None:
        """Nobody needs the rows any more."""
        if self.kept is not None:
            self.kept.unpersist()


def table(frame: Any, choice: Choice, *, from_file: bool) -> Table:
    """Count the rows. from_file: it is what spark.read.parquet gave, and nothing else."""
    if from_file:
        place, inside = F.col("_metadata.file_path"), F.col("_metadata.row_index")
    else:
        place, inside = F.spark_partition_id(), F.monotonically_increasing_id().bitwiseAND((1 << 33) - 1)
    named = frame.select(*_columns(choice), place.alias("place"), inside.alias("inside"))
    kept = None if from_file else named.persist(StorageLevel.DISK_ONLY)
    counted = named.groupBy("place").count().collect()
    return Table(named, dict(sorted((one["place"], one["count"]) for one in counted)), kept)


def lengths(frame: Any, wanted: list[Column]) -> dict[str, int]:
    """How many numbers the first row has in each of these columns. Raises Refused when it has none."""
    first = frame.select(*[_plain(one) for one in wanted]).first()
    if first is None or any(one is None for one in first):
        raise Refused("the data has no rows" if first is None else "the first row has nothing in some column (null)")
    return {one.name: len(first[number]) for number, one in enumerate(wanted)}


def to_ranks(parts: list[tuple[Table, Layout, Permutation]]) -> Any:
    """One partition for each rank, in order of part and position."""
    together = None
    for number, (rows, layout, order) in enumerate(parts):
        one = _placed(rows, layout, order).withColumn("part", F.lit(number))
        together = one if together is None else together.unionByName(one)
    assert together is not None
    ranks = parts[0][1].workers
    return together.repartitionById(ranks, "rank").sortWithinPartitions("part", "position").drop("rank")


def settings(row: int) -> dict[str, str]:
    """Spark's settings while rows of so many bytes are counted and read."""
    return {**_SETTINGS, "spark.sql.execution.arrow.maxRecordsPerBatch": str(max(1, min(10_000, _ARROW // row)))}


def _placed(rows: Table, layout: Layout, order: Permutation) -> Any:
    """With the position of each row, and the rank that has it: the sums of order.py, in Spark's words."""
    begin, offsets = 0, []
    for place, count in rows.rows_of.items():
        offsets += [F.lit(place), F.lit(begin)]
        begin += count
    number = F.element_at(F.create_map(*offsets), F.col("place")).cast("bigint") + F.col("inside")
    found = rows.frame.withColumn("number", number)
    found = found.withColumn("position", F.expr(f"({order.factor}L * number + {order.shift}L) % {rows.rows}L"))
    size, full = layout.batch, layout.full * layout.batch
    of_batch = f"CASE WHEN position < {full}L THEN {size}L ELSE {max(rows.rows - full, 1)}L END"
    rank = f"CAST(((position % {size}L + 1) * {layout.workers} - 1) div ({of_batch}) AS INT)"
    return found.withColumn("rank", F.expr(rank)).drop("place", "inside", "number")


def _columns(choice: Choice) -> list[Any]:
    weight = [_plain(choice.weight).cast("float").alias("w")] if choice.weight else []
    y = _together(choice.label) if len(choice.label) > 1 or choice.label[0].several else _label(choice)
    return [_together(choice.features).alias("x"), y.alias("y"), *weight]


def _label(choice: Choice) -> Any:
    kind = {"int32": "int", "int64": "bigint", "float32": "float"}[choice.label_kind]
    return _plain(choice.label[0]).cast(kind)


def _together(columns: tuple[Column, ...]) -> Any:
    """One array of floats."""
    if not any(one.several for one in columns):
        return F.array(*[_plain(one).cast("float") for one in columns])
    arrays = [
        _plain(one).cast("array<float>") if one.several else F.array(_plain(one).cast("float")) for one in columns
    ]
    return F.concat(*arrays) if len(arrays) > 1 else arrays[0]


def _plain(column: Column) -> Any:
    found = F.col("`" + column.name.replace("`", "``") + "`")
    return vector_to_array(found, "float32") if column.vector else found
