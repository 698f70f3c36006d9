"""Measures the app side by side with its peers: throughput, latency, CPU and memory. See README.md in this folder.

python tests/bench/serving.py [--quick] [--json FILE]
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import click
from machine import describe
from process_group import Moment, PeakMemory
from rich.console import Console
from servers import ROOT, SERVERS, Running, Server, running
from summary import Cell, Start, cells_table, disturbed, goals_json, goals_table, starts_table

from cluster.commands.load import run_fast
from cluster.config import DEMO
from cluster.traffic.bodies import request_bodies, user_ids
from cluster.traffic.load import LoadPlan, run_load
from cluster.traffic.report import LoadReport

MOST_CLIENTS = 64
SAME_ANSWERS = 20


@dataclass(frozen=True)
class Plan:
    """What to measure. Seconds: of each cell, of the warm-up before it, and of the warm-up after a start."""

    cascade: Path
    servers: tuple[Server, ...]
    clients: tuple[int, ...]
    repeats: int
    seconds: float
    warm_s: float
    start_warm_s: float


class Bench:
    """One whole run. `cells` and `starts` fill up as it goes."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self.plan, self.console = plan, console
        self.cells: list[Cell] = []
        self.starts: list[Start] = []
        self.answers: dict[str, list[Any]] = {}
        self._bodies = request_bodies(user_ids(plan.cascade), seed=0)

    def run(self) -> None:
        """All repeats; in each one server after the other, alone on the machine while it is measured."""
        for repeat in range(self.plan.repeats):
            for server in self.plan.servers:
                self.console.print(f"repeat {repeat + 1} of {self.plan.repeats}: {server.name} ({server.about})")
                with running(server, self.plan.cascade) as up:
                    self._measure(server, up, repeat)

    def different(self) -> list[str]:
        """Servers whose answers are not those of the first one: they would not be comparable."""
        first = next(iter(self.answers.values()), None)
        return [name for name, answers in self.answers.items() if answers != first]

    def _measure(self, server: Server, up: Running, repeat: int) -> None:
        if server.static:
            self.answers.setdefault(server.name, [_ask(up.url, body) for body in self._bodies[:SAME_ANSWERS]])
        with PeakMemory(up.group) as memory:
            self._load(up, MOST_CLIENTS, self.plan.start_warm_s)
        idle = Moment.now(up.group)
        time.sleep(2.0)
        spent = idle.until(Moment.now(up.group))
        peak_mb = memory.peak_bytes / 2**20
        processes = sum(1 for _ in up.group.members())
        self.starts.append(Start(server.name, repeat, up.start_s, spent.server_s / spent.wall_s, peak_mb, processes))
        for clients in self.plan.clients:
            self.cells.append(self._cell(server, up, repeat, clients))

    def _cell(self, server: Server, up: Running, repeat: int, clients: int) -> Cell:
        self._load(up, clients, self.plan.warm_s)
        before = Moment.now(up.group)
        report = self._load(up, clients, self.plan.seconds)
        spent = before.until(Moment.now(up.group))
        latency = report.latency_ms
        cell = Cell(
            server=server.name,
            repeat=repeat,
            clients=clients,
            sent=report.sent,
            failed=report.failed,
            throughput_per_s=report.throughput_per_s,
            p50_ms=latency.p50 if latency else float("nan"),
            p99_ms=latency.p99 if latency else float("nan"),
            server_cpu_ms=1e3 * spent.server_s / max(report.sent, 1),
            client_cpu_ms=1e3 * spent.client_s / max(report.sent, 1),
            other_cores=spent.other_s / spent.wall_s,
        )
        self.console.print(
            f"  {clients:3d} clients: {cell.throughput_per_s:7,.0f} req/s  p50 {cell.p50_ms:6.1f} ms"
            f"  p99 {cell.p99_ms:6.1f} ms  {cell.server_cpu_ms:5.2f} ms CPU"
            + (f"  {cell.failed} FAILED {report.errors}" if cell.failed else "")
        )
        return cell

    def _load(self, up: Running, clients: int, seconds: float) -> LoadReport:
        return run_fast(run_load(LoadPlan(up.url, self._bodies, clients=clients, seconds=seconds, timeout_s=60)))


def _ask(url: str, body: bytes) -> Any:
    request = Request(f"{url}/v1/recommend", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as response:
        answer = json.load(response)
    return [[item["item_id"] for item in answer["items"]], answer["chain"]]


def _numbers(_: click.Context, __: click.Parameter, text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _servers(_: click.Context, __: click.Parameter, text: str) -> tuple[Server, ...]:
    names = text.split(",")
    if unknown := set(names) - {s.name for s in SERVERS}:
        raise click.BadParameter(f"unknown: {', '.join(sorted(unknown))}")
    return tuple(s for s in SERVERS if s.name in names)


def _print(bench: Bench, machine: dict[str, object], console: Console) -> None:
    for name, value in machine.items():
        console.print(f"{name}: {value}", highlight=False)
    for table in (cells_table(bench.cells), starts_table(bench.starts), goals_table(bench.cells)):
        console.print(table)
    if disturbed(bench.cells):
        console.print("Other work kept the machine busy in some cells (column other cores): do not trust those.")


def _write(bench: Bench, machine: dict[str, object], path: Path) -> None:
    document = {
        "machine": machine,
        "servers": {server.name: server.about for server in bench.plan.servers},
        "seconds": bench.plan.seconds,
        "disturbed": disturbed(bench.cells),
        "goals": goals_json(bench.cells),
        "starts": [asdict(start) for start in bench.starts],
        "cells": [asdict(cell) for cell in bench.cells],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


def _problems(bench: Bench) -> Sequence[str]:
    problems = [f"{name} does not answer as the others do" for name in bench.different()]
    if failed := sum(cell.failed for cell in bench.cells):
        problems.append(f"{failed} requests failed")
    return problems


@click.command(context_settings={"show_default": True})
@click.option("--quick", is_flag=True, help="One repeat, 2 s a cell, 1 and 64 clients: to see that it works.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures here.")
@click.option("--cascade", type=click.Path(path_type=Path, file_okay=False), default=DEMO, show_default="the demo")
@click.option("--servers", callback=_servers, default=",".join(s.name for s in SERVERS), help="Which, of these.")
@click.option("--clients", callback=_numbers, default="1,8,32,64", help="Numbers of clients.")
@click.option("--repeats", type=click.IntRange(1), default=3)
@click.option("--seconds", type=click.FloatRange(0.5), default=5.0, help="Length of a cell.")
def main(
    quick: bool,
    json_file: Path | None,
    cascade: Path,
    servers: tuple[Server, ...],
    clients: tuple[int, ...],
    repeats: int,
    seconds: float,
) -> None:
    """Measure throughput, latency, CPU and memory of the app and of its peers, side by side.

    Never judges times: the exit status is 1 only when requests failed or the servers' answers differ.
    """
    plan = Plan(cascade, servers, clients, repeats, seconds, warm_s=1.0, start_warm_s=5.0)
    if quick:
        plan = Plan(cascade, servers, (1, 64), 1, seconds=2.0, warm_s=0.5, start_warm_s=2.0)
    machine = describe(ROOT)
    bench = Bench(plan, Console(stderr=True, highlight=False))
    try:
        bench.run()
    except KeyboardInterrupt:
        bench.console.print("interrupted: what follows is what was measured so far")
    if not bench.cells:
        sys.exit(1)
    _print(bench, machine, Console(width=None if sys.stdout.isatty() else 160))
    if json_file is not None:
        _write(bench, machine, json_file)
    problems = _problems(bench)
    for problem in problems:
        bench.console.print(f"NOT COMPARABLE: {problem}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
