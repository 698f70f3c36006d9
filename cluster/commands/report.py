"""`greenflow report`: what the ledger's joules and grams come to."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console

from cluster.config import Settings
from cluster.ledger.read import Period
from cluster.reporting.basis import Asked
from cluster.reporting.gather import gather_from
from cluster.reporting.model import By, EnergyReport
from cluster.reporting.page import others, page
from cluster.reporting.since import day_of, moment, month_of
from cluster.reporting.spreadsheet import csv_text
from cluster.reporting.text import show
from models.errors import FixRequest

Form = Callable[[Sequence[EnergyReport]], str]
FORMS: dict[str, Form] = {
    "csv": lambda reports: csv_text(reports[0]),
    "json": lambda reports: reports[0].model_dump_json(indent=1) + "\n",
    "html": page,
}


@click.command("report", context_settings={"show_default": True})
@click.option(
    "--ledger",
    type=click.Path(path_type=Path, dir_okay=False),
    show_default="GREENFLOW_ENERGY_LEDGER, else ~/.local/state/greenflow/ledger.sqlite",
    help="File of the account, on the machine where the controller runs.",
)
@click.option(
    "--since",
    show_default="all that is kept",
    help="From then on: an ISO date or time (UTC unless it names a zone), or a span back from now: 24h, 7d, 4w.",
)
@click.option("--until", show_default="now", help="Up to then, in the same words.")
@click.option("--day", help="Instead of --since and --until: that day (UTC), such as 2026-11-24.")
@click.option("--month", help="Or that month (UTC), such as 2026-11.")
@click.option(
    "--by",
    type=click.Choice(["hour", "day", "stage", "variant", "node"]),
    default="variant",
    help="What a line is. The page tells by time, by variant and by node in any case: there it says how finely.",
)
@click.option(
    "--embodied-g-per-h",
    type=click.FloatRange(min=0),
    show_default="GREENFLOW_CARBON_EMBODIED_G_PER_H, else nothing",
    help="Grams of CO2e of making the machines, per hour of their life: told on a line of its own, never added.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print the lines as CSV, figures in full.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@click.option("--html", "as_html", is_flag=True, help="Print a page that fetches nothing.")
def command(
    ledger: Path | None,
    since: str | None,
    until: str | None,
    day: str | None,
    month: str | None,
    by: By,
    embodied_g_per_h: float | None,
    as_csv: bool,
    as_json: bool,
    as_html: bool,
) -> None:
    """Tell how much energy and carbon the recommendations took, what it went to, and what was saved against the users
    who are held back.

    Reads the ledger that the controller keeps; it may be at work meanwhile. Times are rounded outwards to whole hours
    (UTC), or to days where hours are no longer kept.

    Every joule and gram says how it is known: measured by a meter, modelled from something measured, or assumed. Joules
    of a request are those of its own work; what machines draw idle stands apart. Grams by average and by marginal
    intensity are never added up.

    \b
    Examples:
      greenflow report
      greenflow report --since 7d --by day
      greenflow report --since 2026-11-01 --until 2026-12-01 --by hour --csv > november.csv
      greenflow report --day 2026-11-24 --by hour
      greenflow report --month 2026-11 --html > november.html    one file, to be sent and printed
    """
    form = _only_form(as_csv, as_json, as_html)
    stated = {"energy_ledger": ledger, "carbon_embodied_g_per_h": embodied_g_per_h}
    settings, asked = Settings.from_environment(stated), _asked(since, until, day, month)
    with _named_as_asked("day" if day else "month" if month else ""):
        reports = gather_from(settings.energy.ledger_file, by, asked, others(by) if as_html else _none)
    reports = tuple(report.with_embodied(settings.carbon.embodied_g_per_h) for report in reports)
    if form is None:
        show(reports[0], Console(highlight=False))
    else:
        click.echo(form(reports), nl=False)


def _only_form(*wanted: bool) -> Form | None:
    """The one of FORMS that is wanted; None for none. Raises UsageError for more than one."""
    names = [name for name, is_wanted in zip(FORMS, wanted, strict=True) if is_wanted]
    if len(names) > 1:
        raise click.UsageError(f"name one of --csv, --json and --html, not --{' and --'.join(names)}")
    return FORMS[names[0]] if names else None


def _none(_: Period) -> Sequence[By]:
    return ()


def _asked(since: str | None, until: str | None, day: str | None, month: str | None) -> Asked:
    """The time that the options name. Raises UsageError for two ways to name it, FixRequest for what is no time."""
    named = [option for option, value in (("--day", day), ("--month", month)) if value is not None]
    if len(named) + (since is not None or until is not None) > 1:
        raise click.UsageError("name one of --day, --month, and --since with --until")
    now_s = time.time()
    if day is not None:
        return Asked(*day_of(day), now_s)
    if month is not None:
        return Asked(*month_of(month), now_s)
    since_s = None if since is None else moment(since, "since", now_s)
    until_s = None if until is None else moment(until, "until", now_s)
    return Asked(since_s, until_s, now_s)


@contextmanager
def _named_as_asked(option: str) -> Iterator[None]:
    """What is wrong with a day or a month is said of that option, not of those that it stands for."""
    try:
        yield
    except FixRequest as error:
        if option and error.field in ("since", "until"):
            raise FixRequest(option, error.problem) from None
        raise
