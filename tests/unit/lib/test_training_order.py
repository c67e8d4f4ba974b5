"""The same rows in each global batch, whatever the number of ranks."""

from __future__ import annotations

import pytest
from occam.training.order import Layout, Permutation, shuffled


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 12, 97, 1000, 4096])
@pytest.mark.parametrize("seed", [0, 1, 7])
def test_every_row_has_a_position_of_its_own(rows: int, seed: int) -> None:
    order = Permutation.seeded(rows, seed)
    assert sorted(order.position(row) for row in range(rows)) == list(range(rows))


def test_a_seed_says_which_order_and_neighbours_are_torn_apart() -> None:
    one = Permutation.seeded(10_000, 1)
    assert one == Permutation.seeded(10_000, 1) != Permutation.seeded(10_000, 2)
    assert 1_000 < abs(one.position(1) - one.position(0)) < 9_000


@pytest.mark.parametrize("rows", [3 * 10**9, 10**11])
def test_sparks_bigint_holds_the_products(rows: int) -> None:
    assert 1 < Permutation.seeded(rows, 1).factor * (rows - 1) + rows < 1 << 63


@pytest.mark.parametrize("rows", [1, 7, 8, 64, 65, 71, 100])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_slices_of_all_ranks_are_the_batch(rows: int, workers: int) -> None:
    layout = Layout(rows, 8, workers)
    held: dict[int, list[int]] = {rank: [] for rank in range(workers)}
    for position in range(rows):
        held[layout.rank(position)].append(position)
    assert [len(held[rank]) for rank in range(workers)] == [layout.held(rank) for rank in range(workers)]
    for batch in range(layout.batches):
        slices = [layout.slice(rank, batch) for rank in range(workers)]
        parts = [held[rank][first:last] for rank, (first, last) in enumerate(slices)]
        assert [row for part in parts for row in part] == list(range(batch * 8, batch * 8 + layout.size(batch)))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_an_epoch_takes_every_batch_once_and_a_smaller_one_last() -> None:
    first, second = shuffled(20, 21, 0, 1), shuffled(20, 21, 1, 1)
    assert sorted(first) == sorted(second) == list(range(21))
    assert first[-1] == second[-1] == 20
    assert first != second
    assert shuffled(3, 3, 5, None) == [0, 1, 2]
