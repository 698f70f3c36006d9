"""Reward networks: a context to what every chain would earn, for all chains in one run.

Recursive over stages: the state behind a stage comes from the state before it, the context and the chosen variant, so
chains with the same variants share all of it; a skipped stage hands the state on. The last state turns into weights of
functions of the item numbers (`ChainShape`). Where a stage is not free, its functions rise and are concave and their
weights are softplus, so that for any weights of the network the reward never falls, and gains ever less, with each of
that stage's item numbers.
"""

import torch
from torch import Tensor, nn

from models.training.reward_shape import ChainShape, ContextShape

USER_DIM, ENTRY_DIM, HEADS = 6, 8, 3
SIZE = 32
DROPOUT = 0.1


class Encoder(nn.Module):
    """A context to `size` numbers: user columns, and the history's descriptions pooled with several learned decays."""

    descriptions: Tensor

    def __init__(self, shape: ContextShape, size: int) -> None:
        super().__init__()
        self._shape = shape
        self.user = nn.ModuleList(nn.Embedding(codes, USER_DIM) for codes in shape.users if codes is not None)
        self.entry = nn.ModuleList(nn.Embedding(codes, ENTRY_DIM) for codes in shape.described)
        decay = torch.tensor([0.0, 0.15, 0.6])[:HEADS, None] * torch.arange(shape.history - 1, -1, -1)
        self.position = nn.Parameter(-decay)
        self.register_buffer("descriptions", torch.from_numpy(shape.descriptions), persistent=False)
        numbers = sum(codes is None for codes in shape.users)
        width = USER_DIM * len(self.user) + numbers + 2 * HEADS * ENTRY_DIM + HEADS
        self.out = nn.Sequential(nn.Linear(width, 2 * size), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(2 * size, size))

    def forward(self, context: Tensor) -> Tensor:
        """(rows, Fu + L) -> (rows, size)."""
        columns = len(self._shape.users)
        coded = [at for at, codes in enumerate(self._shape.users) if codes is not None]
        plain = [at for at, codes in enumerate(self._shape.users) if codes is None]
        parts = [embed(context[:, at].long()) for embed, at in zip(self.user, coded, strict=True)]
        parts += [context[:, at : at + 1].float() for at in plain]
        parts.append(self._pooled(context[:, columns:].long()))
        encoded: Tensor = self.out(torch.cat(parts, dim=1))
        return torch.relu(encoded)

    def _pooled(self, history: Tensor) -> Tensor:
        """(rows, L) -> (rows, ...): weighted means, their squares (they tell of breadth), and the weights' sums."""
        there = (history > 0).float()
        codes = self.descriptions[history].long()
        entries = torch.zeros(1)
        for at, embed in enumerate(self.entry):
            entries = entries + embed(codes[:, :, at])
        weights = torch.exp(self.position) * there.unsqueeze(1)
        total = weights.sum(dim=2, keepdim=True)
        means = (weights @ (entries * there.unsqueeze(2)) / (total + 0.5)).flatten(1)
        return torch.cat([means, means * means * 4.0, torch.log1p(total).flatten(1)], dim=1)


class RewardNet(nn.Module):
    """The structured network. `level` and `spread` put its output on the rewards' scale."""

    level: Tensor
    spread: Tensor
    features: Tensor
    place: Tensor
    positive: Tensor

    def __init__(self, context: ContextShape, chains: ChainShape, size: int = SIZE) -> None:
        super().__init__()
        self._stages = chains.stages
        self.encoder = Encoder(context, size)
        self.turn = nn.ParameterList(
            nn.Parameter(torch.randn(stage.variants, 2 * size, size) * (2 * size) ** -0.5) for stage in chains.stages
        )
        self.shift = nn.ParameterList(nn.Parameter(torch.zeros(stage.variants, size)) for stage in chains.stages)
        count = len(chains.positive)
        self.weigh = nn.Parameter(torch.randn(size, count) * 0.1 * size**-0.5)
        start = torch.where(torch.from_numpy(chains.positive), -3.0, 0.0)
        self.bias = nn.Parameter(start.repeat(chains.leaves, 1))
        self.register_buffer("level", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("positive", torch.from_numpy(chains.positive), persistent=False)
        features, place = _by_leaf(chains)
        self.register_buffer("features", features, persistent=False)
        self.register_buffer("place", place, persistent=False)

    def forward(self, context: Tensor) -> Tensor:
        """(rows, Fc) -> reward (rows, J)."""
        raw = self._states(self.encoder(context)) @ self.weigh + self.bias
        weights = torch.where(self.positive, nn.functional.softplus(raw), raw)
        by_leaf = torch.matmul(weights.transpose(0, 1), self.features)
        rewards = by_leaf.transpose(0, 1).flatten(1).index_select(1, self.place)
        return self.level + self.spread * rewards

    def _states(self, encoded: Tensor) -> Tensor:
        """(rows, size) -> the state of every leaf, (rows, leaves, size)."""
        states = encoded.unsqueeze(1)
        for stage, turn, shift in zip(self._stages, self.turn, self.shift, strict=True):
            both = torch.cat([states, encoded.unsqueeze(1).expand_as(states)], dim=2)
            after = [torch.relu(both @ turn[v] + shift[v]) for v in range(stage.variants)]
            after += [states] * stage.skippable
            states = torch.stack(after, dim=2).flatten(1, 2)
        return states


class PlainNet(nn.Module):
    """The same encoder without structure: one output per chain. To compare with."""

    level: Tensor
    spread: Tensor

    def __init__(self, context: ContextShape, chains: ChainShape, size: int = SIZE) -> None:
        super().__init__()
        self.encoder = Encoder(context, size)
        self.out = nn.Sequential(nn.Linear(size, 2 * size), nn.ReLU(), nn.Linear(2 * size, len(chains.leaf)))
        self.register_buffer("level", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    def forward(self, context: Tensor) -> Tensor:
        """(rows, Fc) -> reward (rows, J)."""
        rewards: Tensor = self.level + self.spread * self.out(self.encoder(context))
        return rewards


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
