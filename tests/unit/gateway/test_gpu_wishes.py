"""Requests about GPUs: what is taken, and what is refused in words."""

from __future__ import annotations

from typing import Any

import pytest

from occamctl.errors import SpecError
from occamctl.gateway import gpu_wishes
from occamctl.gateway.gpu_wishes import Assignment, Booking
from occamctl.plan.gpus import GpuWish
from occamctl.spec.units import size

NOON = 1_791_201_600.0
GROUPS = {"phd", "student"}


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ({}, Assignment(GpuWish())),
        ({"gpu": 2, "for": 7200}, Assignment(GpuWish(2), 7200)),
        ({"gpu": "A100", "for": None, "restart": True}, Assignment(GpuWish(model="A100"), None, True)),
        ({"gpu": {"count": 2, "memory": "40G"}}, Assignment(GpuWish(2, memory=size("40G")))),
        ({"gpu": "1g.10gb"}, Assignment(GpuWish(profile="1g.10gb"))),
    ],
)
def test_assignments(said: dict[str, Any], asked: Assignment) -> None:
    assert gpu_wishes.assignment(said) == asked


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"gpu": 0}, "none is asked for"),
        ({"gpu": False}, "none is asked for"),
        ({"gpu": None}, "none is asked for"),
        ({"gpu": -1}, "gpu: -1 GPUs"),
        ({"gpu": 65}, "from 1 to 64"),
        ({"gpu": 1.5}, "gpu: 1.5 is not"),
        ({"gpu": []}, "is not a number of GPUs"),
        ({"gpu": {"count": 1, "colour": "red"}}, "unknown key 'colour'"),
        ({"gpu": {"memory": "lots"}}, "gpu: 'lots' is not a size"),
        ({"gpu": {"memory": None}}, "is not a size"),
        ({"gpu": {"model": 7}}, "not texts"),
        ({"for": 59}, "for: 59s is not a time for GPUs"),
        ({"for": 10**9}, "for: 1000000000s is not a time for GPUs"),
        ({"for": "2h"}, "for: not a whole number"),
        ({"for": True}, "for: not a whole number"),
        ({"restart": 1}, "restart: not true or false"),
        ({"seconds": 60}, "unknown key 'seconds'"),
    ],
)
def test_bad_assignments(said: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError) as no:
        gpu_wishes.assignment(said)
    assert says in no.value.what


def test_bookings() -> None:
    said = {"group": "phd", "gpu": 2, "from": "2026-10-05T14:00:00+02:00", "for": 3600}
    assert gpu_wishes.booking(said, GROUPS, NOON - 60) == Booking("phd", GpuWish(2), NOON, NOON + 3600)
    assert gpu_wishes.booking({"group": "phd", "for": 60}, GROUPS, NOON) == Booking("phd", GpuWish(), NOON, NOON + 60)
    without = {"group": "phd", "from": "2026-10-05T12:00:00", "for": 60}
    assert gpu_wishes.booking(without, GROUPS, NOON).begins == NOON, "UTC when nothing else is said"


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"group": "phd"}, "for: not a whole number"),
        ({"for": 60}, "group: not a text"),
        ({"group": "nobody", "for": 60}, "there is no group 'nobody'"),
        ({"group": "phd", "for": 60, "gpu": 0}, "none is asked for"),
        ({"group": "phd", "for": 60, "from": "tomorrow"}, "from: 'tomorrow' is not a time"),
        ({"group": "phd", "for": 60, "from": 7}, "from: not a text"),
        ({"group": "phd", "for": 60, "from": "0001-01-01T00:00:00"}, "from: "),
        ({"group": "phd", "for": 60, "from": "2026-10-05T11:00:00Z"}, "that time is over"),
        ({"group": "phd", "for": 60, "from": "2028-10-05T11:00:00Z"}, "more than a year away"),
        ({"group": "phd", "for": 60, "until": 1}, "unknown key 'until'"),
    ],
)
def test_bad_bookings(said: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError) as no:
        gpu_wishes.booking(said, GROUPS, NOON)
    assert says in no.value.what


def test_a_notebooks_start() -> None:
    assert gpu_wishes.of_notebook({"environment": {}}) is None
    assert gpu_wishes.of_notebook({"environment": {}, "gpu": 0}) is None
    assert gpu_wishes.of_notebook({"environment": {}, "gpu": "A100"}) == GpuWish(model="A100")
    with pytest.raises(SpecError):
        gpu_wishes.of_notebook({"environment": {}, "gpus": 1})
