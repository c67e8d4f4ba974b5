"""Any number of synthetic collisions, in blocks that hang on nothing but the seed and their number."""

from __future__ import annotations

from typing import Any

import numpy as np

from occam.higgs import columns, derived, detector, processes

BLOCK = 16384
"""Events of one block: small enough that a task holds it easily, large enough for numpy."""
SIGNAL = 0.53
"""Share of signal, as in the UCI set."""
_TRIED = 1.68
"""Collisions for one that is kept, and a few more."""


def block(seed: int, number: int) -> dict[str, Any]:
    """The BLOCK events of block `number`: 29 columns of 32-bit floats by name, label first (1: signal)."""
    rng = np.random.default_rng([seed, number])
    label = rng.random(BLOCK) < SIGNAL
    n = int(label.sum())
    yes, no = _kept(processes.signal, rng, n), _kept(processes.background, rng, BLOCK - n)
    table: dict[str, Any] = {"label": label.astype(np.float32)}
    for name in columns.LOW:
        values = np.empty(BLOCK)
        values[label], values[~label] = yes[name], no[name]
        table[name] = columns.in_units(name, values)
    return table | derived.masses(table)


def _kept(process: Any, rng: Any, n: int) -> dict[str, Any]:
    """The first `n` collisions of a process that the detector keeps."""
    pieces, there = [], 0
    while there < n:
        piece = detector.measured(process(rng, int((n - there) * _TRIED) + 64), rng)
        pieces.append(piece)
        there += len(piece["lepton_pT"])
    return {name: np.concatenate([piece[name] for piece in pieces])[:n] for name in columns.LOW}
