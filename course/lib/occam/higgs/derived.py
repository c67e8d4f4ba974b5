"""The seven masses, from nothing but the 21 measured columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from occam.higgs import columns, vectors
from occam.higgs.columns import JETS, plain
from occam.higgs.processes import M_CHARGED, M_TOP, M_W


def masses(table: Mapping[str, Any]) -> dict[str, Any]:
    """m_jj … m_wwbb on the columns' scale, from the columns of `table` on theirs.

    The two jets of the highest b-tag (of equal ones, of the larger pT) are taken for the b quarks', the other two for
    the W's. Of the two ways to give b jets to the W's, m_jjj and m_jlv have the one nearer to two top quarks; m_wbb has
    the W that brings it nearer to H±.
    """
    jets = [_vector(table, f"jet{n}_pt", f"jet{n}_eta", f"jet{n}_phi") for n in range(1, JETS + 1)]
    lepton = _vector(table, "lepton_pT", "lepton_eta", "lepton_phi")
    stacked = np.stack(jets)
    tags = np.stack([plain(table, f"jet{n}_b-tag") for n in range(1, JETS + 1)])
    order = np.argsort(-np.rint(tags), axis=0, kind="stable")
    b1, b2, q1, q2 = np.take_along_axis(stacked, order[:, None, :], axis=0)
    w_jets, w_lepton, higgs = q1 + q2, lepton + _neutrino(table, lepton), b1 + b2

    hadronic = np.stack([vectors.mass(w_jets + b1), vectors.mass(w_jets + b2)])
    leptonic = np.stack([vectors.mass(w_lepton + b2), vectors.mass(w_lepton + b1)])
    way = np.abs(hadronic - M_TOP) + np.abs(leptonic - M_TOP)
    better = (way[1] < way[0]).astype(int)[None]
    either = np.stack([vectors.mass(w_jets + higgs), vectors.mass(w_lepton + higgs)])
    nearer = np.argmin(np.abs(either - M_CHARGED), axis=0)[None]
    found = {
        "m_jj": vectors.mass(w_jets),
        "m_jjj": np.take_along_axis(hadronic, better, axis=0)[0],
        "m_lv": vectors.mass(w_lepton),
        "m_jlv": np.take_along_axis(leptonic, better, axis=0)[0],
        "m_bb": vectors.mass(higgs),
        "m_wbb": np.take_along_axis(either, nearer, axis=0)[0],
        "m_wwbb": vectors.mass(w_jets + w_lepton + higgs),
    }
    return {name: columns.in_units(name, values) for name, values in found.items()}


def _vector(table: Mapping[str, Any], pt: str, eta: str, phi: str) -> Any:
    return vectors.at(plain(table, pt), plain(table, eta), plain(table, phi))


def _neutrino(table: Mapping[str, Any], lepton: Any) -> Any:
    """The missing momentum, with the pz that makes lepton and neutrino a W.

    a = M_W²/2 + pT(ℓ)·pT(ν),  pz = (a pz(ℓ) ± E(ℓ) √(a² − pT(ℓ)² pT(ν)²)) / pT(ℓ)²: the smaller |pz| of the two, and
    where the root is imaginary without it, which leaves m_lv above M_W.
    """
    missing, phi = plain(table, "missing_energy_magnitude"), plain(table, "missing_energy_phi")
    x, y = missing * np.cos(phi), missing * np.sin(phi)
    square = vectors.transverse(lepton) ** 2
    a = M_W**2 / 2 + lepton[1] * x + lepton[2] * y
    root = lepton[0] * np.sqrt(np.maximum(a**2 - square * missing**2, 0))
    pz = (a * lepton[3] - np.where(a * lepton[3] < 0, -root, root)) / square
    return np.stack([np.sqrt(missing**2 + pz**2), x, y, pz])
