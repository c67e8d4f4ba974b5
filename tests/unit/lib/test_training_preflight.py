"""What is refused before a training starts, and with which words."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from occam.errors import NotEnough, Refused
from occam.training import columns, direct, preflight
from occam.training.columns import Column
from occam.training.forms import Form
from occam.training.preflight import Size, Workers

GIB = 1 << 30
LAB = Workers("lab", executors=2, cores=1, memory=2 * GIB, heap=GIB)


def test_as_many_ranks_as_workers_unless_told() -> None:
    assert preflight.workers_of(LAB, None, gpu=False) == 2
    assert preflight.workers_of(LAB, 1, gpu=False) == 1
    assert preflight.workers_of(replace(LAB, cores=2), 4, gpu=False) == 4


@pytest.mark.parametrize(
    ("cluster", "wanted", "gpu", "words"),
    [
        (LAB, 3, False, r"3 ranks need .* has 2 workers of 1 core\n  → workers=2, or spark.cluster.scale\(3\)"),
        (replace(LAB, executors=0), None, False, r"1 ranks need as many cores"),
        (replace(LAB, adaptive=(1, 4)), 2, False, r"adaptive .*\n  → spark.stop\(\), then occam.spark\(workers=4\)"),
        (LAB, 2, True, r"no GPU\n  → occam.spark\(gpu=1\)"),
        (replace(LAB, cores=2, gpus=1), 4, True, r"4 ranks need a GPU each, .* has 2\n  → workers=2"),
        (LAB, 0, False, "whole number"),
    ],
)
def test_too_few_slots_are_said_with_what_to_do(cluster: Workers, wanted: int | None, gpu: bool, words: str) -> None:
    with pytest.raises(Refused, match=words):
        preflight.workers_of(cluster, wanted, gpu=gpu)


@pytest.mark.parametrize(("size", "near"), [(65, "64 or 66"), (1, "2"), (1023, "1022 or 1024")])
def test_a_batch_is_shared_equally(size: int, near: str) -> None:
    with pytest.raises(Refused, match=f"batch_size={near}$"):
        preflight.batch(size, 2)
    assert preflight.batch(64, 2) == 64


def test_a_row_gets_the_shape_that_the_network_takes() -> None:
    assert preflight.shape(Form("float32", (64,)), (8, 8, 1)) == Form("float32", (8, 8, 1))
    assert preflight.shape(Form("uint8", (8, 8, 1)), (None, None, 1)) == Form("uint8", (8, 8, 1))
    with pytest.raises(Refused, match="64 features, and the network takes 8 x 8 x 3"):
        preflight.shape(Form("float32", (64,)), (8, 8, 3))


def test_a_worker_that_is_surely_too_small_is_refused_with_a_size_that_does() -> None:
    million = Size(1_000_000, 2_000_000)
    preflight.memory(LAB, million, 116, 512, 2)
    with pytest.raises(NotEnough, match=r'a worker has 1 GB besides its JVM\n  → .*memory="\d+G"'):
        preflight.memory(LAB, Size(100_000_000, 200_000_000), 116, 512, 2)
    with pytest.raises(NotEnough):
        preflight.memory(replace(LAB, executors=1, cores=4), million, 116, 512, 4)


def test_arrays_have_a_limit_and_every_rank_a_row() -> None:
    preflight.arrays(1 << 20)
    with pytest.raises(Refused, match="Parquet"):
        preflight.arrays(GIB)
    with pytest.raises(Refused, match="1 row for 2 workers\n  → workers=1"):
        preflight.rows(1, 2)
    with pytest.raises(Refused, match="the validation data has no rows"):
        preflight.rows(0, 1, "validation data")


def test_class_weights_are_by_number_and_not_beside_weights_of_rows() -> None:
    assert preflight.class_weights(None, rows_weighted=True) == {}
    assert preflight.class_weights({0: 1, 1: 5}, rows_weighted=False) == {0: 1.0, 1: 5.0}
    with pytest.raises(Refused, match="one of both"):
        preflight.class_weights({0: 1}, rows_weighted=True)
    for wrong in ([1, 5], {"signal": 2}):
        with pytest.raises(Refused, match="by its number"):
            preflight.class_weights(wrong, rows_weighted=False)


@pytest.mark.parametrize("seed", [None, -1, 1.5, True, 1 << 32])
def test_a_seed_is_one_that_numpy_takes(seed: Any) -> None:
    assert [preflight.seed(one) for one in (0, np.int64(7), (1 << 32) - 1)] == [0, 7, (1 << 32) - 1]
    with pytest.raises(Refused, match="seed must be"):
        preflight.seed(seed)


@pytest.mark.parametrize(
    ("before", "once", "twice", "adds_up"),
    [
        ([0, 0], [1, 3], [2, 6], True),  # counts by threshold
        (1.0, 1.5, 2.0, True),  # one that does not begin at 0
        (0.0, 0.7, 0.7, False),  # a largest value
        (-np.inf, 0.7, 0.7, False),
        (0.0, 0.1, 0.19, False),  # a moving average
        (False, True, True, False),
    ],
)
def test_a_metric_whose_states_do_not_add_up_is_refused(before: Any, once: Any, twice: Any, adds_up: bool) -> None:
    states = [[np.array(0), np.array(state)] for state in (before, once, twice)]
    if adds_up:
        preflight.sums(["mean/count", "peak/most"], *states)
        return
    with pytest.raises(Refused, match="'peak/most' of a metric is no sum"):
        preflight.sums(["mean/count", "peak/most"], *states)


@pytest.mark.parametrize(("retries", "timeout"), [(-1, 300), (True, 300), (1.5, 300), (1, 0)])
def test_how_long_it_waits_is_a_number_that_makes_sense(retries: Any, timeout: float) -> None:
    preflight.patience(0, 0.5)
    with pytest.raises(Refused, match="must be"):
        preflight.patience(retries, timeout)


def test_ranks_have_half_of_what_jvm_and_libraries_leave_for_their_rows() -> None:
    free = LAB.memory - LAB.heap - preflight.LIBRARIES
    assert preflight.room(LAB, 2) == 2 * (free // 2)
    assert preflight.room(replace(LAB, cores=2, executors=1, memory=GIB), 2) == 0
    assert preflight.room(replace(LAB, memory=0), 2) == 2 * preflight.ARRAYS


# Columns -------------------------------------------------------------------------------------------------------------

TYPES = [
    ("pt", "double"),
    ("image", "array<float>"),
    ("v", "vector"),
    ("w", "float"),
    ("label", "int"),
    ("who", "string"),
]


def test_columns_are_chosen_by_name_or_all_that_are_left() -> None:
    chosen = columns.choose(TYPES, ["pt", "image", "v"], "label", "w")
    assert [one.name for one in chosen.features] == ["pt", "image", "v"]
    assert [one.name for one in chosen.lengths_wanted] == ["image", "v"]
    assert (chosen.label_kind, chosen.weight) == ("int32", Column("w", "float"))
    assert [one.name for one in columns.choose(TYPES[:5], None, "label", "w").features] == ["pt", "image", "v"]
    assert columns.choose(TYPES, "pt", ["label", "w"], None).label_kind == "float32"


@pytest.mark.parametrize(
    ("features", "label", "weight", "words"),
    [
        (None, "label", None, r"'who' holds text, .*\n  → .*StringIndexer"),
        (None, "y", None, r"the data has no column 'y'; it has pt, image"),
        (["label"], "label", None, "both feature and label"),
        (["pt"], "label", "image", "one number for each row"),
    ],
)
def test_columns_that_cannot_be_trained_on(features: Any, label: str, weight: str | None, words: str) -> None:
    with pytest.raises(Refused, match=words):
        columns.choose(TYPES, features, label, weight)


def test_a_row_looks_as_its_columns_say() -> None:
    chosen = columns.choose(TYPES, ["pt", "image"], "label", "w")
    assert chosen.forms({"image": 64}) == {
        "x": Form("float32", (65,)),
        "y": Form("int32"),
        "w": Form("float32"),
    }
    assert columns.choose(TYPES, "pt", ["label", "w"], None).forms({})["y"] == Form("float32", (2,))
    assert (chosen.names, columns.choose(TYPES, "pt", "label", None).names) == ((), ("pt",))


def test_columns_that_any_library_reads_are_told_from_sparks_own() -> None:
    assert columns.choose(TYPES, ["pt", "image"], "label", "w").is_plain
    assert not columns.choose(TYPES, ["v"], "label", None).is_plain
    assert not columns.choose([("d", "decimal(5,2)"), ("label", "int")], "d", "label", None).is_plain
    chosen = columns.choose(TYPES, ["pt", "image"], "label", None)
    assert chosen.is_in(TYPES)
    assert not chosen.is_in([("pt", "float"), *TYPES[1:]])
    assert not chosen.is_in(None)


class Kind(str):
    """One of Arrow's types: how it is written, and what a list holds."""

    value_type = None


class Listed(Kind):
    value_type = Kind("uint8")


@pytest.mark.parametrize(
    ("kind", "spark"),
    [
        (Kind("double"), "double"),
        (Kind("uint8"), "smallint"),
        (Listed("list<element: uint8>"), "array<smallint>"),
        (Kind("timestamp[us]"), "timestamp"),
        (Kind("struct<type: int8>"), None),
    ],
)
def test_arrows_types_have_sparks_names(kind: Kind, spark: str | None) -> None:
    schema = [SimpleNamespace(name="a", type=kind)]
    assert direct.types(schema) == (None if spark is None else [("a", spark)])
