"""The columns of the UCI HIGGS set, in its order, and the units of the generated ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

JETS = 4
LOW = (
    "lepton_pT", "lepton_eta", "lepton_phi", "missing_energy_magnitude", "missing_energy_phi",
    *(f"jet{n}_{what}" for n in range(1, JETS + 1) for what in ("pt", "eta", "phi", "b-tag")),
)  # fmt: skip
"""What a detector measures: 21 columns."""
DERIVED = ("m_jj", "m_jjj", "m_lv", "m_jlv", "m_bb", "m_wbb", "m_wwbb")
"""What a physicist computes from them: 7 masses."""
FEATURES = (*LOW, *DERIVED)
COLUMNS = ("label", *FEATURES)

_PHI = np.pi / np.sqrt(3)
"""Standard deviation of an angle that is uniform in [-π, π]."""
UNITS = {
    "lepton_pT": 60.26, "lepton_eta": 1.021, "lepton_phi": _PHI,
    "missing_energy_magnitude": 52.09, "missing_energy_phi": _PHI,
    "jet1_pt": 112.6, "jet1_eta": 1.002, "jet1_phi": _PHI, "jet1_b-tag": 0.907,
    "jet2_pt": 77.59, "jet2_eta": 1.054, "jet2_phi": _PHI, "jet2_b-tag": 0.7157,
    "jet3_pt": 53.98, "jet3_eta": 1.113, "jet3_phi": _PHI, "jet3_b-tag": 0.6564,
    "jet4_pt": 37.23, "jet4_eta": 1.171, "jet4_phi": _PHI, "jet4_b-tag": 0.5521,
    "m_jj": 113.9, "m_jjj": 215.3, "m_lv": 84.18, "m_jlv": 190.2, "m_bb": 154.8, "m_wbb": 332.2, "m_wwbb": 519.6,
}  # fmt: skip
"""A column's value times its unit is GeV (momenta, energies, masses), a number (eta, b-tag) or radians (phi).

As in the UCI set: what is never negative is divided by its mean, angles and eta by their standard deviation.
"""


def in_units(name: str, values: Any) -> Any:
    """From GeV, numbers or radians to the column's scale, as the 32-bit floats that a table holds."""
    return (values / UNITS[name]).astype(np.float32)


def plain(table: Mapping[str, Any], name: str) -> Any:
    """A column of a table in GeV, as a number, or in radians."""
    return table[name].astype(np.float64) * UNITS[name]
