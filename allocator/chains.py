"""Action chains: one action per stage; and the chain space: all valid ones of a cascade, in a fixed order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from models.errors import FixFile
from models.spec import FILE_NAME, CascadeSpec, StageSpec

SKIP = "skip"
SEPARATOR = ">"
MOST_CHAINS = 100_000
"""A request's predicted rewards are one row of all chains; more than this and no micro-batch would fit its time."""


@dataclass(frozen=True, slots=True)
class Action:
    """What a chain does in one stage: `variant` infers `items` items. A skipped stage has no variant and no items."""

    stage: str
    variant: str | None
    items: int
    recalls: bool = False

    @property
    def id(self) -> str:
        """`variant@items`; the variant alone for recall, whose number is fixed; `skip` for a skipped stage."""
        if self.variant is None:
            return SKIP
        return self.variant if self.recalls else f"{self.variant}@{self.items}"


@dataclass(frozen=True, slots=True)
class ActionChain:
    """One action per stage, in the stages' order. `index` is the chain's place in its chain space."""

    index: int
    actions: tuple[Action, ...]
    flops: int

    @property
    def id(self) -> str:
        """Stable and readable, for example `tower-s>ydnn-s@200>din@40`."""
        return SEPARATOR.join(action.id for action in self.actions)


class ChainSpace:
    """All valid chains of a cascade, J of them.

    A chain is valid when its item numbers never grow from stage to stage and none is below k. The order is that of the
    cascade's file: first stage slowest, skipping a stage last.

    Raises FixFile naming `cascade.yaml`: `static_chain` when that chain is not one of them, `stages` when they make
    more than `MOST_CHAINS`, counted before any is built.
    """

    def __init__(self, spec: CascadeSpec, catalogue_items: int) -> None:
        self._spec = spec
        options = [list(_actions(stage, at == 0, catalogue_items)) for at, stage in enumerate(spec.stages)]
        valid = enumerate(_valid(options))
        self.chains = tuple(ActionChain(index, actions, _flops(spec, actions)) for index, actions in valid)
        self._by_id = {chain.id: chain for chain in self.chains}
        problem = self.problem(spec.static_chain)
        if problem is not None:
            raise FixFile(FILE_NAME, "static_chain", problem)
        self.static = self._by_id[spec.static_chain]

    def __len__(self) -> int:
        return len(self.chains)

    def __iter__(self) -> Iterator[ActionChain]:
        return iter(self.chains)

    def get(self, chain_id: str) -> ActionChain | None:
        """The chain of that id, None where there is none."""
        return self._by_id.get(chain_id)

    @cached_property
    def flops(self) -> NDArray[np.float64]:
        """FLOPs of one request under each chain, (J,)."""
        return np.array([chain.flops for chain in self.chains], dtype=np.float64)

    @cached_property
    def variants(self) -> tuple[tuple[str, str], ...]:
        """(stage, variant) of all V variants, in the order of the cascade's file: the rows of `costs`."""
        return tuple((stage.name, variant.name) for stage in self._spec.stages for variant in stage.variants)

    def costs(self, row: NDArray[np.float64], item: NDArray[np.float64]) -> NDArray[np.float64]:
        """What one request costs under each chain, by resource: (J, M).

        row (V, M), item (V, M): what each of `variants` spends of each resource per request and per item it infers, say
        FLOPs, joules and busy seconds. A chain's cost is the sum over the variants that it calls.
        """
        called, inferred = self._use
        total: NDArray[np.float64] = called @ row + inferred @ item
        return total

    @cached_property
    def _use(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Which variants each chain calls, and how many items they infer; both (J, V)."""
        place = {name: at for at, name in enumerate(self.variants)}
        called, inferred = (np.zeros((len(self), len(place))) for _ in range(2))
        for chain in self.chains:
            for stage, action in zip(self._spec.stages, chain.actions, strict=True):
                if action.variant is not None:
                    at = chain.index, place[stage.name, action.variant]
                    called[at], inferred[at] = 1.0, _inferred(stage, action)
        return called, inferred

    @cached_property
    def calls(self) -> NDArray[np.bool_]:
        """Which of `variants` each chain calls, (J, V)."""
        called: NDArray[np.bool_] = self._use[0] > 0
        return called

    def problem(self, chain_id: str) -> str | None:
        """Why the id names no chain of this space, in words; None when it does."""
        if chain_id in self._by_id:
            return None
        parts = chain_id.split(SEPARATOR)
        if len(parts) != len(self._spec.stages):
            stages = SEPARATOR.join(stage.name for stage in self._spec.stages)
            return f"{chain_id!r} has {len(parts)} actions; a chain here has {len(self._spec.stages)}: {stages}"
        for stage, part in zip(self._spec.stages, parts, strict=True):
            problem = _action_problem(stage, part, recalls=stage is self._spec.stages[0])
            if problem is not None:
                return f"{chain_id!r}: {problem}"
        return f"{chain_id!r}: item numbers grow along the chain; a stage can infer at most what it is handed"


def _actions(stage: StageSpec, recalls: bool, catalogue_items: int) -> Iterator[Action]:
    for variant in stage.variants:
        for items in (catalogue_items,) if recalls else stage.items:
            yield Action(stage.name, variant.name, items, recalls)
    if stage.skippable:
        yield Action(stage.name, None, 0)


def _valid(options: Sequence[Sequence[Action]]) -> Iterator[tuple[Action, ...]]:
    """All combinations of one option per stage whose item numbers never grow, in the order of the options."""

    @cache
    def ways(stage: int, most: int) -> int:
        """In how many ways chains go on from a stage that is handed `most` items."""
        if stage == len(options):
            return 1
        return sum(ways(stage + 1, handed) for handed in (_hands_on(a, most) for a in options[stage]) if handed)

    def extended(chain: tuple[Action, ...], most: int) -> Iterator[tuple[Action, ...]]:
        if len(chain) == len(options):
            yield chain
            return
        for action in options[len(chain)]:
            handed = _hands_on(action, most)
            if handed and ways(len(chain) + 1, handed):
                yield from extended((*chain, action), handed)

    first = max(action.items for action in options[0])
    if (count := ways(0, first)) > MOST_CHAINS:
        problem = f"they make {count:,} chains, at most {MOST_CHAINS:,} can be weighed per request"
        raise FixFile(FILE_NAME, "stages", f"{problem}; offer fewer variants or item numbers")
    return extended((), first)


def _hands_on(action: Action, most: int) -> int:
    """The most items that the next stage may infer after this action; 0 where it cannot take what it is handed."""
    if action.variant is None:
        return most
    return action.items if action.items <= most else 0


def _flops(spec: CascadeSpec, actions: Sequence[Action]) -> int:
    total = 0
    for stage, action in zip(spec.stages, actions, strict=True):
        if action.variant is not None:
            variant = stage.variant(action.variant)
            assert variant.flops is not None, "an opened cascade has its FLOPs counted"
            total += variant.flops.row + variant.flops.item * _inferred(stage, action)
    return total


def _inferred(stage: StageSpec, action: Action) -> int:
    """Items whose scores are computed: an approximate index looks at some of the catalogue only."""
    assert action.variant is not None
    approximate = stage.variant(action.variant).approximate
    return action.items if approximate is None else approximate.distances


def _action_problem(stage: StageSpec, part: str, *, recalls: bool) -> str | None:
    if part == SKIP:
        return None if stage.skippable else f"stage {stage.name!r} cannot be skipped"
    name, _, number = part.partition("@")
    names = [variant.name for variant in stage.variants]
    if name not in names:
        return f"stage {stage.name!r} has no variant {name!r}, only {', '.join(names)}"
    if recalls:
        return f"stage {stage.name!r} infers the whole index; leave out @{number}" if number else None
    if number not in map(str, stage.items):
        return f"stage {stage.name!r} offers the item numbers {list(stage.items)}, not {number or 'none'}"
    return None
