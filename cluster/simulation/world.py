"""The simulated day before anybody controls it: requests, machines, grid, and the users that requests come from."""

from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from allocator.chains import ChainSpace
from allocator.choice import Floats, Ints, Mask, Rewards
from allocator.emissions import JOULES_PER_KWH
from allocator.known_users import known_rewards
from allocator.pacing.forecast import LoadForecast, LoadState
from allocator.reward import RewardModel
from allocator.table import check_fits, read_table
from cluster.config import DEMO
from cluster.simulation.fleet import Fleet
from cluster.simulation.grid import SimulatedGrid, grid_of, usual_intensity
from cluster.simulation.scenario import Scenario
from cluster.simulation.traffic import load, middles_h, routed, usual_load, within
from models.checking import check_cascade

DAY_S, HOUR_S = 86_400.0, 3600.0
TRAFFIC, MACHINES, GRID, KNOWN, COUNTS, SERVED, METERS = range(7)
"""Streams of chance, each of its own, so that a change of one thing leaves the others as they were."""


@dataclass(frozen=True, eq=False)
class Users:
    """Those that requests come from, all equally often.

    predicted (U, J) by the reward model; true (U, J) what is realised, None where clicks come by chance as predicted
    """

    predicted: Rewards
    true: Rewards | None = None


class World:
    """A scenario, drawn. All that runs of it have in common; T windows, G groups, J chains.

    requests (T, G) sent to each group, and `unserved` (T,) while no machine is up; alive (T, G) machines
    g_per_j  (T,) grams of a joule of the machines
    """

    def __init__(self, scenario: Scenario) -> None:
        cascade = check_cascade(DEMO if scenario.cascade is None else scenario.cascade)
        self.scenario = scenario
        self.space = ChainSpace(cascade.spec, len(cascade.items))
        self.stages = tuple(stage.name for stage in cascade.spec.stages)
        model = RewardModel.open(cascade.folder, cascade.spec, self.space)
        if scenario.table is None:
            self.users = Users(known_rewards(cascade, model, scenario.users, scenario.seed))
        else:
            manifest, rows = read_table(scenario.table)
            check_fits(manifest, cascade.spec, self.space, scenario.table)
            kept = rows.only(np.arange(len(rows)) < scenario.users)
            self.users = Users(model.predict(kept.contexts), kept.rewards)
        self.fleet = Fleet(scenario, cascade.spec, self.space, self.rng(MACHINES))
        self.grid: SimulatedGrid = grid_of(scenario, self.rng(GRID))
        self.window_s, self.start_s = scenario.window_s, scenario.start_s
        self.hours = middles_h(scenario)
        self.alive = self._alive()
        rates = load(scenario.traffic, self.hours, self.window_s, self.rng(TRAFFIC))
        expected = routed(scenario, rates, self.alive) * self.window_s
        chance = self.rng(COUNTS)
        self.requests: Ints = chance.poisson(expected)
        self.unserved: Ints = chance.poisson(np.maximum(rates.sum(axis=0) * self.window_s - expected.sum(axis=1), 0.0))
        self.g_per_kwh = np.array([self._intensity(float(at_s)) for at_s in self.starts_s])
        self.g_per_j = self.g_per_kwh * scenario.grid.pue / JOULES_PER_KWH

    def first(self, windows: int) -> "World":
        """The same day, over after so many windows."""
        part = copy(self)
        for name in ("hours", "alive", "requests", "unserved", "g_per_kwh", "g_per_j"):
            setattr(part, name, getattr(self, name)[:windows])
        for name in ("starts_s", "idle_w"):
            part.__dict__.pop(name, None)
        return part

    def rng(self, stream: int) -> np.random.Generator:
        """Chance of its own for each stream."""
        return np.random.default_rng([self.scenario.seed, stream])

    @cached_property
    def starts_s(self) -> Floats:
        """Unix time at which each window begins, (T,)."""
        starts: Floats = self.start_s + np.arange(len(self.hours), dtype=np.float64) * self.window_s
        return starts

    @cached_property
    def idle_w(self) -> Floats:
        """Watts of all machines at rest, (T,)."""
        watts: Floats = self.fleet.idle_w(self.alive).sum(axis=1)
        return watts

    @property
    def held(self) -> NDArray[np.float64]:
        """Requests of each window that the static chain is kept for, expected, (T,)."""
        held: Floats = self.requests.sum(axis=1) * self.scenario.holdback
        return held

    def _intensity(self, unix_s: float) -> float:
        known = self.grid.now(unix_s)
        assert known is not None
        return known.g_per_kwh

    def _alive(self) -> Floats:
        alive = np.tile([float(group.count) for group in self.scenario.nodes.values()], (self.scenario.windows, 1))
        names = list(self.scenario.nodes)
        for one in self.scenario.failures:
            alive[within(one, self.hours), names.index(one.group)] *= 1 - one.share
        up: Floats = np.rint(alive)
        return up

    def silent(self, only: bool | None = None) -> Mask:
        """Whether a group's sensors cannot be read at the end of a window, (T, G).

        only  where an estimate is there meanwhile, or where it is not; None for both
        """
        silent = np.zeros(self.alive.shape, bool)
        names = list(self.scenario.nodes)
        for one in self.scenario.sensors_lost:
            if only in (None, one.estimated):
                silent[within(one, self.hours), names.index(one.group)] = True
        return silent

    def known_load(self) -> LoadState:
        """What a forecast of load has learned of the days before."""
        rng, forecast, hours = self.rng(KNOWN), LoadForecast(), _bins()
        state, step_s = forecast.init(), DAY_S / len(hours)
        for day in range(self.scenario.known_days):
            rates = usual_load(self.scenario.traffic, hours, step_s, rng).sum(axis=0)
            state = _learned(forecast, state, self._before(day), step_s, rates)
        return state

    def known_grid(self) -> LoadState:
        """The same of the grid."""
        rng, forecast, hours = self.rng(KNOWN), LoadForecast(), _bins()
        state, step_s = forecast.init(), DAY_S / len(hours)
        for day in range(self.scenario.known_days):
            figures = usual_intensity(self.scenario.grid, hours, rng, step_s)
            if figures is not None:
                state = _learned(forecast, state, self._before(day), step_s, figures)
        return state

    def _before(self, day: int) -> float:
        return self.start_s - (self.scenario.known_days - day) * DAY_S


def _bins() -> Floats:
    bins: Floats = (np.arange(96) + 0.5) / 4
    return bins


def _learned(forecast: LoadForecast, state: LoadState, from_s: float, step_s: float, rates: Floats) -> LoadState:
    for n, rate in enumerate(rates.tolist()):
        state = forecast.seen(state, from_s + (n + 1) * step_s, step_s, rate * step_s)
    return state
