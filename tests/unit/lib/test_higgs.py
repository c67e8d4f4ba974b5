"""The generator's events are what their formulae say, the same every time, and can be told apart as the real ones.

The real ones are shared out evenly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from occam.higgs import columns, derived, events, parts, vectors
from occam.higgs.columns import DERIVED, FEATURES, LOW, plain
from occam.higgs.processes import background, signal
from occam.higgs.real import Piece, spread


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    blocks = [events.block(1, number) for number in range(4)]
    return {name: np.concatenate([one[name] for one in blocks]) for name in columns.COLUMNS}


def test_the_columns_are_those_of_the_uci_set(table: dict[str, Any]) -> None:
    assert list(table) == list(columns.COLUMNS)
    assert (len(LOW), len(DERIVED), len(columns.COLUMNS)) == (21, 7, 29)
    assert columns.COLUMNS[:4] == ("label", "lepton_pT", "lepton_eta", "lepton_phi")
    assert columns.COLUMNS[6:10] == ("jet1_pt", "jet1_eta", "jet1_phi", "jet1_b-tag")
    assert {values.dtype for values in table.values()} == {np.dtype("float32")}
    assert set(np.unique(table["label"])) == {0, 1}
    assert table["label"].mean() == pytest.approx(events.SIGNAL, abs=0.01)
    assert all(np.isfinite(values).all() for values in table.values())


def test_columns_have_the_scale_of_the_uci_set(table: dict[str, Any]) -> None:
    for name in FEATURES:
        if name.endswith(("eta", "phi")):
            assert table[name].std() == pytest.approx(1, abs=0.02), name
            assert abs(table[name].mean()) < 0.02, name
        else:
            assert table[name].mean() == pytest.approx(1, abs=0.03), name
            assert table[name].min() >= 0, name


def test_a_block_hangs_on_seed_and_number_only() -> None:
    one, again = events.block(1, 3), events.block(1, 3)
    assert all((one[name] == again[name]).all() for name in columns.COLUMNS)
    for other in (events.block(2, 3), events.block(1, 4)):
        assert not (one["m_bb"][:100] == other["m_bb"][:100]).any()


@pytest.mark.parametrize("process", [signal, background])
def test_decays_keep_momentum_and_energy(process: Any) -> None:
    seen = process(np.random.default_rng(0), 2000)
    rest = seen.lepton + seen.neutrino + sum(seen.b) + sum(seen.light)
    assert np.abs(rest[1:3] + seen.extra[1:3]).max() < 1e-6, "what was produced recoils against the gluon"
    for one in (seen.lepton, seen.neutrino, *seen.b, *seen.light):
        assert vectors.mass(one).max() < 1e-3 * one[0].max()
    assert np.abs(vectors.mass(seen.lepton + seen.neutrino) - 80.4).max() <= 8.01
    assert np.abs(vectors.mass(sum(seen.light)) - 80.4).max() <= 8.01
    if process is signal:
        assert vectors.mass(sum(seen.b)) == pytest.approx(125, abs=1e-4)
        assert np.abs(vectors.mass(rest) - 425).max() <= 6.01
    else:
        assert vectors.mass(rest).min() > 320


def test_masses_are_computed_from_the_measured_columns(table: dict[str, Any]) -> None:
    again = derived.masses({name: table[name] for name in LOW})
    assert all((again[name] == table[name]).all() for name in DERIVED)

    # Once more by hand, from jets that both have the highest b-tag.
    tags = np.stack([np.rint(plain(table, f"jet{n}_b-tag")) for n in (1, 2, 3, 4)])
    first = (tags[0] == 2) & (tags[1] == 2)
    pt, eta, phi = ([plain(table, f"jet{n}_{what}")[first] for n in (1, 2)] for what in ("pt", "eta", "phi"))
    by_hand = np.sqrt(2 * pt[0] * pt[1] * (np.cosh(eta[0] - eta[1]) - np.cos(phi[0] - phi[1])))
    assert plain(table, "m_bb")[first] == pytest.approx(by_hand, rel=1e-4)
    assert np.median(plain(table, "m_lv")) == pytest.approx(80.4, abs=0.1), "the neutrino's pz makes it a W"


def test_the_light_higgs_is_a_peak_of_the_signal_only(table: dict[str, Any]) -> None:
    mass, is_signal = plain(table, "m_bb"), table["label"] == 1
    edges = np.arange(0, 400, 10)
    shapes = [np.histogram(mass[which], edges)[0] / which.sum() for which in (is_signal, ~is_signal)]
    assert 110 <= edges[shapes[0].argmax()] <= 130
    assert shapes[0].max() > 2 * shapes[1].max()


def test_jets_are_in_order_and_where_the_detector_sees_them(table: dict[str, Any]) -> None:
    pts = np.stack([plain(table, f"jet{n}_pt") for n in (1, 2, 3, 4)])
    assert (np.diff(pts, axis=0) <= 1e-3).all()
    assert pts.min() > 19.99
    assert max(np.abs(plain(table, f"{one}_eta")).max() for one in ("lepton", "jet1", "jet4")) < 2.51


def test_the_masses_tell_signal_from_background_better_than_what_was_measured(table: dict[str, Any]) -> None:
    low, masses, both = (area(table, names) for names in (LOW, DERIVED, FEATURES))
    assert 0.6 < low < masses, (low, masses, both)
    assert 0.72 < masses < 0.9


@pytest.mark.parametrize("rows", [1, 7, 999, 1000, 1001, 2500, 3100])
@pytest.mark.parametrize("shares", [1, 3, 8])
def test_the_same_rows_of_the_real_set_in_any_number_of_even_shares(rows: int, shares: int) -> None:
    there = [Piece("b", 1, 0, 1000), Piece("a", 0, 0, 1000), Piece("c", 0, 0, 100), Piece("b", 0, 0, 1000)]
    found = spread(there, rows, shares)
    sizes = [sum(piece.rows for piece in share) for share in found]
    assert len(found) == shares
    assert max(sizes) - min(sizes) <= 1
    every = [(one.file, one.group, one.first + row) for share in found for one in share for row in range(one.rows)]
    assert every == [(one.file, one.group, row) for one in there for row in range(one.rows)][:rows]


class Session:
    """Of four workers."""

    conf: dict[str, str] = {"spark.default.parallelism": "4"}  # noqa: RUF012


@pytest.mark.parametrize(
    ("rows", "expected"), [(1, 1), (7, 7), (999, 8), (200_001, 8), (1_048_576, 8), (1_048_577, 9), (11_000_000, 84)]
)
def test_every_worker_has_its_share_however_many_rows(rows: int, expected: int) -> None:
    assert parts.count(Session(), rows, parts.ROWS) == expected


def area(table: dict[str, Any], names: tuple[str, ...]) -> float:
    """Area under the ROC curve of a naive Bayes classifier by histograms: half the rows train, half measure."""
    half, label = len(table["label"]) // 2, table["label"] == 1
    score = np.zeros(half)
    for name in names:
        edges = np.quantile(table[name][:half], np.linspace(0, 1, 41)[1:-1])
        bins = np.searchsorted(edges, table[name])
        yes, no = (np.bincount(bins[:half][label[:half] == is_], minlength=40) + 1.0 for is_ in (True, False))
        score += (np.log(yes / yes.sum()) - np.log(no / no.sum()))[bins[half : 2 * half]]
    truth = label[half : 2 * half]
    ranks = np.empty(half)
    ranks[score.argsort()] = np.arange(half)
    n = truth.sum()
    return float((ranks[truth].sum() - n * (n - 1) / 2) / (n * (half - n)))
