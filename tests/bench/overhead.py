"""What controller and allocator take, and how soon what the controller decides is known to every replica.

The demo is served on a stand-in for RAPL, the allocator in a deployment of its own, under a power cap that binds. First
clients in a closed loop keep it as busy as it can be, and the CPU time of all of its processes is put down to what runs
in them. Then the cap is changed again and again under a gentle load, see reach.py.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click
from limits_stand import PLACEMENTS, Stand, standing
from machine import describe
from process_group import Moment, ProcessGroup, Spent
from reach import Reached, changed, reach_table
from rich.console import Console
from rich.table import Table
from servers import ROOT

from cluster.commands.load import run_fast
from cluster.config import DEMO
from cluster.traffic.bodies import request_bodies, user_ids
from cluster.traffic.load import LoadPlan, run_load
from cluster.traffic.report import LoadReport

PARTS = ("controller", "allocator")
OTHERS = ("ingress", "NodeMeter")
REST = "all else: variants, Serve, Ray"
MOST_SHARE = 0.03
NO_W, BINDS = 1e6, 0.8


@dataclass(frozen=True)
class Overhead:
    """CPU seconds of a stretch under load, by part of the server, and what the machine's cores could have given."""

    spent: Spent
    parts: Mapping[str, float]
    load: LoadReport
    cap_w: float
    deciding_s: float
    """Of decisions, as replicas count it themselves: a part of the allocator's, or of the ingress's."""

    @property
    def both_s(self) -> float:
        """Of controller and allocator; where that is a part of the ingress, of the controller and decisions."""
        own = self.parts["allocator"]
        return self.parts["controller"] + (own or self.deciding_s)

    def of_server(self, cpu_s: float) -> float:
        """As a share of what all of the server's processes took."""
        return cpu_s / self.spent.server_s

    def of_machine(self, cpu_s: float) -> float:
        """As a share of all cores."""
        return cpu_s / (self.spent.wall_s * (os.cpu_count() or 1))


def by_part(group: ProcessGroup, spent: Mapping[int, float]) -> dict[str, float]:
    """CPU seconds by process, put down to parts; a process that has ended is among all else."""
    parts = {part: sum(spent.get(p.pid, 0.0) for p in group.titled(part)) for part in (*PARTS, *OTHERS)}
    return {**parts, REST: sum(spent.values()) - sum(parts.values())}


def overhead(stand: Stand, clients: int, seconds: float) -> Overhead:
    """Without a cap at first, to know which one binds."""
    stand.put(NO_W)
    _load(stand, clients, 5.0)
    cap_w = stand.idle_w + BINDS * (_watts(stand, clients, 8.0) - stand.idle_w)
    stand.put(cap_w)
    _load(stand, clients, 10.0)
    group = stand.server.group
    before, decided_s = Moment.now(group), _deciding_s(stand)
    load = _load(stand, clients, seconds)
    after = Moment.now(group)
    spent = {pid: cpu_s - before.server.get(pid, 0.0) for pid, cpu_s in after.server.items()}
    deciding_s = _deciding_s(stand) - decided_s
    return Overhead(before.until(after), by_part(group, spent), load, cap_w, deciding_s)


def _deciding_s(stand: Stand) -> float:
    """Known a window late, at both ends of a stretch alike."""
    return float(stand.get("/v1/policy")["deciding_cpu_s"])


def _load(stand: Stand, clients: int, seconds: float) -> LoadReport:
    bodies = request_bodies(user_ids(DEMO), seed=0)
    return run_fast(run_load(LoadPlan(stand.server.url, bodies, clients=clients, seconds=seconds)))


def _watts(stand: Stand, clients: int, seconds: float) -> float:
    began_j, began_s = stand.truth.now()
    _load(stand, clients, seconds)
    ended_j, ended_s = stand.truth.now()
    return (ended_j - began_j) / (ended_s - began_s)


def overhead_table(one: Overhead, clients: int) -> Table:
    """A row a part."""
    caption = f"{clients} clients, {one.load.throughput_per_s:,.0f} answers/s, failed {one.load.failed},"
    caption += f" {one.spent.wall_s:.0f} s, cap {one.cap_w:.0f} W; other programs {one.spent.other_s:.1f} CPU s"
    table = Table("part", "CPU s", "% of the server's", "% of all cores", caption=caption)
    rows = {
        **one.parts,
        "decisions, by their own count": one.deciding_s,
        "controller and allocator": one.both_s,
        "the server": one.spent.server_s,
    }
    for part, cpu_s in rows.items():
        shares = (f"{100 * one.of_server(cpu_s):.2f}", f"{100 * one.of_machine(cpu_s):.2f}")
        table.add_row(part, f"{cpu_s:.2f}", *shares, style="bold" if part == "controller and allocator" else None)
    return table


def _plain(one: Overhead | None, reached: Reached | None) -> dict[str, object]:
    document: dict[str, object] = {"machine": describe(ROOT)}
    if one is not None:
        both = {"of_server": one.of_server(one.both_s), "of_machine": one.of_machine(one.both_s)}
        figures = {
            "deciding_s": one.deciding_s,
            "cpu_s": one.parts,
            "spent": one.spent.__dict__,
            "both": both,
            "cap_w": one.cap_w,
        }
        document["overhead"] = {**figures, "load": one.load.model_dump()}
    if reached is not None:
        document["reach"] = reached.plain()
    return document


def _judged(one: Overhead | None, reached: Reached | None) -> list[str]:
    lines = []
    if one is not None:
        share = one.of_server(one.both_s)
        word = "reached" if share <= MOST_SHARE else "missed"
        of_all = f"{100 * one.of_machine(one.both_s):.2f} % of all cores"
        lines.append(f"controller and allocator: {100 * share:.2f} % of the server's CPU time, {of_all}: {word}")
    if reached is not None:
        lines.append(reached.line)
    return lines


@click.command(context_settings={"show_default": True})
@click.option("--clients", type=click.IntRange(1), default=32)
@click.option("--seconds", type=click.FloatRange(0), default=30.0, help="Under load; 0 leaves it out.")
@click.option("--changes", type=click.IntRange(0), default=10, help="Of the cap, 3 s each; 0 leaves them out.")
@click.option("--placement", type=click.Choice(PLACEMENTS), default="inline", help="Of variants.")
@click.option("--allocator", type=click.Choice(["own", "inline"]), default="own", help="Where chains are chosen;"
              " inline, that is a part of the ingress, which counts what decisions take.")  # fmt: skip
@click.option("--ingresses", type=click.IntRange(1), default=2, help="Replicas of the ingress.")
@click.option("--allocators", type=click.IntRange(1), default=2, help="Replicas of the allocator.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures here.")
def main(
    clients: int, seconds: float, changes: int, placement: str, allocator: str, ingresses: int, allocators: int,
    json_file: Path | None,
) -> None:  # fmt: skip
    """See what controller and allocator take of the CPU, and how soon a policy reaches every replica.

    \b
    Examples:
      python tests/bench/overhead.py --json out/overhead.json
      python tests/bench/overhead.py --allocators 1 --ingresses 1
      python tests/bench/overhead.py --seconds 0 --allocators 3
    """
    settings = {
        "GREENFLOW_ALLOCATOR_PLACEMENT": allocator,
        "GREENFLOW_ALLOCATOR_REPLICAS": str(allocators),
        "GREENFLOW_INGRESS_REPLICAS": str(ingresses),
    }
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    one, reached = None, None
    with standing(placement, settings) as stand:
        if seconds:
            one = overhead(stand, clients, seconds)
            console.print(overhead_table(one, clients))
        if changes:
            reached = changed(stand, changes)
            console.print(reach_table(reached))
    for line in _judged(one, reached):
        console.print(line)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(_plain(one, reached), indent=1) + "\n")


if __name__ == "__main__":
    main()
