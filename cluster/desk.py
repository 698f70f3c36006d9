"""The controller's desk: takes in reports, ticks once a window, answers with the newest snapshot. No Ray here."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import Protocol

import numpy as np

from allocator.request_joules import Rates
from cluster.accounts import Books, Report, Window, closed, heard, opened, without_rewards
from cluster.control import WARM_UP, Control, ControlState
from cluster.means import Aim, Means
from cluster.promotion.model import Model
from cluster.snapshot import Answer, Snapshot, Standing

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]
Measure = Callable[[Window], Awaitable[Means | None]]
"""What is known of a window that has just ended, and of what the next one may spend; None for what is counted alone."""
Tell = Callable[[Sequence[Standing], Books], None]
"""Told after every tick how constraints stand, and what all replicas did so far."""

LEAD = 0.1
HOLD = 0.3
DUE_S = 0.5


class Desk(Protocol):
    """Where replicas report."""

    async def report(self, report: Report) -> Answer:
        """The answer to a report. May be called again with the same one. Raises TryAgain when nobody is there, and Late
        when nobody answers in time."""
        ...


class ControllerDesk:
    """Keeps the books and the prices.

    Replicas report LEAD of a window before its end and are answered right after it, so that what they counted is one
    window under one snapshot. A desk that has just been opened does not know what was before: it listens for a window
    and then takes up the newest prices that any replica holds. Nothing of it needs a disk.

    clock, sleep  monotonic; `wall` is Unix time, which limits and snapshots go by
    rates         what its snapshots tell of joules; to be set by whoever accounts for them
    saving_error_j  of `Rates`; to be set likewise
    measure       asked in every tick, before prices are made; to be set likewise
    listen        told of every report, with the time on `clock`; to be set by whoever follows who is there
    tell          told after every tick; to be set by whoever publishes metrics
    remembered    prices by `Aim.key`, of a controller before; may be set late
    predicts      the reward model that is to predict from the next tick on; None for the control's. To be set likewise
    """

    def __init__(self, control: Control, clock: Clock, wall: Clock, sleep: Sleep = asyncio.sleep) -> None:
        self._control, self._clock, self._wall, self._sleep = control, clock, wall, sleep
        self._books = opened(len(control.space))
        self._state: ControlState | None = None
        self._foreign: Report | None = None  # of those who hold another controller's policy, the one with the newest
        self._began = 0
        self._snapshot: Snapshot | None = None
        self._first, self._ticked = asyncio.Event(), asyncio.Event()
        self._next_s = 0.0
        self.rates: Rates | None = None
        self.saving_error_j = nan
        self.measure: Measure = _nothing
        self.listen: Callable[[Report, float], None] = lambda report, now_s: None
        self.tell: Tell = lambda standings, books: None
        self.remembered: Mapping[str, float] = {}
        self.predicts: Callable[[], Model | None] = lambda: None
        self._recalled = False  # whether prices were made by them, or it is too late for that

    @property
    def books(self) -> Books:
        """All that was billed."""
        return self._books

    @property
    def policy_version(self) -> int:
        """Of the newest snapshot; 0 before there is one."""
        return 0 if self._state is None else self._state.policy.version

    @property
    def state(self) -> ControlState | None:
        """What the newest snapshot follows from; None before there is one."""
        return self._state

    @property
    def expected(self) -> float | None:
        """As `ControlState.expected`; None before the first snapshot, too."""
        return None if self._state is None else self._state.expected

    @property
    def standings(self) -> tuple[Standing, ...]:
        """Of the newest snapshot."""
        return () if self._snapshot is None else self._snapshot.standings

    @property
    def next_in_s(self) -> float:
        """Until the next tick begins; 0 while it is under way."""
        return max(0.0, self._next_s - self._clock())

    async def settled(self) -> None:
        """Returns after a tick that is under way or due any moment, else at once."""
        if self._state is not None and self.next_in_s <= min(HOLD * self._control.window_s, DUE_S):
            await self._ticked.wait()

    async def ticked(self) -> None:
        """Returns right after the next tick: what replicas counted until then is in the books."""
        await self._ticked.wait()

    async def report(self, report: Report) -> Answer:
        """As `Desk.report`. A report from a replica of another chain space is not written down."""
        if len(report.totals.executed) == len(self._control.space):
            self._hear(report)
        if self._state is None or self._next_s - self._clock() <= HOLD * self._control.window_s:
            await self._ticked.wait()
        lead_s = LEAD * self._control.window_s
        return Answer(self._snapshot, max(0.0, self._next_s - lead_s - self._clock()))

    async def run(self) -> None:
        """Tick for ever, from the first report on."""
        await self._first.wait()
        window_s = self._control.window_s
        self._next_s = self._clock() + window_s
        while True:
            await self._sleep(max(0.0, self._next_s - self._clock()))
            await self._tick()
            late = self._clock() >= self._next_s + window_s
            self._next_s = (self._clock() if late else self._next_s) + window_s
            self._ticked.set()
            self._ticked = asyncio.Event()

    def _hear(self, report: Report) -> None:
        now_s = self._clock()
        self.listen(report, now_s)
        if report.reward_model not in ("", self._control.reward_model):
            report = replace(report, rewards=report.rewards[:0])  # prices are made by the rewards of one model
        self._books = heard(self._books, report, now_s)
        ours = self._state is not None and self._began <= report.version <= self._state.policy.version
        if not ours and (self._foreign is None or report.version > self._foreign.version):
            self._foreign = report
        self._first.set()

    async def _tick(self) -> None:
        window, self._books = closed(self._books, self._clock(), self._control.window_s)
        means, state = await self.measure(window), self._state
        window = self._predicted_anew(window)
        if state is None or self._knows_better(state):
            self._state = self._taken_up(0 if state is None else state.policy.version, means)
        elif self._recalls(state):
            self._recalled, policy = True, state.policy
            self._state = self._control.init(self._wall(), policy.version, policy.prices, means, self.remembered)
        else:
            self._state = self._control.step(state, window, self._wall(), means)
            if self._state.warm >= WARM_UP:
                self._foreign = None  # what it has found itself is newer
        self._snapshot = self._published(self._state)
        self.tell(self._snapshot.standings, self._books)

    def _predicted_anew(self, window: Window) -> Window:
        """The window, without rewards of a model that is not to predict any more."""
        model = self.predicts()
        if model is None or model.name == self._control.reward_model:
            return window
        self._control = self._control.predicted_by(model.name, model.known)
        self._books = without_rewards(self._books)
        return replace(window, rewards=window.rewards[:0])

    def _knows_better(self, state: ControlState) -> bool:
        """Whether somebody holds an earlier controller's prices, and this one has not found its own yet."""
        foreign = self._foreign
        if foreign is None or not foreign.version:
            return False
        priced = bool(foreign.prices.any()) and state.warm < WARM_UP
        return foreign.version > state.policy.version or (priced and foreign.version < self._began)

    def _recalls(self, state: ControlState) -> bool:
        """Whether remembered prices came late: after the first ones were made, and before any were found."""
        self._recalled = self._recalled or state.warm >= WARM_UP
        return not self._recalled and any(aim.key in self.remembered for aim in state.means.aims)

    def _taken_up(self, version: int, means: Means | None) -> ControlState:
        assert self._foreign is not None
        held, self._foreign = self._foreign, None
        self._recalled = self._recalled or bool(self.remembered)
        newest, wall_s = max(version, held.version), self._wall()
        state = self._control.init(wall_s, newest, held.prices, means, self.remembered)
        self._began = state.policy.version
        return state

    def _published(self, state: ControlState) -> Snapshot:
        assert np.isfinite(state.spend).all()
        columns = zip(state.means.aims, state.spend, state.policy.prices, state.reachable, strict=True)
        standings = tuple(
            _standing(aim, float(spent) / self._control.window_s, self._control.window_s, float(price), bool(reachable))
            for aim, spent, price, reachable in columns
        )
        rates = None if self.rates is None else replace(self.rates, saving_error_j=self.saving_error_j)
        return Snapshot(state.policy, standings, rates, self._books.deciding_s)


def _standing(aim: Aim, spend_per_s: float, window_s: float, price: float, reachable: bool) -> Standing:
    shown = aim.shown
    return Standing(
        name=aim.name,
        kind=shown.kind,
        unit=shown.unit,
        limit_per_s=aim.limit / window_s,
        spend_per_s=spend_per_s,
        price=price,
        limit=shown.limit,
        spend=spend_per_s if shown.spend is None else shown.spend,
        reachable=reachable,
    )


async def _nothing(_: Window) -> None:
    """Nothing is known but what was counted."""
