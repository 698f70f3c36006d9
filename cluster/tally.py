"""What one replica counts for the controller: executed chains, decided requests, a sample of their rewards."""

import numpy as np
from numpy.typing import NDArray

from allocator.choice import Ints
from cluster.accounts import Totals


class Tally:
    """Cumulative counters of one life of a replica, and a sample of fixed size. Used from one event loop.

    chains       size of the chain space, J
    sample_rows  most reward rows that a report carries
    """

    def __init__(self, chains: int, sample_rows: int, rng: np.random.Generator) -> None:
        self._executed = np.zeros(chains, np.int64)
        self._decided = 0
        self._rng = rng
        self._rows = np.empty((sample_rows, chains), np.float32)
        self._seen = 0

    def executed(self, chains: Ints) -> None:
        """Requests ran these chains, (B,) indices."""
        self._executed += np.bincount(chains, minlength=len(self._executed))

    def decided(self, rewards: NDArray[np.float32]) -> None:
        """A policy gave requests their chains by these predicted rewards, (B, J).

        The sample stays uniform over all requests since it was taken last (Vitter's algorithm R).
        """
        positions = np.arange(self._seen, self._seen + len(rewards))
        slots = np.where(positions < len(self._rows), positions, self._rng.integers(0, positions + 1))
        for row in np.flatnonzero(slots < len(self._rows)):
            self._rows[slots[row]] = rewards[row]
        self._seen += len(rewards)
        self._decided += len(rewards)

    def totals(self, at_s: float) -> Totals:
        """All that was counted, as of `at_s` on the replica's clock."""
        return Totals(at_s, self._executed.copy(), self._decided)

    def take_sample(self) -> NDArray[np.float32]:
        """The sample (S, J), in random order; the next one begins."""
        rows = self._rng.permutation(self._rows[: min(self._seen, len(self._rows))])
        self._seen = 0
        return rows
