"""Four-vectors (E, px, py, pz) as arrays of shape (4, n) in GeV, and decays of one particle into two."""

from __future__ import annotations

from typing import Any

import numpy as np


def at(pt: Any, eta: Any, phi: Any, mass: Any = 0.0) -> Any:
    """From transverse momentum, pseudorapidity and azimuth: pz = pT sinh η."""
    pz = pt * np.sinh(eta)
    return np.stack([np.sqrt((pt * np.cosh(eta)) ** 2 + mass**2), pt * np.cos(phi), pt * np.sin(phi), pz])


def transverse(vectors: Any) -> Any:
    return np.hypot(vectors[1], vectors[2])


def eta(vectors: Any) -> Any:
    return np.arcsinh(vectors[3] / np.maximum(transverse(vectors), 1e-9))


def phi(vectors: Any) -> Any:
    return np.arctan2(vectors[2], vectors[1])


def mass(vectors: Any) -> Any:
    """√(E² − p²); 0 where rounding makes it imaginary."""
    return np.sqrt(np.maximum(vectors[0] ** 2 - (vectors[1:] ** 2).sum(axis=0), 0))


def two_body(parent: Any, heavy: Any, first: Any, second: Any, rng: Any) -> tuple[Any, Any]:
    """Decay of `parent`, of mass `heavy`, into particles of masses `first` and `second`, isotropic where it is at rest.

    There each has p* = √((M² − (m₁ + m₂)²)(M² − (m₁ − m₂)²)) / 2M; both are then boosted with the parent.
    """
    momentum = np.sqrt((heavy**2 - (first + second) ** 2) * (heavy**2 - (first - second) ** 2)) / (2 * heavy)
    n = parent.shape[1]
    cosine, azimuth = rng.uniform(-1, 1, n), rng.uniform(-np.pi, np.pi, n)
    sine = momentum * np.sqrt(1 - cosine**2)
    resting = np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), momentum * cosine])
    energy = np.sqrt(momentum**2 + first**2)
    moving = (parent[0] * energy + (parent[1:] * resting).sum(axis=0)) / heavy
    one = np.concatenate([moving[None], resting + parent[1:] * ((energy + moving) / (parent[0] + heavy))])
    return one, parent - one


def breit_wigner(at_peak: float, width: float, within: float, rng: Any, n: int) -> Any:
    """Masses by m = m₀ + Γ/2 · tan(u · atan(2w/Γ)), u uniform in (−1, 1): a Breit-Wigner cut off at m₀ ± w."""
    return at_peak + width / 2 * np.tan(rng.uniform(-1, 1, n) * np.arctan(2 * within / width))
