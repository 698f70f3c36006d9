"""`greenflow settings`: the reference of all settings, and what the environment says of them."""

import os

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cluster.config import Settings
from cluster.settings_table import NOT_SAID, Setting, about, settings, settings_markdown
from models.errors import FixSetup

SECRET = "(set)"


@click.command("settings")
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.option("--markdown", is_flag=True, help="All of them, as Markdown: deploy/SETTINGS.md.")
def command(words: tuple[str, ...], markdown: bool) -> None:
    """Say what every setting means, what it may be, and what it is by default.

    With WORDs, those settings alone that have all of them in their name or meaning. A setting that this environment
    says something of shows that, too; what it says is checked.

    \b
    Examples:
      greenflow settings limits
      greenflow settings replicas
    """
    if markdown:
        click.echo(settings_markdown(), nl=False)
        return
    found = [one for one in settings() if all(word.lower() in _text(one) for word in words)]
    if not found:
        raise FixSetup(
            f"no setting has {' and '.join(map(repr, words))} in its name or meaning: greenflow settings has all"
        )
    console = Console(highlight=False)
    for group in dict.fromkeys(one.group for one in found):
        table = Table(box=None, padding=(0, 2, 1, 0), show_header=False, title_justify="left", title_style="bold")
        table.title = f"{group}: {about(group)}" if group else "the application"
        for one in found:
            if one.group == group:
                table.add_row(*_cells(one))
        console.print(table)
    Settings.from_environment({})


def _text(one: Setting) -> str:
    return f"{one.variable} {one.argument} {one.meaning}".lower()


def _cells(one: Setting) -> tuple[str, str]:
    said = os.environ.get(one.variable)
    shown = SECRET if said is not None and one.may_be == "a secret" else said
    default = "" if one.default == NOT_SAID else f"; {one.default} by default"
    here = "" if shown is None else f"\n[green]here: {escape(shown)}[/green]"
    return f"[bold]{one.variable}[/bold]{here}", f"{escape(one.meaning)}\n[dim]{one.may_be}{escape(default)}[/dim]"
