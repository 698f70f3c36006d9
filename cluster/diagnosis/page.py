"""The findings as text for people: a word for how each stands, so that it reads without colours too."""

import textwrap
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from cluster.diagnosis.findings import Diagnosis, Finding, State

_COLOURS = {State.OK: "green", State.NOTE: "yellow", State.OFF: "dim", State.WRONG: "bold red"}
_STATE, _SUBJECT = 7, 10
_INDENT = 2 + _STATE + _SUBJECT
NARROW, WIDE = 60, 110


def show(diagnosis: Diagnosis, console: Console) -> None:
    """Print it all: the application, each node, and one line to sum up."""
    width = min(WIDE, max(NARROW, console.width if console.is_terminal else WIDE))
    _section(console, "application", diagnosis.application, width)
    for node in diagnosis.nodes:
        title = f"node {node.host}" + (f" ({node.node[:8]})" if node.node else "")
        _section(console, title, node.findings, width)
    console.print(_sum(diagnosis), soft_wrap=True)


def _section(console: Console, title: str, findings: tuple[Finding, ...], width: int) -> None:
    console.print(Text(title, style="bold"), soft_wrap=True)
    for finding in findings:
        for line in _lines(finding, width):
            console.print(line, soft_wrap=True)
    console.print()


def _lines(finding: Finding, width: int) -> Iterator[Text]:
    """The finding, wrapped; then its remedy in one line of its own, which can be copied whole however long it is."""
    first, *rest = textwrap.wrap(finding.says, width - _INDENT, break_long_words=False) or [""]
    state = (f"  {finding.state.value:<{_STATE}}", _COLOURS[finding.state])
    yield Text.assemble(state, f"{finding.subject:<{_SUBJECT}}", first)
    for line in rest:
        yield Text(" " * _INDENT + line)
    if finding.remedy:
        yield Text.assemble(" " * _INDENT, ("remedy: ", "cyan"), finding.remedy)


def _sum(diagnosis: Diagnosis) -> Text:
    count = len(diagnosis.wrong)
    if not count:
        return Text("All that is configured works.", style="green")
    said = (
        "1 thing that is configured cannot work." if count == 1 else f"{count} things that are configured cannot work."
    )
    return Text(said, style="bold red")
