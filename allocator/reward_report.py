"""How good predicted rewards are on held-out users, and what matters most: what an allocation by them earns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from allocator.baselines.fixed import equal_mix
from allocator.choice import Floats, Rewards, rewards_of
from allocator.optimum import bisect_price

BUDGETS = 8
NOTHING = 1e-9


class AtBudget(BaseModel):
    """Mean rewards of held-out users at one budget, and by how much the allocation misses the oracle.

    flops     the budget, mean FLOPs of a request
    earned    what the allocation by predicted rewards earns in truth; its price is found by bisection
    fixed     what the best mix of two fixed chains earns, chosen on training users
    oracle    the most that any allocation could earn, true rewards known: the bound of the linear relaxation
    regret    (oracle - earned) / oracle
    interval  95% bootstrap interval of earned - fixed, over users
    closed    (earned - fixed) / (oracle - fixed): the share of what personal allocation could win at most; 0 where
              that is nothing
    """

    model_config = ConfigDict(frozen=True)

    flops: float
    earned: float
    fixed: float
    oracle: float
    regret: float
    interval: tuple[float, float]
    closed: float

    @property
    def gain(self) -> float:
        """Earned - fixed."""
        return self.earned - self.fixed


class Quality(BaseModel):
    """One model on held-out users.

    r2               of all rewards; what tells users apart counts most
    r2_within        of the differences between a user's chains, which are all that an allocation acts on
    r2_personal      of what those differences have beyond the mean user's: 0 for the mean per chain
    rank_correlation Spearman's, of the chains within a user, mean over users
    bias             mean predicted - mean true of each chain, (J,)
    calibration      mean over chains of its size, and the worst chain's
    budgets          by budget
    """

    model_config = ConfigDict(frozen=True)

    name: str
    r2: float
    r2_within: float
    r2_personal: float
    rank_correlation: float
    calibration: float
    worst_calibration: float
    bias: tuple[float, ...]
    budgets: tuple[AtBudget, ...]


@dataclass(frozen=True)
class Judge:
    """Held-out rewards (N, J), mean rewards of training users (J,), costs (J,), and the budgets to judge at."""

    rewards: Floats
    training_means: Floats
    cost: Floats
    budgets: Floats
    seed: int = 0

    @classmethod
    def of(cls, rewards: Rewards, training: Rewards, cost: Floats, dearest: float, seed: int = 0) -> "Judge":
        """Budgets in equal ratios, from a little above the cheapest chain to a little below `dearest`."""
        budgets = np.geomspace(cost.min() * 1.05, max(dearest * 0.95, cost.min() * 1.1), BUDGETS)
        return cls(rewards.astype(np.float64), training.mean(axis=0, dtype=np.float64), cost, budgets, seed)

    def quality(self, name: str, predictions: Rewards) -> Quality:
        """Judge the predictions (N, J) of a model. One row for all users is judged as a mix of fixed chains."""
        predicted: Floats = predictions.astype(np.float64)
        bias = predicted.mean(axis=0) - self.rewards.mean(axis=0)
        error, actual = _within(predicted - self.rewards), _within(self.rewards)
        return Quality(
            name=name,
            r2=_r2(predicted - self.rewards, self.rewards - self.rewards.mean()),
            r2_within=_r2(error, actual),
            r2_personal=_r2(error - error.mean(axis=0), actual - actual.mean(axis=0)),
            rank_correlation=float(np.mean(rank_correlations(predicted, self.rewards))),
            calibration=float(np.abs(bias).mean()),
            worst_calibration=float(np.abs(bias).max()),
            bias=tuple(bias.tolist()),
            budgets=tuple(self._at(predicted, budget) for budget in self.budgets.tolist()),
        )

    def _at(self, predicted: Floats, budget: float) -> AtBudget:
        users = len(self.rewards)
        best = bisect_price(self.rewards, self.cost, budget * users).bound / users
        fixed = equal_mix(self.training_means, self.cost, budget).reward(self.rewards)
        if (predicted == predicted[:1]).all():
            earned = equal_mix(predicted[0], self.cost, budget).reward(self.rewards)
        else:
            earned = rewards_of(self.rewards, bisect_price(predicted, self.cost, budget * users).chains)
        return AtBudget(
            flops=budget,
            earned=float(earned.mean()),
            fixed=float(fixed.mean()),
            oracle=best,
            regret=(best - float(earned.mean())) / max(abs(best), 1e-12),
            interval=_interval(earned - fixed, self.seed),
            closed=_share(float((earned - fixed).mean()), best - float(fixed.mean())),
        )


def rank_correlations(left: Rewards, right: Rewards) -> Floats:
    """Spearman's correlation of each row's entries, (N,); 0 where a row of either is constant. Ties share ranks."""
    a, b = (_within(_ranks(x)) for x in (left, right))
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    found: Floats = np.divide((a * b).sum(axis=1), scale, out=np.zeros(len(a)), where=scale > 0)
    return found


def _ranks(rows: Rewards) -> Floats:
    found = np.empty(rows.shape)
    for at, row in enumerate(rows):
        _, inverse, counts = np.unique(row, return_inverse=True, return_counts=True)
        found[at] = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    return found


def _interval(differences: Floats, seed: int, draws: int = 500) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    means = [differences[rng.integers(0, len(differences), len(differences))].mean() for _ in range(draws)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _r2(error: Floats, around: Floats) -> float:
    return float(1.0 - (error * error).sum() / max(float((around * around).sum()), 1e-300))


def _share(part: float, whole: float) -> float:
    return part / whole if whole > NOTHING else 0.0


def _within(rows: Floats) -> Floats:
    centred: Floats = rows - rows.mean(axis=1, keepdims=True)
    return centred


def table_of(qualities: Sequence[Quality]) -> list[list[str]]:
    """One line per model for people: its name, the fields of `Quality` in their order, mean regret and mean gain."""
    lines = []
    for q in qualities:
        regret = float(np.mean([b.regret for b in q.budgets]))
        gain = float(np.mean([b.gain for b in q.budgets]))
        figures = (q.r2, q.r2_within, q.r2_personal, q.rank_correlation, q.calibration)
        lines.append([q.name, *(f"{f:.3f}" for f in figures), f"{regret:.2%}", f"{gain:+.4f}"])
    return lines


def gap_closed(qualities: Sequence[Quality]) -> list[list[str]]:
    """One line per budget for people: FLOPs, then the share of the gap that each model closes; * where it is no chance.

    That is, where the interval of the gain leaves out zero.
    """
    lines = []
    for budgets in zip(*(q.budgets for q in qualities), strict=True):
        sure = ["*" if at.interval[0] > 0 or at.interval[1] < 0 else "" for at in budgets]
        shares = [f"{at.closed:+.0%}{mark}" for at, mark in zip(budgets, sure, strict=True)]
        lines.append([f"{budgets[0].flops:,.0f}", *shares])
    return lines
