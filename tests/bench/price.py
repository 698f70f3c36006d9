"""Measures price strategies against exact bounds and against each other.

python tests/bench/price.py [--quick] [--json FILE] [--table FILE.npz] [--tune]

stream     100,000 single requests under one quota: reward over the linear programme's bound, spend over the quota
starts     the same from a cold start of the control tick: what the first windows spend, by what is known of the rate
traces     the strategies side by side, windows of 10,000 requests, 600 windows (ten minutes of seconds) of disturbance
shocks     7,200 windows of 100,000 requests with six shocks each: utilisation and over-use
decisions  `Policy.decide` against numpy's argmax on ready rewards

A trace's requests are drawn as counts of user types (see price_world.py), a stream's one by one. `perfect` and `causal`
are floors beside every figure: the price that knows each window's expected load and mix, and the one that knows what
could be known before the window. What they miss is the sampling of requests, and news, not the strategy.
In `reward/bound` a window that overspends counts by limit / spend only; `uncharged` is without that.
"""

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from machine import describe  # noqa: E402
from price_report import Interval, Results, as_json, losses_table, summarise, traces_table  # noqa: E402
from price_start import as_json as starts_json  # noqa: E402
from price_start import cold_starts, cold_table  # noqa: E402
from price_stream import Stream, bound_of, decision_time, dual_gap, run_stream  # noqa: E402
from price_traces import Arena, Outcome, Trace, shocks, side_by_side  # noqa: E402
from price_world import World  # noqa: E402
from reward_rows import Requests, draw  # noqa: E402

from allocator.price.base import PriceStrategy  # noqa: E402
from allocator.price.dual import DualDescent  # noqa: E402
from allocator.price.pid import Pid  # noqa: E402
from allocator.price.select import DEFAULT, STRATEGIES, strategy  # noqa: E402

FLOORS = ("perfect", "causal")
TYPES = 4096
PATIENT = 2.5
TUNING_SEED = 100
PARTS = ("stream", "starts", "traces", "shocks", "decisions")


class Source:
    """Where reward rows come from: the synthetic family, or a table of users that is resampled."""

    def __init__(self, table: Path | None) -> None:
        self._table = None
        if table is not None:
            with np.load(table) as arrays:
                self._table = Requests(arrays["rewards"].astype(np.float32), arrays["cost"].astype(np.float64))

    def requests(self, count: int, seed: int) -> Requests:
        """So many requests; with a table, users drawn from it with replacement."""
        if self._table is None:
            return draw(count, seed)
        rows = np.random.default_rng(seed).integers(0, len(self._table.rewards), count)
        return Requests(self._table.rewards[rows], self._table.cost)

    def stream(self, requests: int, seed: int) -> Stream:
        """A stream of so many, and as its history others from before."""
        drawn = self.requests(requests, 1000 + seed)
        return Stream(drawn.rewards, self.requests(2000, 2000 + seed).rewards, drawn.cost)

    def world(self, types: int, seed: int) -> World:
        """Two groups of types. Synthetic: the second is more patient; a table: the half that gains most from cost."""
        if self._table is None:
            groups = [draw(types // 2, seed), draw(types // 2, seed + 1, patience=PATIENT)]
            return World.of(np.concatenate([g.rewards for g in groups]), groups[0].cost)
        table = self._table
        gain = table.rewards[:, table.cost.argmax()] - table.rewards[:, table.cost.argmin()]
        return World.of(table.rewards[np.argsort(gain)], table.cost)


def compare(arena: Arena, traces: Callable[[int], Iterable[Trace]], seeds: int, say: Callable[[str], None]) -> Results:
    """Floors and all strategies with their default gains, on each trace, over the seeds."""
    found: dict[str, dict[str, list[Outcome]]] = {}
    for seed in range(seeds):
        for trace in traces(seed):
            say(f"seed {seed + 1} of {seeds}: {trace.name}")
            outcomes = {"perfect": arena.perfect(trace, seed), "causal": arena.causal(trace, seed)}
            outcomes |= {name: arena.run(strategy(name), trace, seed) for name in STRATEGIES}
            for name, outcome in outcomes.items():
                found.setdefault(trace.name, {}).setdefault(name, []).append(outcome)
    return {trace: {name: summarise(o) for name, o in by_name.items()} for trace, by_name in found.items()}


def streams(source: Source, requests: int, seeds: int, console: Console, say: Callable[[str], None]) -> dict[str, Any]:
    """The steady stream, in 100 windows, warm and cold, for all strategies."""
    reward: dict[str, list[float]] = {}
    excess: dict[str, list[float]] = {}
    gap = 0.0
    for seed in range(seeds):
        say(f"stream, seed {seed + 1} of {seeds}")
        stream = source.stream(requests, seed)
        bound, gap = bound_of(stream), max(gap, dual_gap(stream))
        for name in STRATEGIES:
            for cold in (False, True):
                result = run_stream(strategy(name), stream, bound, 100, cold=cold)
                label = f"{name}, {'from zero' if cold else 'warm'}"
                reward.setdefault(label, []).append(result.reward)
                excess.setdefault(label, []).append(result.excess)
    table = Table("strategy", "reward/bound %", "spend - quota %", "worst |spend - quota| %", title_justify="left")
    table.title = f"Steady stream of {requests:,} requests, one quota, windows of {requests // 100:,}"
    for label, values in reward.items():
        worst = f"{100 * max(map(abs, excess[label])):.3f}"
        table.add_row(label, Interval.of(values).text(3), Interval.of(excess[label]).text(3), worst)
    console.print(table)
    console.print(f"dual bound against HiGHS, largest relative difference: {gap:.1e}")
    by_label = {s: {"reward": r, "excess": excess[s]} for s, r in reward.items()}
    return {"requests": requests, "dual_against_highs": gap, "strategies": by_label}


def decisions(console: Console, demo_chains: int) -> list[dict[str, Any]]:
    """Decision times at 1,000 chains and at the chain space's own size."""
    times = [decision_time(1000), decision_time(demo_chains)]
    table = Table(
        "chains", "numpy us/batch", "decide us/batch", "ratio", "decisions/s", title="Decisions, batches of 64"
    )
    for t in times:
        row = (f"{t.numpy_us:.1f}", f"{t.decide_us:.1f}", f"{t.ratio:.2f}", f"{t.per_second:,.0f}")
        table.add_row(str(t.chains), *row)
    console.print(table)
    return [asdict(t) for t in times]


def tune(source: Source, console: Console) -> None:
    """A grid of gains for the strategies that have some, on a world and traces of their own; prints the best."""
    arena = Arena(source.world(TYPES // 2, TUNING_SEED))
    traces = side_by_side(arena, 10_000, 600, TUNING_SEED)
    grid: list[PriceStrategy[Any]] = [DualDescent(rate=rate) for rate in (0.1, 0.15, 0.2, 0.3, 0.45)]
    grid += [Pid(kp, ki, kd) for kp in (0.0, 0.1, 0.3, 0.5) for ki in (0.15, 0.2, 0.3, 0.4) for kd in (0.0, 0.1)]
    scored = []
    for candidate in grid:
        outcomes = [arena.run(candidate, trace, TUNING_SEED) for trace in traces]
        scored.append((float(np.mean([1 - o.utilisation + o.overuse for o in outcomes])), candidate))
    for lost, candidate in sorted(scored, key=lambda pair: pair[0])[:12]:
        console.print(f"{100 * lost:.3f}% unused + overspent  {candidate}")


@click.command()
@click.option("--quick", is_flag=True, help="One seed and short traces: to see that it works.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures here.")
@click.option("--table", type=click.Path(path_type=Path, exists=True), help=".npz of rewards (U, J) and cost (J,).")
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--parts", default=",".join(PARTS), show_default=True, help="Which, of these.")
@click.option("--tune", "tuning", is_flag=True, help="Search gains for dual descent and PID instead.")
def main(quick: bool, json_file: Path | None, table: Path | None, seeds: int, parts: str, tuning: bool) -> None:
    """Measure price strategies. Never judges: the exit status is 0 unless something breaks."""
    progress, console = Console(stderr=True, highlight=False), Console(width=None if sys.stdout.isatty() else 160)
    source = Source(table)
    if tuning:
        return tune(source, console)
    chosen = parts.split(",")
    machine = describe(ROOT)
    seeds, windows, long, requests = (1, 300, 600, 20_000) if quick else (seeds, 1800, 7200, 100_000)
    arena = Arena(source.world(TYPES, 1))
    document: dict[str, Any] = {"machine": machine, "seeds": seeds, "default": DEFAULT}
    if "decisions" in chosen:
        document["decisions"] = decisions(console, len(arena.world.cost))
    if "stream" in chosen:
        document["stream"] = streams(source, requests, seeds, console, progress.print)
    if "starts" in chosen:
        found = cold_starts(lambda seed: source.stream(requests, seed), seeds, progress.print)
        console.print(cold_table(found))
        document["starts"] = starts_json(found)
    if "traces" in chosen:
        results = compare(arena, lambda seed: side_by_side(arena, 10_000, windows, seed), seeds, progress.print)
        console.print(traces_table(f"Side by side: {windows:,} windows of 10,000 requests", results))
        console.print(losses_table(results, FLOORS))
        document["traces"] = as_json(results)
    if "shocks" in chosen:
        results = compare(arena, lambda seed: [shocks(arena, 100_000, long, seed)], seeds, progress.print)
        console.print(traces_table(f"Shocks: {long:,} windows of about 100,000 requests", results))
        document["shocks"] = as_json(results)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return None


if __name__ == "__main__":
    main()
