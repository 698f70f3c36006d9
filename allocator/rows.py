"""How many requests share a run of each variant, learned online: between them its own part is divided. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import exp

import numpy as np

from allocator.chains import ChainSpace
from allocator.choice import Floats
from allocator.energy.windows import SERVING, Name
from allocator.joules import Work

SETTLES_S = 10.0
"""Requests and runs of a window reach the books in different windows; over so long they belong together."""


@dataclass(frozen=True, slots=True)
class RowsState:
    """Requests that used each variant, and its runs, both smoothed; by stage and variant."""

    requests: Mapping[Name, float] = field(default_factory=dict)
    runs: Mapping[Name, float] = field(default_factory=dict)

    @property
    def per_run(self) -> dict[Name, float]:
        """Requests that share a run, at least 1; only of variants that have run."""
        return {name: max(1.0, self.requests.get(name, 0.0) / runs) for name, runs in self.runs.items() if runs > 0}


def seen(
    state: RowsState, space: ChainSpace, executed_per_s: Floats, window_s: float, work: Iterable[Work]
) -> RowsState:
    """With one more window.

    executed_per_s  (J,) requests a second that ran each chain
    work            what variants did in it; what was done around the models says itself how many requests it was for
    A variant without runs in the window keeps what is known of it.
    """
    work = list(work)
    used = executed_per_s @ _called(space) * window_s
    requests = {name: float(count) for name, count in zip(space.variants, used, strict=True)}
    requests[SERVING] = float(sum(one.items for one in work if (one.stage, one.variant) == SERVING))
    runs: dict[Name, float] = {}
    for one in work:
        name = one.stage, one.variant
        runs[name] = runs.get(name, 0.0) + one.calls
    kept = exp(-window_s / SETTLES_S)
    known = {name: count for name, count in runs.items() if count > 0 and name in requests}
    return RowsState(
        {**state.requests, **{name: kept * state.requests.get(name, 0.0) + requests[name] for name in known}},
        {**state.runs, **{name: kept * state.runs.get(name, 0.0) + count for name, count in known.items()}},
    )


def _called(space: ChainSpace) -> Floats:
    """Which variants each chain calls, (J, V)."""
    one = np.eye(len(space.variants))
    return space.costs(one, 0 * one)
