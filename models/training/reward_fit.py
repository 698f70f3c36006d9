"""Fits a reward network to a reward table."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.training.fit import prepare
from models.training.reward_net import Ensemble, PlainNet, RewardNet

Floats = NDArray[np.floating]
Tell = Callable[[float, str], None]
Member = RewardNet | PlainNet
LEVEL_WEIGHT = 0.1
WARM_UP = 0.15
LEAST_EPOCHS = 8
SHRINKS = (0.0, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0, 1.15)


@dataclass(frozen=True)
class RewardFit:
    """How reward networks are trained.

    members            networks in the ensemble
    epochs             at most so many,
    contexts           and at most about so many contexts in all, but no less than `LEAST_EPOCHS`
    batch              contexts in a step
    """

    members: int = 3
    epochs: int = 40
    contexts: int = 250_000
    batch: int = 128
    learning_rate: float = 5e-3
    weight_decay: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class Examples:
    """Users' contexts (n, Fc), what every chain earned from them, (n, J), and how much each chain matters, (J,)."""

    contexts: NDArray[Any]
    rewards: Floats
    importance: Floats


def fit_reward(make: Callable[[], Member], train: Examples, valid: Examples, config: RewardFit, tell: Tell) -> Ensemble:
    """Make the members one by one and train them; what they agree on tells more than any one of them."""
    members = []
    for number in range(config.members):
        share = number / config.members
        rng = prepare(config.seed, f"reward {number}")
        done = lambda part, note, at=share: tell(at + part / config.members, note)  # noqa: E731
        members.append(_fit(make(), train, valid, config, rng, done))
    return Ensemble(members).eval()


def _fit(
    network: Member, train: Examples, valid: Examples, config: RewardFit, rng: np.random.Generator, tell: Tell
) -> Member:
    """Train a network; the weights of the epoch with the best loss on the validation users are kept.

    The loss is the squared error of the differences between chains within a user, which are all that an allocation
    acts on, and with less weight that of the user's level; each relative to its variance. In the end the personal part
    is shrunk by what suits the validation users best: to nothing, where it tells nothing.
    """
    network.start(*_start(train.rewards))
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    epochs = min(config.epochs, max(LEAST_EPOCHS, round(config.contexts / len(train.contexts))))
    steps = epochs * -(-len(train.contexts) // config.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, steps, pct_start=WARM_UP)
    contexts, rewards = torch.from_numpy(train.contexts), torch.from_numpy(train.rewards).float()
    loss = _loss(train)
    best, kept = _validated(network, valid, loss), copy.deepcopy(network.state_dict())
    for epoch in range(epochs):
        network.train()
        order = torch.from_numpy(rng.permutation(len(contexts)))
        for rows in torch.tensor_split(order, steps // epochs):  # of like sizes: a batch of one has no variance
            optimiser.zero_grad()
            loss(network(contexts[rows]), rewards[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        if (now := _validated(network, valid, loss)) < best:
            best, kept = now, copy.deepcopy(network.state_dict())
        tell((epoch + 1) / epochs, f"validation loss {best:.4f}")
    network.load_state_dict(kept)
    network.settle(contexts)
    _shrink(network, valid, loss)
    return network


def _start(rewards: Floats) -> tuple[float, float, NDArray[np.float64]]:
    """Of rewards (n, J): their level, how far the users' differences between chains spread, and those of the means.

    The spread is no less than a tenth of the means', so that weights stay of a size where users hardly differ.
    """
    level = float(rewards.mean(dtype=np.float64))
    means = rewards.mean(axis=0, dtype=np.float64) - level
    personal = rewards - rewards.mean(axis=1, keepdims=True) - means
    return level, max(1e-6, float(personal.std()), 0.1 * float(means.std())), means


def _validated(network: nn.Module, valid: Examples, loss: Callable[[Tensor, Tensor], Tensor]) -> float:
    return float(loss(torch.from_numpy(predict(network, valid.contexts)), torch.from_numpy(valid.rewards)))


def _shrink(network: Member, valid: Examples, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    losses = []
    for share in SHRINKS:
        network.shrink.fill_(share)
        losses.append(_validated(network, valid, loss))
    network.shrink.fill_(SHRINKS[int(np.argmin(losses))])


@torch.no_grad()
def predict(network: nn.Module, contexts: NDArray[Any]) -> NDArray[np.float32]:
    """(n, Fc) -> (n, J)."""
    network.eval()
    parts = [network(part).numpy() for part in torch.split(torch.from_numpy(contexts), 512)]
    return np.concatenate(parts)


def _loss(examples: Examples) -> Callable[[Tensor, Tensor], Tensor]:
    importance = torch.from_numpy(examples.importance / examples.importance.sum()).float()

    def level(rewards: Tensor) -> Tensor:
        return (rewards * importance).sum(dim=1, keepdim=True)

    def within(rewards: Tensor) -> Tensor:
        return ((rewards - level(rewards)).square() * importance).sum(dim=1).mean()

    rewards = torch.from_numpy(examples.rewards).float()
    inner, outer = float(within(rewards - rewards.mean(dim=0))) + 1e-9, float(level(rewards).var()) + 1e-9

    def loss(predicted: Tensor, actual: Tensor) -> Tensor:
        error = predicted - actual
        return within(error) / inner + LEVEL_WEIGHT * level(error).square().mean() / outer

    return loss
