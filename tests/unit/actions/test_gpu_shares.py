"""What a person writes about GPUs, as the gateway is asked; and its answers in words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from occamctl.actions import gpu_shares
from occamctl.errors import SpecError
from occamctl.plan import gpus
from occamctl.plan.gpus import GpuWish
from occamctl.spec.course import Course

GIB = 1 << 30
ROME = ZoneInfo("Europe/Rome")
NOW = datetime(2026, 10, 5, 12, 30, tzinfo=ROME)


@pytest.mark.parametrize(
    ("text", "count", "memory", "asked"),
    [
        ("1", 1, "", GpuWish()),
        ("3", 1, "", GpuWish(3)),
        ("", 2, "40G", GpuWish(2, memory=40 * GIB)),
        ("A100", 2, "", GpuWish(2, model="A100")),
        ("RTX 4090", 1, "", GpuWish(model="RTX 4090")),
        ("1G.10GB", 1, "", GpuWish(profile="1g.10gb")),
    ],
)
def test_wishes(text: str, count: int, memory: str, asked: GpuWish) -> None:
    assert gpus.wish(gpu_shares.wish(text, count, memory)) == asked


@pytest.mark.parametrize(
    ("text", "memory", "says"),
    [
        ("0", "", "none is asked for"),
        ("65", "", "65 GPUs"),
        ("10000", "", "10000 GPUs"),
        ("1", "lots", "'lots'"),
    ],
)
def test_bad_wishes(text: str, memory: str, says: str) -> None:
    with pytest.raises(SpecError, match=says) as no:
        gpu_shares.wish(text, 1, memory)
    assert no.value.exit_code == 2


def test_a_number_and_another_count_are_not_guessed_at() -> None:
    assert gpus.wish(gpu_shares.wish("2", 2, "")) == GpuWish(2)
    with pytest.raises(SpecError, match="2 GPUs, and --count 5"):
        gpu_shares.wish("2", 5, "")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("now", "2026-10-05T12:30:00+02:00"),
        ("14:00", "2026-10-05T14:00:00+02:00"),
        ("9:15", "2026-10-06T09:15:00+02:00"),
        ("2026-12-01 14:00", "2026-12-01T14:00:00+01:00"),
        ("2026-10-05T14:00:00Z", "2026-10-05T14:00:00+00:00"),
    ],
)
def test_moments(text: str, at: str) -> None:
    assert gpu_shares.moment(text, NOW) == at


@pytest.fixture
def machine_in_rome() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Europe/Rome")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("machine_in_rome")
def test_a_course_without_a_term_has_this_machines_zone_with_its_summer_time() -> None:
    course = Course.model_validate({"version": 1, "course": "ml", "students": ["anna"]})
    at = datetime(2026, 10, 5, 10, 30, tzinfo=UTC).astimezone(gpu_shares.zone(course))
    assert gpu_shares.moment("14:00", at) == "2026-10-05T14:00:00+02:00"
    assert gpu_shares.moment("2026-11-02 14:00", at) == "2026-11-02T14:00:00+01:00"
    assert gpu_shares.shown("2026-11-02T13:00:00+00:00", at) == "2026-11-02 14:00"
    assert gpu_shares.now(course).tzname() in ("CET", "CEST")


@pytest.mark.parametrize("text", ["25:00", "tomorrow", "", "14", "2026-13-01 10:00"])
def test_bad_moments(text: str) -> None:
    with pytest.raises(SpecError, match="is not a time"):
        gpu_shares.moment(text, NOW)


def one(**more: Any) -> dict[str, Any]:
    """A GPU as the gateway lists it."""
    return {
        "uuid": "GPU-1",
        "model": "NVIDIA A100-SXM4-40GB",
        "memory": 40 * GIB,
        "profile": "",
        "host": "node1",
        "state": "held",
        "trouble": "",
        "utilization": None,
        "memory_used": None,
        "processes": None,
        "holder": {"kind": "notebook", "who": "students", "user": "anna", "cluster": ""},
        "until": "2026-10-05T12:00:00+00:00",
        "reservations": [],
        **more,
    }


def test_rows_of_the_list() -> None:
    kept = [
        {"group": "phd", "from": "2026-10-06T07:00:00+00:00", "to": "2026-10-06T09:00:00+00:00", "on": False},
        {"group": "msc", "from": "2026-10-05T09:00:00+00:00", "to": "2026-10-05T11:00:00+00:00", "on": True},
    ]
    assert gpu_shares.row(one(utilization=7.4, memory_used=3 * GIB, reservations=kept), NOW) == {
        "host": "node1",
        "gpu": "A100-SXM4-40GB",
        "memory": "40G",
        "state": "held",
        "use": "7%, 3G",
        "holder": "anna",
        "until": "14:00",
        "reserved": "phd from 2026-10-06 09:00, msc until 13:00",
    }
    out = gpu_shares.row(one(trouble="Xid 79", holder=None, until=None, profile="1g.5gb"), NOW)
    assert (out["state"], out["holder"], out["until"], out["use"]) == ("out: Xid 79", "", "", "")
    assert out["gpu"] == "A100-SXM4-40GB MIG 1g.5gb"
    worker = {"kind": "executor", "who": "students", "user": "anna", "cluster": "lab"}
    assert gpu_shares.row(one(holder=worker), NOW)["holder"] == "anna/lab"
    assert gpu_shares.row(one(holder={"kind": "executor", "who": "group phd"}), NOW)["holder"] == "group phd"


def test_what_somebody_has_in_words() -> None:
    made = {"user": "anna", "gpus": [one(), one()], "host": "node1", "until": None, "for_group": "", "message": "there"}
    assert gpu_shares.told(made, NOW) == "anna has 2 A100-SXM4-40GB on node1: there."
    made |= {"until": "2026-10-05T12:00:00+00:00", "for_group": "phd"}
    assert gpu_shares.told(made, NOW) == (
        "anna has 2 A100-SXM4-40GB on node1 until 14:00 (reserved for group phd then): there."
    )
    assert gpu_shares.told({**made, "gpus": []}, NOW) == "anna has no GPU."
