"""A report for a terminal."""

import textwrap
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from cluster.reporting.columns import Column, cells, is_aside
from cluster.reporting.model import EnergyReport
from cluster.reporting.words import facts

NARROW, WIDE = 60, 100
_NAME = 13


def show(report: EnergyReport, console: Console) -> None:
    """Print the total, then the lines. Lines are never cut: a figure without its last digits would be another one."""
    width = min(WIDE, max(NARROW, console.width if console.is_terminal else WIDE))
    for line in (Text(report.ledger, style="bold"), *_total(report, width), Text(), *_lines(report)):
        console.print(line, soft_wrap=True)


def _total(report: EnergyReport, width: int) -> Iterator[Text]:
    before = ""
    for name, says in facts(report):
        first, *rest = textwrap.wrap(says, width - _NAME - 2, break_long_words=False)
        yield Text.assemble("  ", (f"{'' if name == before else name:<{_NAME}}", "cyan"), first)
        for line in rest:
            yield Text(" " * (_NAME + 2) + line)
        before = name


def _lines(report: EnergyReport) -> Iterator[Text]:
    chosen, rows = cells(report)
    widths = [max(len(text) for text in texts) for texts in zip([c.header for c in chosen], *rows, strict=True)]
    yield Text(_aligned([column.header for column in chosen], chosen, widths), style="bold")
    for row, texts in zip(report.rows, rows, strict=True):
        yield Text(_aligned(texts, chosen, widths), style="dim" if is_aside(row) else "")


def _aligned(texts: Sequence[str], chosen: Sequence[Column], widths: Sequence[int]) -> str:
    parts = zip(texts, chosen, widths, strict=True)
    return "  ".join(f"{text:>{n}}" if column.figures else f"{text:<{n}}" for text, column, n in parts).rstrip()
