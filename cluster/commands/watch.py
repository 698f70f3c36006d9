"""`greenflow watch`: what a running server does, live in the terminal."""

import time
from collections.abc import Iterator

import click
from rich.console import Console
from rich.live import Live

from cluster.commands.admin import url_option
from cluster.live.schemas import GoneEvent, WindowEvent
from cluster.watching.follow import Look, Lost, looks
from cluster.watching.plain import PlainLines
from cluster.watching.screen import Screen
from cluster.watching.view import picture
from models.errors import TryAgain


@click.command("watch", context_settings={"show_default": True})
@url_option
@click.option("--once", is_flag=True, help="Tell how things stand now, and end.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object for each window, as /v1/live has it.")
def command(url: str, once: bool, as_json: bool) -> None:
    """Watch what a running server draws, spends, answers and saves. Takes no token.

    Watts by device and how they are known, limits with what is spent of them and their prices, kWh and grams of today
    (UTC), requests, latency, chains, savings with their bounds, and what is wrong. Where the output is no terminal, a
    line for each window. When the server goes away it is asked again, until Ctrl-C.

    \b
    Examples:
      greenflow watch
      greenflow watch --url http://10.0.0.5:8000
      greenflow watch --once --json | jq .power.power_w
      greenflow watch >> watts.log
    """
    console = Console(highlight=False)
    heard = looks(url, time.sleep)
    try:
        if once:
            _once(heard, console, as_json)
        elif as_json or not console.is_terminal:
            _lines(heard, as_json)
        else:
            _live(heard, Screen(url, time.time), console)
    except (KeyboardInterrupt, BrokenPipeError):
        console.show_cursor()  # whoever watches ends it like this: nothing went wrong


def _once(heard: Iterator[Look], console: Console, as_json: bool) -> None:
    """The first window. Raises TryAgain where nobody can tell one."""
    for look in heard:
        if isinstance(look, Lost | GoneEvent):
            raise TryAgain(look.why if isinstance(look, Lost) else look.detail)
        if isinstance(look, WindowEvent):
            if as_json:
                click.echo(look.model_dump_json(indent=1))
            else:
                console.print(picture(look, ""))
            return


def _lines(heard: Iterator[Look], as_json: bool) -> None:
    plain = PlainLines()
    for look in heard:
        if as_json and isinstance(look, WindowEvent):
            click.echo(look.model_dump_json())
        elif not as_json or isinstance(look, Lost | GoneEvent):
            for line in plain.of(look):
                click.echo(line, err=as_json)


def _live(heard: Iterator[Look], screen: Screen, console: Console) -> None:
    with Live(screen, console=console, screen=True, auto_refresh=True, refresh_per_second=1) as live:
        for look in heard:
            screen.hear(look)
            if isinstance(look, WindowEvent | Lost | GoneEvent):
                live.refresh()
