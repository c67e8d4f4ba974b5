"""NumPy arrays of the notebook, and the rows of them that each rank gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from occam.errors import Refused
from occam.training import wire
from occam.training.forms import Form
from occam.training.order import Layout, Permutation

PIECE = 4 << 20
"""Bytes of one message."""

Arrays = dict[str, Any]
"""x, y and, if rows have weights, w."""


def taken(data: tuple[Any, ...]) -> Arrays:
    """x, y and perhaps w as Keras takes them: whole numbers stay, others become float32. Raises Refused."""
    if len(data) not in (2, 3):
        raise Refused("arrays are given as (x, y), or (x, y, weights)")
    found = {name: _numbers(name, one) for name, one in zip("xyw", data, strict=False)}
    lengths = {name: len(one) for name, one in found.items()}
    if len(set(lengths.values())) != 1:
        raise Refused(
            f"{' and '.join(lengths)} have not the same number of rows: {', '.join(map(str, lengths.values()))}",
            "give a row of each for every event",
        )
    return found


def alike(first: Arrays, second: Arrays) -> tuple[Arrays, Arrays]:
    """Rows weigh 1 where only the other ones have weights; whole numbers of the second are of the first one's types."""
    weighted = "w" in first or "w" in second
    found = [
        one | {"w": one.get("w", np.ones(len(one["x"]), np.float32))} if weighted else one for one in (first, second)
    ]
    return found[0], {name: _as(one, found[0][name].dtype) for name, one in found[1].items()}


def _as(array: Any, kind: Any) -> Any:
    """In that type, if both are whole numbers and it can hold them all."""
    if array.dtype.kind not in "iu" or kind.kind not in "iu" or not array.size:
        return array
    limits = np.iinfo(kind)
    return array.astype(kind, copy=False) if limits.min <= array.min() and array.max() <= limits.max else array


def forms(arrays: Arrays) -> dict[str, Form]:
    return {name: Form(str(one.dtype), one.shape[1:]) for name, one in arrays.items()}


def size(arrays: Arrays) -> int:
    return sum(int(one.nbytes) for one in arrays.values())


def of_rank(rank: int, part: str, arrays: Arrays, layout: Layout, order: Permutation) -> Iterator[wire.Rows]:
    """The rows of one rank, in order of position, some at a time."""
    at = np.argsort((order.factor * np.arange(layout.rows, dtype=np.int64) + order.shift) % layout.rows)
    inside = np.arange(layout.rows) % layout.batch
    sizes = np.where(np.arange(layout.rows) < layout.full * layout.batch, layout.batch, layout.rows % layout.batch or 1)
    mine = at[((inside + 1) * layout.workers - 1) // sizes == rank]
    step = max(1, PIECE // max(size(arrays) // layout.rows, 1))
    for first in range(0, len(mine), step):
        numbers = mine[first : first + step]
        yield wire.Rows(part, {name: np.ascontiguousarray(one[numbers]).tobytes() for name, one in arrays.items()})


def _numbers(name: str, one: Any) -> Any:
    array = np.asarray(one)
    if array.dtype.kind not in "fiub" or not array.ndim:
        raise Refused(
            f"{name} holds {array.dtype}, and a network takes numbers", "make it numbers: x.astype('float32')"
        )
    if array.dtype.kind in "fb" or name == "w":
        return array.astype(np.float32, copy=False)
    return array
