"""`greenflow budget`: set, remove and see the limits of a running server."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from allocator.limits import Kind
from cluster.commands.admin import token_file_option, token_from, url_option
from cluster.limits.client import LimitClient
from cluster.limits.quantities import example, read_quantity
from cluster.limits.schemas import ChangeOut, LimitOut, Stated
from cluster.limits.stated import limit_of

FC = TypeVar("FC", bound=Callable[..., Any] | click.Command)


def _quantity(kind: Kind, about: str) -> Callable[[FC], FC]:
    """An option --KIND whose value is read as a number with a unit, as the API takes them."""

    def read(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, str] | None:
        try:
            return None if value is None else read_quantity(kind, value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return click.option(f"--{kind}", metavar=example(kind), callback=read, help=about)


@click.group("budget")
def command() -> None:
    """Set, remove and see what a running server may spend.

    A limit is of power (watts of all machines, idle included), of energy (kWh a day), of carbon (grams of CO2e an hour
    or a day), of compute (seconds a second that variants and the work around them run) or of FLOPs. All hold at the
    same time. The server keeps to them by choosing cheaper chains where they lose the least.

    \b
    Examples:
      export GREENFLOW_ADMIN_TOKEN=$(cat token)   one that the server was started with
      greenflow budget set cap --power 150W
      greenflow budget set day --energy 2.5kWh/day
      greenflow budget show
      greenflow budget clear cap
    """


@command.command("set", context_settings={"show_default": True})
@click.argument("name")
@_quantity(Kind.POWER, "Watts of all machines together, at all times.")
@_quantity(Kind.ENERGY, "Of all machines, from midnight to midnight UTC.")
@_quantity(Kind.CARBON, "Grams of CO2e a full hour (g/h) or a day in UTC (g/day).")
@_quantity(Kind.COMPUTE, "Seconds a second that variants and the work around them run, all replicas added up.")
@_quantity(Kind.FLOPS, "FLOPs a second, as counted from the models.")
@url_option
@token_file_option
def set_limit(name: str, url: str, token_file: Path | None, **quantities: tuple[float, str] | None) -> None:
    """Set the limit NAME, in place of what there was of this name.

    NAME is yours to choose: small letters, digits, - and _. Limits that the server was started with are named power,
    energy, carbon-hour, carbon-day, compute and flops; setting one of these names replaces it until the server is
    started with another value. The limit holds within two windows (seconds), and after a restart too.

    \b
    Examples:
      greenflow budget set cap --power 150W
      greenflow budget set day --energy 2.5kWh/day
      greenflow budget set grid --carbon 40g/h
      greenflow budget set cores --compute 1.5
      greenflow budget set flops --flops 2e9 --url http://10.0.0.5:8000 --token-file token
    """
    given = {kind: quantity for kind, quantity in quantities.items() if quantity is not None}
    if len(given) != 1:
        raise click.UsageError("name one of --power, --energy, --carbon, --compute and --flops")
    ((kind, (number, unit)),) = given.items()
    limit = limit_of(name, kind, number, unit)
    stands = LimitClient(url, token_from(token_file)).put(limit)
    click.echo(f"{stands.name}: {stands.kind} is limited to {_said(stands)}")
    if stands.reachable is False:
        click.echo("It cannot be reached: even the cheapest chains, with what runs idle, spend more.", err=True)


@command.command("clear", context_settings={"show_default": True})
@click.argument("name")
@url_option
@token_file_option
def clear_limit(name: str, url: str, token_file: Path | None) -> None:
    """Remove the limit NAME, also one that the server was started with.

    \b
    Example:
      greenflow budget clear cap
    """
    LimitClient(url, token_from(token_file)).clear(name)
    click.echo(f"{name}: no longer limited")


@command.command("show", context_settings={"show_default": True})
@url_option
@click.option("--last", type=click.IntRange(0, 1000), default=5, help="So many changes, the newest first.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(url: str, last: int, as_json: bool) -> None:
    """Show the limits in force, what is spent of them, and who changed them. Takes no token.

    Spend is in the limit's unit: of the window that ended last; of energy and carbon, what the hour or day has taken so
    far. A price above zero means that the limit binds: chains are chosen by reward less price times cost.

    \b
    Example:
      greenflow budget show --json
    """
    client = LimitClient(url)
    limits, changes = client.constraints().constraints, client.changes(last).changes
    if as_json:
        document = {"constraints": [one.model_dump(mode="json") for one in limits]}
        click.echo(json.dumps({**document, "changes": [one.model_dump(mode="json") for one in changes]}, indent=1))
        return
    console = Console(highlight=False, soft_wrap=True)
    if limits:
        console.print(_table(limits))
    else:
        console.print("Nothing is limited. Set a limit with `greenflow budget set`.")
    for change in changes:
        console.print(_line(change), markup=False)


def _table(limits: list[LimitOut]) -> Table:
    table = Table()
    for column in ("name", "kind", "limit", "unit", "spend", "price", "reachable"):
        table.add_column(column, justify="right" if column in ("limit", "spend", "price") else "left", no_wrap=True)
    for one in limits:
        reachable = {True: "yes", False: "no", None: "?"}[one.reachable]
        figures = [f"{one.limit:g}", one.unit, _figure(one.spend), _figure(one.price)]
        table.add_row(one.name, one.kind, *figures, reachable)
    return table


def _line(change: ChangeOut) -> str:
    when = datetime.fromtimestamp(change.at_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return f"{when}  {change.author}  {change.name}: {_said(change.after)} instead of {_said(change.before)}"


def _said(stated: Stated | None) -> str:
    return "no limit" if stated is None else f"{stated.limit:g} {stated.unit}"


def _figure(value: float | None) -> str:
    return "?" if value is None else f"{value:.4g}"
