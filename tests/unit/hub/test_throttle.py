"""Guessing gets slow, a class does not."""

from __future__ import annotations

from occamctl.hub.throttle import Throttle


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_few_wrong_tries_are_free_and_then_the_wait_doubles():
    clock = Clock()
    throttle = Throttle(free=5, longest=60, clock=clock)
    waits = []
    for _ in range(14):
        waits.append(throttle.wait("anna"))
        clock.now += waits[-1]
        assert throttle.wait("anna") == 0
        throttle.wrong("anna")
    assert waits == [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_right_password_starts_anew():
    throttle = Throttle(clock=Clock())
    for _ in range(9):
        throttle.wrong("anna")
    assert throttle.wait("anna") > 0
    throttle.right("anna")
    assert throttle.wait("anna") == 0


def test_one_name_does_not_hold_up_another_but_capitals_are_no_way_round():
    throttle = Throttle(clock=Clock())
    for _ in range(9):
        throttle.wrong("anna")
    assert throttle.wait("bob") == 0
    assert throttle.wait("ANNA") > 0


def test_old_tries_are_forgotten():
    clock = Clock()
    throttle = Throttle(forget=900, clock=clock)
    for _ in range(9):
        throttle.wrong("anna")
    clock.now = 901
    assert throttle.wait("anna") == 0
    throttle.wrong("anna")
    assert throttle.wait("anna") == 0


def test_guessing_names_does_not_fill_the_memory():
    throttle = Throttle(most=100, clock=Clock())
    for number in range(1000):
        throttle.wrong(f"name-{number}")
    assert len(throttle._tries) == 100
