"""What a task tells its rank's process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from occam.training import task
from occam.training.forms import TRAIN
from occam.training.order import Layout
from occam.training.plan import Plan


def threads(cores: int, executors: list[str], rank: int) -> int:
    plan = Plan(("", 0), b"", b"", {}, {TRAIN: Layout(8, 4, 2)}, True, 1, True, {}, cores, False, {})
    context: Any = SimpleNamespace(
        getTaskInfos=lambda: [SimpleNamespace(address=one) for one in executors],
        partitionId=lambda: rank,
        allGather=lambda word: [word],
    )
    return task._go(plan, context).threads


@pytest.mark.parametrize(
    ("cores", "executors", "each"),
    [
        (1, ["127.0.0.1:1", "127.0.0.1:2"], [1, 1]),
        (4, ["127.0.0.1:1", "127.0.0.1:2"], [4, 4]),
        (4, ["127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:2"], [2, 2, 4]),
        (3, ["127.0.0.1:1", "127.0.0.1:1"], [1, 1]),
    ],
)
def test_threads_follow_the_cores_that_a_rank_has(cores: int, executors: list[str], each: list[int]) -> None:
    assert [threads(cores, executors, rank) for rank in range(len(executors))] == each
