"""How one row of x, y and w looks as numbers. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

TRAIN, VALIDATION = "train", "validation"


@dataclass(frozen=True)
class Form:
    """One row: its shape, () for one number, and NumPy's name of its type."""

    kind: str
    shape: tuple[int, ...] = ()

    @property
    def values(self) -> int:
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        bits = re.search(r"\d+", self.kind)
        return self.values * (int(bits[0]) // 8 if bits else 1)


Forms = Mapping[str, Form]
"""Of x, y and, if rows have weights, w; in this order."""


def row_bytes(forms: Forms) -> int:
    return sum(form.bytes for form in forms.values())
