"""What was found, for people and as JSON; written after each thing that happens: a run cut short tells it, too."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limits_outage import Outage
from limits_phases import LATER_S, NEAR, OVER_S, WITHIN_S, Found, Look, Played, found
from limits_steady import Held, Steady
from rich.console import Console
from rich.table import Table

from cluster.traffic.report import LoadReport


@dataclass
class Run:
    """One server's life. Phases are judged by all looks that there have been. `problem` ended it before its time."""

    placement: str
    rate: float
    looks: list[Look] = field(default_factory=list)
    phases: list[Played] = field(default_factory=list)
    steady: list[Steady] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    problem: str = ""

    @property
    def found(self) -> list[Found]:
        """Of every phase."""
        return [found(one, self.looks) for one in self.phases]


@dataclass
class Results:
    """All runs, and where they are written."""

    machine: dict[str, object]
    file: Path | None
    runs: list[Run] = field(default_factory=list)

    def save(self) -> None:
        """Write all that there is."""
        if self.file is not None:
            document = {"machine": self.machine, "runs": [_run(run) for run in self.runs]}
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(json.dumps(document, indent=1) + "\n")

    def show(self, console: Console) -> None:
        """Tables, and in a line what was reached and what not."""
        for run in self.runs:
            console.print(f"{run.placement}: " + "; ".join(look_line(one) for one in run.looks), highlight=False)
            for table in (phases_table(run.found, run.placement), steady_table(run.steady), outages_table(run.outages)):
                if table.row_count:
                    console.print(table)
        if sum(bool(run.phases) for run in self.runs) > 1:
            console.print(placements_table(self.runs))
        for line in self.summary():
            console.print(line, highlight=False)

    def summary(self) -> list[str]:
        """One line for every kind of thing that was asked for."""
        lines = []
        for run in self.runs:
            clear = [one.reached for one in run.found if one.clear or not one.held]
            groups = {
                "phases": clear,
                "long averages": [one.reached for one in run.steady],
                "outages": [one.reached for one in run.outages],
            }
            lines += [f"{run.placement}, {about}: {sum(g)} of {len(g)} reached" for about, g in groups.items() if g]
            if unclear := len(run.phases) - len(clear):
                lines.append(f"{run.placement}: {unclear} phases unclear")
        lines += [f"{run.placement}: ended early: {run.problem}" for run in self.runs if run.problem]
        return [*lines, f"failed requests in all: {self.failed}"]

    @property
    def failed(self) -> int:
        """Requests of everything that was judged, those included that could not be sent."""
        loads = [load for run in self.runs for load in _loads(run)]
        return sum(load.failed + load.overflow for load in loads)


def look_line(one: Look) -> str:
    """What caps can do."""
    third = "" if one.third_w is None else f", a third of the traffic without a cap {one.third_w:.1f} W"
    little = (
        "" if one.tells else "; caps can do too little to show anything: is the machine busy, or the rate too small?"
    )
    return f"{one.least_w:.1f} W (cheapest chains) to {one.free_w:.1f} W (no cap){third}{little}"


def phase_line(one: Found) -> str:
    """As soon as it is over; judged by the looks so far."""
    return (
        f"{one.played.phase.about}: {one.mean_w:.1f} W for {_goal(one)} W, near after {one.near_s} s,"
        f" then off for {one.later_s:.0f} s: {one.verdict}; {_load(one.played.load)}"
    )


def steady_line(one: Steady) -> str:
    """The same of a long phase."""
    word = "reached" if one.reached else "missed"
    return f"steady for {len(one.played.watts)} s: {100 * one.all.off:+.2f} %: {word}; {_load(one.played.load)}"


def outage_line(one: Outage) -> str:
    """The same of an outage."""
    word = "reached" if one.reached else "missed"
    return (
        f"{one.about}: away for {one.away_s:.1f} s, {100 * one.over:+.1f} % of the cap"
        f" ({100 * one.start_w / one.cap_w:.1f} % for starting anew),"
        f" {100 * one.over_in_all:+.1f} % with the time after: {word}; {_load(one.load)}"
    )


def phases_table(those: Sequence[Found], title: str) -> Table:
    """A row a phase."""
    caption = (
        f"near: the mean of the {OVER_S:.0f} s from then on is within {100 * NEAR:.0f} % of what can be reached;"
        f" to be so after {WITHIN_S:.0f} s, and later off for less than {LATER_S:.0f} s"
    )
    columns = ("phase", "requests/s", "cap W", "to reach W", "mean W", "off", "near after s", "then off s", "failed")
    table = Table(*columns, "verdict", title=title, caption=caption)
    for one in those:
        phase, load = one.played.phase, one.played.load
        near = "never" if one.near_s is None else f"{one.near_s:.0f}"
        row = (phase.about, f"{phase.rate:.0f}", f"{phase.cap_w:,.1f}", _goal(one), f"{one.mean_w:.1f}")
        table.add_row(*row, f"{100 * one.off:+.1f} %", near, f"{one.later_s:.0f}", str(_bad(load)), one.verdict)
    return table


def placements_table(runs: Sequence[Run]) -> Table:
    """The same phases side by side."""
    table = Table("phase", *(run.placement for run in runs), title="off, seconds until near, verdict")
    names = [one.played.phase.about for one in runs[0].found]
    cells = {(run.placement, one.played.phase.about): one for run in runs for one in run.found}
    for name in names:
        row = [cells.get((run.placement, name)) for run in runs]
        table.add_row(
            name, *("-" if one is None else f"{100 * one.off:+.1f} %, {one.near_s}, {one.verdict}" for one in row)
        )
    return table


def steady_table(those: Sequence[Steady]) -> Table:
    """Two rows a phase, each with its floor."""
    columns = ("cap", "mean off %", "floor ± %", "utilisation %", "floor", "over-use %", "floor", "spread %", "floor")
    caption = "over-use and utilisation of windows of 1 s; floor: chance alone, under a perfect price"
    table = Table(*columns, "failed", title="a cap for long", caption=caption)
    for one in those:
        cap_w, failed = one.played.phase.cap_w, str(_bad(one.played.load))
        off = one.off_floor
        table.add_row(f"{cap_w:.1f} W, all", *_held(one.all, one.all_floor, off), failed)
        idle_w = one.idle_w
        scaled = off * cap_w / (cap_w - idle_w)
        row = _held(one.above_idle, one.above_idle_floor, scaled)
        table.add_row(f"{cap_w - idle_w:.1f} W above {idle_w:.0f} W", *row, "")
        mean_j, spread_j = one.request_j
        table.add_section()
        table.add_row(f"{mean_j:.3f} J ± {spread_j:.3f} a request")
    return table


def outages_table(those: Sequence[Outage]) -> Table:
    """A row an outage."""
    columns = (
        "what",
        "cap W",
        "away s",
        "over % meanwhile",
        "its start %",
        "over % with 20 s after",
        "failed",
        "degraded",
    )
    caption = "its start: of the watts meanwhile, those of the processes that started in its stead, by their CPU time"
    table = Table(*columns, "joules", "verdict", title="outages under a cap", caption=caption)
    for one in those:
        known = ", ".join(f"{name} {times}" for name, times in one.qualities.items())
        row = (
            one.about,
            f"{one.cap_w:.1f}",
            f"{one.away_s:.1f}",
            f"{100 * one.over:+.1f}",
            f"{100 * one.start_w / one.cap_w:.1f}",
            f"{100 * one.over_in_all:+.1f}",
        )
        word = "reached" if one.reached else "missed"
        table.add_row(*row, f"{_bad(one.load)} of {one.load.sent}", str(one.load.degraded), known, word)
    return table


def _held(one: Held, floor: Held, off: float) -> tuple[str, ...]:
    figures = (one.utilisation, floor.utilisation, one.overuse, floor.overuse, one.spread, floor.spread)
    return (f"{100 * one.off:+.2f}", f"{100 * off:.2f}", *(f"{100 * figure:.2f}" for figure in figures))


def _goal(one: Found) -> str:
    low_w, high_w = one.goal_w
    return f"{low_w:.1f}" if high_w - low_w < 0.1 else f"{low_w:.1f}-{high_w:.1f}"


def _bad(load: LoadReport) -> int:
    return load.failed + load.overflow


def _load(load: LoadReport) -> str:
    late = "" if load.latency_ms is None else f", p99 {load.latency_ms.p99:.0f} ms"
    errors = f" {load.errors}" if load.errors else ""
    return f"{load.sent} requests{late}, failed {_bad(load)}{errors}, degraded {load.degraded}"


def _loads(run: Run) -> list[LoadReport]:
    phases, outages = [one.load for one in run.phases], [one.load for one in run.outages]
    return [*phases, *(long.played.load for long in run.steady), *outages]


def _run(run: Run) -> dict[str, Any]:
    return {
        "placement": run.placement,
        "rate": run.rate,
        "problem": run.problem,
        "looks": [{"free_w": one.free_w, "least_w": one.least_w, "third_w": one.third_w} for one in run.looks],
        "phases": [_phase(one) for one in run.found],
        "steady": [_steady(one) for one in run.steady],
        "outages": [_outage(one) for one in run.outages],
    }


def _phase(one: Found) -> dict[str, Any]:
    figures = {"goal_w": one.goal_w, "mean_w": one.mean_w, "off": one.off, "near_s": one.near_s}
    return {**_played(one.played), **figures, "later_s": one.later_s, "verdict": one.verdict}


def _steady(one: Steady) -> dict[str, Any]:
    held = {name: getattr(one, name).__dict__ for name in ("all", "all_floor", "above_idle", "above_idle_floor")}
    figures = {
        "request_j": one.request_j,
        "idle_w": one.idle_w,
        "off_floor": one.off_floor,
        "reached": one.reached,
    }
    return {**_played(one.played), **held, **figures}


def _outage(one: Outage) -> dict[str, Any]:
    figures = {name: value for name, value in one.__dict__.items() if name != "load"}
    return {**figures, "over": one.over, "over_in_all": one.over_in_all, "reached": one.reached,
            "load": one.load.model_dump()}  # fmt: skip


def _played(one: Played) -> dict[str, Any]:
    watts = [round(w, 2) for w in one.watts]
    return {**one.phase.__dict__, "watts": watts, "load": one.load.model_dump()}
