"""What a reward network must know of a cascade: its contexts, and how its chains are made of variants and numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from models.features import Array
from models.spec import CascadeSpec

IntArray = NDArray[np.int64]
DESCRIBING_CODES = 256
"""An item column describes a history when it has at most so many codes: what users alike have in common."""
HINGES = 6
Actions = Sequence[tuple[str | None, int]]
"""One chain: (variant, items) by stage; a skipped stage has no variant."""


@dataclass(frozen=True)
class ContextShape:
    """A context row is the user's columns, then the history's item codes (item row + 1, newest last, 0 for nothing).

    users          codes of each user column, None for a number
    users_ordered  which of the user columns hold levels of something, so that a larger code means more
    history        entries of a history
    described      codes of each item column that describes the history
    ordered        which of those hold levels of something
    descriptions   (items + 1, len(described)) uint8, those columns by item code
    """

    users: tuple[int | None, ...]
    users_ordered: tuple[bool, ...]
    history: int
    described: tuple[int, ...]
    ordered: tuple[bool, ...]
    descriptions: NDArray[np.uint8]

    @classmethod
    def of(cls, spec: CascadeSpec, item_features: Array, history: int) -> "ContextShape":
        """From a cascade's file, its item table (items, Fi) and its histories' length."""
        columns = spec.tables.items.columns
        used = [at for at, c in enumerate(columns) if c.cardinality is not None and c.cardinality <= DESCRIBING_CODES]
        codes = np.zeros((len(item_features) + 1, len(used)), dtype=np.uint8)
        codes[1:] = item_features[:, used].astype(np.uint8)
        sizes = tuple(int(columns[at].cardinality or 0) for at in used)
        ordered = tuple(columns[at].edges is not None for at in used)
        of_users = spec.tables.users.columns
        users = tuple(c.cardinality for c in of_users), tuple(c.edges is not None or c.number is True for c in of_users)
        return cls(*users, history, sizes, ordered, codes)

    @property
    def coded(self) -> tuple[int, ...]:
        """The user columns that hold codes."""
        return tuple(at for at, codes in enumerate(self.users) if codes is not None)

    @property
    def plain(self) -> tuple[int, ...]:
        """The user columns whose numbers, or levels, mean something as numbers."""
        return tuple(at for at, codes in enumerate(self.users) if codes is None or self.users_ordered[at])


@dataclass(frozen=True)
class StageShape:
    """A stage: how many variants, whether it may be skipped, its item numbers, whether they are free of structure."""

    variants: int
    skippable: bool
    numbers: tuple[int, ...]
    free: bool

    @property
    def ways(self) -> int:
        """How a chain may go through the stage, numbers aside."""
        return self.variants + self.skippable

    @property
    def basis(self) -> NDArray[np.float32]:
        """Each item number's basis functions, (numbers, functions), in 0..1.

        Hinges min(n, t) - least, one per larger number t, scaled to end at 1. They rise, they are concave, and every
        rising concave sequence over these numbers is a non-negative combination of them: where there are more than
        `HINGES` of them, a part. A free stage has an indicator per number instead.
        """
        if self.free:
            return np.eye(len(self.numbers), dtype=np.float32)
        n = np.array(self.numbers, dtype=np.float64)
        ends = n[1:]
        if len(ends) > HINGES:
            ends = ends[np.unique(np.linspace(0, len(ends) - 1, HINGES).round().astype(int))]
        rises = np.minimum(n[:, None], ends) - n[0] if len(n) else np.zeros((0, 0))
        return np.asarray(rises / (ends - n[0]) if len(ends) else np.zeros((len(n), 0)), dtype=np.float32)


@dataclass(frozen=True)
class ChainShape:
    """The chains as a network computes them.

    A leaf is a way through all stages by variants alone; chains of a leaf differ in their item numbers only.

    stages    in the cascade's order
    leaf      (J,) the leaf of each chain: stages as digits, the first one slowest, skipping last
    features  (J, F) non-negative functions of the chain's item numbers, the first of them 1
    positive  (F,) where a feature's weight may not be negative, so that structure holds
    """

    stages: tuple[StageShape, ...]
    leaf: IntArray
    features: NDArray[np.float32]
    positive: NDArray[np.bool_]

    @classmethod
    def of(
        cls, spec: CascadeSpec, chains: Sequence[Sequence[tuple[str | None, int]]], free: Sequence[str]
    ) -> "ChainShape":
        """From the cascade's file, each chain's (variant, items) by stage, and the stages without structure."""
        stages = tuple(StageShape(len(s.variants), s.skippable, s.items, s.name in free) for s in spec.stages)
        names = [[v.name for v in stage.variants] for stage in spec.stages]
        ways = np.array([[_way(n, v) for n, (v, _) in zip(names, chain, strict=True)] for chain in chains])
        leaf = np.ravel_multi_index(tuple(ways.T), [stage.ways for stage in stages])
        parts = [_own(stage, [chain[at] for chain in chains]) for at, stage in enumerate(stages)]
        features, positive = _features(stages, parts)
        return cls(stages, leaf.astype(np.int64), features, positive)

    @property
    def leaves(self) -> int:
        """How many ways through the stages there are, numbers aside."""
        return int(np.prod([stage.ways for stage in self.stages]))


def _way(names: list[str], variant: str | None) -> int:
    return len(names) if variant is None else names.index(variant)


def _own(stage: StageShape, actions: Actions) -> NDArray[np.float32]:
    """The basis functions of each chain's number in a stage, (J, functions); zeros where it has none."""
    basis = stage.basis
    found = np.zeros((len(actions), basis.shape[1]), dtype=np.float32)
    for row, (variant, items) in enumerate(actions):
        if variant is not None and items in stage.numbers:
            found[row] = basis[stage.numbers.index(items)]
    return found


def _features(
    stages: Sequence[StageShape], parts: Sequence[NDArray[np.float32]]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """1; each stage's functions; for two stages the products a*b and, of bound ones, 1 - (1 - a)(1 - b).

    Both rise and are concave in each number when the other one is held: the first for stages that need each other, the
    second for stages that can stand in for each other.
    """
    ones = np.ones((len(parts[0]), 1), dtype=np.float32)
    columns, positive = [ones], [np.array([False])]
    for stage, part in zip(stages, parts, strict=True):
        columns.append(part)
        positive.append(np.full(part.shape[1], not stage.free))
    for first, second in product(range(len(stages)), repeat=2):
        if first >= second:
            continue
        a, b = parts[first][:, :, None], parts[second][:, None, :]
        bound = not stages[first].free and not stages[second].free
        for joint in (a * b, a + b - a * b)[: 1 + bound]:
            columns.append(joint.reshape(len(a), -1))
            positive.append(np.full(columns[-1].shape[1], not (stages[first].free and stages[second].free)))
    return np.concatenate(columns, axis=1), np.concatenate(positive)
