"""What one replica counts for the controller: executed chains, decided requests, a sample of their rewards, work."""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from allocator.choice import Floats, Ints
from allocator.energy.windows import SERVING
from cluster.accounts import Totals
from cluster.metrics import ENERGY_BOUNDS, NO_ENERGIES
from cluster.took import Took
from cluster.work import Workbook, of_processors

MOST_COSTS = 1000
"""Micro-batches whose joules wait to be sorted."""


class Tally:
    """Cumulative counters of one life of a replica, and a sample of fixed size. Used from one event loop.

    chains       size of the chain space, J
    sample_rows  most reward rows that a report carries
    book         what the variants in this process did
    reward_model what the model is called whose rewards are sampled; "" where none is
    cpu          seconds of processor time of the thread that calls it: the event loop's, on which all is done that is
                 not a variant's run
    """

    def __init__(
        self,
        chains: int,
        sample_rows: int,
        rng: np.random.Generator,
        book: Workbook,
        cpu: Callable[[], float] = time.thread_time,
        reward_model: str = "",
    ) -> None:
        self.book, self.reward_model = book, reward_model
        self._cpu, self._cpu_s = cpu, cpu()
        self._handed = 0
        self._executed, self._unpriced = np.zeros((2, chains), np.int64)
        self._decided, self._deciding_s, self._predicted = 0, 0.0, 0.0
        self._took = Took()
        self._degraded: dict[str, int] = {}
        self._energies = NO_ENERGIES.copy()
        self._costs: list[Floats] = []
        self._rng = rng
        self._rows = np.empty((sample_rows, chains), np.float32)
        self._seen = 0

    def executed(self, chains: Ints, handed: int, unpriced: Ints | None = None) -> None:
        """The requests of a micro-batch ran these chains, (B,) indices, and got so many items in all.

        unpriced  the chains of those for which no policy chose it, likewise
        """
        self.book.ran(*SERVING, calls=1, items=len(chains))
        self._handed += handed
        self._executed += np.bincount(chains, minlength=len(self._executed))
        if unpriced is not None:
            self._unpriced += np.bincount(unpriced, minlength=len(self._unpriced))

    def cost(self, each_j: Floats) -> None:
        """These requests were answered, and took so many joules each, by the energy model."""
        self._costs.append(each_j)
        if len(self._costs) >= MOST_COSTS:
            self._sort_costs()

    def _sort_costs(self) -> None:
        """Put what requests took into the histogram, of many micro-batches at once: it takes as long as of one."""
        if self._costs:
            buckets = np.searchsorted(ENERGY_BOUNDS, np.concatenate(self._costs))
            self._energies += np.bincount(buckets, minlength=len(self._energies))
            self._costs.clear()

    def predicted_by(self, reward_model: str) -> None:
        """Another model predicts from now on: the sample begins anew with it."""
        self.reward_model, self._seen = reward_model, 0

    def decided(
        self,
        rewards: NDArray[np.float32],
        cpu_s: float = 0.0,
        reward_model: str | None = None,
        predicted: float = 0.0,
    ) -> None:
        """A policy gave requests their chains by these predicted rewards, (B, J), in so much processor time.

        The sample stays uniform over all requests since it was taken last (Vitter's algorithm R).

        reward_model  what predicted them; rewards of another than the present one are not sampled. None for that one
        predicted     reward of the chains that they got, added up
        """
        self._decided += len(rewards)
        self._deciding_s += cpu_s
        self._predicted += predicted
        if reward_model is None or reward_model == self.reward_model:
            self._sample(rewards)

    def _sample(self, rewards: NDArray[np.float32]) -> None:
        positions = np.arange(self._seen, self._seen + len(rewards))
        drawn = (self._rng.random(len(rewards)) * (positions + 1)).astype(np.int64)
        slots = np.where(positions < len(self._rows), positions, drawn)
        for row in np.flatnonzero(slots < len(self._rows)):
            self._rows[slots[row]] = rewards[row]
        self._seen += len(rewards)

    def degraded(self, reason: str, requests: int = 1) -> None:
        """So many requests were answered less well than decided, or not at all."""
        self._degraded[reason] = self._degraded.get(reason, 0) + requests

    def answered(self, took_s: float) -> None:
        """A recommendation was answered, so long after its request had come."""
        self._took.count(took_s)

    def totals(self, at_s: float) -> Totals:
        """All that was counted, as of `at_s` on the replica's clock. Called from the event loop's thread."""
        self._sort_costs()
        before_s, self._cpu_s = self._cpu_s, self._cpu()
        if of_processors(self.book.pool):
            took_s = max(0.0, self._cpu_s - before_s)
            self.book.ran(*SERVING, calls=0, items=0, busy_s=took_s, cpu_s=took_s)
        return Totals(
            at_s,
            self._executed.copy(),
            self._decided,
            self._handed,
            self.book.totals(),
            dict(self._degraded),
            self._deciding_s,
            energies=self._energies.copy(),
            predicted=self._predicted,
            took=self._took.counts(),
            unpriced=self._unpriced.copy(),
        )

    def take_sample(self) -> NDArray[np.float32]:
        """The sample (S, J), in random order; the next one begins."""
        rows = self._rng.permutation(self._rows[: min(self._seen, len(self._rows))])
        self._seen = 0
        return rows
