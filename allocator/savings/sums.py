"""What requests of each arm took and brought, as sums by group: all that savings are estimated from."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from allocator.arms import GROUPS, HOLDBACK, NAMED, POLICY
from allocator.choice import Floats
from allocator.savings.model_error import ModelError

QUANTITIES = ("energy_j", "flops", "grams", "reward")
SHAPE = (2, GROUPS)
_CELLS = 2 * GROUPS


def _nothing() -> Floats:
    return np.zeros((len(QUANTITIES), *SHAPE))


@dataclass(frozen=True, slots=True, eq=False)
class GroupSums:
    """Sums by quantity (of QUANTITIES), arm (POLICY, HOLDBACK) and group. Never changed: updates make new ones.

    requests  (2, GROUPS) that were decided
    counts    (4, 2, GROUPS) requests of which the quantity is known: joules and grams that were accounted, rewards
              whose time for feedback is over
    totals    (4, 2, GROUPS) the quantity's sums over those
    joules_error, grams_error  by the energy model, of what all these requests saved together

    The arms can be compared as long as both have had the same traffic: with another share of users held back, or
    another salt, begin new sums.
    """

    requests: Floats = field(default_factory=lambda: np.zeros(SHAPE))
    counts: Floats = field(default_factory=_nothing)
    totals: Floats = field(default_factory=_nothing)
    joules_error: ModelError = field(default_factory=ModelError)
    grams_error: ModelError = field(default_factory=ModelError)

    def decided(
        self,
        arms: ArrayLike,
        groups: ArrayLike,
        flops: ArrayLike,
        energy_j: ArrayLike,
        static_j: float,
        error_j: float,
        grams_per_j: float,
    ) -> "GroupSums":
        """With a micro-batch of B requests more. Requests that named their chains count nowhere.

        arms, groups  (B,) of `allocator.arms`
        flops     (B,) of what ran
        energy_j  (B,) attributed joules; NaN where they are not known
        static_j  joules of a request, had all of the micro-batch run the static chain. That is what a request that is
                  held back counts as: its own runs are shared by few, which production's would not be
        error_j   standard error, by the energy model, of (static_j - mean energy_j) per request
        grams_per_j  NaN where nobody knows it: grams are left out then

        Joules count only where static_j and error_j are known as well: an arm of which other times count, or an
        interval that leaves an error out, would mislead. Raises ValueError for arms or groups that there are not.
        """
        within, cells = _cells(arms, groups)
        known_j = np.asarray(energy_j, np.float64)[within]
        usable = np.isfinite(known_j) & bool(np.isfinite(static_j) and np.isfinite(error_j))
        joules = np.where(usable, np.where(cells >= GROUPS, static_j, known_j), np.nan)
        values = (joules, np.asarray(flops, np.float64)[within], joules * grams_per_j)
        counts, totals = self.counts.copy(), self.totals.copy()
        for at, value in enumerate(values):
            _add(counts[at], totals[at], cells, value)
        requests, known = self.requests + _summed(cells, None), float(usable.sum())
        joules_error = self.joules_error.after(known, error_j) if known else self.joules_error
        in_grams = known * grams_per_j if known and np.isfinite(grams_per_j) else 0.0
        grams_error = self.grams_error.after(in_grams, error_j) if in_grams else self.grams_error
        return GroupSums(requests, counts, totals, joules_error, grams_error)

    def matured(self, arms: ArrayLike, groups: ArrayLike, rewards: ArrayLike) -> "GroupSums":
        """With requests more whose time for feedback is over, (B,) each. A reward of 0: none came; NaN: unknown."""
        within, cells = _cells(arms, groups)
        counts, totals = self.counts.copy(), self.totals.copy()
        at = QUANTITIES.index("reward")
        _add(counts[at], totals[at], cells, np.asarray(rewards, np.float64)[within])
        return replace(self, counts=counts, totals=totals)

    def merged(self, other: "GroupSums") -> "GroupSums":
        """Of both: other requests of the same experiment, such as another ingress's."""
        return GroupSums(
            self.requests + other.requests,
            self.counts + other.counts,
            self.totals + other.totals,
            self.joules_error.merged(other.joules_error),
            self.grams_error.merged(other.grams_error),
        )


def _cells(arms: ArrayLike, groups: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which requests take part, (B,), and where they count: arm x GROUPS + group."""
    arm, group = np.asarray(arms, np.int64), np.asarray(groups, np.int64)
    if arm.shape != group.shape or arm.ndim != 1:
        raise ValueError(f"arms and groups are one of each a request, got {arm.shape} and {group.shape}")
    if arm.size and (arm.min() < POLICY or arm.max() > NAMED or group.min() < 0 or group.max() >= GROUPS):
        raise ValueError(f"arms are {POLICY} to {NAMED} and groups 0 to {GROUPS - 1}, got others")
    within = arm <= HOLDBACK
    return within, (arm * GROUPS + group)[within]


def _add(counts: Floats, totals: Floats, cells: NDArray[np.int64], values: Floats) -> None:
    """In place, both (2, GROUPS)."""
    known = np.isfinite(values)
    if not known.all():
        cells, values = cells[known], values[known]
    counts += _summed(cells, None)
    totals += _summed(cells, values)


def _summed(cells: NDArray[np.int64], values: Floats | None) -> Floats:
    summed: Floats = np.bincount(cells, values, _CELLS).astype(np.float64).reshape(SHAPE)
    return summed
