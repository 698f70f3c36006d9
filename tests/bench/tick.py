"""What a control tick takes: 100 hosts' meters billed, their joules learned from and attributed, the window written to
a ledger on disk, and prices made for more than a thousand chains under a power cap and a compute limit.

No Ray: asking the meters is left out, which goes on beside. CPU seconds are those of this thread.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

os.environ["OPENBLAS_NUM_THREADS"] = "1"
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import click  # noqa: E402
import numpy as np  # noqa: E402
from account_world import PUE, UNIX_S, Host  # noqa: E402
from power_loop import EvenPace, Machine, watts  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from small_space import space_of  # noqa: E402

from allocator.constraints import flops_per_second  # noqa: E402
from allocator.energy.model import EnergyModel  # noqa: E402
from allocator.energy.windows import SERVING  # noqa: E402
from allocator.limits import Kind, Limit  # noqa: E402
from allocator.price.select import strategy  # noqa: E402
from cluster.accountant import Accountant, Done  # noqa: E402
from cluster.accounts import Window  # noqa: E402
from cluster.carbon.fixed import FixedCarbon  # noqa: E402
from cluster.control import Control, ControlState  # noqa: E402
from cluster.ledger.store import Ledger  # noqa: E402
from cluster.purse import Purse  # noqa: E402
from cluster.work import Counts, Key  # noqa: E402

T = TypeVar("T")
PRE_RANK = [*range(10, 32, 2), 35, 40, 45, 50, 60, 70, 80, 90, 100, 120, 140]
RANK = [*range(5, 11), *range(12, 32, 2)]
PARTS = ("the account", "what may be spent", "prices")


class Ticks:
    """One tick after another.

    taken  CPU seconds of each part, by tick
    """

    def __init__(self, nodes: int, rate: float, folder: Path) -> None:
        self.space = space_of(PRE_RANK, RANK, "v0-0>v1-1@140>v2-1@30")
        self.machine = Machine(space=self.space)
        self.hosts = [Host(f"host-{n}", f"boot-{n}") for n in range(nodes)]
        prior, carbon = self.machine.prior(), FixedCarbon(300.0)
        self.accountant = Accountant(EnergyModel(), prior, Ledger(folder / "ledger.sqlite"), carbon, PUE)
        self.rng = np.random.default_rng(0)
        spread = float(np.ptp(self.space.flops))
        share = (self.space.flops - self.space.flops.min()) / spread
        self.rewards = self.rng.gamma(2.0, size=(4000, 1)) * (1 - np.exp(-3 * share))[None, :]
        self.rewards = self.rewards.astype(np.float32)
        self.rate, self.at = rate, 0
        middle = float(np.median(self.space.flops)) * rate * self.machine.busy_s_per_flop
        self.limits = [watts("cap", 95.0 * nodes), Limit("compute", Kind.COMPUTE, middle, "busy_s/s")]
        self.purse = Purse(self.space, 1.0, lambda: self.limits, EvenPace(), prior)
        free = (flops_per_second(np.inf),)
        self.control = Control(self.space, free, strategy(), "m", self.space.static.index)
        self.state: ControlState | None = None
        self.work: dict[Key, Counts] = {}
        self.done = Done()
        self.taken: list[dict[str, float]] = []

    def tick(self) -> None:
        """A second passes."""
        self.at += 1
        now_s = UNIX_S + self.at
        for host in self.hosts:
            host.run(1.0, 30.0 + self.rng.standard_normal())
        reports = [host.report() for host in self.hosts]
        window = self._window()
        taken: dict[str, float] = {}
        closed = _timed(taken, PARTS[0], lambda: self.accountant.close(reports, self.done, 1, now_s))
        means = _timed(taken, PARTS[1], lambda: self.purse.means(window, self.work, closed, now_s))
        self.state = _timed(taken, PARTS[2], lambda: self._priced(window, now_s, means))
        self.taken.append(taken)

    def _priced(self, window: Window, now_s: float, means: object) -> ControlState:
        if self.state is None:
            return self.control.init(now_s, means=means)  # type: ignore[arg-type]
        return self.control.step(self.state, window, now_s, means)  # type: ignore[arg-type]

    def _window(self) -> Window:
        """Requests of this second, spread over all hosts."""
        requests = int(self.rng.poisson(self.rate))
        rows = self.rewards[self.rng.integers(0, len(self.rewards), requests)]
        static = np.full(requests, self.space.static.index)
        chains = static if self.state is None else self.state.policy.decide(rows).chains
        executed = np.bincount(chains, minlength=len(self.space)).astype(float)
        for name, calls, items in self._used(executed):
            for host in self.hosts:
                key = (*name, f"{host.id.boot}/cpu")
                part = Counts(max(1, int(calls / len(self.hosts))), max(1, int(items / len(self.hosts))), 1e-3)
                self.work[key] = self.work.get(key, Counts()) + part
        self.done = Done(self.done.requests + requests, self.done.items + 5 * requests, dict(self.work))
        return Window(executed, float(requests), rows[:128])

    def _used(self, executed: np.ndarray) -> list[tuple[tuple[str, str], float, float]]:
        one = np.eye(len(self.space.variants))
        calls = executed @ self.space.costs(one, 0 * one)
        items = executed @ self.space.costs(0 * one, one)
        total = float(executed.sum())
        used = list(zip(self.space.variants, calls.tolist(), items.tolist(), strict=True))
        return [*used, (SERVING, total, total)]


def _timed(taken: dict[str, float], part: str, work: Callable[[], T]) -> T:
    began_s = time.thread_time()
    result = work()
    taken[part] = time.thread_time() - began_s
    return result


@click.command()
@click.option("--nodes", type=click.IntRange(1), default=100)
@click.option("--rate", type=click.FloatRange(1), default=5000.0, help="Requests a second, of all hosts together.")
@click.option("--ticks", type=click.IntRange(5), default=60)
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures here.")
def main(nodes: int, rate: float, ticks: int, json_file: Path | None) -> None:
    """Play ticks and show what they take."""
    with tempfile.TemporaryDirectory(prefix="gft-") as folder:
        played = Ticks(nodes, rate, Path(folder))
        for _ in range(ticks):
            played.tick()
    settled = played.taken[5:]
    table = Table("part", "median ms", "most ms", title=f"{len(played.space)} chains, {nodes} hosts, two limits")
    figures = {part: [1e3 * one[part] for one in settled] for part in PARTS}
    figures["all"] = [1e3 * sum(one.values()) for one in settled]
    for part, values in figures.items():
        table.add_row(part, f"{np.median(values):.1f}", f"{max(values):.1f}")
    Console().print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
