"""Which row is in which batch, and which rank has it. Pure, and the same for any number of ranks.

Row number i of n goes to position (a·i + b) mod n, a permutation when a and n have no common divisor (a linear
congruence: Knuth, The Art of Computer Programming, vol. 2, 3.2.1). Spark computes it in one expression, so that no list
of n numbers exists anywhere. Global batch k is positions k·B to (k+1)·B, and rank r has the r-th of `workers` equal
slices of each batch: so a batch holds the same rows on 1, 2 or 4 ranks. The last batch may be a smaller one.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from random import Random

_LARGEST = (1 << 63) - 1
"""What Spark's bigint holds: the product a·i must fit."""


@dataclass(frozen=True)
class Permutation:
    """Of `rows` row numbers; `factor` and `shift` are a and b."""

    rows: int
    factor: int = 1
    shift: int = 0

    @classmethod
    def seeded(cls, rows: int, seed: int) -> Permutation:
        """A mixing one: its factor is neither small nor close to `rows`, so neighbours are torn apart."""
        if rows < 5:
            return cls(rows)
        random = Random(f"{seed}/{rows}")
        most = min(rows, _LARGEST // rows)
        low, high = max(most // 4, 2), max(3 * most // 4, 3)
        factor = random.randint(low, high)
        while gcd(factor, rows) != 1:
            factor = factor + 1 if factor < most - 1 else 1
        return cls(rows, factor, random.randrange(rows))

    def position(self, row: int) -> int:
        return (self.factor * row + self.shift) % self.rows


@dataclass(frozen=True)
class Layout:
    """`rows` in global batches of `batch`, each in `workers` slices; `batch` is a multiple of `workers`."""

    rows: int
    batch: int
    workers: int

    @property
    def full(self) -> int:
        """Batches that are full."""
        return self.rows // self.batch

    @property
    def batches(self) -> int:
        return -(-self.rows // self.batch)

    def size(self, batch: int) -> int:
        """Rows of a global batch."""
        return self.batch if batch < self.full else self.rows % self.batch

    def rank(self, position: int) -> int:
        """Who has the row at this position."""
        batch, inside = divmod(position, self.batch)
        return ((inside + 1) * self.workers - 1) // self.size(batch)

    def slice(self, rank: int, batch: int) -> tuple[int, int]:
        """Where this rank's rows of a batch begin and end among all that it has, which are in order of position."""
        size, begin = self.size(batch), batch * (self.batch // self.workers)
        first, last = size * rank // self.workers, size * (rank + 1) // self.workers
        return begin, begin + last - first

    def held(self, rank: int) -> int:
        """Rows that this rank has."""
        return self.slice(rank, self.batches - 1)[1] if self.rows else 0


def shuffled(full: int, batches: int, epoch: int, seed: int | None) -> list[int]:
    """The order in which an epoch takes the batches; None keeps them in order. A smaller last one stays the last."""
    order = list(range(full))
    if seed is not None:
        Random(f"{seed}/{epoch}").shuffle(order)
    return order + list(range(full, batches))
