"""What a correction of rewards may depend on: numbers that tell of a request's context, and of a chain."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from allocator.chains import ActionChain, ChainSpace
from allocator.choice import Floats, Ints, Rewards
from models.spec import CascadeSpec
from models.training.reward_shape import ContextShape

MOST_CODES = 32
"""A user column of more codes is left out, but for its level where its codes are ordered."""
FEW_CODES = 4
"""A user column of no more codes may change what everything else means."""
RARE = 0.005
"""A code that is rarer, or more common than all but so much, tells too little to have a number of its own."""
DIRECTIONS = 3
WAYS = 16
LARGEST = 3
DECAY = 0.9
Columns = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class OfContext:
    """Numbers of a context: which codes its user columns have, the levels of ordered ones, how long its history is and
    how it is spread, and what the current model says: the level, and how the chains differ beyond what is common; and
    the products of all but the codes with the codes of columns of few, for users of one kind may have changed alone.

    Each has mean 0 and variance 1 over the contexts that it was made from; `groups` says which belong together.

    common      (J,) what the current model predicts for each chain on the mean
    directions  (J, DIRECTIONS) the ways in which its predictions differ most between contexts
    """

    shape: ContextShape
    common: Floats
    directions: Floats
    kept: NDArray[np.bool_]
    centre: Floats
    scale: Floats
    groups: Ints

    @classmethod
    def of(cls, shape: ContextShape, contexts: NDArray[Any], predicted: Rewards) -> Self:
        """From contexts (n, Fc), and what the current model predicts for them, (n, J)."""
        common = predicted.mean(axis=0, dtype=np.float64)
        directions = _directions(personal(predicted, common))[0][:, :DIRECTIONS]
        raw, groups, indicators = _raw(shape, common, directions, contexts, predicted)
        means, spreads = raw.mean(axis=0), raw.std(axis=0)
        kept = (spreads > 1e-9) & ~(indicators & ((means < RARE) | (means > 1 - RARE)))
        _, numbered = np.unique(groups[kept], return_inverse=True)
        return cls(shape, common, directions, kept, means[kept], spreads[kept], numbered.astype(np.int64))

    def __len__(self) -> int:
        return len(self.groups)

    def __call__(self, contexts: NDArray[Any], predicted: Rewards) -> Columns:
        """(n, Fc), (n, J) -> (n, C)."""
        raw, _, _ = _raw(self.shape, self.common, self.directions, contexts, predicted)
        found: Columns = ((raw[:, self.kept] - self.centre) / self.scale).astype(np.float32)
        return found


def _raw(
    shape: ContextShape, common: Floats, directions: Floats, contexts: NDArray[Any], predicted: Rewards
) -> tuple[Floats, Ints, NDArray[np.bool_]]:
    """The numbers as they are, the group of each, and which are 0 or 1."""
    parts: list[tuple[Floats, int, bool]] = []
    users = len(shape.users)
    for at, (codes, ordered) in enumerate(zip(shape.users, shape.users_ordered, strict=True)):
        column = contexts[:, at].astype(np.float64)
        if codes is not None and codes <= MOST_CODES:
            parts.append((column[:, None] == np.arange(codes), at, True))
        if codes is None or ordered:
            parts.append((column[:, None], at, False))
    parts.append((_of_history(shape, contexts[:, users:].astype(np.int64)), users, False))
    level = predicted.mean(axis=1, keepdims=True)
    parts.append((level.astype(np.float64), users + 1, False))
    parts.append((personal(predicted, common) @ directions, users + 2, False))
    few = [at for at in shape.coded if (shape.users[at] or 0) <= FEW_CODES]
    plain = np.concatenate([part for part, _, coded in parts if not coded], axis=1)
    for at in few:
        kinds = contexts[:, at, None] == np.arange(shape.users[at] or 0)
        parts.append(((kinds[:, :, None] * plain[:, None, :]).reshape(len(contexts), -1), users + 3 + at, False))
    columns = np.concatenate([part.astype(np.float64) for part, _, _ in parts], axis=1)
    groups = np.concatenate([np.full(part.shape[1], group) for part, group, _ in parts])
    return columns, groups, np.concatenate([np.full(part.shape[1], flag) for part, _, flag in parts])


def personal(predicted: Rewards, common: Floats) -> Floats:
    """What (n, J) predictions say of a context's chains beyond its level, and beyond what holds for all, (J,)."""
    found: Floats = predicted - predicted.mean(axis=1, keepdims=True) - (common - common.mean())
    return found


def ways_of(predicted: Rewards) -> Columns:
    """The ways in which chains differ as the current model knows them, (J, WAYS or J).

    They are the principal directions of its predictions (n, J) beyond each context's level, each as large as it counts
    there: when users change, it is the same chains that differ, by other amounts.
    """
    directions, spreads = _directions((predicted - predicted.mean(axis=1, keepdims=True)).astype(np.float64))
    scaled = directions * np.sqrt(len(directions)) * spreads / max(float(spreads.max(initial=0.0)), 1e-9)
    found: Columns = scaled[:, :WAYS].astype(np.float32)
    return found


def _directions(differences: Floats) -> tuple[Floats, Floats]:
    """Orthonormal directions (J, J) in which rows (n, J) spread, the widest first; and how far each, (J,)."""
    squares, vectors = np.linalg.eigh(differences.T @ differences / max(len(differences), 1))
    return vectors[:, ::-1], np.sqrt(np.maximum(squares[::-1], 0.0))


def _of_history(shape: ContextShape, history: Ints) -> Floats:
    """How much of a history there is, and for each item column how its codes share it: the largest shares in order."""
    weights = (history > 0) * DECAY ** np.arange(history.shape[1] - 1, -1, -1)
    total = weights.sum(axis=1, keepdims=True)
    parts = [total, np.log1p(total)]
    for at, size in enumerate(shape.described):
        counts = np.zeros((len(history), size))
        np.add.at(counts, (np.arange(len(history))[:, None], shape.descriptions[history, at]), weights)
        shares = -np.sort(-counts, axis=1)[:, :LARGEST] / np.maximum(total, 1.0)
        parts += [shares, (counts * counts).sum(axis=1, keepdims=True) / np.maximum(total, 1.0) ** 2]
    return np.concatenate(parts, axis=1)


def of_chains(spec: CascadeSpec, space: ChainSpace) -> Columns:
    """Numbers of each chain, (J, H): its variants, its item numbers in logarithms, and both together.

    Each has mean 0 and variance 1 over the chains.
    """
    parts: list[Floats] = []
    for at, stage in enumerate(spec.stages):
        names: Sequence[str | None] = [*(v.name for v in stage.variants), *([None] if stage.skippable else [])]
        which = np.array([[chain.actions[at].variant == name for name in names] for chain in space], dtype=np.float64)
        numbers = np.array([[_number(chain, at, stage.items)] for chain in space])
        parts += [which, numbers, which * numbers]
    columns = np.concatenate(parts, axis=1)
    columns = columns[:, columns.std(axis=0) > 1e-9]
    found: Columns = ((columns - columns.mean(axis=0)) / columns.std(axis=0)).astype(np.float32)
    return found


def _number(chain: ActionChain, at: int, offered: Sequence[int]) -> float:
    action = chain.actions[at]
    return float(np.log(action.items / min(offered))) if offered and action.variant is not None else 0.0
