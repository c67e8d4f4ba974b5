"""Checks of lab 7, on GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from occam.checks import check, must, near, number

WEIGHTS = 28 * 1024 + 1024 * 1024 + 1024


@check
def asked(wish: Any) -> str:
    """Exercise 1: three workers with an A100 each, five minutes in the queue."""
    must(isinstance(wish, Mapping), "wish is no dict", '{"workers": …, …}')
    unknown = sorted(set(wish) - {"workers", "gpu", "wait"})
    must(not unknown, f"what is {unknown} for?", "three arguments are enough: see the table, and wait=")
    must(wish.get("workers") == 3, f"workers is {wish.get('workers')}", "three of them")
    gpu = wish.get("gpu")
    must(gpu is not None, "it asks for no GPU", "gpu=")
    must(gpu != 3, "that is three GPUs for each worker, nine in all", "gpu says what each worker gets")
    must(gpu != 1, "that is any GPU", "the model is named in the task")
    model = gpu.get("model") if isinstance(gpu, Mapping) else gpu
    must(str(model).upper() == "A100", f"gpu is {gpu!r}", 'a model is given by its name: "A100"')
    wait = wish.get("wait")
    must(wait is not None, "it does not queue: without room it is refused", 'wait="…"')
    must(wait != 5, "that is five seconds", 'a number is seconds; "5m" are minutes')
    must(wait in ("5m", 300, "300s", 300.0), f"wait is {wait!r}", '"5m", or 300 seconds')
    return "three workers, an A100 each, five minutes in the queue"


@check
def work(operations: Any, milliseconds: Any) -> str:
    """Exercise 2: six operations for each weight and row."""
    right, got = 6 * 2048 * WEIGHTS, number(operations, "operations")
    must(got != right / 3, "that is the way forward alone", "training goes back as well: two more products for a layer")
    must(got != right / 6 * 3, "multiplications alone", "each product has an addition with it")
    must(got != 6 * WEIGHTS, "that is one row's", "a batch has 2048")
    near(got, right, "operations", "six for each weight and row", off=5e-3)
    must(abs(number(milliseconds, "milliseconds") - got / 1e13) > 1e-6, "those are seconds", "a second has 1000")
    near(milliseconds, right / 1e10, "milliseconds", "operations over operations in a second, times 1000", off=5e-3)
    return f"{right / 1e9:.1f} billion operations, {right / 1e10:.2f} ms at best"


@check
def memory(fixed: Any, batch: Any) -> str:
    """Exercise 3: four numbers of four bytes for each weight; the outputs of every row."""
    got = number(fixed, "fixed_gb")
    must(abs(got - 0.2) > 1e-3, "those are the weights alone", "with Adam there are four numbers for each")
    must(abs(got - 0.4) > 1e-3, "Adam's two running means are missing", "four numbers for each weight")
    must(abs(got - 0.6) > 1e-3, "one of the four is missing", "weight, gradient, and two running means")
    near(got, 0.8, "fixed_gb", "four numbers of four bytes for each weight", off=1e-2)
    outputs = number(batch, "batch_gb")
    must(abs(outputs - 0.08192) > 1e-4, "those are numbers, not bytes", "a 32-bit float has four bytes")
    near(outputs, 0.32768, "batch_gb", "numbers of a row, times rows, times four bytes", off=1e-2)
    return "0.8 GB that stay, and 0.33 GB that come and go with each batch"


@check
def whole(times: Any) -> str:
    """Exercise 4: Amdahl's law."""
    got = number(times, "times_as_fast")
    must(abs(got - 30) > 1e-6, "only the computing is 30 times as fast", "add up the seconds of before and of after")
    must(abs(got - (0.35 + 0.65 / 30)) > 1e-3, "that is the new time", "the old time over the new one")
    must(abs(got - 0.65 * 30) > 1e-2, "a mean of speed-ups is none", "add up the seconds of before and of after")
    near(got, 1 / (0.35 + 0.65 / 30), "times_as_fast", "1 s before; 0.35 s and a part of 0.65 s after", off=1e-2)
    return "2.7 times; with an endless fast GPU it would be 2.9"
