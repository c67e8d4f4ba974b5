"""The rows that one rank has, in files without a name: written once, in order, then read in slices.

A file is opened and its name removed before anything is written, and the rank's process gets its number: however a
task ends, nothing is left on the disk. Reading goes through a memory map, so what is in memory is the system's cache,
which it takes back when memory is short; a rank may have more rows than its container has memory.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from occam.training.forms import Form, Forms


class Files:
    """Open files by part and name, `numbers` are their file descriptors."""

    def __init__(self, numbers: Mapping[str, int]) -> None:
        self.numbers = dict(numbers)

    @classmethod
    def new(cls, forms: Forms, parts: list[str]) -> Files:
        numbers = {}
        for key in [f"{part}.{name}" for part in parts for name in forms]:
            number, path = tempfile.mkstemp(prefix="occam-train-")
            os.unlink(path)
            numbers[key] = number
        return cls(numbers)

    def write(self, part: str, pieces: Mapping[str, Any]) -> None:
        """Append rows: for each name a block of bytes. Raises OSError when the disk is full."""
        for name, piece in pieces.items():
            rest = memoryview(piece).cast("B")
            while rest:
                rest = rest[os.write(self.numbers[f"{part}.{name}"], rest) :]

    def room(self, part: str, forms: Forms, rows: int) -> dict[str, Any]:
        """Arrays of so many rows of each of `forms`, to be written in any order. Raises OSError on a full disk."""
        found = {}
        for name, form in forms.items():
            number = self.numbers[f"{part}.{name}"]
            if rows:
                os.posix_fallocate(number, 0, rows * form.bytes)
            found[name] = _mapped(number, form, "r+")
        return found

    def close(self) -> None:
        for number in self.numbers.values():
            os.close(number)


class Shard:
    """The rows of one part, to be read."""

    def __init__(self, files: Files, part: str, forms: Forms) -> None:
        self._columns = {name: _mapped(files.numbers[f"{part}.{name}"], form) for name, form in forms.items()}
        self.rows = len(self._columns["x"])

    def read(self, first: int, last: int) -> tuple[Any, Any, Any]:
        """x, y and the weights (None without any) of rows `first` to `last`."""
        x, y, w = (self._columns.get(name) for name in "xyw")
        assert x is not None
        assert y is not None
        return np.array(x[first:last]), np.array(y[first:last]), None if w is None else np.array(w[first:last])


def _mapped(number: int, form: Form, mode: Literal["r", "r+"] = "r") -> Any:
    size = os.fstat(number).st_size
    rows = size // form.bytes
    if not rows:
        return np.empty((0, *form.shape), form.kind)
    with os.fdopen(os.dup(number), f"{mode}b") as file:
        return np.memmap(file, form.kind, mode, shape=(rows, *form.shape))


def by_class(y: Any, weights: Mapping[int, float], before: Any = None) -> Any:
    """The weight of each row by its class, as Keras has it: y is the class or one-hot; a class not named weighs 1."""
    classes = np.argmax(y, axis=-1) if y.ndim > 1 and y.shape[-1] > 1 else y.reshape(len(y)).astype(np.int64)
    row = np.ones(len(y), np.float32) if before is None else before
    for one, weight in weights.items():
        row = np.where(classes == one, np.float32(weight), row)
    return row


def unfit(rows: tuple[Any, Any, Any], names: Sequence[str] = ()) -> str:
    """Which of x, y and the weights hold what is no finite number, in words; "" when none does."""
    for what, values in zip(("features", "label", "weights"), rows, strict=True):
        if values is None or np.isfinite(flat := values.reshape(len(values), -1)).all():
            continue
        bad = ~np.isfinite(flat)
        columns = np.flatnonzero(bad.any(axis=0))
        told = ", ".join(
            repr(names[one]) if what == "features" and names else f"number {one + 1}" for one in columns[:3]
        )
        more = ", …" if len(columns) > 3 else ""
        which = f" ({told}{more})" if flat.shape[1] > 1 or names else ""
        return f"{int(bad.any(axis=1).sum())} of its {len(flat)} rows have NaN or infinity in the {what}{which}"
    return ""
