"""Busy seconds: what variants take of processors, learned online from what replicas report; the costs of a compute
limit. Pure.

A run takes seconds of its own and some for each item, a line (`allocator.affine`) that forgets: windows are weighed by
how certain they are (the square root of their runs) and by their age, counted in windows with runs, so that a variant
that nobody takes is not forgotten. Seconds are those that runs lasted, side by side added up: on a machine that is
overcommitted they grow, and so do the costs.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from allocator.affine import Line, Sums, line
from allocator.chains import ChainSpace
from allocator.choice import Floats
from allocator.energy.figures import RowsPerRun
from allocator.energy.prior import Prior
from allocator.energy.windows import SERVING, Name, by_variant
from allocator.joules import Work
from models.profile_joules import BusyWatts

FORMAT = 1
KEPT = 0.5 ** (1 / 60)
"""What a window still counts after one more: half after a minute of windows of a second."""
PRIOR_RUNS = 3.0
"""The prior weighs as much as one window with so many runs."""
MOST_OFF = 10.0
"""A window says at most that a variant takes so many times what was believed: a machine that was suspended once must
not make all chains dear. What has truly changed is believed a window later."""


@dataclass(frozen=True, slots=True, eq=False)
class BusyState:
    """What is believed.

    prior  seconds of a run beyond its items, and of an item, by stage and variant; what is around the models among them
    sums   of what was seen of those that have run
    """

    prior: Mapping[Name, Line]
    sums: Mapping[Name, Sums]

    def line(self, name: Name) -> Line:
        """Seconds of a run beyond its items, and of an item; both >= 0. Raises KeyError for an unknown variant."""
        return line(self.sums[name], self.prior[name]) if name in self.sums else self.prior[name]


def initial(prior: Prior) -> BusyState:
    """Before anything was seen: the energy model's joules, over the watts of a busy processor."""
    core_w = prior.core_w or BusyWatts().core_w
    return BusyState({name: (of.call_j / core_w, of.item_j / core_w) for name, of in prior.variants.items()}, {})


def learned(state: BusyState, work: Iterable[Work]) -> BusyState:
    """With one more window. Work of unknown variants teaches nothing, nor does work without seconds."""
    sums = dict(state.sums)
    for name, (calls, items, busy_s) in by_variant(work).items():
        if name in state.prior and calls > 0 and items >= 0 and isfinite(busy_s) and busy_s > 0:
            before = sums.get(name) or _believed(state.prior[name], items / calls)
            run_s, item_s = line(before, state.prior[name])
            most_s = MOST_OFF * (run_s * calls + item_s * items)
            sums[name] = before.seen(calls, items, min(busy_s, most_s), calls**0.5, KEPT)
    return replace(state, sums=sums)


def chain_busy_s(state: BusyState, space: ChainSpace, rows_per_run: RowsPerRun) -> Floats:
    """Busy seconds of one request under each chain, (J,).

    A request bears its equal part of the runs that it is in, its items, and its part of the work around the models,
    which is the same under every chain. rows_per_run: requests that share a run.
    """
    lines = np.array([state.line(name) for name in space.variants])
    row_s = lines[:, 0] / np.array([rows_of(rows_per_run, name) for name in space.variants])
    chains: Floats = space.costs(row_s[:, None], lines[:, 1:])[:, 0]
    if SERVING in state.prior:
        batch_s, request_s = state.line(SERVING)
        chains = chains + batch_s / rows_of(rows_per_run, SERVING) + request_s
    return chains


def spent_busy_s(work: Iterable[Work]) -> float:
    """Busy seconds of a window."""
    return sum(one.busy_s for one in work)


def rows_of(rows_per_run: RowsPerRun, name: Name) -> float:
    """Requests that share a run of this variant; at least 1."""
    rows = rows_per_run.get(name, 1.0) if isinstance(rows_per_run, Mapping) else rows_per_run
    return max(rows, 1.0)


def dumped(state: BusyState) -> bytes:
    """What was learned, about 150 bytes a variant."""
    sums = [[*name, *(getattr(of, field) for field in Sums.__dataclass_fields__)] for name, of in state.sums.items()]
    return json.dumps({"format": FORMAT, "sums": sums}).encode()


def restored(prior: Prior, data: bytes) -> BusyState:
    """What `dumped` was given; of variants that there are no more it is forgotten.

    Raises ValueError saying why, when it cannot be read or is of another format: begin anew then.
    """
    try:
        saved = json.loads(data)
        if saved["format"] != FORMAT:
            raise ValueError(f"of format {saved['format']}, not {FORMAT}")
        rows = {(str(stage), str(variant)): Sums(*map(float, figures)) for stage, variant, *figures in saved["sums"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"saved busy seconds: {error}") from None
    state = initial(prior)
    if not all(isfinite(getattr(of, field)) for of in rows.values() for field in Sums.__dataclass_fields__):
        raise ValueError("saved busy seconds: some are no finite numbers")
    return replace(state, sums={name: of for name, of in rows.items() if name in state.prior})


def _believed(prior: Line, items: float) -> Sums:
    """The prior, as a window in which runs had so many items."""
    calls = PRIOR_RUNS
    took_s = calls * (prior[0] + prior[1] * items)
    return Sums().seen(calls, calls * items, took_s, calls**0.5, 1.0)
