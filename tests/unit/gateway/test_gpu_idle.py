"""A GPU that nobody uses is announced and then taken back; one that is used, or of which nothing is known, is not."""

from __future__ import annotations

import itertools
import random

import pytest

from occamctl.gateway.gpu_idle import ACTIVE, GAP, GRACE, Rules, Sample, Watched, look

RULES = Rules(1800, 5)
EVERY = 30


def run(samples: list[Sample], rules: Rules = RULES) -> list[tuple[float, str]]:
    """When which verdict fell."""
    watched, fell = Watched(), []
    for one in samples:
        watched, verdict = look(watched, one, rules)
        if verdict:
            fell.append((one.at, verdict))
            if verdict == "take":
                break
    return fell


def quiet(begins: float, ends: float, *, utilization: float = 0, processes: int = 0) -> list[Sample]:
    return [Sample(at, utilization, processes) for at in range(int(begins), int(ends), EVERY)]


def test_idle_is_announced_and_taken_after_the_grace() -> None:
    assert run(quiet(0, 4000)) == [(1800, "announce"), (1800 + GRACE, "take")]
    assert run(quiet(0, 4000, utilization=5, processes=3)) == [(1800, "announce"), (1800 + GRACE, "take")]


def test_one_busy_sample_starts_the_clock_anew() -> None:
    samples = [*quiet(0, 1500), Sample(1500, 6, 1), *quiet(1530, 6000)]
    assert run(samples) == [(3330, "announce"), (3330 + GRACE, "take")]


def test_work_after_the_announcement_saves_it() -> None:
    samples = [*quiet(0, 1900), Sample(1900, 80, 1), *quiet(1930, 3000)]
    assert run(samples) == [(1800, "announce"), (1900, "spare")]


def test_a_kernel_that_has_memory_there_and_is_active_is_at_work() -> None:
    busy = [Sample(at, 0, 1, active=at - ACTIVE + 1) for at in range(0, 9000, EVERY)]
    assert run(busy) == []
    assert run([Sample(one.at, 0, 0, one.active) for one in busy])[-1][1] == "take", "the twin: none of it on the GPU"
    assert run([Sample(one.at, 0, 1, one.at - ACTIVE) for one in busy])[-1][1] == "take", "the twin: long silent"


def test_a_watcher_that_was_silent_takes_nothing() -> None:
    samples = [*quiet(0, 1700), *quiet(1700 + GAP + EVERY, 3500)]
    assert run(samples) == []
    told = [*quiet(0, 1830), *quiet(1900 + GAP + GRACE, 3000)]
    assert run(told) == [(1800, "announce"), (1900 + GAP + GRACE, "spare")]


def test_never_is_never() -> None:
    assert run(quiet(0, 90_000), Rules(0, 5)) == []


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_taken_without_an_announcement_and_a_quiet_window(seed: int) -> None:
    chance = random.Random(seed)
    samples, at = [], 0.0
    for _ in range(3000):
        at += chance.choice([EVERY, EVERY, EVERY, GAP + 1 if chance.random() < 0.02 else EVERY])
        samples.append(Sample(at, 50 if chance.random() < 0.01 else 0, 0))
    watched, told = Watched(), None
    for index, one in enumerate(samples):
        watched, verdict = look(watched, one, RULES)
        if verdict == "announce":
            told = one.at
        elif verdict == "spare":
            told = None
        elif verdict == "take":
            assert told is not None
            assert one.at - told >= GRACE
            window = [other for other in samples[: index + 1] if other.at >= one.at - RULES.timeout]
            assert all(not other.works(RULES) for other in window)
            assert all(b.at - a.at <= GAP for a, b in itertools.pairwise(window))
            return
