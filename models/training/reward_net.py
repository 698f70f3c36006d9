"""Reward networks: a context to what every chain would earn, for all chains in one run.

Recursive over stages: the state behind a stage comes from the state before it, the context and the chosen variant, so
chains with the same variants share all of it; a skipped stage hands the state on. The last state turns into weights of
functions of the item numbers (`ChainShape`). Where a stage is not free, its functions rise and are concave and their
weights are positive, so that for any weights of the network the reward never falls, and gains ever less, with each of
that stage's item numbers.

What is personal about the weights is kept apart from what holds for everybody, the bias: it starts from nothing, and
can be shrunk as a whole without breaking the structure.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import lsq_linear
from torch import Tensor, nn

from models.training.reward_encoder import Encoder
from models.training.reward_shape import ChainShape, ContextShape

HIDDEN, ENCODED, STATE = 96, 32, 24
DROPOUT = 0.4
"""For a table of clicks, which are noise for the greater part."""
BEND = 0.01
LEAST_WEIGHT = 0.01
"""Of a positive weight at the start: nearer to zero it hardly learns."""


class RewardNet(nn.Module):
    """The structured network. `level` and `spread` put its output on the rewards' scale."""

    level: Tensor
    spread: Tensor
    shrink: Tensor
    centre: Tensor
    features: Tensor
    place: Tensor
    positive: Tensor

    def __init__(self, context: ContextShape, chains: ChainShape, dropout: float = DROPOUT) -> None:
        super().__init__()
        self.chains = chains
        self.encoder = Encoder(context, HIDDEN, ENCODED, dropout)
        widths = [stage.variants * STATE for stage in chains.stages]
        self.go_on = nn.ParameterList(nn.Parameter(torch.randn(STATE, width) * STATE**-0.5) for width in widths)
        self.of_context = nn.ModuleList(nn.Linear(ENCODED, width) for width in widths)
        count = len(chains.positive)
        self.weigh = nn.Parameter(torch.zeros(STATE, count))
        self.bias = nn.Parameter(torch.zeros(chains.leaves, count))
        self.of_user = nn.Linear(ENCODED, 1)
        self.register_buffer("level", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("shrink", torch.ones(()))
        self.register_buffer("centre", torch.zeros(chains.leaves, count))
        self.register_buffer("positive", torch.from_numpy(chains.positive), persistent=False)
        features, place = _by_leaf(chains)
        self.register_buffer("features", features, persistent=False)
        self.register_buffer("place", place, persistent=False)

    def forward(self, context: Tensor) -> Tensor:
        """(rows, Fc) -> reward (rows, J)."""
        encoded = self.encoder(context)
        raw = self.shrink * (self._states(encoded) @ self.weigh - self.centre) + self.bias
        weights = torch.where(self.positive, _positive(raw), raw)
        by_leaf = torch.matmul(weights.transpose(0, 1), self.features)
        rewards = by_leaf.transpose(0, 1).flatten(1).index_select(1, self.place)
        total: Tensor = self.level + self.spread * (rewards + self.of_user(encoded))
        return total

    def start(self, level: float, spread: float, means: NDArray[np.float64]) -> None:
        """Begin as the rewards' level, plus for each chain the difference `means` (J,): as near as structure allows."""
        self.level.fill_(level)
        self.spread.fill_(spread)
        chains = self.chains
        low = np.where(chains.positive, LEAST_WEIGHT, -np.inf)
        for leaf in np.unique(chains.leaf):
            of_leaf = chains.leaf == leaf
            columns = chains.features[of_leaf].astype(np.float64)
            ridge = 1e-3 * np.eye(len(low))
            wanted = np.concatenate([means[of_leaf] / spread, np.zeros(len(low))])
            found = lsq_linear(np.concatenate([columns, ridge]), wanted, (low, np.inf)).x
            raw = np.where(chains.positive, found - 0.25 * BEND / np.maximum(found, LEAST_WEIGHT), found)
            self.bias.data[leaf] = torch.from_numpy(raw).float()

    @torch.no_grad()
    def settle(self, contexts: Tensor) -> None:
        """Move what these users (n, Fc) have in common from the personal part into the bias, rewards unchanged."""
        self.eval()
        parts = torch.split(contexts, 512)
        total = torch.stack([self._states(self.encoder(part)).sum(dim=0) for part in parts]).sum(dim=0)
        common = total @ self.weigh / len(contexts)
        self.bias.add_(common - self.centre)
        self.centre.copy_(common)

    def _states(self, encoded: Tensor) -> Tensor:
        """(rows, ENCODED) -> the state of every leaf, (rows, leaves, STATE)."""
        states = encoded.new_zeros(encoded.shape[0], 1, STATE)
        for stage, go_on, of_context in zip(self.chains.stages, self.go_on, self.of_context, strict=True):
            after = torch.relu(states @ go_on + of_context(encoded).unsqueeze(1))
            after = torch.unflatten(after, 2, (stage.variants, STATE))
            if stage.skippable:
                after = torch.cat([after, states.unsqueeze(2)], dim=2)
            states = after.flatten(1, 2)
        return states


class Ensemble(nn.Module):
    """The mean of several networks: what they agree on. It keeps the structure that all of them have."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, context: Tensor) -> Tensor:
        """(rows, Fc) -> reward (rows, J)."""
        total = self.members[0](context)
        for member in self.members[1:]:
            total = total + member(context)
        mean: Tensor = total * (1.0 / len(self.members))
        return mean


class PlainNet(nn.Module):
    """The same encoder without structure: one output per chain. To compare with."""

    level: Tensor
    spread: Tensor
    means: Tensor
    shrink: Tensor

    def __init__(self, context: ContextShape, chains: ChainShape) -> None:
        super().__init__()
        self.encoder = Encoder(context, HIDDEN, ENCODED, DROPOUT)
        self.out = nn.Linear(ENCODED, len(chains.leaf))
        self.of_user = nn.Linear(ENCODED, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.register_buffer("level", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("shrink", torch.ones(()))
        self.register_buffer("means", torch.zeros(len(chains.leaf)))

    def start(self, level: float, spread: float, means: NDArray[np.float64]) -> None:
        """Begin as the rewards' level, plus for each chain the difference `means` (J,)."""
        self.level.fill_(level)
        self.spread.fill_(spread)
        self.means.copy_(torch.from_numpy(means / spread))

    @torch.no_grad()
    def settle(self, contexts: Tensor) -> None:
        """Nothing: the means stand apart from the start."""

    def forward(self, context: Tensor) -> Tensor:
        """(rows, Fc) -> reward (rows, J)."""
        encoded = self.encoder(context)
        rewards: Tensor = self.means + self.shrink * self.out(encoded) + self.of_user(encoded)
        return self.level + self.spread * rewards


def _positive(raw: Tensor) -> Tensor:
    """Squareplus: smooth, rising, above zero; its inverse is x - BEND / (4 x). Far cheaper to run than a softplus.

    It bends sharply, because weights that should be zero add up, and make a larger number look better than it is.
    """
    positive: Tensor = 0.5 * (raw + torch.sqrt(raw * raw + BEND))
    return positive


def _by_leaf(chains: ChainShape) -> tuple[Tensor, Tensor]:
    """The chains' features by leaf, (leaves, F, most chains of a leaf), and where in it each chain stands, (J,)."""
    leaf = torch.from_numpy(chains.leaf)
    width = int(torch.bincount(leaf, minlength=chains.leaves).max())
    features = torch.zeros(chains.leaves, len(chains.positive), width)
    filled = [0] * chains.leaves
    place = torch.zeros(len(leaf), dtype=torch.int64)
    for chain, at in enumerate(leaf.tolist()):
        features[at, :, filled[at]] = torch.from_numpy(chains.features[chain])
        place[chain] = at * width + filled[at]
        filled[at] += 1
    return features, place
