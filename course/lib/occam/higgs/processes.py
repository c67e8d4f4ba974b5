"""The two processes, from the collision to two b quarks, two light quarks, a lepton and a neutrino.

signal      gg → H⁰(425) → W H±(325), H± → W h⁰(125), h⁰ → bb
background  gg → tt̄, t → W b
Of the two W one decays to a lepton and a neutrino, the other to two quarks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from occam.higgs import vectors

M_HEAVY, M_CHARGED, M_LIGHT, M_TOP, M_W = 425.0, 325.0, 125.0, 172.5, 80.4
"""GeV: H⁰, H±, h⁰, top quark and W."""
_RECOIL, _RAPIDITY = 40.0, 0.9
"""The pair's mean transverse momentum in GeV, and the spread of its rapidity."""


@dataclass(frozen=True)
class Partons:
    """What a collision leaves, before a detector sees it: four-vectors of shape (4, n) in GeV."""

    lepton: Any
    neutrino: Any
    b: tuple[Any, Any]
    light: tuple[Any, Any]
    extra: Any
    """A gluon that the incoming ones radiate, which the rest recoils against."""


def signal(rng: Any, n: int) -> Partons:
    heavy = vectors.breit_wigner(M_HEAVY, 4.0, 6.0, rng, n)
    charged = vectors.breit_wigner(M_CHARGED, 3.0, 5.0, rng, n)
    w1, w2 = _w(rng, n), _w(rng, n)
    whole, extra = _collision(heavy, rng)
    first, rest = vectors.two_body(whole, heavy, w1, charged, rng)
    second, higgs = vectors.two_body(rest, charged, w2, M_LIGHT, rng)
    b = vectors.two_body(higgs, M_LIGHT, 0.0, 0.0, rng)
    return _decayed(first, w1, second, w2, b, extra, rng)


def background(rng: Any, n: int) -> Partons:
    """The pair's mass is that of both top quarks and a Gamma(1.5) of scale 90 GeV: a threshold, and a falling tail."""
    t1, t2 = (vectors.breit_wigner(M_TOP, 1.4, 10.0, rng, n) for _ in range(2))
    w1, w2 = _w(rng, n), _w(rng, n)
    both = t1 + t2 + rng.gamma(1.5, 90.0, n)
    whole, extra = _collision(both, rng)
    top, anti = vectors.two_body(whole, both, t1, t2, rng)
    first, b1 = vectors.two_body(top, t1, w1, 0.0, rng)
    second, b2 = vectors.two_body(anti, t2, w2, 0.0, rng)
    return _decayed(first, w1, second, w2, (b1, b2), extra, rng)


def _w(rng: Any, n: int) -> Any:
    return vectors.breit_wigner(M_W, 2.1, 8.0, rng, n)


def _collision(mass: Any, rng: Any) -> tuple[Any, Any]:
    """What is produced, of this mass, and the gluon that it recoils against: both have the same pT, back to back."""
    n = len(mass)
    pt, phi = rng.exponential(_RECOIL, n), rng.uniform(-np.pi, np.pi, n)
    rapidity, energy = rng.normal(0, _RAPIDITY, n), np.sqrt(mass**2 + pt**2)
    whole = [energy * np.cosh(rapidity), pt * np.cos(phi), pt * np.sin(phi), energy * np.sinh(rapidity)]
    return np.stack(whole), vectors.at(pt, rng.uniform(-3, 3, n), phi + np.pi)


def _decayed(first: Any, m1: Any, second: Any, m2: Any, b: tuple[Any, Any], extra: Any, rng: Any) -> Partons:
    """Either W is the one that decays to a lepton, with the same chance."""
    swap = rng.random(len(m1)) < 0.5
    leptonic, m_leptonic = np.where(swap, second, first), np.where(swap, m2, m1)
    hadronic, m_hadronic = np.where(swap, first, second), np.where(swap, m1, m2)
    lepton, neutrino = vectors.two_body(leptonic, m_leptonic, 0.0, 0.0, rng)
    return Partons(lepton, neutrino, b, vectors.two_body(hadronic, m_hadronic, 0.0, 0.0, rng), extra)
