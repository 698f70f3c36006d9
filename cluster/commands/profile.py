"""`greenflow profile`: what the variants cost on this machine, and where to place them."""

import json
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from allocator.chains import ChainSpace
from cluster.config import DEMO
from models.checking import check_cascade
from models.loading import Cascade
from models.profile import Advice, Timing, advise, profile
from models.spec import CascadeSpec, read_spec, write_spec


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
@click.option("--write", is_flag=True, help="Write the recommendations into cascade.yaml.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(folder: Path, rows: tuple[int, ...], repeats: int, seed: int, write: bool, as_json: bool) -> None:
    """Measure the milliseconds of every variant and item number here, and recommend placements and batch limits.

    A variant is worth a deployment of its own when its work costs more than the call that reaches it. Run it on the
    machine that will serve, while nothing else is busy there.

    \b
    Example:
      greenflow profile --cascade out/kuairand --write
    """
    cascade = check_cascade(folder)
    ChainSpace(cascade.spec, len(cascade.items))
    console = Console(stderr=True)
    timings: list[Timing] = []
    with console.status("measuring") as status:
        for timing in profile(cascade, sorted(rows or (1, 8, 16, 64)), repeats, seed):
            timings.append(timing)
            status.update(f"measured {timing.stage}/{timing.variant}: {timing.rows} x {timing.items} items")
    advice = advise(cascade, timings)
    if as_json:
        click.echo(
            json.dumps({"timings": [asdict(t) for t in timings], "advice": [asdict(a) for a in advice]}, indent=1)
        )
    else:
        _print(cascade, timings, advice)
    if write:
        path = write_spec(_advised(read_spec(folder), advice), folder)
        console.print(f"wrote the recommendations into {path}")


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
