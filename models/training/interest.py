"""Rankers that look at the history through the eyes of the item: DIN and DIEN."""

import torch
from torch import Tensor, nn

from models.training.networks import Head, Inputs, Pooled, Shapes

ATTENTION_DIM = 12


class Attention(nn.Module):
    """How much each history entry matters for an item: logits (pairs, L).

    w . relu(A key + B query) + (A' key) . query. Both projections of the keys run once per row.
    """

    def __init__(self, key_dim: int, query_dim: int) -> None:
        super().__init__()
        self.of_key = nn.Linear(key_dim, ATTENTION_DIM)
        self.of_query = nn.Linear(query_dim, ATTENTION_DIM, bias=False)
        self.match = nn.Linear(key_dim, query_dim, bias=False)
        self.out = nn.Linear(ATTENTION_DIM, 1)

    def forward(self, keys: Tensor, query: Tensor, row: Tensor) -> Tensor:
        """keys (rows, L, K), query (pairs, Q), row (pairs,) -> (pairs, L)."""
        mixed = torch.relu(self.of_key(keys).index_select(0, row) + self.of_query(query).unsqueeze(1))
        matched = torch.bmm(self.match(keys).index_select(0, row), query.unsqueeze(2)).squeeze(2)
        logits: Tensor = self.out(mixed).squeeze(2) + matched
        return logits


class Din(nn.Module):
    """Deep interest network (Zhou et al., KDD 2018): the history's entries summed by their attention to the
    item.

    As in the paper the attention weights are not normalised, so that their sum keeps the strength of the
    interest.
    """

    def __init__(self, shapes: Shapes, dim: int, hidden: int) -> None:
        super().__init__()
        self.inputs = Inputs(shapes, dim)
        entry = self.inputs.entry_dim
        self.pooled = Pooled(shapes.history, by_position=True)
        self.attention = Attention(entry, entry)
        self.head = Head(self.inputs, extra=3 * entry, hidden=hidden)

    def forward(self, user: Tensor, history: Tensor, item: Tensor, row: Tensor) -> Tensor:
        """Logits (pairs,)."""
        users, items = self.inputs.users(user), self.inputs.items(item)
        entries = self.inputs.entries(history)
        pooled = self.pooled(entries, history)
        query = items[:, : self.inputs.entry_dim]
        weights = torch.sigmoid(self.attention(entries, query, row)) * (history > 0).index_select(0, row)
        interest = torch.bmm(weights.unsqueeze(1), entries.index_select(0, row)).squeeze(1)
        product = pooled.index_select(0, row) * query
        extra = torch.cat([product, interest, interest * query], dim=1)
        logits: Tensor = self.head(torch.cat([users, pooled], dim=1), items, extra, row)
        return logits


class Dien(nn.Module):
    """Deep interest evolution network (Zhou et al., AAAI 2019).

    A GRU over the history gives interest states, once per row; an auxiliary loss teaches each state to tell
    the next entry from another one (`auxiliary_loss`). The evolution towards an item is a GRU whose update
    gate is scaled by the attention (AUGRU). Here its gate u_t and candidate c_t come from the interest state
    alone, not from the evolving state, so they too run once per row, and the recurrence is linear and has a
    closed form per pair:

        h_T = sum_t g_t c_t prod_{s > t} (1 - g_s),   g_t = attention_t * u_t
    """

    def __init__(self, shapes: Shapes, dim: int, hidden: int) -> None:
        super().__init__()
        self.inputs = Inputs(shapes, dim)
        entry = self.inputs.entry_dim
        self.pooled = Pooled(shapes.history, by_position=True)
        self.gru = nn.GRU(entry, entry, batch_first=True)
        self.attention = Attention(entry, entry)
        self.gate = nn.Linear(2 * entry, entry)
        self.candidate = nn.Linear(2 * entry, entry)
        self.head = Head(self.inputs, extra=5 * entry, hidden=hidden)

    def forward(self, user: Tensor, history: Tensor, item: Tensor, row: Tensor) -> Tensor:
        """Logits (pairs,)."""
        users, items = self.inputs.users(user), self.inputs.items(item)
        entries = self.inputs.entries(history)
        pooled = self.pooled(entries, history)
        query = items[:, : self.inputs.entry_dim]
        states, _ = self.gru(entries)
        both = torch.cat([entries, states], dim=2)
        there = (history > 0).index_select(0, row)
        attention = torch.sigmoid(self.attention(entries, query, row)) * there
        evolved = self._evolve(both, attention, row)
        interest = torch.bmm(attention.unsqueeze(1), entries.index_select(0, row)).squeeze(1)
        product = pooled.index_select(0, row) * query
        extra = torch.cat([product, interest, interest * query, evolved, evolved * query], dim=1)
        logits: Tensor = self.head(torch.cat([users, pooled], dim=1), items, extra, row)
        return logits

    def _evolve(self, both: Tensor, attention: Tensor, row: Tensor) -> Tensor:
        """both (rows, L, 2D), attention (pairs, L) -> the evolved interest (pairs, D)."""
        gate = 0.98 * torch.sigmoid(self.gate(both)).index_select(0, row) * attention.unsqueeze(2)
        kept = torch.log(1.0 - gate)
        after = kept.sum(dim=1, keepdim=True) - torch.cumsum(kept, dim=1)
        candidate = torch.tanh(self.candidate(both)).index_select(0, row)
        return (gate * torch.exp(after) * candidate).sum(dim=1)

    def auxiliary_loss(self, history: Tensor, shift: int) -> Tensor:
        """Whether state t tells entry t + 1 from another row's (`shift` rows on), as in the paper."""
        entries = self.inputs.entries(history)
        states = self.gru(entries)[0][:, :-1]
        real = (states * entries[:, 1:]).sum(dim=2)
        other = (states * entries[:, 1:].roll(shift, dims=0)).sum(dim=2)
        both = (history[:, :-1] > 0) & (history[:, 1:].roll(shift, dims=0) > 0)
        losses = nn.functional.softplus(-real) + nn.functional.softplus(other)
        return (losses * both).sum() / both.sum().clamp(min=1)
