"""Scaling: what is made of measured times."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import occam
import pytest
from occam import held
from occam.scales import Point, Scaling, scaling


def measured(times: dict[int, tuple[float, ...]], weak: bool = False) -> Scaling:
    return Scaling(tuple(Point(workers, took) for workers, took in times.items()), weak)


def test_amdahls_part_is_found_again() -> None:
    told = measured({n: (2 + 8 / n,) for n in (1, 2, 4, 8)})
    assert told.serial == pytest.approx(0.2)
    assert told.most == pytest.approx(5)
    assert [round(told.speed_up(one), 2) for one in told.points] == [1, 1.67, 2.5, 3.33]
    assert told.efficiency(told.points[-1]) == pytest.approx(3.33 / 8, abs=0.01)


@pytest.mark.parametrize(
    ("times", "serial"),
    [
        ({1: (4.0,), 2: (2.0,), 4: (1.0,)}, 0),  # perfect
        ({1: (4.0,), 2: (1.9,), 4: (0.8,)}, 0),  # better than perfect is no negative part
        ({1: (4.0,), 2: (4.5,), 4: (5.0,)}, 1),  # slower with more
        ({2: (3.0, 3.1), 4: (2.0, 2.1)}, None),
    ],
)
def test_the_part_is_between_nothing_and_all(times: dict[int, tuple[float, ...]], serial: float | None) -> None:
    found = measured(times).serial
    assert found is not None
    assert 0 <= found <= 1
    if serial is not None:
        assert found == pytest.approx(serial)
    assert math.isfinite(measured(times).speed_up(measured(times).points[-1]))


def test_the_fewest_workers_need_not_be_one() -> None:
    told = measured({2: (6.0,), 4: (3.0,)})
    assert [told.speed_up(one) for one in told.points] == [2, 4]


def test_weak_scaling_has_gustafsons_speed_up_and_no_fit() -> None:
    told = measured({1: (2.0,), 4: (2.5,)}, weak=True)
    assert told.efficiency(told.points[1]) == pytest.approx(0.8)
    assert told.speed_up(told.points[1]) == pytest.approx(3.2)
    assert told.serial is None
    assert measured({1: (2.0,)}).serial is None


def test_it_reads_as_a_table() -> None:
    told = measured({1: (10.0, 9.0, 12.0), 2: (6.0, 6.0, 6.0)})
    assert repr(told).splitlines() == [
        "workers  seconds  fastest  slowest  speed-up  efficiency",
        "      1    10.00     9.00    12.00      1.00        1.00",
        "      2     6.00     6.00     6.00      1.67        0.83",
        "2 workers: 1.67 times as fast, efficiency 83%; "
        "Amdahl's part that does not get faster is 16%: at most 6.2 times",
    ]


@pytest.mark.parametrize(
    "wrong", [{"workers": []}, {"workers": [0]}, {"workers": [1.5]}, {"repeat": 0}, {"weak": True}]
)
def test_what_cannot_be_measured_is_refused_before_anything_starts(wrong: dict[str, object]) -> None:
    with pytest.raises(occam.Refused):
        scaling(lambda spark: None, **wrong)  # type: ignore[arg-type]


class Clusters:
    """Stands for the session and for what the kernel holds: clusters by name, with their workers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **running: int) -> None:
        self.workers = running
        self.kernel = [SimpleNamespace(wish=SimpleNamespace(name=one)) for one in running]
        session = SimpleNamespace(spark=self.spark, stop=self.stop, clusters=self.all)
        monkeypatch.setitem(sys.modules, "occam.session", session)
        monkeypatch.setattr(held, "all_of_them", lambda: list(self.kernel))
        monkeypatch.setattr(held, "make_current", self.make_current)

    def all(self) -> list[Any]:
        return [SimpleNamespace(name=name, workers=workers) for name, workers in self.workers.items()]

    def spark(self, workers: int, name: str, timeout: float) -> str:
        if name not in self.workers and sum(self.workers.values()) + workers > 4:
            raise occam.NotEnough("your quota is 4")
        one = next((one for one in self.kernel if one.wish.name == name), None)
        self.workers[name] = workers
        self.make_current(one or SimpleNamespace(wish=SimpleNamespace(name=name)))
        return name

    def stop(self, name: str) -> None:
        del self.workers[name]
        self.kernel = [one for one in self.kernel if one.wish.name != name]

    def make_current(self, one: Any) -> None:
        self.kernel = [other for other in self.kernel if other is not one] + [one]


def test_the_current_cluster_is_measured_and_is_as_large_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Clusters(monkeypatch, big=3)
    used: list[tuple[object, int]] = []
    assert len(scaling(lambda spark: used.append((spark, there.workers["big"])), np.array([1, 2, 4]), 1).points) == 3
    assert used == [("big", 4), ("big", 4), ("big", 2), ("big", 1)]
    assert there.workers == {"big": 3}


def test_a_cluster_that_was_not_there_is_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Clusters(monkeypatch)
    scaling(lambda spark: None, [1, 2], repeat=1)
    assert (there.workers, there.kernel) == ({}, [])


def test_another_cluster_than_the_current_one_leaves_that_current(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Clusters(monkeypatch, small=1, big=2)
    scaling(lambda spark: None, [1, 3], repeat=1, name="small")
    assert there.workers == {"small": 1, "big": 2}
    assert there.kernel[-1].wish.name == "big"


def test_a_function_that_raises_leaves_everything_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(spark: object) -> None:
        raise ZeroDivisionError

    for running in ({"lab": 3}, {}):
        there = Clusters(monkeypatch, **running)
        with pytest.raises(ZeroDivisionError):
            scaling(broken, [1, 2])
        assert there.workers == running
