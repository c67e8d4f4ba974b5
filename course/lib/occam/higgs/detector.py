"""What a detector measures of a collision, and which collisions are kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from occam.higgs import columns, vectors
from occam.higgs.processes import Partons

PT, ETA = 20.0, 2.5
"""A lepton or jet counts from this transverse momentum (GeV) on, and up to this |η|."""
_ANGLE, _SOFT = 0.03, 8.0
"""Spread of a jet's η and φ; and of each component of the missing momentum, in GeV, from all that is no jet."""
_TAGS = {"b": (0.30, 0.45), "light": (0.80, 0.92), "extra": (0.90, 0.97)}
"""By what a jet comes from: up to the first chance its b-tag is 0, up to the second 1, else 2."""


def measured(seen: Partons, rng: Any) -> dict[str, Any]:
    """The 21 low-level columns, in GeV, numbers and radians, of the collisions that are kept.

    Kept are those with the lepton and at least 4 jets inside PT and ETA; of 5 jets the 4 of the largest pT stay. Jets
    are in the order of their pT.
    """
    lepton = _smeared_lepton(seen.lepton, rng)
    quarks = np.stack([*seen.b, *seen.light, seen.extra])
    jets = _smeared_jets(quarks, rng)
    tags = np.stack([_tags(kind, seen.lepton.shape[1], rng) for kind in ("b", "b", "light", "light", "extra")])
    # What the jets lost or won is missed on the other side; the radiated gluon is no neutrino either.
    missing = seen.neutrino[1:3] + (quarks[:, 1:3] - jets[:, 1:3]).sum(axis=0)
    missing = missing + rng.normal(0, _SOFT, missing.shape)

    pt, eta = vectors.transverse(jets.swapaxes(0, 1)), vectors.eta(jets.swapaxes(0, 1))
    good = (pt > PT) & (np.abs(eta) < ETA)
    lepton_pt, lepton_eta = vectors.transverse(lepton), vectors.eta(lepton)
    kept = (good.sum(axis=0) >= columns.JETS) & (lepton_pt > PT) & (np.abs(lepton_eta) < ETA)

    order = np.argsort(np.where(good, -pt, 0)[:, kept], axis=0, kind="stable")[: columns.JETS]
    of = {"pt": pt, "eta": eta, "phi": vectors.phi(jets.swapaxes(0, 1)), "b-tag": tags}
    table = {
        "lepton_pT": lepton_pt[kept],
        "lepton_eta": lepton_eta[kept],
        "lepton_phi": vectors.phi(lepton)[kept],
        "missing_energy_magnitude": np.hypot(*missing)[kept],
        "missing_energy_phi": np.arctan2(missing[1], missing[0])[kept],
    }
    for what, values in of.items():
        ordered = np.take_along_axis(values[:, kept], order, axis=0)
        table |= {f"jet{n}_{what}": ordered[n - 1] for n in range(1, columns.JETS + 1)}
    return {name: table[name] for name in columns.LOW}


def _smeared_lepton(lepton: Any, rng: Any) -> Any:
    return lepton * (1 + 0.02 * rng.normal(size=lepton.shape[1]))


def _smeared_jets(quarks: Any, rng: Any) -> Any:
    """σ(pT)/pT = √(0.8²/pT + 0.05²), pT in GeV, not below a tenth of it; η and φ by a Gauss."""
    by_component = quarks.swapaxes(0, 1)
    pt = vectors.transverse(by_component)
    factor = 1 + np.sqrt(0.64 / np.maximum(pt, 1e-3) + 0.0025) * rng.normal(size=pt.shape)
    eta = vectors.eta(by_component) + rng.normal(0, _ANGLE, pt.shape)
    phi = vectors.phi(by_component) + rng.normal(0, _ANGLE, pt.shape)
    return vectors.at(pt * np.maximum(factor, 0.1), np.clip(eta, -9, 9), phi).swapaxes(0, 1)


def _tags(kind: str, n: int, rng: Any) -> Any:
    none, loose = _TAGS[kind]
    chance = rng.random(n)
    return (chance > none).astype(float) + (chance > loose)
