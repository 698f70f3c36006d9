"""What the log says that the current reward model gets wrong, for all chains, from the executed ones alone.

A logged request tells what one chain earned. It is explained as

    reward = current(x, a) + level(x) + delta(x, a) + noise
    level = b.c(x),   delta = c(x).b_0 + b_00 + (h(a).b_1 + e(a).b_2) + s(x, a) (b_3 + b_4.c(x)) + c(x)' B v(a)

with c numbers of the context, h of the chain, e an indicator of each chain, v the ways in which chains differ by the
current model, and s what it predicts beyond what all contexts have in common. Every weight is held to nothing (see
`evidence`): where nothing was tried, and wherever the log does not speak clearly, what the current model predicts
stands.

Requests that the policy decided were given the chain that looked best for them, so what is peculiar to them would be
taken for the chain's doing. Those that explored were not. So `level` is learned from all rows, and then `delta` from
rows that weigh (p0 / p) ** w, at most 1, with p the propensity and p0 that of exploring ones: inverse propensities
where w is 1, which would leave the policy's own choices without any say; less biased by them than with 0, and less
noisy than with 1. `POWER` says how large it is. Nearly all rows then weigh nearly nothing; some of those are drawn to
stand for the rest, so that a log of ten million requests takes as long as its exploring ones do.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from allocator.choice import Floats, Ints, Rewards
from allocator.ope.targets import RARELY
from allocator.relearn.columns import Columns, OfContext, personal
from allocator.relearn.evidence import Fitted, Sums, fit

POWER = 0.5, 0.75
"""With FEW rows that explored or fewer, and with ten times as many: of more, the noise counts less."""
FEW = 1000
LIGHT = 0.1
"""Rows that weigh less are drawn, in proportion to what they weigh, and then weigh this."""
LEVEL_RIDGE = 10.0
CHUNK_ROWS = 4096
Predict = Callable[[NDArray[Any]], Rewards]
Tell = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class Seen:
    """Logged requests to learn from: contexts (N, Fc), chains (N,), rewards (N,), propensities (N,)."""

    contexts: NDArray[Any]
    chains: Ints
    rewards: Floats
    propensities: Floats

    def __len__(self) -> int:
        return len(self.chains)

    def take(self, rows: Ints) -> Self:
        """Some of them."""
        return type(self)(self.contexts[rows], self.chains[rows], self.rewards[rows], self.propensities[rows])

    @property
    def weights(self) -> Floats:
        """How much each tells of differences between chains, (N,), in 0..1."""
        rare = self.propensities[self.propensities < RARELY]
        typical = float(np.median(rare)) if len(rare) else 1.0
        weight: Floats = np.minimum(1.0, typical / self.propensities) ** _power(len(rare))
        return weight


def _power(explored: int) -> float:
    """Grows with the logarithm of the rows that explored, from the first of POWER to the second."""
    least, most = POWER
    share = float(np.clip(np.log10(max(explored, 1) / FEW), 0.0, 1.0))
    return least + share * (most - least)


@dataclass(frozen=True, eq=False)
class Design:
    """Which numbers weigh in: those of contexts, those of chains (J, H), and the ways in which chains differ (J, V)."""

    context: OfContext
    chains: Columns
    ways: Columns

    @property
    def groups(self) -> Ints:
        """Which weights are held to nothing together, (F,): by kind, and by the kind of a context's numbers."""
        of = self.context.groups
        kinds = int(of.max(initial=0)) + 1
        chains, numbers = self.chains.shape
        fixed = [
            np.full(numbers, 3 * kinds),
            np.full(chains, 3 * kinds + 1),
            np.full(1, 3 * kinds + 2),
            np.full(1, 3 * kinds + 3),
        ]
        both = np.repeat(2 * kinds + of, self.ways.shape[1])
        return np.concatenate([of, *fixed, kinds + of, both]).astype(np.int64)

    def personal(self, predicted: Rewards) -> Floats:
        """What predictions (n, J) say beyond what all contexts have in common, (n, J)."""
        return personal(predicted, self.context.common)

    def rows(self, c: Columns, scaled: Rewards, chains: Ints) -> Columns:
        """What is regressed on, (n, F): numbers c (n, C), `scaled` (n, J) what is personal, chains (n,)."""
        count, number = len(chains), len(self.chains)
        h, own = self.chains[chains], _own(number)[chains]
        s = scaled[np.arange(count), chains].astype(np.float32)[:, None]
        both = (c[:, :, None] * self.ways[chains][:, None, :]).reshape(count, -1)
        return np.concatenate([c, h, own, s, np.ones_like(s), c * s, both], axis=1)

    def everywhere(self, c: Columns, scaled: Rewards, beta: Floats) -> Floats:
        """delta for all chains, (n, J)."""
        count, (number, numbers) = c.shape[1], self.chains.shape
        ends = np.cumsum([count, numbers, number, 1, 1, count])
        of_c, of_h, own, of_s, one, of_cs, both = np.split(beta, ends)
        mixed = self.ways @ both.reshape(count, self.ways.shape[1]).T
        common = self.chains @ of_h + _own(number) @ own
        delta: Floats = c @ mixed.T + common + (c @ of_c + one)[:, None] + scaled * (of_s + (c @ of_cs)[:, None])
        return delta


@dataclass(frozen=True, eq=False)
class Correction:
    """What was learned.

    told  how many requests' worth of weight it was learned from
    """

    design: Design
    level: Floats
    fitted: Fitted
    scale: float
    told: float

    def corrected(self, contexts: NDArray[Any], predicted: Rewards) -> NDArray[np.float32]:
        """What every chain earns, as far as is known: contexts (n, Fc) and the current model's predictions (n, J)."""
        c = self.design.context(contexts, predicted)
        delta = self.design.everywhere(c, self.design.personal(predicted) / self.scale, self.fitted.beta)
        rewards: NDArray[np.float32] = (predicted + delta + (_with_one(c) @ self.level)[:, None]).astype(np.float32)
        return rewards


def learned(
    seen: Seen, design: Design, current: Predict, tell: Tell = lambda _: None, light: float = LIGHT
) -> Correction:
    """Learn it. The rows are gone through twice, some at a time; no matrix of all rows is ever held. Rows that weigh
    less than `light` are drawn (`drawn`)."""
    level = _level(seen, design, current, lambda share: tell(0.3 * share))
    sums, scale = Sums.none(len(design.groups)), _scale(seen, design, current)
    taken, weights = drawn(seen.weights, np.random.default_rng(0), light)
    for part in _chunks(len(taken)):
        rows = taken[part]
        predicted = current(seen.contexts[rows])
        c, chains = design.context(seen.contexts[rows], predicted), seen.chains[rows]
        missed = seen.rewards[rows] - predicted[np.arange(len(chains)), chains] - _with_one(c) @ level
        sums = sums.plus(design.rows(c, design.personal(predicted) / scale, chains), missed, weights[part])
        tell(0.3 + 0.6 * part.stop / len(taken))
    fitted = fit(sums, design.groups)
    tell(1.0)
    return Correction(design, level, fitted, scale, float(weights.sum()))


def drawn(weights: Floats, rng: np.random.Generator, light: float = LIGHT) -> tuple[Ints, Floats]:
    """The rows to learn from, in their order, and what each weighs: on the mean, every weighted sum is that of all."""
    kept = (weights >= light) | (rng.random(len(weights)) * light < weights)
    return np.flatnonzero(kept), np.maximum(weights[kept], light)


def _level(seen: Seen, design: Design, current: Predict, tell: Tell) -> Floats:
    """By least squares: what contexts earn on the whole beyond what the model says, (1 + C,)."""
    count = 1 + len(design.context)
    gram, cross = LEVEL_RIDGE * np.eye(count), np.zeros(count)
    for rows in _chunks(len(seen)):
        predicted = current(seen.contexts[rows])
        chains = seen.chains[rows]
        c = _with_one(design.context(seen.contexts[rows], predicted))
        gram += c.T @ c
        cross += c.T @ (seen.rewards[rows] - predicted[np.arange(len(chains)), chains])
        tell(rows.stop / len(seen))
    return np.asarray(np.linalg.solve(gram, cross), dtype=np.float64)


def _scale(seen: Seen, design: Design, current: Predict) -> float:
    """How far what is personal in the current model's predictions spreads, by the first rows; never 0."""
    return max(1e-6, float(design.personal(current(seen.contexts[:CHUNK_ROWS])).std()))


def _with_one(c: Columns) -> Floats:
    return np.concatenate([np.ones((len(c), 1)), c.astype(np.float64)], axis=1)


def _own(chains: int) -> Columns:
    """An indicator of each chain, of mean 0 and variance 1 over the chains, (J, J)."""
    centred = np.eye(chains) - 1.0 / chains
    return (centred / max(float(centred.std(axis=0).max()), 1e-9)).astype(np.float32)


def _chunks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, CHUNK_ROWS):
        yield slice(start, min(rows, start + CHUNK_ROWS))
