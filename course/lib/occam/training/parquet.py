"""Parquet files by their path: what is wrong with it is said before Spark looks for them, which takes it a while."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from pyspark.errors import PySparkException

from occam.errors import Refused
from occam.training import direct

_MAGIC = b"PAR1"
_HOW = "the path of a Parquet file, or of a folder of them: spark.read.parquet(path) would read it"


def read(spark: Any, path: str) -> Any:
    """A DataFrame. Raises Refused when there is nothing to read, or when it is no Parquet."""
    look(path)
    try:
        return spark.read.parquet(_where(path))
    except PySparkException as error:
        raise Refused(f"cannot read {path}: {str(error).splitlines()[0]}", _HOW) from None


def listed(path: str) -> list[tuple[str, Any, int]] | None:
    """Of each file its path, schema (pyarrow) and number of rows; None when only Spark knows what is to be read.

    That is so for other places than folders of this machine, and for folders in folders, which have columns in their
    names. Raises Refused as read does.
    """
    if not look(path):
        return None
    where = Path(_where(path))
    inside = [one for one in sorted(where.iterdir()) if _is_read(one.name)] if where.is_dir() else [where]
    if any(one.is_dir() for one in inside):
        return None
    found = []
    for one in inside:
        try:
            file = direct.opened(str(one))
        except (OSError, ValueError) as error:
            raise Refused(f"cannot read {one}: {error}", _HOW) from None
        found.append((str(one), file.schema_arrow, file.metadata.num_rows))
    return found


def is_seen(spark: Any, path: str, workers: int) -> bool:
    """Whether the workers have what the notebook has at this path of its machine; so many are asked.

    A student's home is the notebook's alone; the course's data are everywhere.
    """
    where = _where(path)

    def there(_: int) -> bool:
        import os

        return os.path.exists(where)

    return all(spark.sparkContext.parallelize(range(workers), workers).map(there).collect())


def _where(path: str) -> str:
    """Spark's JVM has a working directory of its own."""
    return path if "://" in path else os.path.abspath(path.removeprefix("file:"))


def _is_read(name: str) -> bool:
    """Spark leaves out these names."""
    return not name.startswith(("_", "."))


def look(path: str) -> bool:
    """At one file; False when it cannot be told here which Spark would read. Raises Refused."""
    if "://" in path or re.search(r"[*?\[{]", path):
        return False
    where = Path(_where(path))
    if not where.exists():
        raise Refused(f"there is no {where}", _HOW)
    file = _a_file(where)
    if file is None:
        raise Refused(f"{where} has no files in it", _HOW)
    try:
        with file.open("rb") as opened:
            magic = opened.read(len(_MAGIC))
    except OSError as error:
        raise Refused(f"cannot read {file}: {error.strerror}", _HOW) from None
    if magic != _MAGIC:
        raise Refused(
            f"{file} is {'empty' if not magic else 'no Parquet file'}",
            "spark.read.csv(…) and the like read other files: give occam.train the DataFrame",
        )
    return True


def _a_file(where: Path) -> Path | None:
    """The first file that Spark would read."""
    if not where.is_dir():
        return where
    for folder, folders, files in os.walk(where):
        folders[:] = sorted(filter(_is_read, folders))
        if names := sorted(filter(_is_read, files)):
            return Path(folder, names[0])
    return None
