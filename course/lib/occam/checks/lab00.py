"""Lab 0: your virtual cluster."""

from __future__ import annotations

import math
import socket
from typing import Any

from occam import show
from occam.checks import check, must, near, number


@check
def slots(answer: Any, spark: Any) -> str:
    there = spark.cluster
    right = there.workers * there.cores
    hint = "a worker runs one task on each of its cores, and the driver runs none"
    if number(answer) == right + 1:
        hint = "the driver makes the plan, but runs no tasks"
    near(answer, right, "the number of tasks at a time", hint)
    return f"{right} tasks at a time: {show.plural(there.workers, 'worker')} of {show.plural(there.cores, 'core')}"


@check
def containers(answer: Any, spark: Any) -> str:
    must(isinstance(answer, (set, frozenset)), f"this is a {type(answer).__name__}, not a set", "set(....collect())")
    must(
        all(isinstance(one, str) for one in answer),
        "there is more in it than names",
        "map each number to socket.gethostname()",
    )
    must(
        socket.gethostname() not in answer,
        "the notebook's own container is among them",
        "call gethostname() inside the function that map() gets: then the workers call it",
    )
    wanted = spark.cluster.workers
    must(
        len(answer) == wanted,
        f"these are {show.plural(len(answer), 'container')}, and there are {show.plural(wanted, 'worker')}",
        "did each get a task? Take more partitions than slots, and let each task sleep for a moment",
    )
    return f"{show.plural(wanted, 'worker')}, each in a container of its own"


@check
def waves(answer: Any, tasks: int, spark: Any) -> str:
    at_a_time = spark.cluster.workers * spark.cluster.cores
    right = math.ceil(tasks / at_a_time)
    hint = f"{at_a_time} run at a time; when they are done the next ones begin, also when few are left"
    if abs(number(answer) - tasks / at_a_time) < 0.01 and tasks % at_a_time:
        hint = "nearly: a task is not shared by two workers, so the last wave takes a whole second too"
    near(answer, right, "the shortest time", hint)
    return f"{right} waves of at most {at_a_time} tasks"


@check
def total(answer: Any, numbers: int) -> str:
    must(
        not callable(getattr(answer, "collect", None)),
        "this is not computed yet",
        "map() only plans; sum() is an action",
    )
    right = sum(n * n for n in range(numbers))
    hint = "squares of 0, 1, 2, …: one number, added up by the workers"
    if number(answer) == 0:
        hint = (
            "a variable of the notebook does not change when a worker changes its copy; ask for the sum with an action"
        )
    near(answer, right, "the sum", hint)
    return "the workers added up their parts, and only those came to the notebook"
