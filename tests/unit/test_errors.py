"""The error tree and its exit codes, and waiting with a deadline."""

from __future__ import annotations

import threading

import pytest

from occamctl import errors, wait


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.OccamError, 1),
        (errors.EngineError, 1),
        (errors.TookTooLong, 1),
        (errors.SpecError, 2),
        (errors.HostError, 3),
        (errors.DoesNotFit, 4),
        (errors.Refused, 5),
        (errors.Busy, 6),
        (errors.PartlyDone, 7),
    ],
)
def test_every_kind_has_the_documented_exit_code(kind, code):
    assert kind("x").exit_code == code


@pytest.mark.parametrize("kind", [errors.SpecError, errors.DoesNotFit, errors.Refused, errors.Busy, errors.OccamError])
def test_an_error_crosses_the_gateway_unchanged(kind):
    sent = kind("too many", where="here", fix="fewer")
    got = errors.from_dict(sent.as_dict())
    assert type(got) is kind
    assert (got.what, got.where, got.fix) == ("too many", "here", "fewer")


def test_an_error_is_one_line_with_where_and_how_to_mend_it():
    assert str(errors.HostError("cannot connect", where="node1", fix="try: ssh node1")) == (
        "node1: cannot connect (try: ssh node1)"
    )


def test_waiting_returns_what_was_good():
    seen = iter([1, 2, 3])
    assert wait.until(lambda: next(seen), lambda value: value == 3, "three", seconds=5, every=0.001) == 3


def test_waiting_ends_and_says_what_it_saw_last():
    with pytest.raises(errors.TookTooLong, match=r"workers of spark-ada: still 2 after 0\.05 s"):
        wait.until(lambda: 2, lambda value: value == 4, "workers of spark-ada", seconds=0.05, every=0.01)


def test_a_nap_ends_when_it_is_told_to():
    stop = threading.Event()
    stop.set()
    assert wait.nap(60, stop) is True
