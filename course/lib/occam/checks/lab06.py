"""Checks of lab 6, distributed Keras on Spark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from occam.checks import check, filled, must, near, number


@check
def together(answer: Any, whole: Any, gradients: list[Any]) -> str:
    """Exercise 1: the gradient of a batch from those of its shares, which are not equally large."""
    import numpy as np

    must(np.shape(answer) == whole.shape, f"it has the shape {np.shape(answer)}", "one number for each weight: 28")

    def same(other: Any) -> bool:
        return bool(np.allclose(answer, other, rtol=1e-6, atol=1e-9))

    must(not same(sum(gradients)), "this is the sum of means: several times too long a step", "a mean of means")
    plain = "this is the plain mean: a share of 100 rows has as much say as one of 424"
    must(not same(np.mean(gradients, axis=0)), plain, "weigh each by its rows")
    must(same(whole), "this is not the gradient of the whole batch", "each gradient times its rows, then over all rows")
    return "the same gradient, computed in four places"


@check
def speed(speed_up: Any, efficiency: Any, seconds: Mapping[int, float]) -> str:
    """Exercise 2: T(1) / T(n), and that over n."""
    for what, answer in (("speed_up", speed_up), ("efficiency", efficiency)):
        must(isinstance(answer, Mapping), f"{what} is no dict", "{n: … for n, took in seconds.items()}")
        must(set(answer) == set(seconds), f"{what} has {sorted(answer)}, and {sorted(seconds)} workers trained")
    for n, took in seconds.items():
        gain, upside_down = seconds[1] / took, took / seconds[1]
        got = number(speed_up[n], f"speed_up[{n}]")
        turned = abs(got - upside_down) < 1e-9 and abs(got - gain) > 1e-9
        must(not turned, f"speed_up[{n}] is upside down", "twice as fast is half the time, and a speed-up of 2")
        near(got, gain, f"speed_up[{n}]", "the time of one worker over that of n")
        near(efficiency[n], gain / n, f"efficiency[{n}]", "1 if n workers are n times as fast")
    most = max(seconds)
    return f"{most} workers: {seconds[1] / seconds[most]:.2f} times as fast, efficiency {speed_up[most] / most:.0%}"


@check
def handed_over(answer: Any, model: Any) -> str:
    """Exercise 3: four bytes for each trainable number."""
    trained = sum(prod(one.shape) for one in model.trainable_variables)
    got = number(answer, "gradient_bytes")
    must(got != trained, "this is how many numbers they are", "a 32-bit float has four bytes")
    all_of_them = "this counts the normalisation's mean and variance too"
    must(got != 4 * model.count_params(), all_of_them, "they are not trained, and have no gradient")
    must(got != 8 * trained, "this is twice too many", "32 bits are four bytes")
    near(got, 4 * trained, "gradient_bytes", "four bytes for each number of the trainable variables")
    return f"{4 * trained / 1e6:.2f} MB in each step, whatever the size of the batch"


@check
def updates(small: Any, large: Any) -> str:
    """Exercise 4: steps of an epoch, rounded up; the batch is that of all workers together."""
    for what, answer, batch in (("updates_1024", small, 1024), ("updates_4096", large, 4096)):
        right, got = -(-180_000 // batch), number(answer, what)
        must(got != -(-180_000 // (4 * batch)), f"{what} is {got:g}", "batch_size is that of all workers, not of each")
        must(got != right * 4, f"{what} is {got:g}", "a step of four workers is one update: they all make the same")
        must(got != right - 1, f"{what} is {got:g}: one is missing", "the rows that are left over make a step too")
        near(got, right, what, "rows over rows of a step, rounded up")
    return "176 and 44: a batch four times as large, a quarter of the updates"


@check
def linear_rule(scaled: Callable[[float, int, int], float]) -> str:
    """Exercise 5: the rate grows as the batch does."""
    must(callable(scaled), "scaled is no function", "def scaled(rate, base, batch): …")
    four = number(filled(scaled(0.1, 256, 1024), "what scaled(0.1, 256, 1024) returns"), "scaled(0.1, 256, 1024)")
    must(abs(four - 0.025) > 1e-9, "a larger batch gets a smaller rate", "fewer steps have to be longer ones")
    must(
        abs(four - 0.2) > 1e-9, "that is the rule of the square root", "it is Adam's; here the linear one is asked for"
    )
    must(abs(four - 0.1) > 1e-9, "the rate stays as it is", "four times the batch, four times the rate")
    near(four, 0.4, "scaled(0.1, 256, 1024)", "four times the batch, four times the rate")
    near(scaled(0.4, 1024, 256), 0.1, "scaled(0.4, 1024, 256)", "the rule works both ways")
    near(scaled(0.3, 64, 64), 0.3, "scaled(0.3, 64, 64)", "the same batch has the same rate")
    return "the linear rule: k times the batch, k times the rate"
