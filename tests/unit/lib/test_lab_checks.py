"""The labs' checks: what they say of the mistakes that people make. (Those that need Spark run with the labs.)"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from occam.checks import Wrong, lab00, lab01, lab02, lab03, lab04
from occam.cluster import Cluster

SESSION = SimpleNamespace(cluster=Cluster("lab", "running", workers=4, cores=1, memory=2 << 30))


def pairs(labels: Any, scores: Any, tie: float = 0.5) -> float:
    difference = np.subtract.outer(scores[labels == 1], scores[labels == 0])
    return float(((difference > 0) + tie * (difference == 0)).mean())


def separation(signal: Any, background: Any) -> Any:
    there = signal + background > 0
    return 0.5 * np.sum((signal[there] - background[there]) ** 2 / (signal[there] + background[there]))


@pytest.mark.parametrize(
    ("check", "answers", "words"),
    [
        (lab00.slots, (5, SESSION), "runs no tasks"),
        (lab00.slots, (SESSION, SESSION), "no number"),
        (lab00.containers, (["a"], SESSION), "list, not a set"),
        (lab00.containers, ({"a", "b"}, SESSION), "2 containers, and there are 4 workers"),
        (lab00.waves, (2.5, 10, SESSION), "the last wave takes a whole second"),
        (lab00.waves, (10, 10, SESSION), "4 run at a time"),
        (lab00.total, (0, 1000), "with an action"),
        (lab00.total, (499500, 1000), "squares"),
        (lab01.broken, (0, 1000, 10), "isNull"),
        (lab01.broken, (900, 1000, 10), "whole"),
        (lab01.columns_read, (["label", "m_jj"],), "m_bb is not in it"),
        (lab01.columns_read, ("label",), "one text"),
        (lab01.columns_read, (["label", "m_jj", "m_bb", "m_wbb"],), "m_wbb is not read"),
        (
            lab01.separation,
            (lambda s, b: 0.5 * np.sum((s - b) ** 2 / (s + b)),),
            "not a number with a bin that is empty",
        ),
        (lab01.separation, (lambda s, b: np.sum(np.abs(s - b)),), "did you halve"),
        (lab02.auc, (lambda labels, scores: 0.5,), "every signal event scores higher"),
        (lab02.auc, (lambda labels, scores: pairs(labels, scores, tie=0),), "a tie is worth a half"),
        (lab02.split, (1, 100), "not two tables"),
        (lab02.depth, (12, {2: 0.7, 8: 0.8, 12: 0.9}, {2: 0.7, 8: 0.75, 12: 0.72}), "by heart"),
        (lab02.overlap, (2, 0.842, 0.836, 0.003), "both have an error"),
        (lab03.fits, (8, 8, 3), "once for each fold"),
        (lab03.fits, (24, 8, 3), "once more"),
        (lab03.simplest, (lambda cost, mean, error: mean.index(max(mean)),), "the cheapest"),
        (lab03.simplest, (lambda cost, mean, error: cost.index(min(cost)),), "for costs"),
        (lab04.speed_up, (lambda one, several, n: one / several,), "two numbers"),
        (lab04.speed_up, (lambda one, several, n: (several / one, 1),), "T\\(1\\) / T\\(n\\)"),
        (lab04.amdahl, (lambda serial, n: n,), "change nothing"),
        (lab04.amdahl, (lambda serial, n: None,), "None"),
        (lab04.serial, (10,), "in seconds"),
        (lab04.serial, (0.9,), "gets faster"),
        (lab04.most_workers, (lambda scaling, least: 8,), "90% wanted"),
    ],
)
def test_a_mistake_gets_its_words(check: Callable[..., None], answers: tuple[Any, ...], words: str) -> None:
    with pytest.raises(Wrong, match=words):
        check(*answers)


def simplest(cost: list[float], mean: list[float], error: list[float]) -> int:
    best = mean.index(max(mean))
    return min((one for one in range(len(mean)) if mean[one] >= mean[best] - error[best]), key=lambda one: cost[one])


@pytest.mark.parametrize(
    ("check", "answers"),
    [
        (lab00.slots, (4, SESSION)),
        (lab00.containers, ({"a", "b", "c", "d"}, SESSION)),
        (lab00.waves, (3, 10, SESSION)),
        (lab00.total, (332833500, 1000)),
        (lab01.broken, (100, 1000, 10)),
        (lab01.columns_read, ({"label", "m_jj", "m_bb"},)),
        (lab01.separation, (separation,)),
        (lab02.auc, (pairs,)),
        (lab02.depth, (8, {2: 0.7, 8: 0.8, 12: 0.9}, {2: 0.7, 8: 0.75, 12: 0.72})),
        (lab02.overlap, (1.41421, 0.842, 0.836, 0.003)),
        (lab03.fits, (25, 8, 3)),
        (lab03.simplest, (simplest,)),
        (lab04.speed_up, (lambda one, several, n: (one / several, one / several / n),)),
        (lab04.amdahl, (lambda serial, n: 1 / (serial + (1 - serial) / n),)),
        (lab04.serial, (0.1,)),
        (lab04.most_workers, (lambda s, least: max(p.workers for p in s.points if s.efficiency(p) >= least),)),
    ],
)
def test_a_right_answer_gets_one_line(
    check: Callable[..., None], answers: tuple[Any, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    check(*answers)
    said = capsys.readouterr().out
    assert said.startswith("✓ ")
    assert said.count("\n") == 1
