"""Durations and sizes."""

from __future__ import annotations

import pytest

from occamctl.spec import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604800), ("45", 45), (45, 45), (" 5 m ", 300)],
)
def test_durations(text: str | int, seconds: int) -> None:
    assert units.seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("512M", 512 << 20),
        ("4G", 4 << 30),
        ("1.5g", 3 << 29),
        ("2GiB", 2 << 30),
        ("1T", 1 << 40),
        ("64K", 65536),
        (7, 7),
    ],
)
def test_sizes(text: str | int, amount: int) -> None:
    assert units.size(text) == amount


@pytest.mark.parametrize("text", ["", "m", "-5m", "1.5h", "5 minutes", "9" * 50, "٣s", "1e3"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        units.seconds(text)


@pytest.mark.parametrize("text", ["", "G", "-4G", "4 gigs", "9" * 400, "nan", "inf", "1e9"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        units.size(text)


@pytest.mark.parametrize("amount", [0, 1, 1023, 1 << 10, 3 << 29, 5 << 30, 1 << 40])
def test_sizes_are_shown_as_they_are_written(amount: int) -> None:
    assert units.size(units.human_size(amount)) == amount
