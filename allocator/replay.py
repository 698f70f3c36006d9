"""Runs every chain of a cascade for the same users offline, sharing what chains have in common.

Each variant scores each item once per user, and chains with a common prefix share its lists, so that hundreds of chains
cost little more than the dearest one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from allocator.chains import Action, ChainSpace
from models.batch import FloatArray, IntArray, RaggedBatch, UserRows, offsets_of
from models.loading import Cascade
from models.retrieve import Recall
from models.score import Scorer
from models.topn import top_n

Prefix = tuple[str, ...]


@dataclass
class _Node:
    """A prefix of chains: its last action, what follows it, and the chain that ends here."""

    action: Action | None = None
    children: "dict[str, _Node]" = field(default_factory=dict)
    chain: int | None = None


class Replay:
    """Runs all chains of a space. Holds every variant loaded; for CPU use by one thread."""

    def __init__(self, cascade: Cascade, space: ChainSpace) -> None:
        self._cascade, self._space, self._k = cascade, space, cascade.spec.k
        self._variants = {
            (stage.name, variant.name): cascade.variant(stage, variant)
            for stage in cascade.spec.stages
            for variant in stage.variants
        }
        self._root = _trie(space)

    def run(self, users: UserRows) -> NDArray[np.int32]:
        """The k best items of every chain for every row, (rows, J, k) item rows, best first.

        The same items as the served cascade's answers, but for scores that differ in rounding only.
        """
        candidates, lists = self._recall(users)
        found = np.empty((len(users), len(self._space), self._k), dtype=np.int32)
        for chain, positions in self._expand(users, candidates, lists, list(self._root.children.values())):
            found[:, chain] = np.take_along_axis(candidates.items, positions, axis=1)
        return found

    def _recall(self, users: UserRows) -> "tuple[_Candidates, list[IntArray]]":
        """The union of what the recall variants find, and each variant's list as positions in it."""
        deepest = max((a.items for chain in self._space for a in chain.actions[1:]), default=self._k)
        keep = np.full(len(users), max(deepest, self._k), dtype=np.int64)
        found = []
        for node in self._root.children.values():
            assert node.action is not None
            recall = self._variants[node.action.stage, str(node.action.variant)]
            assert isinstance(recall, Recall)
            found.append(recall.run(users, None, keep).items.reshape(len(users), -1))
        return _union(found)

    def _expand(
        self, users: UserRows, candidates: "_Candidates", lists: list[IntArray], nodes: "list[_Node]"
    ) -> Iterator[tuple[int, IntArray]]:
        """Level by level: yields (chain, positions (rows, k)) for the chains that end among these nodes or below."""
        while nodes:
            for node, positions in zip(nodes, lists, strict=True):
                if node.chain is not None:
                    yield node.chain, positions[:, : self._k]
            scores = self._score(users, candidates, lists, nodes)
            below = [
                (child, self._reorder(child, positions, scores))
                for node, positions in zip(nodes, lists, strict=True)
                for child in node.children.values()
            ]
            nodes, lists = [child for child, _ in below], [positions for _, positions in below]

    def _reorder(self, node: _Node, positions: IntArray, scores: dict[str, FloatArray]) -> IntArray:
        action = node.action
        assert action is not None
        if action.variant is None:
            return positions
        first = positions[:, : action.items]
        wanted = first.shape[1] if node.children else self._k
        order = top_n(np.take_along_axis(scores[action.variant], first, axis=1), wanted)
        return np.take_along_axis(first, order, axis=1)

    def _score(
        self, users: UserRows, candidates: "_Candidates", lists: Sequence[IntArray], nodes: "Sequence[_Node]"
    ) -> dict[str, FloatArray]:
        """By variant of the next stage: the scores of all that any of its chains infers, (rows, union)."""
        wanted: dict[tuple[str, str], NDArray[np.bool_]] = {}
        for node, positions in zip(nodes, lists, strict=True):
            for child in node.children.values():
                if child.action is not None and child.action.variant is not None:
                    name = (child.action.stage, child.action.variant)
                    mask = wanted.setdefault(name, np.zeros(candidates.items.shape, dtype=bool))
                    np.put_along_axis(mask, positions[:, : child.action.items], True, axis=1)
        return {name[1]: self._score_once(name, users, candidates, mask) for name, mask in wanted.items()}

    def _score_once(
        self, name: tuple[str, str], users: UserRows, candidates: "_Candidates", mask: NDArray[np.bool_]
    ) -> FloatArray:
        scorer = self._variants[name]
        assert isinstance(scorer, Scorer)
        batch = RaggedBatch(offsets_of(mask.sum(axis=1)), candidates.items[mask])
        scores = np.full(mask.shape, -np.inf, dtype=np.float32)
        scores[mask] = scorer.score(users, batch)
        return scores


@dataclass(frozen=True)
class _Candidates:
    """All items that any recall variant found, (rows, union); short rows repeat their last item."""

    items: IntArray


def _union(found: Sequence[IntArray]) -> tuple[_Candidates, list[IntArray]]:
    rows = [np.unique(np.concatenate([variant[row] for variant in found])) for row in range(len(found[0]))]
    width = max(len(row) for row in rows)
    items = np.stack([np.pad(row, (0, width - len(row)), mode="edge") for row in rows])
    lists = [
        np.stack([np.searchsorted(rows[row], variant[row]) for row in range(len(variant))]).astype(np.int64)
        for variant in found
    ]
    return _Candidates(items), lists


def _trie(space: ChainSpace) -> _Node:
    root = _Node()
    for chain in space:
        node = root
        for action in chain.actions:
            node = node.children.setdefault(action.id, _Node(action))
        node.chain = chain.index
    return root
