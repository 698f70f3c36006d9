"""Fitting one variant: the same seed gives the same weights on the same kind of machine.

Recall learns by sampled softmax over the batch: each clicked item against the clicked items of the other
rows, with the logQ correction (Yi et al., RecSys 2019; log of an item's share of all clicks is taken off its
logit, and accidental copies of the positive are masked). Scorers learn by binary cross-entropy on what was
shown. Both use Adam with a learning rate that rises for a tenth of the steps and then falls to zero; the
weights of the epoch that is best on the validation day are kept.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.training.batches import Clicks, Exposures, click_batches, exposure_batches
from models.training.interest import Dien
from models.training.measure import exposure_auc, recall_at
from models.training.networks import Tower
from models.worlds.base import Log, World

THREADS = 1
"""One thread: sums have one order, and the small matrices here gain next to nothing from a second."""
AUXILIARY_WEIGHT = 0.02
MASKED = -1e9
B = TypeVar("B")
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class FitConfig:
    """How a variant is trained. `batch` counts requests for scorers and clicks for recall."""

    epochs: int
    batch: int
    learning_rate: float = 4e-3
    weight_decay: float = 1e-4

    def lasting(self, epochs: int) -> "FitConfig":
        """The same with another number of epochs."""
        return replace(self, epochs=epochs)


def prepare(seed: int, name: str) -> np.random.Generator:
    """Seed PyTorch for the variant of that name, and return the generator that shuffles its batches.

    Each variant has its own seed, so that one more variant does not change the others.
    """
    torch.use_deterministic_algorithms(True)
    # Nothing reads memory that was not written; filling it first costs a tenth of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_num_threads(THREADS)
    own = [seed, crc32(name.encode())]
    torch.manual_seed(int(np.random.SeedSequence(own).generate_state(1)[0]))
    return np.random.default_rng(own)


def fit_recall(tower: Tower, world: World, config: FitConfig, rng: np.random.Generator, tell: Progress) -> float:
    """Train a tower in place; the best validation recall@100."""
    shown = torch.from_numpy(_log_share(world.train, len(world.items.ids)))

    def loss(batch: Clicks) -> Tensor:
        logits = tower(batch.user, batch.history) @ tower.vectors(batch.item).T - shown[batch.item_row]
        copies = (batch.item_row[:, None] == batch.item_row[None, :]).fill_diagonal_(False)
        return nn.functional.cross_entropy(logits.masked_fill(copies, MASKED), torch.arange(len(logits)))

    batches = lambda: click_batches(world.train, config.batch, rng)  # noqa: E731
    steps = max(1, int(world.train.click.sum()) // config.batch)
    n = min(100, len(world.items.ids))
    score = lambda: recall_at(tower, world.valid, [n])[f"recall_at_{n}"]  # noqa: E731
    return _fit(tower, batches, loss, score, steps, config, tell)


def fit_scorer(network: nn.Module, world: World, config: FitConfig, rng: np.random.Generator, tell: Progress) -> float:
    """Train a pre-ranker or ranker in place; the best validation AUC."""

    def loss(batch: Exposures) -> Tensor:
        logits = network(batch.user, batch.history, batch.item, batch.row)
        total = nn.functional.binary_cross_entropy_with_logits(logits, batch.click)
        if isinstance(network, Dien):
            total = total + AUXILIARY_WEIGHT * network.auxiliary_loss(batch.history, shift=1)
        return total

    batches = lambda: exposure_batches(world.train, config.batch, rng)  # noqa: E731
    steps = -(-len(world.train) // config.batch)
    return _fit(network, batches, loss, lambda: exposure_auc(network, world.valid), steps, config, tell)


def _fit(
    network: nn.Module,
    batches: Callable[[], Iterator[B]],
    loss: Callable[[B], Tensor],
    score: Callable[[], float],
    steps: int,
    config: FitConfig,
    tell: Progress,
) -> float:
    optimiser = torch.optim.Adam(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    total = steps * config.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, total))
    best, kept = -1.0, copy.deepcopy(network.state_dict())
    for epoch in range(config.epochs):
        network.train()
        for at, batch in enumerate(batches()):
            optimiser.zero_grad()
            loss(batch).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            tell((epoch + (at + 1) / steps) / config.epochs, f"{best:.4f}" if epoch else "")
        if (now := score()) > best:
            best, kept = now, copy.deepcopy(network.state_dict())
    network.load_state_dict(kept)
    tell(1.0, f"{best:.4f}")
    return best


def _rate(step: int, total: int) -> float:
    warm = max(1, total // 10)
    return min((step + 1) / warm, max(0.0, (total - step) / max(1, total - warm)))


def _log_share(log: Log, items: int) -> NDArray[np.float32]:
    """log of each item's share of all clicks, smoothed by one click, (items,)."""
    counts = np.bincount(log.item_row[log.click > 0], minlength=items) + 1.0
    return np.asarray(np.log(counts / counts.sum()), dtype=np.float32)
