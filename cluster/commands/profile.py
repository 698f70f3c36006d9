"""`greenflow profile`: what the variants cost on this machine, and where to place them."""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from allocator.chains import ChainSpace
from cluster.commands.profile_meters import open_meters
from cluster.config import DEMO
from models.checking import check_cascade
from models.loading import Cascade
from models.profile import Advice, Meter, Timing, advise, profile
from models.profile_joules import BusyWatts, VariantFit, fitted
from models.spec import CascadeSpec, Device, read_spec, write_spec


@click.command("profile")
@click.option(
    "--cascade", "folder", type=click.Path(path_type=Path), default=DEMO, help="Cascade's folder. [default: the demo]"
)
@click.option(
    "--rows", multiple=True, type=click.IntRange(1, 1024), help="Requests per run; repeatable. [default: 1 8 16 64]"
)
@click.option(
    "--repeats", type=click.IntRange(1, 1000), default=7, show_default=True, help="Runs timed; the median counts."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Draws users and candidates.")
@click.option(
    "--watts-per-core",
    type=click.FloatRange(0, min_open=True),
    default=BusyWatts().core_w,
    show_default=True,
    help="Assumed for a busy core above an idle one, where no meter measures it.",
)
@click.option(
    "--watts-per-gpu",
    type=click.FloatRange(0, min_open=True),
    default=BusyWatts().gpu_w,
    show_default=True,
    help="Assumed for a busy GPU above an idle one, where no meter measures it.",
)
@click.option("--meter/--no-meter", default=True, show_default=True, help="Read power meters where there are some.")
@click.option("--write", is_flag=True, help="Write the recommendations into cascade.yaml.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    folder: Path,
    rows: tuple[int, ...],
    repeats: int,
    seed: int,
    watts_per_core: float,
    watts_per_gpu: float,
    meter: bool,
    write: bool,
    as_json: bool,
) -> None:
    """Measure the milliseconds and joules of every variant and item number here; recommend placements and batch limits.

    A variant is worth a deployment of its own when its work costs more than the call that reaches it. Run it on the
    machine that will serve, while nothing else is busy there.

    Joules are above idle: measured where RAPL or NVML can be read, which takes half a second for each line; elsewhere
    modelled as milliseconds times the watts of a busy core or GPU. The output of --json is what the energy model
    starts from.

    \b
    Example:
      greenflow profile --cascade out/kuairand --write
    """
    cascade = check_cascade(folder)
    ChainSpace(cascade.spec, len(cascade.items))
    console = Console(stderr=True)
    watts = BusyWatts(watts_per_core, watts_per_gpu)
    opened: AbstractContextManager[dict[Device, Meter]] = nullcontext({})
    if meter:
        opened = open_meters(time.perf_counter, time.sleep)
    with opened as meters:
        timings = _measured(console, cascade, rows, repeats, seed, meters)
    advice, fits = advise(cascade, timings), fitted(cascade.spec, timings, watts)
    if as_json:
        click.echo(json.dumps(_document(timings, advice, fits, watts, meters), indent=1))
    else:
        _print(cascade, timings, advice)
        _print_joules(fits, watts)
    if write:
        path = write_spec(_advised(read_spec(folder), advice), folder)
        console.print(f"wrote the recommendations into {path}")


def _measured(
    console: Console,
    cascade: Cascade,
    rows: tuple[int, ...],
    repeats: int,
    seed: int,
    meters: Mapping[Device, Meter],
) -> list[Timing]:
    timings: list[Timing] = []
    with console.status("measuring") as status:
        for timing in profile(cascade, sorted(rows or (1, 8, 16, 64)), repeats, seed, meters=meters):
            timings.append(timing)
            status.update(f"measured {timing.stage}/{timing.variant}: {timing.rows} x {timing.items} items")
    return timings


def _document(
    timings: Sequence[Timing],
    advice: Sequence[Advice],
    fits: Sequence[VariantFit],
    watts: BusyWatts,
    meters: Mapping[Device, Meter],
) -> dict[str, object]:
    return {
        "timings": [asdict(timing) for timing in timings],
        "advice": [asdict(one) for one in advice],
        "watts_per_core": watts.core_w,
        "watts_per_gpu": watts.gpu_w,
        "idle_w": {device.value: meter.idle_w for device, meter in meters.items()},
        "joules": [asdict(fit) for fit in fits],
    }


def _print_joules(fits: Sequence[VariantFit], watts: BusyWatts) -> None:
    table = Table(title="joules of a run, above idle")
    for name in ("stage", "variant", "mJ a call", "mJ an item", "off by", "quality"):
        table.add_column(name, justify="left" if name in ("stage", "variant", "quality") else "right")
    for fit in fits:
        figures = (f"{fit.call_j * 1e3:.3g}", f"{fit.item_j * 1e3:.3g}", f"{fit.fit_error:.0%}")
        table.add_row(fit.stage, fit.variant, *figures, fit.quality)
    console = Console()
    console.print(table)
    if any(fit.quality == "modelled" for fit in fits):
        console.print(f"modelled: milliseconds times {watts.statement}", soft_wrap=True)


def _print(cascade: Cascade, timings: list[Timing], advice: list[Advice]) -> None:
    table = Table(title=f"{cascade.spec.name}: one run on this machine")
    for name in ("stage", "variant", "requests", "items each", "ms", "ms a request"):
        table.add_column(name, justify="left" if name in ("stage", "variant") else "right")
    for t in timings:
        table.add_row(t.stage, t.variant, str(t.rows), str(t.items), f"{t.run_ms:.2f}", f"{t.request_ms:.3f}")
    console = Console()
    console.print(table)
    for a in advice:
        console.print(
            f"{a.stage}/{a.variant}: place [bold]{a.placement.value}[/bold], max_rows {a.max_rows}: {a.reason}",
            soft_wrap=True,
        )


def _advised(spec: CascadeSpec, advice: list[Advice]) -> CascadeSpec:
    advised = {(a.stage, a.variant): {"placement": a.placement, "max_rows": a.max_rows} for a in advice}
    stages = tuple(
        stage.model_copy(
            update={"variants": tuple(v.model_copy(update=advised[stage.name, v.name]) for v in stage.variants)}
        )
        for stage in spec.stages
    )
    return spec.model_copy(update={"stages": stages})
