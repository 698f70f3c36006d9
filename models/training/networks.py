"""The networks of recall and pre-ranking, the plain ranker, and the parts that all networks share.

Every scorer takes user (rows, Fu), history (rows, L), item (pairs, Fi), row (pairs,) and returns logits of a
click (pairs,). Work on the user's side is done once per row and gathered by `row`; a first layer over both
sides is therefore written as the sum of a layer over rows and a layer over pairs.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.worlds.base import World

USER_DIM = 4
DETAIL_DIM = 4
EMBEDDING_STD = 0.4
"""Large for an embedding: where two meet in a product, small ones start with hardly a gradient."""


@dataclass(frozen=True)
class Shapes:
    """What a network must know of a world: how many codes each column holds, and what describes the items.

    described are the places of the item columns that histories look up; descriptions (items + 1, len(described))
    gives their codes by item code.
    """

    users: tuple[int, ...]
    items: tuple[int, ...]
    history: int
    described: tuple[int, ...]
    descriptions: NDArray[np.int64]

    @classmethod
    def of(cls, world: World) -> "Shapes":
        """The shapes of a world whose columns are all codes."""
        names = [c.name for c in world.items.columns]
        described = tuple(names.index(name) for name in world.described)
        codes = np.zeros((len(world.items.ids) + 1, len(described)), dtype=np.int64)
        codes[1:] = world.items.features[:, described]
        users = tuple(int(c.cardinality or 0) for c in world.users.columns)
        items = tuple(int(c.cardinality or 0) for c in world.items.columns)
        return cls(users, items, world.history_length, described, codes)


class Inputs(nn.Module):
    """Embeddings of all columns. An item has `dim` numbers, what describes it half of that, the rest fewer.

    The item's and its descriptions' embeddings are shared with the histories.
    """

    descriptions: Tensor

    def __init__(self, shapes: Shapes, dim: int) -> None:
        super().__init__()
        self._described = shapes.described
        self._rest = [at for at in range(1, len(shapes.items)) if at not in shapes.described]
        widths = {0: dim} | dict.fromkeys(shapes.described, dim // 2) | dict.fromkeys(self._rest, DETAIL_DIM)
        self.user = nn.ModuleList(_embedding(codes, USER_DIM) for codes in shapes.users)
        self.item = nn.ModuleList(_embedding(codes, widths[at]) for at, codes in enumerate(shapes.items))
        self.register_buffer("descriptions", torch.from_numpy(shapes.descriptions), persistent=False)
        self.entry_dim = dim + len(shapes.described) * (dim // 2)
        self.user_dim = USER_DIM * len(shapes.users)
        self.item_dim = sum(widths.values())

    def users(self, user: Tensor) -> Tensor:
        """(rows, Fu) -> (rows, user_dim)."""
        return torch.cat([embed(user[:, at]) for at, embed in enumerate(self.user)], dim=1)

    def items(self, item: Tensor) -> Tensor:
        """(pairs, Fi) -> (pairs, item_dim); the first entry_dim numbers are as in `entries`."""
        order = [0, *self._described, *self._rest]
        return torch.cat([self.item[at](item[:, at]) for at in order], dim=1)

    def entries(self, history: Tensor) -> Tensor:
        """(rows, L) -> (rows, L, entry_dim), zeros where there is no entry."""
        parts = [self.item[0](history)]
        codes = self.descriptions[history]
        parts += [self.item[at](codes[:, :, place]) for place, at in enumerate(self._described)]
        return torch.cat(parts, dim=2) * (history > 0).unsqueeze(2)


class Pooled(nn.Module):
    """A weighted mean of the history: weights by position, learned, so that newer entries may count more."""

    def __init__(self, length: int, by_position: bool) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(length), requires_grad=by_position)

    def forward(self, entries: Tensor, history: Tensor) -> Tensor:
        """(rows, L, D) and (rows, L) -> (rows, D)."""
        weights = torch.exp(self.position) * (history > 0)
        total = weights.sum(dim=1, keepdim=True) + 1.0
        return (weights.unsqueeze(2) * entries).sum(dim=1) / total


class Tower(nn.Module):
    """Two-tower recall (DSSM; Huang et al., CIKM 2013). score(row, item) = query(row) . vector(item).

    The last number of a query is 1 and that of a vector the item's bias, so `size` counts the bias.
    """

    def __init__(self, shapes: Shapes, dim: int, hidden: int, size: int, by_position: bool) -> None:
        super().__init__()
        self.inputs = Inputs(shapes, dim)
        self.pooled = Pooled(shapes.history, by_position)
        self.user_side = _mlp(self.inputs.user_dim + self.inputs.entry_dim, hidden, size - 1)
        self.item_side = _mlp(self.inputs.item_dim, hidden, size)

    def forward(self, user: Tensor, history: Tensor) -> Tensor:
        """(rows, Fu), (rows, L) -> query (rows, size)."""
        pooled = self.pooled(self.inputs.entries(history), history)
        query = self.user_side(torch.cat([self.inputs.users(user), pooled], dim=1))
        return nn.functional.pad(query, (0, 1), value=1.0)

    def vectors(self, item: Tensor) -> Tensor:
        """(n, Fi) -> (n, size)."""
        vectors: Tensor = self.item_side(self.inputs.items(item))
        return vectors


class YoutubeDnn(nn.Module):
    """Pre-ranker like YouTubeDNN (Covington et al., RecSys 2016): user and item meet in one dot product."""

    def __init__(self, shapes: Shapes, dim: int, hidden: int, size: int, by_position: bool) -> None:
        super().__init__()
        self.inputs = Inputs(shapes, dim)
        self.pooled = Pooled(shapes.history, by_position)
        self.user_side = _mlp(self.inputs.user_dim + self.inputs.entry_dim, hidden, size + 1)
        self.item_side = nn.Linear(self.inputs.item_dim, size + 1)

    def forward(self, user: Tensor, history: Tensor, item: Tensor, row: Tensor) -> Tensor:
        """Logits (pairs,)."""
        pooled = self.pooled(self.inputs.entries(history), history)
        left = self.user_side(torch.cat([self.inputs.users(user), pooled], dim=1)).index_select(0, row)
        right = self.item_side(self.inputs.items(item))
        logits: Tensor = (left[:, 1:] * right[:, 1:]).sum(dim=1) + left[:, 0] + right[:, 0]
        return logits


class Mlp(nn.Module):
    """The plain ranker: pooled history, its product with the item, and a small network over all of it."""

    def __init__(self, shapes: Shapes, dim: int, hidden: int) -> None:
        super().__init__()
        self.inputs = Inputs(shapes, dim)
        self.pooled = Pooled(shapes.history, by_position=True)
        self.head = Head(self.inputs, extra=self.inputs.entry_dim, hidden=hidden)

    def forward(self, user: Tensor, history: Tensor, item: Tensor, row: Tensor) -> Tensor:
        """Logits (pairs,)."""
        users, items = self.inputs.users(user), self.inputs.items(item)
        pooled = self.pooled(self.inputs.entries(history), history)
        product = pooled.index_select(0, row) * items[:, : self.inputs.entry_dim]
        logits: Tensor = self.head(torch.cat([users, pooled], dim=1), items, product, row)
        return logits


class Head(nn.Module):
    """The last layers of a ranker, the first of them split by side; `extra` numbers depend on the pair."""

    def __init__(self, inputs: Inputs, extra: int, hidden: int) -> None:
        super().__init__()
        self.from_user = nn.Linear(inputs.user_dim + inputs.entry_dim, hidden)
        self.from_pair = nn.Linear(inputs.item_dim + extra, hidden, bias=False)
        half = hidden // 2
        self.out = nn.Sequential(nn.ReLU(), nn.Linear(hidden, half), nn.ReLU(), nn.Linear(half, 1))

    def forward(self, user: Tensor, items: Tensor, extra: Tensor, row: Tensor) -> Tensor:
        """user (rows, user_dim + entry_dim), items (pairs, item_dim), extra (pairs, extra) -> (pairs,)."""
        both = self.from_user(user).index_select(0, row) + self.from_pair(torch.cat([items, extra], dim=1))
        logits: Tensor = self.out(both).squeeze(1)
        return logits


def _embedding(codes: int, dim: int) -> nn.Embedding:
    embedding = nn.Embedding(codes, dim)
    nn.init.normal_(embedding.weight, std=EMBEDDING_STD)
    return embedding


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
