"""Fits a reward network once more, to what logged requests earned themselves.

A network that was fitted to what is believed of all chains knows no more than that, and what is believed is of a simple
form. Each logged reward tells of one chain only, and is noise for the greater part; so the network is moved towards all
of them, and held to what is believed as if that had been seen `WORTH` times:

    sum_i w_i (f(x_i)[a_i] - r_i)^2  +  WORTH * mean_x,a (f(x)[a] - believed(x)[a])^2

which, but for constants, is minus the logarithm of a posterior: rewards are normal, and what they are of is, before the
log, normal around what is believed. Some rows are left out, and tell after which pass to stop.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.training.fit import prepare
from models.training.reward_fit import WARM_UP, Examples, Floats, RewardFit, Tell
from models.training.reward_net import Ensemble

WORTH = 100_000.0
"""Not tuned: of a million requests of `tests/bench/retrain.py`'s users 50,000 to 500,000 did alike, within a point."""
LEARNING_RATE = 1e-3
BATCH, ANCHORED = 512, 128
PASSES, MOST_ROWS = 6, 3_000_000
"""Over the rows at most; and rows that are gone through at most, in all."""
LEFT_OUT = 0.15


@dataclass(frozen=True)
class Earned:
    """What logged requests earned: contexts (n, Fc), the chain that each ran, (n,), its reward and its weight, (n,)."""

    contexts: NDArray[Any]
    chains: NDArray[np.int64]
    rewards: Floats
    weights: Floats

    def __len__(self) -> int:
        return len(self.chains)

    def take(self, which: NDArray[Any]) -> Self:
        """Some of them."""
        return type(self)(self.contexts[which], self.chains[which], self.rewards[which], self.weights[which])

    @property
    def steps(self) -> int:
        """In how many batches they are gone through."""
        return -(-len(self) // BATCH)

    def batches(self, order: NDArray[np.int64]) -> Iterator["Earned"]:
        """All of them in this order, some at a time; of like sizes, for a batch of one has no variance."""
        return (self.take(part) for part in np.array_split(order, self.steps))


def fit_rows(
    network: Ensemble, rows: Earned, believed: Examples, config: RewardFit, tell: Tell, worth: float = WORTH
) -> None:
    """Move the network, in place; it stays as it is where that explains the rows that were left out no better.

    believed  what it was fitted to: each chain matters alike here
    worth     how many rows that counts for
    """
    rng = prepare(config.seed, "reward rows")
    left_out = rng.random(len(rows)) < LEFT_OUT
    train, valid = rows.take(~left_out), rows.take(left_out)
    if len(train) < 2 or not len(valid):
        return
    passes = int(np.clip(MOST_ROWS // len(train), 1, PASSES))
    steps = passes * train.steps
    anchor = worth / float(train.weights.sum())
    optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps, pct_start=WARM_UP)
    best, kept = _missed(network, valid), copy.deepcopy(network.state_dict())
    for number in range(passes):
        network.train()
        for step, batch in enumerate(train.batches(rng.permutation(len(train))), number * train.steps):
            optimiser.zero_grad()
            anchors = rng.integers(0, len(believed.contexts), ANCHORED)
            (_error(network, batch) + anchor * _astray(network, believed, anchors)).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            if step % 20 == 0:
                tell(step / steps, f"squared error {best:.4f}")
        if (now := _missed(network, valid)) < best:
            best, kept = now, copy.deepcopy(network.state_dict())
    network.load_state_dict(kept)
    network.eval()
    tell(1.0, f"squared error {best:.4f}")


def _error(network: Ensemble, rows: Earned) -> Tensor:
    """The weighted mean squared error of what rows earned."""
    predicted = network(torch.from_numpy(rows.contexts)).gather(1, torch.from_numpy(rows.chains)[:, None])[:, 0]
    weights = torch.from_numpy(rows.weights).float()
    error: Tensor = (weights * (predicted - torch.from_numpy(rows.rewards).float()).square()).sum() / weights.sum()
    return error


def _astray(network: Ensemble, believed: Examples, which: NDArray[np.int64]) -> Tensor:
    expected = torch.from_numpy(believed.rewards[which]).float()
    error: Tensor = (network(torch.from_numpy(believed.contexts[which])) - expected).square().mean()
    return error


@torch.no_grad()
def _missed(network: Ensemble, rows: Earned) -> float:
    """The same over all of these rows."""
    network.eval()
    parts = [(float(_error(network, part)), float(part.weights.sum())) for part in rows.batches(np.arange(len(rows)))]
    errors, weights = np.array(parts).T
    return float((errors * weights).sum() / weights.sum())
