"""The network of a click model: effects of every code, how the item fits the history, and a few learned factors."""

import torch
from torch import Tensor, nn

from models.training.networks import Shapes

START_STD = 0.05


class ClickNet(nn.Module):
    """Logit of a click: bias + effects of the codes + fit to the history + user factors . item factors.

    Small and linear in all but the factors, so that a ridge penalty alone decides how much it learns. Takes what a
    ranker takes, user (rows, Fu), history (rows, L), item (pairs, Fi), row (pairs,), and gives logits (pairs,).

    The fit to the history are, for the item itself and for each column that histories look up, the share of the
    history's entries that have the item's code. `factors` 0 leaves the last part out. `scale` and `shift` calibrate
    the logit afterwards (Platt).
    """

    scale: Tensor
    shift: Tensor
    descriptions: Tensor

    def __init__(self, shapes: Shapes, factors: int) -> None:
        super().__init__()
        self.factors, self._described = factors, shapes.described
        self.bias = nn.Parameter(torch.zeros(()))
        self.user = _Effects(shapes.users, factors)
        self.item = _Effects(shapes.items, factors)
        self.fit = nn.Parameter(torch.zeros(1 + len(shapes.described)))
        self.past = nn.Embedding(shapes.items[0], max(factors, 1))
        nn.init.normal_(self.past.weight, std=START_STD)
        self.register_buffer("descriptions", torch.from_numpy(shapes.descriptions), persistent=False)
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("shift", torch.zeros(()))

    def forward(self, user: Tensor, history: Tensor, item: Tensor, row: Tensor) -> Tensor:
        """Logits (pairs,)."""
        return self.logits(user, history, item, row, self.shares(history, item, row))

    def logits(self, user: Tensor, history: Tensor, item: Tensor, row: Tensor, shares: Tensor) -> Tensor:
        """The same for shares that are known already: they have no weights, and fitting needs them many times."""
        of_user, of_item = self.user(user), self.item(item)
        logits = self.bias + of_user[:, 0].index_select(0, row) + of_item[:, 0] + shares @ self.fit
        if self.factors:
            there = (history > 0).unsqueeze(2)
            past = (self.past(history) * there).sum(dim=1) / (there.sum(dim=1) + 1.0)
            taste = (of_user[:, 1:] + past).index_select(0, row)
            logits = logits + (taste * of_item[:, 1:]).sum(dim=1)
        calibrated: Tensor = self.scale * logits + self.shift
        return calibrated

    def shares(self, history: Tensor, item: Tensor, row: Tensor) -> Tensor:
        """(pairs, 1 + described): how much of the history is this item, and has its code in each such column."""
        there = (history > 0).index_select(0, row)
        of_history = [history, *self.descriptions[history].unbind(2)]
        of_item = [item[:, 0], *(item[:, at] for at in self._described)]
        same = [
            ((past.index_select(0, row) == code.unsqueeze(1)) & there).sum(dim=1)
            for past, code in zip(of_history, of_item, strict=True)
        ]
        return torch.stack(same, dim=1) / (there.sum(dim=1, keepdim=True) + 1.0)

    def penalty(self, effects: float, factors: float) -> Tensor:
        """Ridge: `effects` / 2 times the squared effects and fits, `factors` / 2 times the squared factors."""
        tables = (self.user.table.weight, self.item.table.weight)
        linear = sum((table[:, 0].square().sum() for table in tables), self.fit.square().sum())
        product = sum((table[:, 1:].square().sum() for table in tables), self.past.weight.square().sum())
        total: Tensor = (effects * linear + factors * product) / 2
        return total


class _Effects(nn.Module):
    """One side's columns in one table: each code's effect, and its factors; those of a row are added up."""

    offsets: Tensor

    def __init__(self, columns: tuple[int, ...], factors: int) -> None:
        super().__init__()
        self.table = nn.Embedding(sum(columns), 1 + factors)
        nn.init.normal_(self.table.weight, std=START_STD)
        with torch.no_grad():
            self.table.weight[:, 0] = 0.0
        starts = torch.cumsum(torch.tensor([0, *columns[:-1]]), 0)
        self.register_buffer("offsets", starts, persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        """(n, F) -> (n, 1 + factors)."""
        summed: Tensor = self.table(codes + self.offsets).sum(dim=1)
        return summed
