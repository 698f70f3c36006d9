"""The controller of a simulated day: what `cluster.controller` wires to Ray, wired to a clock that is made up."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from allocator.constraints import flops_per_second
from allocator.emissions import Pue
from allocator.energy.model import EnergyModel
from allocator.energy.windows import SERVING
from allocator.joules import Quality
from allocator.limits import Limit
from allocator.pacing.saved import dumped
from allocator.policy import Policy
from allocator.price.select import strategy
from allocator.price.start import Start
from allocator.rows import RowsState
from allocator.rows import dumped as dumped_rows
from cluster.accountant import Accountant, Closed, Done
from cluster.accounts import Report, Window, closed, heard, opened
from cluster.carbon.base import grams_per_j
from cluster.computing import ROWS
from cluster.control import LEAST_ROWS, Control, ControlState
from cluster.counting import ledgered
from cluster.ledger.prune import Retention
from cluster.ledger.store import Ledger
from cluster.pacer import GRID, LOAD, QuotaPacer
from cluster.power.meter import MeterReport
from cluster.purse import Purse
from cluster.simulation.world import World
from cluster.spent import KEPT_S

COUNT_S = 3600.0
KEPT = Retention(40 * 86_400.0)
Limits = Callable[[], Sequence[Limit]]


class Operator:
    """Closes the books of every window and prices the next, with the classes that serve.

    It has seen the scenario's known days: their load, their grid, what machines draw at rest, and how many requests
    share a run. What variants cost on these machines it has to learn.

    limits  those in force at the time
    file    of the ledger; None keeps it in memory
    """

    def __init__(self, world: World, limits: Limits, file: Path | None) -> None:
        self._space, self._now_s = world.space, world.start_s
        self._window_s = world.window_s
        building = Pue(world.scenario.grid.pue, Quality.ASSUMED)
        self.ledger = Ledger.open(file, KEPT)
        prior = world.fleet.prior()
        self._accountant = Accountant(EnergyModel(), prior, self.ledger, world.grid, building)
        self.pacer = QuotaPacer(
            world.grid, building.ratio, lambda: None if self._state is None else self._state.expected
        )
        grams = partial(grams_per_j, world.grid, building)
        self._purse = Purse(world.space, self._window_s, limits, self.pacer, prior, grams)
        self._books = opened(len(world.space))
        self._state: ControlState | None = None
        self._control = self._controls(world)
        self._counted_s = world.start_s
        self._count()
        self._before: Window | None = None
        if world.scenario.known_days:
            self.pacer.resume(_forecasts(world))
            self._purse.resume(float(world.idle_w[0]))
            self._purse.resume_costs({ROWS: _rows(world)})
            self._before = _window_before(world)

    @staticmethod
    def _controls(world: World) -> Control:
        none = (flops_per_second(np.inf),)
        first_per_s = float(world.requests[0].sum()) / world.window_s
        start = Start(world.users.predicted[:LEAST_ROWS], first_per_s)
        static = world.space.static.index
        return Control(world.space, none, strategy(), "", static, world.window_s, world.scenario.seed, start)

    @property
    def policy(self) -> Policy | None:
        """What decides the window that runs; None before the first window has ended."""
        return None if self._state is None else self._state.policy

    @property
    def state(self) -> ControlState | None:
        """All that the last tick left."""
        return self._state

    def begin(self, meters: Sequence[MeterReport]) -> None:
        """Before the first window: meters are heard for the first time, which bills nothing.

        Where days before are known, the window before is taken to have been like the day's first one, so that the day
        begins under a policy; else its first window runs the static chain, as at any start.
        """
        told = self._accountant.close(meters, Done(), 0, self._now_s)
        if self._before is not None:
            means = self._purse.means(self._before, self._books.work, told, self._now_s)
            self._state = self._control.init(self._now_s, means=means)

    def tick(self, reports: Sequence[Report], meters: Sequence[MeterReport], now_s: float) -> Closed:
        """A window has ended at `now_s`, Unix time: what replicas counted and meters read, as far as they tell."""
        self._now_s = now_s
        for report in reports:
            self._books = heard(self._books, report, now_s)
        window, self._books = closed(self._books, now_s, self._window_s)
        books = self._books
        done = Done(int(books.billed.sum()), books.handed, books.work)
        version = 0 if self._state is None else self._state.policy.version
        told = self._accountant.close(meters, done, version, now_s)
        if now_s - self._counted_s >= COUNT_S:
            self._count()
        means = self._purse.means(window, books.work, told, now_s)
        if self._state is None:
            self._state = self._control.init(now_s, means=means)
        else:
            self._state = self._control.step(self._state, window, now_s, means)
        return told

    def _count(self) -> None:
        self._counted_s = self._now_s
        self.pacer.ledgered(ledgered(self.ledger, self._now_s - KEPT_S))

    def close(self) -> None:
        """Let go of the ledger."""
        self.ledger.close()


def _window_before(world: World) -> Window:
    executed, per_s = np.zeros(len(world.space)), float(world.requests[0].sum()) / world.window_s
    executed[world.space.static.index] = per_s
    return Window(executed, per_s, world.users.predicted[:LEAST_ROWS])


def _rows(world: World) -> bytes:
    """How many requests share a run of each variant, as the ledger would have it."""
    names = (*world.space.variants, SERVING)
    return dumped_rows(RowsState(dict.fromkeys(names, world.scenario.rows_per_run), dict.fromkeys(names, 1.0)))


def _forecasts(world: World) -> Mapping[str, bytes]:
    known = {LOAD: world.known_load(), GRID: world.known_grid()}
    return {key: dumped(state) for key, state in known.items() if state.number is not None}
