"""`greenflow evaluate`: judges all methods on held-out users, and writes the report."""

from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from allocator.chains import ChainSpace
from allocator.pfec.case import Case
from allocator.pfec.day import DayPlan
from allocator.pfec.evaluate import Plan, evaluate, steps
from allocator.pfec.figures import need_matplotlib
from allocator.pfec.files import check_folder, write
from allocator.pfec.footprint import Carbon, Footprint, from_flops, from_profile
from allocator.pfec.report import About, Report
from allocator.pfec.words import headlines
from allocator.reward import RewardModel
from allocator.table import Manifest, Rows, check_fits, read_table
from cluster.config import DEMO
from models.checking import check_cascade
from models.errors import FixFile
from models.loading import Cascade

LEAST_USERS = 20


@click.command("evaluate", context_settings={"show_default": True})
@click.option(
    "--cascade", "folder", type=click.Path(path_type=Path), default=DEMO, show_default="the demo", help="Its folder."
)
@click.option("--table", type=click.Path(path_type=Path), required=True, help="Reward table of greenflow replay.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the report.")
@click.option("--budgets", type=click.IntRange(2, 64), default=10, help="How many, in equal ratios.")
@click.option("--bootstrap", type=click.IntRange(20, 100_000), default=400, help="Draws of users behind the intervals.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Draws users and requests.")
@click.option(
    "--windows", type=click.IntRange(96, 86_400), default=1440, help="Of the simulated day; prices step once each."
)
@click.option(
    "--flops-per-joule",
    type=click.FloatRange(0, min_open=True),
    default=1e9,
    help="Assumed: what a joule buys. The default is an order of magnitude for small models on a CPU.",
)
@click.option(
    "--profile",
    type=click.Path(path_type=Path),
    help="What greenflow profile --json printed: joules are then its milliseconds times --watts.",
)
@click.option(
    "--watts", type=click.FloatRange(0, min_open=True), default=10.0, help="Assumed for a busy core, with --profile."
)
@click.option("--pue", type=click.FloatRange(1), default=1.5, help="Assumed power usage effectiveness.")
@click.option(
    "--intensity", type=click.FloatRange(0), default=475.0, help="Assumed g CO2e per kWh; the world's mean is near it."
)
def command(
    folder: Path,
    table: Path,
    out: Path,
    budgets: int,
    bootstrap: int,
    seed: int,
    windows: int,
    flops_per_joule: float,
    profile: Path | None,
    watts: float,
    pue: float,
    intensity: float,
) -> None:
    """Judge GreenFlow and what it is compared with on the table's held-out users: reward, FLOPs, energy, carbon.

    Needs a cascade with a reward model (greenflow train-reward) and its reward table (greenflow replay). Everything is
    trained and chosen on the table's training users. Writes report.html, which explains itself, and the same figures as
    JSON, CSV and PNG. Nothing is written before all is done, so it can be stopped at any time.

    No meter is read: joules follow from FLOPs, or from a profile, under assumptions that the report repeats.

    \b
    Examples:
      greenflow replay --users 4000 --out out/table
      greenflow evaluate --table out/table --out out/pfec
      greenflow profile --json > out/profile.json
      greenflow evaluate --table out/table --out out/pfec --profile out/profile.json --watts 15
    """
    need_matplotlib()
    console = Console(stderr=True)
    with console.status("reading the table and the models"):
        cascade = check_cascade(folder)
        space = ChainSpace(cascade.spec, len(cascade.items))
        manifest, rows = _rows(cascade, space, table)
        footprint = from_flops(space, flops_per_joule) if profile is None else from_profile(space, profile, watts)
        case = _case(cascade, space, rows, footprint)
    check_folder(out)
    about = _about(cascade, space, manifest, rows, bootstrap, seed)
    carbon = Carbon(pue=pue, grams_per_kwh=intensity)
    plan = Plan(budgets, bootstrap, seed, DayPlan(windows))
    report = _evaluated(console, case, about, footprint, carbon, plan)
    with console.status("drawing"):
        files = write(report, out)
    for line in headlines(report):
        click.echo(line)
    console.print(f"wrote {files[0]} and {len(files) - 1} files beside it", highlight=False, soft_wrap=True)


def _rows(cascade: Cascade, space: ChainSpace, table: Path) -> tuple[Manifest, Rows]:
    manifest, rows = read_table(table)
    check_fits(manifest, cascade.spec, space, table)
    tested = int(rows.held_out.sum())
    if min(tested, len(rows) - tested) < LEAST_USERS:
        problem = f"{len(rows) - tested} training and {tested} held-out users are too few, {LEAST_USERS} of each needed"
        raise FixFile(table, "users", f"{problem}; run greenflow replay with more")
    return manifest, rows


def _case(cascade: Cascade, space: ChainSpace, rows: Rows, footprint: Footprint) -> Case:
    model = RewardModel.open(cascade.folder, cascade.spec, space)
    train, test = rows.only(~rows.held_out), rows.only(rows.held_out)
    return Case(
        space,
        test.rewards.astype(np.float64),
        model.predict(test.contexts),
        train.rewards.mean(axis=0, dtype=np.float64),
        model.predict(train.contexts),
        footprint.joules,
    )


def _about(cascade: Cascade, space: ChainSpace, manifest: Manifest, rows: Rows, draws: int, seed: int) -> About:
    assert cascade.spec.reward is not None, "its model was opened"
    return About(
        cascade=cascade.spec.name,
        world=manifest.world,
        gives=manifest.reward,
        k=cascade.spec.k,
        chains=len(space),
        static_chain=space.static.id,
        static_flops=float(space.static.flops),
        reward_model=cascade.spec.reward.sha256,
        training_users=int((~rows.held_out).sum()),
        held_out_users=int(rows.held_out.sum()),
        draws=draws,
        seed=seed,
    )


def _evaluated(console: Console, case: Case, about: About, footprint: Footprint, carbon: Carbon, plan: Plan) -> Report:
    columns = (TextColumn("{task.description:20}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task("", total=steps())

            def tell(what: str) -> None:
                done = progress.tasks[0].completed + 1 if progress.tasks[0].description else 0
                progress.update(bar, description=what, completed=done)

            report = evaluate(case, about, footprint, carbon, plan, tell)
            progress.update(bar, description="done", completed=steps())
    except KeyboardInterrupt:
        console.print("stopped; nothing was written", highlight=False)
        raise
    return report
