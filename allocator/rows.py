"""How many requests share a run of each variant, learned online: between them its own part is divided. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import exp, isfinite

import numpy as np

from allocator.chains import ChainSpace
from allocator.choice import Floats
from allocator.energy.windows import SERVING, Name, by_variant
from allocator.joules import Work

FORMAT = 1
SETTLES_S = 10.0


@dataclass(frozen=True, slots=True)
class RowsState:
    """By stage and variant, smoothed: requests that its runs were for, and the runs."""

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

    Runs tell their items, and the chains that ran how many items a request has there, so also a report of more than a
    window says how many requests were in its runs. What was done around the models has requests for items.

    executed_per_s  (J,) requests a second that ran each chain
    work            what variants did in the window
    A variant that did not run, or of which no chain was executed, keeps what is known of it.
    """
    each = _items_of_a_request(space, executed_per_s)
    requests, runs = dict(state.requests), dict(state.runs)
    kept = exp(-window_s / SETTLES_S)
    for name, (calls, items, _) in by_variant(work).items():
        if calls > 0 and each.get(name, 0.0) > 0:
            requests[name] = kept * requests.get(name, 0.0) + items / each[name]
            runs[name] = kept * runs.get(name, 0.0) + calls
    return RowsState(requests, runs)


def dumped(state: RowsState) -> bytes:
    """What was learned, about 80 bytes a variant."""
    rows = [[*name, state.requests.get(name, 0.0), runs] for name, runs in state.runs.items()]
    return json.dumps({"format": FORMAT, "rows": rows}).encode()


def restored(space: ChainSpace, data: bytes) -> RowsState:
    """What `dumped` was given; of variants that there are no more it is forgotten.

    Raises ValueError saying why, when it cannot be read or is of another format: begin anew then.
    """
    try:
        saved = json.loads(data)
        if saved["format"] != FORMAT:
            raise ValueError(f"of format {saved['format']}, not {FORMAT}")
        rows = {(str(stage), str(variant)): (float(r), float(runs)) for stage, variant, r, runs in saved["rows"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"saved rows of runs: {error}") from None
    if not all(isfinite(figure) and figure >= 0 for pair in rows.values() for figure in pair):
        raise ValueError("saved rows of runs: some are no finite numbers >= 0")
    known = {name: pair for name, pair in rows.items() if name in (*space.variants, SERVING)}
    return RowsState({name: r for name, (r, _) in known.items()}, {name: runs for name, (_, runs) in known.items()})


def _items_of_a_request(space: ChainSpace, executed_per_s: Floats) -> dict[Name, float]:
    """What each variant infers for a request that uses it, on average over the chains that ran; 0 where none did."""
    one = np.eye(len(space.variants))
    used, items = executed_per_s @ space.costs(one, 0 * one), executed_per_s @ space.costs(0 * one, one)
    each = np.divide(items, used, out=np.zeros_like(items), where=used > 0)
    return {**dict(zip(space.variants, each.tolist(), strict=True)), SERVING: 1.0}
