"""Lab 3: hyper-parameters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from occam.checks import check, filled, must, near, number


@check
def grid(answer: Any, depths: Sequence[int], trees: Sequence[int]) -> str:
    must(isinstance(answer, list), f"this is a {type(answer).__name__}", "end with .build()")
    must(all(isinstance(one, dict) for one in answer), "a grid is a list of settings", "ParamGridBuilder()….build()")
    found = [{getattr(knob, "name", knob): value for knob, value in one.items()} for one in answer]
    for name in ("maxDepth", "numTrees"):
        must(all(name in one for one in found), f"{name} is not varied", f".addGrid(forest.{name}, …)")
    got = {(one["maxDepth"], one["numTrees"]) for one in found}
    wanted = set(product(depths, trees))
    must(
        got == wanted, f"these are {len(got)} combinations, not the {len(wanted)} of DEPTHS and TREES", "each with each"
    )
    return f"{len(wanted)} combinations"


@check
def fits(answer: Any, combinations: int, folds: int) -> str:
    right = combinations * folds + 1
    hints = {
        combinations: "each combination is trained once for each fold",
        right - 1: "and when the best is known, that one is trained once more, on all the data",
    }
    near(
        answer,
        right,
        "the number of trainings",
        hints.get(int(number(answer)), "combinations, folds, and one at the end"),
    )
    return f"{combinations} × {folds} and one at the end: {right} trainings"


@check
def simplest(function: Any) -> str:
    must(callable(function), "simplest is no function any more")
    cases = (
        ([1, 2, 3], [0.70, 0.80, 0.81], [0.01, 0.01, 0.02], 1, "of those within one error of the best, the cheapest"),
        ([3, 2, 1], [0.70, 0.90, 0.80], [0.01, 0.01, 0.01], 1, "nothing else is within one error of the best here"),
        ([4, 1, 2], [0.80, 0.79, 0.80], [0.02, 0.001, 0.02], 1, "the error that counts is that of the best"),
        (
            [9, 8, 7],
            [0.60, 0.61, 0.62],
            [0.10, 0.10, 0.001],
            2,
            "the error that counts is that of the best, not the others'",
        ),
    )
    for cost, mean, error, right, hint in cases:
        got = filled(function(cost, mean, error), "what simplest returns")
        must(
            number(got) == right,
            f"for costs {cost}, means {mean} and errors {error} it chooses number {number(got):g}",
            f"{hint}; numbers begin at 0",
        )
    return "the cheapest that is as good as the best"


@check
def space(function: Any) -> str:
    import optuna

    must(callable(function), "space is no function any more")
    trial = optuna.create_study(direction="maximize").ask()
    got = filled(function(trial), "what space returns")
    must(
        isinstance(got, dict), f"space returns a {type(got).__name__}", 'return {"stepSize": trial.suggest_float(…), …}'
    )
    asked = trial.distributions
    for name in ("stepSize", "maxDepth"):
        must(name in asked, f"the trial is not asked for {name}", f'trial.suggest_…("{name}", low, high)')
        must(name in got, f"{name} is not in what space returns", "a dict of both, by their names")
    step, depth = asked["stepSize"], asked["maxDepth"]
    must(isinstance(depth, optuna.distributions.IntDistribution), "maxDepth is no whole number", "suggest_int")
    must((depth.low, depth.high) == (2, 6), f"maxDepth goes from {depth.low} to {depth.high}", "from 2 to 6")
    must(isinstance(step, optuna.distributions.FloatDistribution), "stepSize is not a float", "suggest_float")
    must((step.low, step.high) == (0.02, 0.5), f"stepSize goes from {step.low:g} to {step.high:g}", "from 0.02 to 0.5")
    must(step.log, "stepSize is drawn evenly", "0.02 to 0.04 is as large a step as 0.2 to 0.4: log=True")
    return "step size by its logarithm, depth as a whole number"


@check
def final(answer: Any, model: Any, test: Any, validation: float) -> str:
    from pyspark.ml.evaluation import BinaryClassificationEvaluator

    right = BinaryClassificationEvaluator(labelCol="label").evaluate(model.transform(test))
    hint = "BinaryClassificationEvaluator(labelCol=…).evaluate(model.transform(…)) on events that no choice was made by"
    if abs(number(answer) - validation) < 1e-9:
        hint = "that is the AUC by which this model was chosen; which events did no choice see?"
    # The evaluator puts a large table's scores into bins, and those hang on the order in which rows arrive.
    near(answer, right, "the AUC", hint, off=1e-3)
    return f"AUC {right:.4f}, by events that nobody chose by (chosen by: {validation:.4f})"
