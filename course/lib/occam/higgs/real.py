"""The UCI HIGGS set as `occamctl data add higgs` laid it down: a folder of Parquet files, each a fair sample."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from occam.errors import Refused

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def read(session: Any, folder: Path, rows: int | None, seed: int) -> DataFrame:
    """All rows, or `rows` of them: whole files in an order of the seed, and the first rows of one more.

    Only the ends of the files are read here, which say how many rows they have. Raises Refused.
    """
    if rows is None:
        return session.read.parquet(f"file://{folder}")
    from pyarrow import parquet

    files = sorted(folder.glob("*.parquet"))
    random.Random(seed).shuffle(files)
    whole: list[Path] = []
    there = 0
    for file in files:
        count = parquet.read_metadata(file).num_rows
        if there + count > rows:
            part = session.read.parquet(f"file://{file}").limit(rows - there)
            return _of(session, whole).unionAll(part) if whole else part
        whole.append(file)
        there += count
        if there == rows:
            return _of(session, whole)
    raise Refused(f"rows={rows:,}: the set has {there:,}", "ask for fewer, or leave rows away for all")


def _of(session: Any, files: list[Path]) -> DataFrame:
    return session.read.parquet(*[f"file://{file}" for file in files])
