"""Checks of lab 8, inference at scale."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from occam.checks import Wrong, check, filled, must, near, number


@check
def too_much(gigabytes: Any, seconds: Any) -> str:
    """Exercise 1: 11 million rows of 28 floats of four bytes."""
    got = number(gigabytes, "gigabytes")
    must(abs(got - 0.308) > 1e-3, "that is one byte for each number", "a 32-bit float has four")
    must(abs(got - 9.856) > 1e-2, "those are bits", "32 bits are four bytes")
    must(got < 1e6, f"gigabytes is {got:g}", "are these bytes? a GB has 10**9 of them")
    near(got, 1.232, "gigabytes", "rows times features times bytes of a number", off=1e-2)
    line = number(seconds, "seconds_on_the_line")
    must(abs(line - 1.232) > 1e-2, "that takes a line of one giga*byte* per second", "a byte has eight bits")
    near(line, 9.856, "seconds_on_the_line", "gigabits over gigabits per second", off=1e-2)
    return "1.2 GB and ten seconds, each time; the network is some hundred kilobytes"


class _Model:
    """Gives a row's first feature as its score, and takes note of what it is fed."""

    def predict_on_batch(self, x: Any) -> Any:
        import numpy as np

        must(hasattr(x, "dtype"), f"the network is fed a {type(x).__name__}", 'batch.to_numpy("float32")')
        return np.asarray(x)[:, :1]

    def predict(self, x: Any, **_words: Any) -> Any:
        return self.predict_on_batch(x)

    def __call__(self, x: Any, **_words: Any) -> Any:
        return self.predict_on_batch(x)


@check
def once(score_batches: Callable[..., Iterator[Any]], batches: Sequence[Any]) -> str:
    """Exercise 2: one load for all batches, and for each batch as many numbers as it has rows."""
    import numpy as np

    loads: list[int] = []

    def load() -> _Model:
        loads.append(1)
        return _Model()

    must(callable(score_batches), "score_batches is no function")
    given = filled(score_batches(iter(batches), load), "what score_batches returns")
    must(hasattr(given, "__next__"), f"it returns a {type(given).__name__}, at once", "yield one result for each batch")
    first = next(given, None)
    must(first is not None, "it yields nothing", "for batch in batches: … yield …")
    must(len(loads) < 2, "the network is loaded more than once for one batch")
    must(loads, "load() is never called", "model = load()")
    results = [first, *given]
    again = f"the network was loaded {len(loads)} times for {len(batches)} batches"
    must(len(loads) == 1, again, "load it before the loop begins, not in it")
    must(
        len(results) == len(batches), f"{len(batches)} batches gave {len(results)} results", "one yield for each batch"
    )
    for batch, result in zip(batches, results, strict=True):
        wanted = np.asarray(batch.to_numpy("float32"))[:, 0]
        shape = np.shape(result)
        must(len(shape) == 1, f"a result has the shape {shape}: a table of one column", "take its column: […][:, 0]")
        must(shape == wanted.shape, f"{len(wanted)} rows gave {shape[0]} numbers", "one number for each row")
        must(np.allclose(result, wanted), "these are not what the network says of these rows")
        must(type(result).__name__ != "ndarray", "Spark wants a pandas Series, not an array", "pd.Series(…)")
    return f"one load for {len(batches)} batches"


@check
def computing(share: Any, clock: Any) -> str:
    """Exercise 3: compute over all three, of all tasks together."""
    load, wait, compute = (float(clock[part].sum()) for part in ("load", "wait", "compute"))
    wanted, got = compute / (load + wait + compute), number(share, "share")
    must(0 <= got <= 1, f"share is {got:g}", "a part of a whole is between 0 and 1")
    must(abs(got - compute / (wait + compute)) > 1e-9 or load < 1e-9, "the loading is missing", "three parts, not two")
    near(got, wanted, "share", "the sum of compute over the sum of all three, not a mean of the tasks' shares")
    return f"{wanted:.0%} computing, {wait / (load + wait + compute):.0%} waiting for rows"


@check
def selected(kept: Any, purity: Any, signal: Any, background: Any) -> str:
    """Exercise 4: the bins from 0.6 on; a part of the signal, and signal's part of what is kept."""
    cut = round(0.6 * len(signal))
    good, bad, whole = float(signal[cut:].sum()), float(background[cut:].sum()), float(signal.sum())
    got = number(kept, "kept")
    if abs(got - signal[:cut].sum() / whole) < 1e-9 < abs(got - good / whole):
        raise Wrong("kept is the part that is thrown away", "the bins from 0.6 on: signal[30:]")
    must(got <= 1, f"kept is {got:g}", "a part of the whole signal, not a number of events")
    must(
        abs(got - signal[cut + 1 :].sum() / whole) > 1e-9,
        "one bin is missing",
        "the bin from 0.60 to 0.62 is number 30",
    )
    near(got, good / whole, "kept", "the signal from 0.6 on, over all signal")
    pure = number(purity, "purity")
    must(abs(pure - bad / (good + bad)) > 1e-9, "that is the part of background", "signal over signal and background")
    near(pure, good / (good + bad), "purity", "signal over signal and background, both from 0.6 on")
    return f"{good / whole:.0%} of the signal is kept, with a purity of {good / (good + bad):.0%}"
