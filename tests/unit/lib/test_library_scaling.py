"""Scaling: what is made of measured times."""

from __future__ import annotations

import math

import occam
import pytest
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
