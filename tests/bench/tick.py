"""What a control tick takes, made of the controller's own parts: 100 hosts and replicas, more than a thousand chains,
a power cap, an energy quota, a carbon cap and a compute limit.

A tick, as in cluster/controller.py: the window is closed in the books; meters are billed, joules learned from and
attributed, the window written to a ledger on disk with what is to be kept; who is away, and what is to be warmed; what
the next window may spend, quotas by the real pacer; prices; a snapshot. Before it the reports of all replicas go into
the books, which is shown apart: they come spread over a tenth of a window. Not in it: the way of reports, meters'
readings and snapshots over Ray, which goes on beside.

CPU seconds are those of all threads. Time is played: the controller's desk runs on a clock and a sleep of this file.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import click  # noqa: E402
import numpy as np  # noqa: E402
from account_world import PUE, UNIX_S  # noqa: E402
from power_loop import watts  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from small_space import space_of  # noqa: E402
from tick_world import Cluster  # noqa: E402

from allocator.constraints import flops_per_second  # noqa: E402
from allocator.emissions import JOULES_PER_KWH, grams_per_joule  # noqa: E402
from allocator.energy.model import EnergyModel  # noqa: E402
from allocator.limits import DAY_S, HOUR_S, Kind, Limit  # noqa: E402
from allocator.price.select import strategy  # noqa: E402
from allocator.price.start import Start  # noqa: E402
from cluster.accountant import Accountant  # noqa: E402
from cluster.accounts import Window  # noqa: E402
from cluster.availability import Roster, without  # noqa: E402
from cluster.bookkeeping import Bookkeeper  # noqa: E402
from cluster.carbon.fixed import FixedCarbon  # noqa: E402
from cluster.carbon.remembered import RememberedCarbon  # noqa: E402
from cluster.control import Control  # noqa: E402
from cluster.counting import ledgered  # noqa: E402
from cluster.desk import LEAD, ControllerDesk  # noqa: E402
from cluster.garbage import spare_what_stays  # noqa: E402
from cluster.kept import Kept, parts_of  # noqa: E402
from cluster.ledger.store import Ledger  # noqa: E402
from cluster.means import Means  # noqa: E402
from cluster.pacer import QuotaPacer  # noqa: E402
from cluster.power.meter import MeterReport  # noqa: E402
from cluster.purse import Purse  # noqa: E402
from cluster.warming import Warmer  # noqa: E402

PRE_RANK = [*range(10, 32, 2), 35, 40, 45, 50, 60, 70, 80, 90, 100, 120, 140]
RANK = [*range(5, 11), *range(12, 32, 2)]
COLD = ("s1", "v1-0")
REPORTS, TICK = "reports into the books", "the tick"
PARTS = ("the account and the ledger", "who is away, what to warm", "what may be spent")
REST = "books, prices, snapshot"
CLOCKS = {"wall": time.perf_counter, "CPU": time.process_time}
G_PER_KWH = 300.0
UNTIMED, MOST_MS = 10, 50.0


class Ticks:
    """One tick after another, by the real desk.

    taken  seconds of each part, by clock, tick after tick
    """

    def __init__(self, cluster: Cluster, ticks: int, folder: Path) -> None:
        self.cluster, self.left, self.at_s = cluster, ticks, 100.0
        self.space = cluster.space
        prior, ledger = cluster.machine.prior(), Ledger(folder / "ledger.sqlite")
        carbon = RememberedCarbon(FixedCarbon(G_PER_KWH), "fixed", DAY_S)
        self.limits = _limits(cluster)
        start = Start(cluster.rewards[:512], cluster.rate)
        free = (flops_per_second(np.inf),)
        control = Control(self.space, free, strategy(), "m", self.space.static.index, start=start)
        self.desk = ControllerDesk(control, lambda: self.at_s, self._wall, self._sleep)
        self.ledger, self.pacer = ledger, QuotaPacer(carbon, PUE.ratio, lambda: self.desk.expected)
        per_j = lambda now_s: grams_per_joule(PUE, carbon.now(now_s).figure)  # type: ignore[union-attr]  # noqa: E731
        self.purse = Purse(self.space, 1.0, lambda: self.limits, self.pacer, prior, per_j)
        self.kept = Kept(ledger, parts_of(self.desk, self.purse, self.pacer, carbon, self._wall), self._wall)
        accountant = Accountant(EnergyModel(), prior, ledger, carbon, PUE)
        self.books = Bookkeeper(accountant, ledger, self.desk, self, 1.0, self._wall, remember=self.kept.states)
        self.roster = Roster(cluster.own, 1.0)
        self.warmer = Warmer(self.space, frozenset(cluster.own), _pinged)
        self.desk.measure, self.desk.listen = self._measured, self.roster.hear
        self.read: tuple[MeterReport, ...] = ()
        self.taken: list[dict[str, dict[str, float]]] = []
        self._tick: dict[str, dict[str, float]] = {}
        self._began: dict[str, float] = {}

    async def reports(self, timeout_s: float) -> tuple[MeterReport, ...]:
        """As `cluster.bookkeeping.MeterSource`."""
        return self.read

    async def run(self) -> None:
        """All of them."""
        assert await self.kept.take_up()
        await self._second()
        spare_what_stays()
        desk = asyncio.create_task(self.desk.run())
        await asyncio.wait([desk])
        if not desk.cancelled():
            desk.result()

    def _wall(self) -> float:
        return UNIX_S + self.at_s

    async def _measured(self, window: Window) -> Means:
        """As `cluster.controller.Controller`."""
        with self._timed(PARTS[0]):
            told = await self.books.soon()
        with self._timed(PARTS[1]):
            away = self.roster.away()
            if self.desk.state is not None:
                self.warmer.look(self.desk.state.policy, window.rewards, away)
            available = without(self.space, away)
        with self._timed(PARTS[2]):
            return self.purse.means(window, self.desk.books.work, told.closed, self._wall(), available, told.late)

    async def _sleep(self, seconds: float) -> None:
        """The desk sleeps: a tick is over, a second passes, and just before its end all replicas report."""
        if self._began:
            self._tick[TICK] = {name: clock() - self._began[name] for name, clock in CLOCKS.items()}
            self.taken.append(self._tick)
        if not self.left:
            raise asyncio.CancelledError
        self.left -= 1
        self.at_s += seconds - LEAD
        self._tick = {}
        self.pacer.ledgered(ledgered(self.ledger, self._wall() - HOUR_S))  # in a thread of its own, every few seconds
        await self._second()
        self.at_s += LEAD
        self._began = {name: clock() for name, clock in CLOCKS.items()}

    async def _second(self) -> None:
        state = self.desk.state
        reports, self.read = self.cluster.second(self.at_s, None if state is None else state.policy)
        with self._timed(REPORTS):
            self._answers = [asyncio.create_task(self.desk.report(one)) for one in reports]
            await asyncio.sleep(0)

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        began = {name: clock() for name, clock in CLOCKS.items()}
        yield
        self._tick[part] = {name: clock() - began[name] for name, clock in CLOCKS.items()}


async def _pinged(_: object) -> None:
    await asyncio.Event().wait()


def _limits(cluster: Cluster) -> list[Limit]:
    """All of them below what would be spent without any, each for its own share of it."""
    return [
        watts("cap", cluster.watts(0.5)),
        Limit("day", Kind.ENERGY, cluster.watts(0.55) * DAY_S / JOULES_PER_KWH, "kWh/day"),
        Limit("hour", Kind.CARBON, cluster.watts(0.5) * HOUR_S / JOULES_PER_KWH * G_PER_KWH * PUE.ratio, "g/h"),
        Limit("compute", Kind.COMPUTE, cluster.busy_s(0.6), "busy_s/s"),
    ]


def figures_of(taken: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of each part by clock, without the first ticks."""
    figures: dict[str, dict[str, list[float]]] = {}
    for part in (REPORTS, *PARTS, REST, TICK):
        figures[part] = {clock: [] for clock in CLOCKS}
        for tick in taken[UNTIMED:]:
            for clock in CLOCKS:
                rest = tick[TICK][clock] - sum(tick[one][clock] for one in PARTS)
                figures[part][clock].append(1e3 * (rest if part == REST else tick[part][clock]))
    return figures


def shown(figures: dict[str, dict[str, list[float]]], title: str) -> Table:
    """Quantiles."""
    quantiles = {"p50": 50, "p99": 99, "most": 100}
    table = Table("part", *(f"{clock} {q} ms" for clock in CLOCKS for q in quantiles), title=title)
    for part, clocks in figures.items():
        cells = [f"{np.percentile(clocks[clock], at):.1f}" for clock in CLOCKS for at in quantiles.values()]
        table.add_row(part, *cells, style="bold" if part == TICK else None)
    return table


@click.command(context_settings={"show_default": True})
@click.option("--nodes", type=click.IntRange(2), default=100, help="Hosts, each with a meter and a replica.")
@click.option("--ingresses", type=click.IntRange(1), default=20, help="Of the replicas; the others run variants.")
@click.option("--rate", type=click.FloatRange(1), default=5000.0, help="Requests a second, of all hosts together.")
@click.option("--ticks", type=click.IntRange(UNTIMED + 5), default=190, help=f"The first {UNTIMED} do not count.")
@click.option("--cold", is_flag=True, help="One variant has no replica: chains with it are masked, its call waits.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures here.")
def main(nodes: int, ingresses: int, rate: float, ticks: int, cold: bool, json_file: Path | None) -> None:
    """Play ticks and show what they take.

    \b
    Example:
      python tests/bench/tick.py --json out/tick.json
    """
    if ingresses > nodes - 5:
        raise click.BadParameter("a replica must be left for each of the five variants", param_hint="--ingresses")
    space = space_of(PRE_RANK, RANK, "v0-0>v1-1@140>v2-1@30")
    with tempfile.TemporaryDirectory(prefix="gft-") as folder:
        played = Ticks(Cluster(space, nodes, ingresses, rate, COLD if cold else None), ticks, Path(folder))
        asyncio.run(played.run())
    figures = figures_of(played.taken)
    standings = ", ".join(f"{one.name} {one.price:.3g}" for one in played.desk.standings)
    title = f"{len(space)} chains, {nodes} hosts and replicas, {len(played.taken) - UNTIMED} ticks"
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    console.print(shown(figures, title))
    p99_ms = float(np.percentile(figures[TICK]["wall"], 99))
    console.print(f"prices at the end: {standings}")
    console.print(f"99 of 100 ticks within {p99_ms:.1f} ms: {'reached' if p99_ms <= MOST_MS else 'missed'}")
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
