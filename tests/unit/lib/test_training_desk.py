"""The connection between notebook and ranks, with real sockets and a rank's own way of calling."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from multiprocessing import AuthenticationError
from pathlib import Path
from typing import Any

import pytest
from occam.training import child, wire
from occam.training.desk import Desk, Lost
from occam.training.forms import TRAIN, Form
from occam.training.order import Layout
from occam.training.plan import Plan


def plan(desk: Desk, key: bytes) -> Plan:
    forms = {"x": Form("float32", (4,)), "y": Form("int32")}
    layouts = {TRAIN: Layout(8, 4, 2)}
    return Plan(desk.address, key, b"", forms, layouts, True, 1, True, {}, 1, False, {})


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Desk]:
    monkeypatch.setenv("OCCAM_DRIVER_HOST", "127.0.0.1")
    there = Desk()
    yield there
    there.close()


def next_of(desk: Desk) -> Any:
    came = desk.next(5)
    assert came is not None, "nothing came"
    return came


def test_words_go_both_ways_and_an_end_is_noticed(desk: Desk) -> None:
    line = child._call(plan(desk, desk.key))
    line.say(wire.Hello(1, os.getpid()))
    assert next_of(desk) == (1, wire.Hello(1, os.getpid()))
    line.keep(lambda: None)
    desk.say(wire.Train(0, 0.5), rank=1)
    desk.say(wire.Done())
    assert line.next(5) == wire.Train(0, 0.5)
    assert line.next(5) == wire.Done()
    line.close()
    assert next_of(desk) == (1, Lost(1))


def test_who_has_another_key_is_not_let_in(desk: Desk) -> None:
    with pytest.raises((AuthenticationError, EOFError, OSError)):
        child._call(plan(desk, b"another key"))
    assert desk.next(0.2) is None
    child._call(plan(desk, desk.key)).say(wire.Hello(0, 1))
    assert next_of(desk)[0] == 0


def test_the_desks_end_ends_every_rank_and_frees_the_port(desk: Desk) -> None:
    gone: list[float] = []
    line = child._call(plan(desk, desk.key))
    line.say(wire.Hello(0, 1))
    next_of(desk)
    line.keep(lambda: gone.append(time.monotonic()))
    desk.close()
    end = time.monotonic() + 5
    while not gone and time.monotonic() < end:
        time.sleep(0.01)
    assert gone
    with pytest.raises(OSError, match="refused"):
        child._call(plan(desk, desk.key))


def test_a_rank_that_was_heard_and_is_not_any_more_is_silent(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    child._call(plan(desk, desk.key)).say(wire.Hello(0, 1))
    next_of(desk)
    assert desk.silent() == []
    monkeypatch.setattr(wire, "SILENCE", 0.01)
    time.sleep(0.05)
    assert desk.silent() == [0]


def test_a_notebook_that_says_nothing_is_waited_for_so_long_and_no_longer(desk: Desk) -> None:
    line = child._call(plan(desk, desk.key))
    line.keep(lambda: None)
    with pytest.raises(TimeoutError, match=r"0\.05 s"):
        line.next(0.05)
