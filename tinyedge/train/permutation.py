"""A shuffled order that is computed, not stored: each index is mapped by a keyed function.

A generalized Feistel network on [0, rows x columns), applied until the result is in [0, size): Black and
Rogaway, "Ciphers with Arbitrary Finite Domains", 2002. Its round function is the finalizer of splitmix64
(Steele, Lea and Flood, 2014). It shuffles training data and is not meant for encryption.
"""

import math

import numpy as np
import numpy.typing as npt

ROUNDS = 8  # four are enough in theory; eight also mix sizes of a few dozen

Indices = npt.NDArray[np.int64]


class Permutation:
    """A random bijection of [0, size). Its memory use does not depend on the size.

    Args:
        size: Number of indices.
        random: Draws the keys.
    """

    def __init__(self, size: int, random: np.random.Generator) -> None:
        self._size = np.uint64(size)
        rows = math.isqrt(size - 1) + 1  # the root, rounded up: rows x columns is hardly more than size
        self._rows, self._columns = np.uint64(rows), np.uint64(-(-size // rows))
        self._keys = random.integers(1 << 64, size=ROUNDS, dtype=np.uint64)

    def __call__(self, indices: Indices) -> Indices:
        """Return the new place of each index. All must be below size; the shape is kept."""
        places = self._encrypt(indices.astype(np.uint64))
        while (outside := places >= self._size).any():
            places[outside] = self._encrypt(places[outside])
        return places.astype(np.int64)

    def _encrypt(self, numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """Apply the Feistel network, a bijection of [0, rows x columns)."""
        row, column = np.divmod(numbers, self._columns)
        for even, odd in self._keys.reshape(-1, 2):
            row = (row + _mix(column + even) % self._rows) % self._rows
            column = (column + _mix(row + odd) % self._columns) % self._columns
        return row * self._columns + column


def _mix(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Make every bit of a number depend on every other. Sums and products are modulo 2^64."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
