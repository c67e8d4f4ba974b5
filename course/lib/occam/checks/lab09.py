"""Checks of lab 9, the project's skeleton."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from typing import Any

from occam.checks import check, filled, must, near, number

CARD = ("title", "question", "data", "metric", "baseline", "members")
SHORTEST = 10
"""Letters of an entry; less is a keyword."""


@check
def card(answer: Any) -> str:
    """Exercise 1: every entry is there, and says something."""
    must(isinstance(answer, Mapping), "card is no dict")
    missing = [name for name in CARD if name not in answer]
    must(not missing, f"the card lacks {', '.join(missing)}")
    members = answer["members"]
    names = isinstance(members, Sequence) and not isinstance(members, str) and members
    must(
        names and all(isinstance(one, str) and one.strip() for one in members), "members is no list of names", "[…, …]"
    )
    for name in CARD[:-1]:
        text = answer[name]
        must(isinstance(text, str), f"{name} is no text, but {text!r:.40}")
        must(len(text.strip()) >= SHORTEST, f"{name} is {text!r}: that says too little", "a sentence for somebody else")
    question = answer["question"].strip()
    must(question.endswith("?"), "the question has no question mark", "can a number answer it?")
    same = answer["metric"].strip() != answer["baseline"].strip()
    must(same, "metric and baseline are the same", "the one is a number to compare, the other what to compare with")
    return f"a card for {len(members)}: {answer['title']}"


@check
def apart(split: Callable[[Any], Any], table: Any) -> str:
    """Exercise 2: three parts that are all of the table, share no row, and are the same each time."""
    must(callable(split), "split is no function")
    parts = filled(split(table), "what split returns")
    must(isinstance(parts, (list, tuple)) and len(parts) == 3, "split does not return three tables", "return a, b, c")
    whole, counts = table.count(), [part.count() for part in parts]
    lost = sum(counts) < whole
    told = f"the parts have {sum(counts):,} rows together, and the table {whole:,}"
    must(sum(counts) == whole, told, "rows are lost" if lost else "rows are in two parts")
    for one, other in ((0, 1), (0, 2), (1, 2)):
        shared = parts[one].intersect(parts[other]).count()
        must(not shared, f"parts {one + 1} and {other + 1} share {shared:,} rows", "split once, into three")
    for count, wanted in zip(counts, (0.6, 0.2, 0.2), strict=True):
        off = abs(count / whole - wanted) < 0.05
        must(off, f"the parts have {', '.join(f'{one / whole:.0%}' for one in counts)} of the rows", "60, 20, 20")
    again = split(table)[2]
    stable = again.count() == counts[2] and again.intersect(parts[2]).count() == again.distinct().count()
    must(stable, "called again, it gives other rows", "what is random wants a seed")
    return f"{counts[0]:,}, {counts[1]:,} and {counts[2]:,} rows that never meet"


@check
def error_bars(network: Any, difference: Any, is_real: Any) -> str:
    """Exercise 3: standard errors of two accuracies, and of their difference."""
    first, second = 0.784 * 0.216 / 10_000, 0.775 * 0.225 / 10_000
    got = number(network, "error_network")
    must(abs(got - first) > 1e-7, "that is the variance", "its square root is missing")
    must(abs(got - sqrt(0.784 * 0.216)) > 1e-3, "that is the spread of one event", "divide by n before the root")
    near(got, sqrt(first), "error_network", "√(p(1−p)/n)", off=1e-2)
    both = number(difference, "error_difference")
    must(abs(both - (sqrt(first) + sqrt(second))) > 1e-5, "errors do not add up like that", "√(s₁² + s₂²)")
    must(abs(both - sqrt(abs(first - second))) > 1e-5, "a difference is less certain than each of the two", "+, not −")
    near(both, sqrt(first + second), "error_difference", "√(s₁² + s₂²)", off=1e-2)
    must(is_real in (True, False), f"is_real is {is_real!r}", "True or False")
    must(not is_real, "0.009 is not more than two standard errors of 0.0059", "compare 0.784 − 0.775 with them")
    return "1.5 standard errors: such a difference comes about by chance"


@check
def record(answer: Any, settings: Mapping[str, Any], tested: Mapping[str, float]) -> str:
    """Exercise 4: settings, versions, the figures; as JSON."""
    must(isinstance(answer, Mapping), "record is no dict")
    missing = [name for name in ("settings", "versions", "test") if name not in answer]
    must(not missing, f"the record lacks {', '.join(missing)}")
    must(answer["settings"] == dict(settings), "its settings are not SETTINGS", "the dict itself, not a copy by hand")
    versions = answer["versions"]
    must(isinstance(versions, Mapping), "versions is no dict", '{"keras": …, "pyspark": …}')
    for name in ("keras", "pyspark"):
        must(name in versions, f"the version of {name} is missing")
        must(isinstance(versions[name], str), f"the version of {name} is no text", f"{name}.__version__")
    must(isinstance(answer["test"], Mapping), "test is no dict", "the figures of section 8")
    for name, value in tested.items():
        must(name in answer["test"], f"the figure of {name!r} is missing", "the figures of section 8")
        near(answer["test"][name], value, f"the figure of {name!r}", "the one that was measured above", off=1e-3)
    try:
        json.dumps(answer)
    except TypeError as error:
        must(False, f"it cannot be written as JSON: {error}", "float(…) makes a plain number of NumPy's")
    return "somebody else can get the same figures"
