"""Lab 2: classical machine learning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from occam.checks import check, filled, must, near, number


@check
def split(answer: Any, rows: int) -> str:
    must(isinstance(answer, (list, tuple)) and len(answer) == 2, "not two tables", "randomSplit gives a list of tables")
    train, test = answer
    must(hasattr(train, "count") and hasattr(test, "where"), "these are no DataFrames")
    many, few = train.count(), test.count()
    must(many + few == rows, f"together they have {many + few:,} rows, not {rows:,}", "every event is in one of them")
    must(many > few, f"{many:,} rows to train and {few:,} to test", "the larger one comes first")
    must(abs(few / rows - 0.2) < 0.05, f"{few / rows:.0%} of the rows are to test", "randomSplit([0.8, 0.2], seed=…)")
    return f"{many:,} events to train, {few:,} to test"


@check
def pipeline(answer: Any, features: list[str]) -> str:
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import StandardScaler, VectorAssembler

    must(isinstance(answer, Pipeline), f"this is a {type(answer).__name__}", "Pipeline(stages=[…]), not fitted yet")
    stages = answer.getStages()
    wanted = (VectorAssembler, StandardScaler, LogisticRegression)
    must(
        [type(one) for one in stages] == list(wanted),
        f"its stages are {', '.join(type(one).__name__ for one in stages)}",
        "first VectorAssembler, then StandardScaler, then LogisticRegression",
    )
    assembler, scaler, regression = stages
    columns = assembler.getInputCols()
    must("label" not in columns, "the label is one of the features", "the model would only have to read the answer")
    must(set(columns) == set(features), f"{len(set(columns))} of {len(features)} features", "inputCols=FEATURES")
    must(
        scaler.getInputCol() == assembler.getOutputCol(),
        f"the scaler reads {scaler.getInputCol()}, which no stage before it makes",
        "its inputCol is the assembler's outputCol",
    )
    must(
        regression.getFeaturesCol() == scaler.getOutputCol(),
        f"the regression learns from {regression.getFeaturesCol()}",
        "what the scaler makes would be used by nobody: featuresCol is the scaler's outputCol",
    )
    must(regression.getLabelCol() == "label", f"it learns {regression.getLabelCol()}", 'labelCol="label"')
    return "columns → one vector → scaled → logistic regression"


@check
def auc(function: Any) -> str:
    import numpy as np

    must(callable(function), "auc is no function any more")
    random = np.random.default_rng(1)
    labels = (random.random(400) < 0.3).astype(float)
    scores = np.round(labels + random.normal(0, 1.5, 400), 1)
    both = np.subtract.outer(scores[labels == 1], scores[labels == 0])
    right = ((both > 0) + 0.5 * (both == 0)).mean()
    cases = (
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], 1.0, "when every signal event scores higher", "count pairs, not events"),
        (
            [0, 0, 1, 1],
            [0.9, 0.8, 0.2, 0.1],
            0.0,
            "when every signal event scores lower",
            "signal above background counts",
        ),
        ([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5], 0.5, "when all scores are equal", "a tie is worth a half"),
        (
            labels,
            scores,
            right,
            "for 400 events",
            "all pairs of one signal and one background event, divided by their number",
        ),
    )
    for label, score, wanted, where, hint in cases:
        got = filled(function(np.array(label, dtype=float), np.array(score, dtype=float)), "what auc returns")
        must(abs(number(got) - wanted) < 1e-6, f"auc is {number(got):.4f} {where}", hint)
    return "it counts pairs as it should, ties too"


@check
def depth(answer: Any, training: Mapping[int, float], test: Mapping[int, float]) -> str:
    best, fooled = max(test, key=lambda one: test[one]), max(training, key=lambda one: training[one])
    hint = "the highest point of the curve of events that the forest has not seen"
    if best != fooled and number(answer) == fooled:
        hint = "it knows by heart what it was trained on; what counts is events that it has not seen"
    near(answer, best, "the depth", hint)
    return f"depth {best}: AUC {test[best]:.3f} on new events, {training[best]:.3f} on those it knows"


@check
def overlap(answer: Any, first: float, second: float, error: float) -> str:
    right = abs(first - second) / (2**0.5 * error)
    hint = "the error of a difference is √(e² + e²)"
    if abs(number(answer) - abs(first - second) / error) < 1e-6:
        hint = "both have an error, and they add up in squares: √2 · e"
    near(abs(number(answer)), right, "the difference in errors", hint, off=1e-3)
    return f"{right:.1f} errors apart" + (": more than chance would do" if right > 3 else ": it may be chance")
