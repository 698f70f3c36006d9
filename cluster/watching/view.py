"""The live view: a window as a picture for a terminal, from 80 columns."""

import math
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cluster.limits.schemas import LimitOut
from cluster.live.schemas import NoteOut, WindowEvent
from cluster.schemas import DeviceOut, NodeOut
from cluster.watching import said

LEVELS = {"error": "bold red", "warning": "yellow", "info": "cyan"}
QUALITIES = {"measured": "green", "modelled": "cyan", "assumed": "yellow"}
BAR = 12
MOST_LINES = 10
"""Of devices, then of hosts, before the rest is told as one."""
OVER = 1.05
"""A limit is shown as exceeded where more than this share of it is spent: a bit above it is chance."""


def picture(window: WindowEvent, watts: str) -> RenderableType:
    """All that the window says; `watts` is their course."""
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(style="dim", no_wrap=True, width=8)
    grid.add_column(ratio=1)
    for name, content in _sections(window, watts):
        grid.add_row(name, content)
        grid.add_row()
    return Group(*(_note(note) for note in window.notes), *([Text()] if window.notes else []), grid)


def _note(note: NoteOut) -> Text:
    style = LEVELS.get(note.level, "")
    return Text.assemble((f"{note.level}: ", style), note.text)


def _sections(window: WindowEvent, watts: str) -> Iterator[tuple[str, RenderableType]]:
    if window.power is not None:
        yield "power", Group(_power(window, watts), *_nodes(window.power.nodes))
    if window.energy is not None:
        yield "today", _today(window)
    if window.constraints:
        yield "limits", _limits(window.constraints)
    yield "requests", _requests(window)
    if any(stage.actions for stage in window.mix):
        yield "chains", _mix(window)
    if saved := list(said.savings(window)):
        yield "saved", Group(*(Text.assemble((f"{name:<7}", "dim"), text) for name, text in saved))
    if window.policy is not None:
        yield "policy", _policy(window)


def _power(window: WindowEvent, watts: str) -> Text:
    power = window.power
    assert power is not None
    if power.power_w is None:
        return Text(power.unknown or "nobody can tell", style="yellow")
    text = Text.assemble((said.watts(power.power_w), "bold"), "  ", _quality(power.quality))
    return text.append(f"   {watts}", style="green") if watts else text


def _quality(name: str | None) -> tuple[str, str]:
    return name or "", QUALITIES.get(name or "", "")


def _nodes(nodes: Sequence[NodeOut]) -> Iterator[Table]:
    rows = list(_by_device(nodes))
    if len(rows) > MOST_LINES:
        rows = [(node.host, "", _worst(node), node.power_w) for node in nodes]
    if not rows:
        return
    table = Table.grid(padding=(0, 2))
    for justify in ("left", "left", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    for where, source, quality, power_w in _shortened(rows):
        table.add_row(where, Text(source, style="dim"), said.watts(power_w), Text.assemble(_quality(quality)))
    yield table


Line = tuple[str, str, str | None, float | None]


def _by_device(nodes: Sequence[NodeOut]) -> Iterator[Line]:
    for node in nodes:
        for device in node.devices:
            yield _named(node, device), f"{device.kind}, {device.source}", device.quality, device.power_w


def _named(node: NodeOut, device: DeviceOut) -> str:
    return device.device if device.device.startswith(node.host) else f"{node.host}/{device.device}"


def _worst(node: NodeOut) -> str | None:
    return max((device.quality for device in node.devices), key=list(QUALITIES).index, default=None)


def _shortened(rows: Sequence[Line]) -> Sequence[Line]:
    """Those that draw the most, and all others as one."""
    if len(rows) <= MOST_LINES:
        return rows
    ordered = sorted(rows, key=lambda row: -(row[3] or 0.0))
    rest = ordered[MOST_LINES - 1 :]
    together = math.fsum(row[3] or 0.0 for row in rest)
    return [*ordered[: MOST_LINES - 1], (f"{len(rest)} others", "", None, together)]


def _today(window: WindowEvent) -> Group:
    energy = window.energy
    assert energy is not None
    today = energy.today
    text = Text.assemble(
        (said.energy(today), "bold"), "  ", (said.grams(today), "bold"), f"  {today.requests:,} requests"
    )
    about = "; ".join(part for part in (said.known(today), said.grid(window.carbon)) if part)
    return Group(text, Text(about, style="dim"))


def _limits(limits: Sequence[LimitOut]) -> Table:
    table = Table.grid(padding=(0, 2))
    for justify in ("left", "right", "left", "left"):
        table.add_column(justify=justify, no_wrap=True)
    table.add_column()
    for one in limits:
        share = said.share_of(one)
        spent = f"{said.number(one.spend)} / {said.number(one.limit)} {one.unit}"
        price = f"price {said.number(one.price)}" if one.price else "no price"
        reach = Text("out of reach", style="red") if one.reachable is False else Text()
        table.add_row(one.name, spent, _bar(share), Text(price, style="" if one.price else "dim"), reach)
    return table


def _bar(share: float | None) -> Text:
    if share is None:
        return Text("not known yet", style="dim")
    full = round(BAR * min(1.0, max(0.0, share)))
    style = "red" if share > OVER else "green"
    return Text.assemble(
        ("━" * full, style), ("─" * (BAR - full), "dim"), (f" {share:4.0%}", style if share > OVER else "")
    )


def _requests(window: WindowEvent) -> Group:
    asked = window.requests
    first = Text.assemble((f"{said.number(asked.per_s)}/s", "bold"), f"  {said.latency(window)}".rstrip())
    if asked.energy_j is not None:
        first.append(f"  {said.with_unit(asked.energy_j, 'J')} each")
    bad = said.degraded(window)
    return Group(first, *([Text(f"degraded: {bad}", style="yellow")] if bad else []))


def _mix(window: WindowEvent) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for stage in window.mix:
        table.add_row(stage.stage, said.mix(stage))
    return table


def _policy(window: WindowEvent) -> Text:
    policy = window.policy
    assert policy is not None
    text = Text(f"{policy.reward_model}  {policy.available:,} of {policy.chains:,} chains  ")
    return text.append("stale: prices hold", style="red") if policy.stale else text
