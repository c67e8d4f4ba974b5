"""Lab 1: data preparation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from occam.checks import check, filled, must, near, number


@check
def schema(answer: Any, spark: Any, columns: list[str]) -> str:
    try:
        fields = spark.createDataFrame([], answer).schema.fields
    except Exception as error:  # noqa: BLE001 Spark's parser says in its own words what is wrong with it
        first = str(error).strip().partition("\n")[0]
        must(
            False, f"Spark cannot read this schema: {first}", "a name with - in it needs backquotes: `jet1_b-tag` FLOAT"
        )
    names = [one.name for one in fields]
    missing = [one for one in columns if one not in names]
    must(
        not missing,
        f"{len(missing)} columns are missing, first {missing[:1]}",
        "all columns, not only the ones you need",
    )
    must(
        names == columns,
        "the columns are not in the file's order",
        "a CSV file has no names that Spark goes by: the first field of the schema gets the first value of a line",
    )
    other = sorted({one.dataType.simpleString() for one in fields} - {"float"})
    must(
        not other,
        f"some columns are {', '.join(other)}",
        "FLOAT for all: 4 bytes a value, and as exact as the detector",
    )
    return f"{len(names)} columns of FLOAT, in the file's order"


@check
def broken(answer: Any, rows: int, every: int) -> str:
    right = -(-rows // every)
    hint = "what Spark cannot read as a FLOAT becomes null: where(…isNull())"
    if number(answer) == rows - right:
        hint = "these are the events that are whole"
    if number(answer) == 0:
        hint = "a comparison with null is never true: = null finds nothing, isNull() does"
    near(answer, right, "the number of events without m_bb", hint)
    return f"{right} of {rows:,} events have no m_bb, and nothing told you so"


@check
def columns_read(answer: Iterable[str]) -> str:
    must(not isinstance(answer, str), "one text, and not a list of names", '["…", "…"]')
    got, right = set(answer), {"label", "m_bb", "m_jj"}
    must("m_bb" in got, "m_bb is not in it", "the filter has to see a column too, though it is not in the result")
    must(right <= got, f"{', '.join(sorted(right - got))} is missing", "what is grouped by, and what is averaged")
    must(got == right, f"{', '.join(sorted(got - right))} is not read", "look at ReadSchema in the plan")
    return "3 of 29 columns; the others stay on the disk"


@check
def even(answer: Any, rows: int, partitions: int) -> str:
    must(hasattr(answer, "rdd"), f"this is a {type(answer).__name__}, not a DataFrame")
    there = answer.rdd.getNumPartitions()
    must(there == partitions, f"it has {there} partitions, not {partitions}", "repartition(n) makes exactly n")
    sizes = answer.rdd.mapPartitions(lambda part: [sum(1 for _ in part)]).collect()
    must(sum(sizes) == rows, f"it has {sum(sizes):,} rows, not {rows:,}", "the same events, cut in another way")
    must(
        max(sizes) <= 1.3 * rows / partitions,
        f"the largest partition has {max(sizes):,} rows, the smallest {min(sizes):,}",
        "coalesce() only puts partitions together; and repartition by a column puts equal values together",
    )
    return f"{partitions} partitions of about {rows // partitions:,} rows"


@check
def cheap_join(answer: Any, flights: Any) -> str:
    must(hasattr(answer, "rdd"), f"this is a {type(answer).__name__}, not a DataFrame")
    plan = answer._jdf.queryExecution().executedPlan().toString()
    must(
        "SortMergeJoin" not in plan and "ShuffledHashJoin" not in plan,
        "both tables are shuffled still",
        "F.broadcast(…) around the small table",
    )
    must("Join" in plan, "there is no join in its plan", 'flights.join(…, "carrier")')
    must("Broadcast" in plan, "nothing is broadcast in its plan", "F.broadcast(…) around the small table")
    must("name" in answer.columns, "the airline's name is not in it", "join airlines, which has the names")
    must(answer.count() == flights.count(), "flights were lost or doubled", 'join on "carrier"')
    return "sixteen airlines travel to every worker, and no flight has to move"


@check
def separation(function: Any) -> str:
    import numpy as np

    must(callable(function), "separation is no function any more")
    cases = (
        ([0.2, 0.3, 0.5], [0.2, 0.3, 0.5], 0.0, "for equal shapes", "(s - b) squared is 0 everywhere"),
        ([0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5], 1.0, "for shapes that do not overlap", "did you halve the sum?"),
        (
            [0.5, 0.5, 0.0],
            [0.25, 0.5, 0.25],
            1 / 6,
            "for a case in between",
            "square the difference, then divide by s + b",
        ),
        ([0.5, 0.5, 0.0], [0.5, 0.5, 0.0], 0.0, "with a bin that is empty", "0/0: leave out bins where s + b is 0"),
    )
    for signal, background, right, where, hint in cases:
        with np.errstate(all="ignore"):
            got = filled(function(np.array(signal), np.array(background)), "what separation returns")
        must(number(got) == number(got), f"separation is not a number {where}", hint)
        must(abs(number(got) - right) < 1e-9, f"separation is {number(got):.4g} {where}", hint)
    return "0 for equal shapes, 1 for shapes that do not overlap"
