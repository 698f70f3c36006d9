"""Simulated days in the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from cluster.simulation.outcome import Outcome
from cluster.simulation.words import (
    COMPARED,
    COMPARED_NOTE,
    LIMIT_HEADERS,
    compared_rows,
    facts,
    limit_cells,
    played,
)


def show(one: Outcome, console: Console) -> None:
    """One day."""
    console.print(f"[bold]{one.name}[/]: {one.shows}", soft_wrap=True)
    console.print(played(one), soft_wrap=True)
    table = Table.grid(padding=(0, 2))
    for name, says in facts(one):
        table.add_row(name, says)
    console.print(table)
    if one.limits:
        console.print(_table(LIMIT_HEADERS, [limit_cells(limit) for limit in one.limits]))


def show_compared(outcomes: Sequence[tuple[str, Outcome]], console: Console) -> None:
    """Several runs of one day."""
    console.print(f"[bold]{outcomes[0][1].name}[/]: {outcomes[0][1].shows}", soft_wrap=True)
    console.print(_table(COMPARED, compared_rows(outcomes)))
    console.print(COMPARED_NOTE, soft_wrap=True)
    for label, one in outcomes:
        if not one.complete:
            console.print(f"{label}: {played(one)}", soft_wrap=True)


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for n, header in enumerate(headers):
        table.add_column(header, justify="left" if n == 0 else "right", no_wrap=n == 0)
    for row in rows:
        table.add_row(*row)
    return table
