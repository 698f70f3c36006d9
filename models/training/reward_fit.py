"""Fits a reward network to a reward table, and exports it."""

import copy
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.errors import GreenFlowError
from models.session import Session
from models.training.fit import prepare
from models.training.reward_net import PlainNet, RewardNet

Floats = NDArray[np.floating]
Tell = Callable[[float, str], None]
TOLERANCE = 1e-4
LEVEL_WEIGHT = 0.3
CHECKED_ROWS = (1, 2, 7, 64)


@dataclass(frozen=True)
class RewardFit:
    """How a reward network is trained; `batch` counts users, `patience` epochs without a better validation loss."""

    epochs: int = 80
    patience: int = 12
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    seed: int = 0


@dataclass(frozen=True)
class Examples:
    """Users' contexts (n, Fc) and what every chain earned from them, (n, J)."""

    contexts: NDArray[Any]
    rewards: Floats


def fit_reward(
    make: Callable[[], RewardNet | PlainNet], train: Examples, valid: Examples, config: RewardFit, tell: Tell
) -> RewardNet | PlainNet:
    """Make a network and train it; the weights of the epoch with the best loss on the validation users are kept.

    The loss is the squared error of the differences between chains within a user, which are all that an allocation
    acts on, and with less weight that of the user's level; each relative to its variance.
    """
    rng = prepare(config.seed, "reward")
    network = make()
    network.level.fill_(float(train.rewards.mean()))
    network.spread.fill_(max(1e-6, float(_centred(torch.from_numpy(train.rewards)).std())))
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.epochs)
    contexts, rewards = torch.from_numpy(train.contexts), torch.from_numpy(train.rewards).float()
    loss = _loss(rewards)
    best, kept, since = np.inf, copy.deepcopy(network.state_dict()), 0
    for epoch in range(config.epochs):
        network.train()
        order = torch.from_numpy(rng.permutation(len(contexts)))
        for rows in torch.split(order, config.batch):
            optimiser.zero_grad()
            loss(network(contexts[rows]), rewards[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        schedule.step()
        now = float(loss(torch.from_numpy(predict(network, valid.contexts)), torch.from_numpy(valid.rewards)))
        since += 1
        if now < best:
            best, kept, since = now, copy.deepcopy(network.state_dict()), 0
        tell((epoch + 1) / config.epochs, f"validation loss {best:.4f}")
        if since >= config.patience:
            break
    network.load_state_dict(kept)
    tell(1.0, f"validation loss {best:.4f}")
    return network


@torch.no_grad()
def predict(network: nn.Module, contexts: NDArray[Any]) -> NDArray[np.float32]:
    """(n, Fc) -> (n, J)."""
    network.eval()
    parts = [network(part).numpy() for part in torch.split(torch.from_numpy(contexts), 512)]
    return np.concatenate(parts)


def export_reward(network: nn.Module, contexts: NDArray[Any], path: Path) -> None:
    """Write `context` (rows, Fc) -> `reward` (rows, J) as a single ONNX file, and check it on these contexts.

    Raises GreenFlowError when ONNX Runtime's rewards differ from PyTorch's by more than `TOLERANCE`.
    """
    network.eval()
    rows = torch.export.Dim("rows")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecated calls
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            network,
            (torch.from_numpy(contexts[:3]),),
            dynamo=True,
            input_names=["context"],
            output_names=["reward"],
            dynamic_shapes=({0: rows},),
            verbose=False,
        )
    assert program is not None
    program.save(path, external_data=False)
    _check(network, contexts, path)


def _check(network: nn.Module, contexts: NDArray[Any], path: Path) -> None:
    session = Session.open(path)
    for rows in CHECKED_ROWS:
        part = contexts[np.arange(rows) % len(contexts)]
        expected, actual = predict(network, part), session.run({"context": part})
        worst = float((np.abs(actual - expected) / np.maximum(1.0, np.abs(expected))).max())
        if not worst <= TOLERANCE:
            raise GreenFlowError(f"{path.name}: ONNX and PyTorch differ by {worst:.2g}, allowed is {TOLERANCE:.0e}")


def _loss(rewards: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    inner = float(_centred(rewards).var()) + 1e-9
    outer = float(rewards.mean(dim=1).var()) + 1e-9

    def loss(predicted: Tensor, actual: Tensor) -> Tensor:
        error = predicted - actual
        return _centred(error).square().mean() / inner + LEVEL_WEIGHT * error.mean(dim=1).square().mean() / outer

    return loss


def _centred(rewards: Tensor) -> Tensor:
    return rewards - rewards.mean(dim=1, keepdim=True)
