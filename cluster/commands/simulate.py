"""`greenflow simulate`: a day of made-up traffic, machines and grid under the control loop that serves."""

import textwrap
import time
from pathlib import Path

import click
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cluster.simulation.compare import cases
from cluster.simulation.day import Day
from cluster.simulation.hindsight import Hindsight
from cluster.simulation.limits import schedules
from cluster.simulation.outcome import Outcome, outcome_of
from cluster.simulation.page import page
from cluster.simulation.parts import LimitPart
from cluster.simulation.payload import as_json
from cluster.simulation.scenario import Scenario, find, read_scenario, shipped
from cluster.simulation.text import show, show_compared
from cluster.simulation.world import World
from models.errors import FixRequest, FixSetup

STOPPED, PIPED = 130, 120
Runs = list[tuple[str, Outcome]]


@click.command("simulate", context_settings={"show_default": True})
@click.argument("scenario", required=False)
@click.option("--list", "listed", is_flag=True, help="Tell what ships, and what each scenario shows.")
@click.option(
    "--budget",
    help="Energy of the day, instead of the scenario's limits: kWh, a share such as 80% of what the day takes "
    "without limits, or none. Several, parted by commas, are run one after another and compared.",
)
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="NAME=VALUE[,VALUE...]",
    help="Likewise power (W), energy (kWh/day), carbon-day (g), carbon-hour (g), compute (busy_s/s) or flops (FLOP/s). "
    "May be given more than once: such limits hold together.",
)
@click.option("--seed", type=click.IntRange(0), help="Of all random draws.  [default: the scenario's]")
@click.option("--window-s", type=click.FloatRange(1, 900), help="Seconds of a window.  [default: the scenario's]")
@click.option(
    "--ledger",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Leave a ledger there, for greenflow report.",
)
@click.option("--json", "as_text", is_flag=True, help="Print everything as one JSON object.")
@click.option("--html", "as_html", is_flag=True, help="Print a page that fetches nothing.")
@click.pass_context
def command(
    ctx: click.Context,
    scenario: str | None,
    listed: bool,
    budget: str | None,
    limits: tuple[str, ...],
    seed: int | None,
    window_s: float | None,
    ledger: Path | None,
    as_text: bool,
    as_html: bool,
) -> None:
    """Play a day before production does: what would a limit cost, and would it hold?

    SCENARIO is the name of one that ships (--list) or a YAML file: traffic, machines, grid, limits, what goes wrong.
    Requests, machines and grid are made up; what controls them is the code that serves, told no more than its meters
    and replicas would tell it. No Ray, no sensor, no network. The same seed gives the same day.

    A share of a limit (80%) is of what the same day takes without any limit: of its energy or grams, or of its highest
    window for power. Ctrl-C ends a day early: what was played until then is told, and marked so.

    \b
    Examples:
      greenflow simulate --list
      greenflow simulate diurnal
      greenflow simulate diurnal --budget none,90%,80%,70%      what would 80% of the energy cost in clicks?
      greenflow simulate flash-crowd --limit power=80% --html > crowd.html
      greenflow simulate dirty-grid-evening --limit carbon-day=80% --limit power=95%
      greenflow simulate sensor-loss --ledger out/day.sqlite && greenflow report --ledger out/day.sqlite --by hour
      greenflow simulate my-day.yaml --json > my-day.json       begin with a copy of one that ships
    """
    if listed:
        _list()
        return
    if scenario is None:
        raise click.UsageError("name a scenario, or see greenflow simulate --list")
    if as_text and as_html:
        raise click.UsageError("name one of --json and --html")
    console = Console(stderr=True)
    path = find(scenario)
    read = _with(read_scenario(path), seed, window_s)
    asked = cases(budget, limits) if budget is not None or limits else {"": read.limits}
    if ledger is not None and (len(asked) > 1 or ledger.exists()):
        reason = "keeps one day: give one value for each limit" if len(asked) > 1 else "is there already: name another"
        raise FixSetup(f"--ledger {ledger} {reason}")
    outcomes, stopped = _play(console, read, asked, ledger)
    _tell(outcomes, as_text, as_html)
    if stopped:
        console.print("stopped: what is told is of the windows that were played", highlight=False)
        ctx.exit(STOPPED)


def _with(scenario: Scenario, seed: int | None, window_s: float | None) -> Scenario:
    given = {"seed": seed, "window_s": window_s}
    changed = {name: value for name, value in given.items() if value is not None}
    try:
        return Scenario.model_validate({**scenario.model_dump(), **changed}) if changed else scenario
    except ValidationError as error:  # a seed fits every scenario
        raise FixRequest("--window-s", error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def _list() -> None:
    for path in shipped():
        one = read_scenario(path)
        click.echo(f"{one.name}\n  {one.shows}")
        click.echo(textwrap.indent(textwrap.fill(one.about, 106), "  ") + f"\n  {path}\n")


def _play(
    console: Console, scenario: Scenario, asked: dict[str, tuple[LimitPart, ...]], ledger: Path | None
) -> tuple[Runs, bool]:
    """What was played, and whether somebody stopped it."""
    outcomes: Runs = []
    with console.status("drawing the day"):
        world = World(scenario)
        hindsight = Hindsight(world)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[hour]}"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress:
        for label, limits in asked.items():
            bar = progress.add_task(label or scenario.name, total=scenario.windows, hour="00:00")
            outcome, stopped = _day(world, hindsight, limits, ledger, progress, bar)
            if outcome.windows:
                outcomes.append((label or scenario.name, outcome))
            if stopped:
                return outcomes, True
    return outcomes, False


def _day(
    world: World,
    hindsight: Hindsight,
    limits: tuple[LimitPart, ...],
    file: Path | None,
    progress: Progress,
    bar: TaskID,
) -> tuple[Outcome, bool]:
    began_s, stopped = time.perf_counter(), False
    made = schedules(world, limits, hindsight.costs.takes)
    day = Day(world, made, file)
    try:
        for n, _ in enumerate(day.rows(), start=1):
            minutes = int(n * world.window_s // 60)
            progress.update(bar, completed=n, hour=f"{minutes // 60:02}:{minutes % 60:02}")
    except KeyboardInterrupt:
        stopped = True
    finally:
        day.close()
    return outcome_of(day, world, made, hindsight, time.perf_counter() - began_s), stopped


def _tell(outcomes: Runs, as_text: bool, as_html: bool) -> None:
    if not outcomes:
        return
    out = Console(highlight=False)
    if not out.is_terminal:
        out = Console(highlight=False, width=PIPED)
    if as_text:
        click.echo(as_json(outcomes), nl=False)
    elif as_html:
        click.echo(page(outcomes), nl=False)
    elif len(outcomes) == 1:
        show(outcomes[0][1], out)
    else:
        show_compared(outcomes, out)
