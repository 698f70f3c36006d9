"""Plays every scenario that ships at full size and holds it against what a day must come to.

python tests/bench/day_at_scale.py [--scenario NAME ...] [--seeds N] [--json FILE] [--quick]

wall, cpu   seconds of one day, cascade and traffic included
used        of each limit: min(spent, limit) / limit, mean over windows, or of the day for a quota; and the largest
            spent / limit
optimum     reward over that of the hindsight optimum within the same limits
billed      the ledger's joules over what machines truly drew, less one, also in standard deviations of meters' noise;
            `counted` over what their counters counted, less one: joules billed twice, or lost. Where an estimate stands
            in for meters (sensor-loss) it may be off by 0.1%
carbon      dirty-grid-evening: reward over that of the same day under a flat power cap, whose grams are the quota

A line is marked with what it misses of: a day in 60 s, a quota met within 1%, 99% of the optimum, no gram more than
asked (0.1%), no joule twice. Exit status 1 where one does.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from machine import describe  # noqa: E402
from simulated_days import against_flat_cap, kwh_in, meter_error, play, scenario  # noqa: E402

from allocator.limits import CAPACITY  # noqa: E402
from cluster.simulation.outcome import Outcome  # noqa: E402
from cluster.simulation.scenario import shipped  # noqa: E402
from cluster.simulation.world import World  # noqa: E402

MOST_S, QUOTA_OFF, LEAST_OPTIMUM, GRAMS_OVER, DEVIATIONS = 60.0, 0.01, 0.99, 1e-3, 4.0
ESTIMATED = 1e-3
"""What the ledger's joules may be off the counters' where an estimate stood in for some of them."""
CARBON = "dirty-grid-evening"


@dataclass(frozen=True)
class Line:
    """One day."""

    scenario: str
    seed: int
    wall_s: float
    cpu_s: float
    kwh: float
    used: dict[str, float]
    largest: dict[str, float]
    of_optimum: float
    of_free: float
    of_best_fixed: float
    billed_off: float
    deviations: float
    counted_off: float
    ledger_off: float
    degraded: int
    refused: int
    over_flat_cap: tuple[float, float] | None = None
    misses: tuple[str, ...] = ()


def played(name: str, seed: int, window_s: float | None, progress: Progress) -> Line:
    """One scenario with one seed."""
    asked = scenario(name, seed=seed) if window_s is None else scenario(name, seed=seed, window_s=window_s)
    bar = progress.add_task(f"{name}, seed {seed}", total=asked.windows)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "day.sqlite"
        world = World(asked)
        outcome = play(world, ledger=file, tell=lambda n: progress.update(bar, completed=n))
        wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        ledger_off = kwh_in(file) * 3.6e6 / outcome.billed_j - 1
    over = against_flat_cap(world, outcome.grams) if name == CARBON else None
    return _line(outcome, world, (wall_s, cpu_s), ledger_off, over)


def _line(
    outcome: Outcome, world: World, took: tuple[float, float], ledger_off: float, over: tuple[float, float] | None
) -> Line:
    stated = [one for one in outcome.limits if one.name != CAPACITY]
    off = outcome.billed_j / outcome.joules - 1
    line = Line(
        scenario=outcome.name,
        seed=world.scenario.seed,
        wall_s=took[0],
        cpu_s=took[1],
        kwh=outcome.kwh,
        used={one.name: one.used for one in stated},
        largest={one.name: one.most for one in stated},
        of_optimum=outcome.of_optimum or 0.0,
        of_free=outcome.reward / outcome.free.reward,
        of_best_fixed=outcome.reward / (outcome.best_fixed or float("nan")),
        billed_off=off,
        deviations=off / meter_error(outcome, world),
        counted_off=outcome.billed_j / outcome.counted_j - 1,
        ledger_off=ledger_off,
        degraded=outcome.degraded,
        refused=outcome.refused,
        over_flat_cap=over,
    )
    quotas = {one.name for one in stated if one.unit in ("kWh/day", "g/day")}
    return replace(line, misses=tuple(_misses(line, quotas)))


def _misses(line: Line, quotas: set[str]) -> Iterator[str]:
    if line.wall_s > MOST_S:
        yield "60 s"
    for name in quotas:
        slack = line.of_optimum if line.largest[name] < 1 - QUOTA_OFF else 1.0
        if line.largest[name] > 1 + (GRAMS_OVER if "carbon" in name else QUOTA_OFF) or slack < 0.999:
            yield f"quota {name}"
    if line.of_optimum < LEAST_OPTIMUM:
        yield "optimum"
    estimated = any(one.estimated for one in scenario(line.scenario).sensors_lost)
    counted = ESTIMATED if estimated else 1e-9
    if abs(line.deviations) > DEVIATIONS or abs(line.counted_off) > counted or abs(line.ledger_off) > 1e-9:
        yield "joules"
    if line.over_flat_cap is not None and (line.over_flat_cap[0] <= 1 or line.over_flat_cap[1] > 1 + GRAMS_OVER):
        yield "flat cap"


@click.command(context_settings={"show_default": True}, help=__doc__)
@click.option("--scenario", "names", multiple=True, help="Only these.  [default: all that ship]")
@click.option("--seeds", type=click.IntRange(1), default=1, help="Days of each, with seeds from 0 on.")
@click.option("--quick", is_flag=True, help="Windows of ten minutes.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Also write the figures there.")
def main(names: tuple[str, ...], seeds: int, quick: bool, path: Path | None) -> None:
    """See the module."""
    console = Console(stderr=True)
    known = [one.stem for one in shipped()]
    with Progress(console=console) as progress:
        window_s = 600.0 if quick else None
        lines = [played(name, seed, window_s, progress) for name in names or known for seed in range(seeds)]
    Console(width=150).print(table(lines))
    if path is not None:
        path.write_text(
            json.dumps({"machine": describe(ROOT), "days": [asdict(line) for line in lines]}, indent=1) + "\n"
        )
    sys.exit(any(line.misses for line in lines))


def table(lines: list[Line]) -> Table:
    """All of it."""
    headers = ("day", "wall s", "cpu s", "kWh", "used (largest)", "optimum", "free", "best fixed", "billed", "counted")
    drawn = Table(*headers, "degraded", "refused", "misses", box=None)
    for line in lines:
        used = ", ".join(f"{name} {100 * line.used[name]:.2f}% ({100 * line.largest[name]:.2f}%)" for name in line.used)
        over = line.over_flat_cap
        flat = (
            "" if over is None else f"; {100 * over[0]:.2f}% of a flat cap's reward, {100 * over[1]:.2f}% of its grams"
        )
        drawn.add_row(
            f"{line.scenario} {line.seed}",
            f"{line.wall_s:.1f}",
            f"{line.cpu_s:.1f}",
            f"{line.kwh:,.0f}",
            used + flat,
            f"{100 * line.of_optimum:.3f}%",
            f"{100 * line.of_free:.2f}%",
            f"{100 * line.of_best_fixed:.2f}%",
            f"{100 * line.billed_off:+.3f}% ({line.deviations:+.1f} s.d.)",
            f"{line.counted_off:+.0e}",
            f"{line.degraded:,}",
            f"{line.refused:,}",
            ", ".join(line.misses) or "nothing",
        )
    return drawn


if __name__ == "__main__":
    main()
