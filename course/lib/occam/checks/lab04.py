"""Lab 4: scaling."""

from __future__ import annotations

from typing import Any

from occam.checks import check, filled, must, near, number


@check
def speed_up(function: Any) -> str:
    must(callable(function), "speed_up is no function any more")
    cases = (
        ((12.0, 3.0, 4), (4, 1), "12 s on one worker and 3 s on four"),
        ((10.0, 4.0, 4), (2.5, 0.625), "10 s on one worker and 4 s on four"),
    )
    for given, (right, efficient), where in cases:
        got = filled(function(*given), "what speed_up returns")
        must(
            isinstance(got, tuple) and len(got) == 2,
            f"speed_up returns {got!r:.40}",
            "two numbers: return speed_up, efficiency",
        )
        near(got[0], right, f"the speed-up for {where}", "how many times as fast: T(1) / T(n)")
        near(got[1], efficient, f"the efficiency for {where}", "the speed-up that each worker brings: 1 is perfect")
    return "T(1) / T(n), and that by the number of workers"


@check
def amdahl(function: Any) -> str:
    must(callable(function), "amdahl is no function any more")
    cases = (
        (0.0, 8, 8.0, "when nothing is serial", "then n workers are n times as fast"),
        (1.0, 8, 1.0, "when all is serial", "then more workers change nothing"),
        (0.1, 4, 1 / (0.1 + 0.9 / 4), "for a serial part of 0.1 and 4 workers", "1 / (s + (1 - s) / n)"),
        (0.05, 10**9, 20.0, "for a serial part of 0.05 and very many workers", "1 / s is left"),
    )
    for serial, workers, right, where, hint in cases:
        got = filled(function(serial, workers), "what amdahl returns")
        near(got, right, f"the speed-up {where}", hint, off=1e-4)
    return "with a serial part of 5%, a million workers are 20 times as fast as one"


@check
def serial(answer: Any) -> str:
    hint = "T(n) = a + b/n: take two of the times, find b from their difference, then a"
    if abs(number(answer) - 10) < 0.5:
        hint = "that is a, in seconds; the serial part is a / (a + b)"
    if abs(number(answer) - 0.9) < 0.02:
        hint = "that is the part that gets faster"
    near(answer, 0.1, "the serial part", hint, off=0.01)
    return "a = 10 s stay, b = 90 s are shared: a tenth is serial, and 10 times as fast is the most there is"


@check
def most_workers(function: Any) -> str:
    from occam.scales import Point, Scaling

    must(callable(function), "most_workers is no function any more")

    def measured(*seconds: float) -> Scaling:
        return Scaling(tuple(Point(workers, (took,)) for workers, took in zip((1, 2, 4, 8), seconds, strict=True)))

    cases = (
        (measured(80, 41, 22, 14), 0.7, 8, "efficiencies of 100, 98, 91 and 71%"),
        (measured(80, 41, 22, 14), 0.9, 4, "efficiencies of 100, 98, 91 and 71%"),
        (measured(80, 60, 50, 45), 0.7, 1, "efficiencies of 100, 67, 40 and 22%"),
    )
    for scaling, least, right, where in cases:
        got = filled(function(scaling, least), "what most_workers returns")
        must(
            number(got) == right,
            f"for {where}, and {least:.0%} wanted, it says {number(got):g}",
            "the largest number of workers whose efficiency is not below `least`",
        )
    return "as many as are worth it, and no more"
