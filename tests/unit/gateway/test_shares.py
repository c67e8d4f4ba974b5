"""Who gives back what was borrowed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from occamctl.gateway.shares import Borrowed, take_back


def of(owner: str, surplus: int, workers: int, counts: int = 1) -> Borrowed[str]:
    return Borrowed(owner, surplus, [(f"{owner}{number}", counts) for number in reversed(range(workers))])


def many(needed: int):
    return lambda taken: len(taken) >= needed


@pytest.mark.parametrize(
    ("needed", "shares"),
    [
        (1, {"anna": 1}),
        (4, {"anna": 3, "bob": 1}),
        (8, {"anna": 6, "bob": 2}),
    ],
)
def test_in_proportion_to_what_was_borrowed(needed: int, shares: dict[str, int]) -> None:
    taken = take_back([of("anna", 6, 8), of("bob", 2, 4)], many(needed))
    assert taken is not None
    assert {owner: sum(one.startswith(owner) for one in taken) for owner in shares} == shares
    assert len(taken) == needed


def test_never_below_the_guarantee() -> None:
    assert take_back([of("anna", 1, 8), of("bob", 2, 4)], many(4)) is None
    assert len(take_back([of("anna", 1, 8), of("bob", 2, 4)], many(3)) or ()) == 3


def test_a_worker_that_counts_more_than_may_go_stays() -> None:
    assert take_back([of("anna", 1, 2, counts=2)], many(1)) is None


def test_the_newest_go_first_and_nothing_is_needed_for_nothing() -> None:
    assert take_back([of("anna", 3, 3)], many(2)) == ["anna2", "anna1"]
    assert take_back([of("anna", 3, 3)], many(0)) == []


def test_a_worker_on_a_host_that_does_not_help_stays() -> None:
    def on_the_right_host(taken: Sequence[str]) -> bool:
        return "anna0" in taken

    assert take_back([of("anna", 3, 3)], on_the_right_host) == ["anna0"]
