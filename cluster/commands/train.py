"""`greenflow train`: trains a cascade on a world and writes its folder."""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from models.errors import NeedsExtra
from models.spec import CascadeSpec

if TYPE_CHECKING:
    from models.worlds.base import World

Command = TypeVar("Command", bound=Callable[..., Any])


def _shared_options(command: Command) -> Command:
    """The options that every world has."""
    options = (
        click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the new cascade."),
        click.option("--seed", default=0, show_default=True, help="The same seed gives the same cascade."),
        click.option(
            "--epochs",
            type=click.IntRange(1, 1000),
            help="Passes over the log, for every variant.  [default: each its own]",
        ),
        click.option("--force", is_flag=True, help="Replace --out even if it does not hold a cascade."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def train() -> None:
    """Train a cascade (needs PyTorch: make .venv EXTRAS=dev,train).

    \b
    Examples:
      greenflow train synthetic --out my-cascade
      greenflow train kuairand KuaiRand-Pure/data --out my-cascade
      greenflow up --cascade my-cascade
    """


@train.command()
@click.option("--users", type=click.IntRange(20, 10_000_000), help="Number of users.  [default: the demo's]")
@click.option("--items", type=click.IntRange(100, 10_000_000), help="Number of items.  [default: the demo's]")
@click.option(
    "--days", type=click.IntRange(3, 1000), help="Logged days; the last two are held out.  [default: the demo's]"
)
@click.option("--homogeneous", is_flag=True, help="All users alike: personal allocation cannot win.")
@_shared_options
def synthetic(
    users: int | None,
    items: int | None,
    days: int | None,
    homogeneous: bool,
    out: Path,
    seed: int,
    epochs: int | None,
    force: bool,
) -> None:
    """Train on a generated world whose truth is known; the defaults make the shipped demo.

    \b
    Example:
      greenflow train synthetic --users 1000 --items 2000 --out my-cascade
    """
    _need_torch()
    from models.worlds.simulate import synthetic_world
    from models.worlds.synthetic import SyntheticConfig

    chosen = {"users": users, "items": items, "days": days}
    given = {name: value for name, value in chosen.items() if value is not None}
    config = SyntheticConfig(seed=seed, homogeneous=homogeneous, **given)
    console = Console(stderr=True)
    with console.status("generating the world"):
        world, _ = synthetic_world(config)
    _train(console, world, out, seed, epochs, force)


@train.command()
@click.argument("data_dir", type=click.Path(path_type=Path))
@_shared_options
def kuairand(data_dir: Path, out: Path, seed: int, epochs: int | None, force: bool) -> None:
    """Train on KuaiRand-Pure: DATA_DIR holds its files in their official layout, as .csv or .csv.gz.

    \b
    Example:
      greenflow train kuairand KuaiRand-Pure/data --out my-cascade
    """
    _need_torch()
    from models.worlds.kuairand import kuairand_world

    console = Console(stderr=True)
    with console.status(f"reading {data_dir}"):
        world, report = kuairand_world(data_dir)
    for line in report.lines():
        console.print(line, highlight=False)
    _train(console, world, out, seed, epochs, force)


def _need_torch() -> None:
    missing = [name for name in ("torch", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise NeedsExtra(f"training needs {' and '.join(missing)}", "train")


def _train(console: Console, world: "World", out: Path, seed: int, epochs: int | None, force: bool) -> None:
    from models.training.cascade import TrainConfig, train_cascade
    from models.training.recipe import RECIPE

    columns = (TextColumn("{task.description:8}"), BarColumn(), TextColumn("{task.fields[note]:22}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        bars = {v.name: progress.add_task(v.name, total=1.0, start=False, note="") for v in RECIPE}

        def tell(name: str, share: float, note: str) -> None:
            if not progress.tasks[bars[name]].started:
                progress.start_task(bars[name])
            progress.update(bars[name], completed=share, note=note)

        spec = train_cascade(world, out, TrainConfig(seed, epochs), tell, force=force)
    _print_result(Console(), spec, out)


def _print_result(console: Console, spec: CascadeSpec, out: Path) -> None:
    for stage in spec.stages:
        metrics = list(dict.fromkeys(name for variant in stage.variants for name in variant.metrics))
        headers = ("FLOPs/row", "FLOPs/item", *(name.replace("_at_", "@") for name in metrics))
        table = Table(stage.name, *headers, box=box.SIMPLE_HEAD, padding=0, pad_edge=False, collapse_padding=True)
        for variant in stage.variants:
            table.add_row(variant.name, *_flops(variant.flops), *_figures(variant.metrics, metrics))
        console.print(table)
    console.print(f"{spec.about}\nwrote {out}; serve it: greenflow up --cascade {out}", highlight=False, soft_wrap=True)


def _flops(flops: Any) -> Sequence[str]:
    return ("", "") if flops is None else (f"{flops.row:,}", f"{flops.item:,}")


def _figures(metrics: dict[str, float], names: Sequence[str]) -> Sequence[str]:
    return [f"{metrics[name]:.4f}" if name in metrics else "" for name in names]
