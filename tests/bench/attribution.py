"""What requests of a mixed run bear by the rule, against exact Shapley values of measured milliseconds.

A run of eight requests with item numbers of their own, and all 254 smaller runs of some of them, are timed in random
order. Milliseconds of CPU time stand for joules: on one core above idle they are in proportion.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from allocator.energy.shapley import Comparison, compared
from cluster.config import DEMO
from models.batch import RaggedBatch, offsets_of
from models.features import UserQuery
from models.loading import Cascade
from models.spec import StageSpec, VariantSpec

REQUESTS = 8
Run = Callable[[np.ndarray], object]


def runs_of(cascade: Cascade, at: int, variant: VariantSpec, rng: np.random.Generator) -> tuple[Run, list[int]]:
    """A function that runs the requests of these numbers, and how many items each has."""
    stage: StageSpec = cascade.spec.stages[at]
    loaded = cascade.variant(stage, variant)
    rows = rng.integers(0, len(cascade.users.ids), REQUESTS)
    users = cascade.users.rows([UserQuery(user_id) for user_id in cascade.users.ids.ids(rows)])
    items = rng.choice(stage.items, REQUESTS) if at else np.full(REQUESTS, len(cascade.items))
    keep = np.full(REQUESTS, cascade.spec.k)
    batch = None
    if at:
        drawn = [rng.choice(len(cascade.items), count, replace=False) for count in items]
        batch = RaggedBatch(offsets_of(items), np.concatenate(drawn))

    def run(chosen: np.ndarray) -> object:
        return loaded.run(users.take(chosen), None if batch is None else batch.take(chosen), keep[chosen])

    return run, items.tolist()


def timed(run: Run, repeats: int, rng: np.random.Generator) -> np.ndarray:
    """Median CPU milliseconds of every subset, (2^R,)."""
    subsets = [np.flatnonzero([mask >> i & 1 for i in range(REQUESTS)]) for mask in range(2**REQUESTS)]
    run(subsets[-1])
    spent = np.zeros((repeats, len(subsets)))
    for repeat in range(repeats):
        for mask in rng.permutation(np.arange(1, len(subsets))):
            run(subsets[mask])  # the largest runs would else pay for memory that smaller ones gave back
            start = time.process_time()
            run(subsets[mask])
            spent[repeat, mask] = (time.process_time() - start) * 1e3
    return np.median(spent, axis=0)


def judged(found: Sequence[Comparison]) -> dict[str, float]:
    """Differences, as shares of a run's cost per request."""
    off = np.abs(np.concatenate([one.relative for one in found]))
    together = [np.corrcoef(one.ruled, one.exact)[0, 1] for one in found if np.ptp(one.ruled) > 0]
    return {"mean": float(off.mean()), "largest": float(off.max()), "correlation": float(np.mean(together or [np.nan]))}


def main() -> None:
    """Print a line for each variant; with --json, write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cascade", type=Path, default=DEMO)
    parser.add_argument("--runs", type=int, default=3, help="mixed runs of each variant")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    cascade, results = Cascade.open(options.cascade), {}
    for at, stage in enumerate(cascade.spec.stages):
        for variant in stage.variants:
            found = []
            for _ in range(options.runs):
                run, items = runs_of(cascade, at, variant, rng)
                found.append(compared(timed(run, options.repeats, rng), items))
            results[f"{stage.name}/{variant.name}"] = figures = judged(found)
            print(
                f"{stage.name + '/' + variant.name:16}",
                "  ".join(f"{k} {v:.3f}" for k, v in figures.items()),
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
