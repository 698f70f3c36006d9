"""The reward networks' common part: a context to a few numbers that tell how chains differ for its user.

What a bigger model gains over a smaller one depends on how much a history tells and how it is spread: over few topics
or many, lately or long ago. So histories are counted, not embedded alone: by code of each small item column, with
several decays, with the largest counts in order, which say the same of users who like different things.
"""

import torch
from torch import Tensor, nn

from models.training.reward_shape import ContextShape

USER_DIM, ENTRY_DIM = 4, 6
DECAYS = (1.0, 0.8, 0.5)
"""What an entry counts, per newer entry: the whole history, some five clicks, two."""
LARGEST = 4
COUNTED_CODES = 64
NORM_EPSILON = 1e-5


class Encoder(nn.Module):
    """A context to `size` numbers, of which none is negative."""

    descriptions: Tensor
    decays: Tensor

    def __init__(self, shape: ContextShape, hidden: int, size: int, dropout: float) -> None:
        super().__init__()
        self.shape = shape
        self.user = nn.ModuleList(nn.Embedding(codes, USER_DIM) for codes in shape.users if codes is not None)
        self.entry = nn.ModuleList(nn.Embedding(codes, ENTRY_DIM) for codes in shape.described)
        ages = torch.arange(shape.history - 1, -1, -1)
        self.register_buffer("decays", torch.tensor(DECAYS)[:, None] ** ages, persistent=False)
        self.register_buffer("descriptions", torch.from_numpy(shape.descriptions), persistent=False)
        of_user = USER_DIM * len(shape.coded) + len(shape.plain)
        of_entries = ENTRY_DIM * (len(self.entry) > 0) + sum(map(self._numbers, range(len(shape.described))))
        width = of_user + len(DECAYS) * (1 + of_entries)
        self.norm = nn.BatchNorm1d(width, NORM_EPSILON)
        layers = nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, size), nn.ReLU()
        self.out = nn.Sequential(*layers)

    def forward(self, context: Tensor) -> Tensor:
        """(rows, Fu + L) -> (rows, size)."""
        parts = [embed(context[:, at].long()) for embed, at in zip(self.user, self.shape.coded, strict=True)]
        parts += [context[:, at : at + 1].float() for at in self.shape.plain]
        parts += self._of_history(context[:, len(self.shape.users) :].long())
        encoded: Tensor = self.out(self.norm(torch.cat(parts, dim=1)))
        return encoded

    def _numbers(self, at: int) -> int:
        """How many numbers tell of a described column, for each decay."""
        codes = self.shape.described[at]
        if self.shape.ordered[at]:
            return 1
        return codes + min(LARGEST, codes) if codes <= COUNTED_CODES else 0

    def _of_history(self, history: Tensor) -> list[Tensor]:
        """(rows, L) -> by decay: the entries' weight, their embeddings' mean, and what tells of each column."""
        weights = self.decays * (history > 0).float().unsqueeze(1)
        total = weights.sum(dim=2, keepdim=True)
        codes = self.descriptions[history].long()
        parts = [torch.log1p(total)]
        if len(self.entry):
            first, *others = (embed(codes[:, :, at]) for at, embed in enumerate(self.entry))
            for one in others:
                first = first + one
            parts.append(weights @ first / (total + 0.5))
        for at, size in enumerate(self.shape.described):
            if self.shape.ordered[at]:
                parts.append(weights @ codes[:, :, at : at + 1].float() / (total + 0.5))
            elif size <= COUNTED_CODES:
                counts = weights @ nn.functional.one_hot(codes[:, :, at], size).float()
                # Roots, so that the step from no click on a topic to one counts most.
                parts += [torch.sqrt(counts), counts.topk(min(LARGEST, size), dim=2).values]
        return [part.flatten(1) for part in parts]
