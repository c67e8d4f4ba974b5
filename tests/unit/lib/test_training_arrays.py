"""Arrays of the notebook, before their rows go to the ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from occam.training import arrays

X = np.zeros((3, 2), np.float32)


def forms(kind: str, *weights: Any) -> arrays.Arrays:
    return arrays.taken((X, np.arange(3).astype(kind), *weights))


def test_rows_weigh_one_where_only_the_other_ones_have_weights() -> None:
    for data, held_back in [(("int64", [1, 2, 3]), ("int64",)), (("int64",), ("int64", [1, 2, 3]))]:
        first, second = arrays.alike(forms(*data), forms(*held_back))
        assert arrays.forms(first) == arrays.forms(second)
        assert sorted([first["w"].tolist(), second["w"].tolist()]) == [[1, 1, 1], [1, 2, 3]]
    assert "w" not in arrays.alike(forms("int64"), forms("int64"))[0]


@pytest.mark.parametrize(("first", "second"), [("int64", "int32"), ("int32", "int64"), ("uint8", "int64")])
def test_whole_numbers_of_two_types_are_the_same_labels(first: str, second: str) -> None:
    data, held_back = arrays.alike(forms(first), forms(second))
    assert held_back["y"].dtype == data["y"].dtype == first
    assert held_back["y"].tolist() == [0, 1, 2]


def test_what_one_type_cannot_hold_stays_another() -> None:
    assert arrays.alike(forms("int64"), forms("float32"))[1]["y"].dtype == "float32"
    large = arrays.taken((X, np.array([0, 1, 300])))
    assert arrays.alike(forms("uint8"), large)[1]["y"].dtype == "int64"
