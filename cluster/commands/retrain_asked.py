"""What `greenflow train-reward` may be asked about a log."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cluster.commands.retrain_rows import Reading
from cluster.config import ray_address
from cluster.outcomes.joiner import HORIZON_S
from models.loading import Cascade

_OPTIONS = (
    click.option("--log", type=click.Path(path_type=Path), help="Folder of the decision log; instead of --table."),
    click.option("--out", type=click.Path(path_type=Path), help="Where the candidate goes.  [default: LOG/candidate]"),
    click.option(
        "--current", type=click.Path(path_type=Path), help="The model that served.  [default: the cascade's own]"
    ),
    click.option("--since", type=float, help="Unix time from which on the log counts.  [default: all of it]"),
    click.option("--until", type=float, help="Unix time before which it counts.  [default: all of it]"),
    click.option(
        "--horizon",
        type=click.FloatRange(0),
        help=f"Seconds in which a reward must come.  [default: as the log says; {HORIZON_S:g} where it does not]",
    ),
    click.option("--unripe", is_flag=True, help="Count requests with a reward whose horizon is not over, too."),
    click.option("--clip", type=click.FloatRange(min=0, min_open=True), help="Largest weight of a request; biased."),
    click.option("--ray", "over_ray", is_flag=True, help="Read the log in a task of the Ray cluster that runs here."),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be done.

    folder      of the cascade
    out         where the candidate goes
    current     file of the model that served, or folder of the candidate that it was; None for the cascade's own
    most_weight the largest weight of a request when policies are judged; None for any
    address     of the Ray cluster that reads the log; None to read it here
    """

    folder: Path
    reading: Reading
    out: Path
    current: Path | None
    free: tuple[str, ...]
    seed: int
    epochs: int | None
    most_weight: float | None
    address: str | None


def log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that go with --log."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def asked_of(
    folder: Path,
    free: tuple[str, ...],
    seed: int,
    epochs: int | None,
    *,
    log: Path | None,
    out: Path | None,
    current: Path | None,
    since: float | None,
    until: float | None,
    horizon: float | None,
    unripe: bool,
    clip: float | None,
    over_ray: bool,
) -> Asked | None:
    """From the options' values; None without a log."""
    if log is None:
        return None
    address = ray_address() or ("auto" if over_ray else None)
    reading = Reading(log.absolute(), since, until, horizon, unripe)
    return Asked(folder, reading, out or log / "candidate", current, free, seed, epochs, clip, address)


def free_stages(cascade: Cascade, asked: tuple[str, ...], found: list[str]) -> tuple[str, ...]:
    """The stages to leave free of structure: those asked for, none of them for `none`; else the ones found to need it.

    Raises UsageError for a stage that the cascade does not have.
    """
    names = [stage.name for stage in cascade.spec.stages]
    unknown = [name for name in asked if name not in (*names, "none")]
    if unknown:
        raise click.UsageError(f"--free {unknown[0]}: the stages are {', '.join(names)}")
    return tuple(name for name in asked if name != "none") if asked else tuple(found)
