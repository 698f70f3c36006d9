"""Whether savings lie where they are said to: many simulated experiments whose truth is known, by the real sums,
estimates and energy model (tests/support/savings_world.py).

Shown are how often intervals hold the truth: fixed ones at the end of each run and at all looks on the average,
sequential ones at all looks of a run at once.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import click  # noqa: E402
import numpy as np  # noqa: E402
from machine import describe  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import track  # noqa: E402
from rich.table import Table  # noqa: E402
from savings_coverage import QUANTITIES, Watched, watched  # noqa: E402
from savings_world import Experiment  # noqa: E402
from scipy.stats import binomtest  # noqa: E402

FIXED_GOAL, SEQUENTIAL_GOAL = (0.93, 0.97), 0.95
JUDGED = ("energy_j", "reward")
Figures = dict[str, object]


@click.command()
@click.option("--runs", type=click.IntRange(2), default=400, help="Experiments of each kind.")
@click.option("--shares", default="0.02,0.10", help="Shares of users that are held back.")
@click.option("--users", type=click.IntRange(100), default=Experiment.users)
@click.option("--activity", type=float, default=Experiment.activity, help="Exponent of how often users ask, by rank.")
@click.option("--windows", type=click.IntRange(30), default=Experiment.windows)
@click.option("--window-s", type=click.FloatRange(1), default=Experiment.window_s)
@click.option("--rate", type=click.FloatRange(1), default=Experiment.requests_per_s, help="Requests a second.")
@click.option("--noise", type=click.FloatRange(0), default=Experiment.noise, help="Of a second's reading, relative.")
@click.option("--every", type=click.IntRange(1), default=4, help="Windows between two looks.")
@click.option("--seed", type=int, default=0, help="Of the first run.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures here.")
def main(
    runs: int,
    shares: str,
    users: int,
    activity: float,
    windows: int,
    window_s: float,
    rate: float,
    noise: float,
    every: int,
    seed: int,
    json_file: Path | None,
) -> None:
    """Measure how often the intervals of savings hold the truth."""
    console, told = Console(width=120), {}
    for share in (float(part) for part in shares.split(",")):
        experiment = Experiment(share, users, rate, windows, window_s, activity, noise=noise)
        numbers = range(seed, seed + runs)
        progress = track(numbers, f"held back {share:.0%}", console=console, transient=True)
        found = [watched(experiment, number, every) for number in progress]
        figures = {name: summed([run[name] for run in found]) for name in QUANTITIES}
        told[str(share)] = {"experiment": asdict(experiment), "figures": figures}
        _show(share, experiment, figures, console)
    if json_file is not None:
        json_file.write_text(json.dumps({"machine": describe(ROOT), "runs": runs, "shares": told}, indent=1) + "\n")


def summed(runs: Sequence[Watched]) -> Figures:
    """The figures of one quantity over all runs in which anything was known in the end."""
    known = [run for run in runs if run.known]
    if not known:
        return {"runs": 0}
    return {
        "runs": len(known),
        "fixed": _share([run.at_end for run in known]),
        "fixed_within": _within([run.at_end for run in known]),
        "fixed_at_all_looks": sum(run.held for run in known) / sum(run.looks for run in known),
        "fixed_relative": _share([run.share_at_end for run in known]),
        "sequential": _share([run.always for run in known]),
        "sequential_within": _within([run.always for run in known]),
        "sequential_relative": _share([run.always_share for run in known]),
        "happened": None if known[0].happened is None else _share([bool(run.happened) for run in known]),
        "mean_error": float(np.mean([run.error for run in known])),
        "rms_error": float(np.sqrt(np.mean([run.error**2 for run in known]))),
        "half_width_fixed": float(np.mean([run.fixed for run in known])),
        "half_width_sequential": float(np.mean([run.sequential for run in known])),
        "model_share_of_variance": float(np.mean([run.model for run in known])),
    }


def _share(held: Sequence[bool]) -> float:
    return sum(held) / len(held)


def _within(held: Sequence[bool]) -> list[float]:
    """Where the coverage of endless runs lies, by Clopper and Pearson."""
    interval = binomtest(sum(held), len(held)).proportion_ci(0.95)
    return [float(interval.low), float(interval.high)]


COLUMNS = {
    "runs": "runs",
    "fixed": "fixed",
    "all looks": "fixed_at_all_looks",
    "share": "fixed_relative",
    "sequential": "sequential",
    "happened": "happened",
    "error": "rms_error",
    "fixed ±": "half_width_fixed",
    "seq. ±": "half_width_sequential",
    "model": "model_share_of_variance",
}


def _show(share: float, experiment: Experiment, figures: dict[str, Figures], console: Console) -> None:
    hours = experiment.windows * experiment.window_s / 3600
    title = f"{share:.0%} of {experiment.users:,} users held back, {hours:g} h at {experiment.requests_per_s:g}/s"
    table = Table(title=title)
    table.add_column("", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for name, of in figures.items():
        table.add_row(name, *(_text(of.get(figure)) for figure in COLUMNS.values()))
    console.print(table)
    for name in JUDGED:
        console.print(_verdict(name, figures[name]), highlight=False)


def _text(figure: object) -> str:
    return f"{figure:.1%}" if isinstance(figure, float) else "" if figure is None else str(figure)


def _verdict(name: str, of: Figures) -> str:
    if not of["runs"]:
        return f"{name}: not yet known"
    fixed, sequential = of["fixed"], of["sequential"]
    assert isinstance(fixed, float)
    assert isinstance(sequential, float)
    low, high = FIXED_GOAL
    one = "reached" if low <= fixed <= high else "missed"
    other = "reached" if sequential >= SEQUENTIAL_GOAL else "missed"
    return (
        f"{name}: fixed {fixed:.1%}, goal {low:.0%} to {high:.0%}: {one}; "
        f"sequential {sequential:.1%}, goal at least {SEQUENTIAL_GOAL:.0%}: {other}"
    )


if __name__ == "__main__":
    main()
