"""A grid whose intensity is made up, or read from a file, as a source that perhaps knows what lies ahead."""

import math
from collections.abc import Iterable

import numpy as np

from allocator.choice import Floats
from allocator.emissions import Kind
from allocator.joules import Quality
from allocator.limits import DAY_S, HOUR_S
from cluster.carbon.base import Intensity, Span
from cluster.carbon.file import read_series
from cluster.carbon.series import Series
from cluster.simulation.parts import Diurnal, Grid
from cluster.simulation.scenario import Scenario
from cluster.simulation.traffic import wandering
from models.errors import FixFile

STEP_S = 1800.0
UNSTATED_G_PER_KWH = 350.0
SETTLES_S = 4 * HOUR_S


class SimulatedGrid:
    """As `cluster.carbon.base.CarbonProvider`: the truth now, and ahead what its source forecasts, if it does."""

    source = "simulation"
    problem: str | None = None

    def __init__(self, truth: Iterable[Span], forecast: Iterable[Span]) -> None:
        self._truth, self._forecast = Series.of(truth), Series.of(forecast)

    def now(self, unix_s: float) -> Intensity | None:
        """As `CarbonProvider.now`."""
        span = self._truth.last_before(unix_s)
        return Intensity.of(span, unix_s, math.inf, Kind.AVERAGE, "simulated", self.source) if span else None

    def ahead(self, from_s: float, to_s: float) -> tuple[Span, ...]:
        """As `CarbonProvider.ahead`."""
        return self._forecast.between(from_s, to_s)

    async def refresh(self) -> float:
        """As `CarbonProvider.refresh`: never worth while."""
        return math.inf


def grid_of(scenario: Scenario, rng: np.random.Generator) -> SimulatedGrid:
    """The grid of the day. Raises FixFile for a series that does not reach over it."""
    truth = _spans(scenario, rng)
    if not scenario.grid.forecast:
        return SimulatedGrid(truth, ())
    off = np.exp(scenario.grid.forecast_error * rng.standard_normal(len(truth)))
    ahead = [Span(s.from_s, s.to_s, s.g_per_kwh * by, Quality.MODELLED) for s, by in zip(truth, off, strict=True)]
    return SimulatedGrid(truth, ahead)


def usual_intensity(grid: Grid, hours: Floats, rng: np.random.Generator, step_s: float = STEP_S) -> Floats | None:
    """g/kWh at these times of a day like this one; None where the grid has no usual day."""
    if grid.diurnal is not None:
        noise = wandering(len(hours), step_s, grid.diurnal.noise, SETTLES_S, rng)
        return _diurnal(grid.diurnal, hours) * noise
    if grid.series:
        at = np.minimum((hours % 24).astype(int), len(grid.series) - 1)
        figures: Floats = np.array(grid.series, dtype=np.float64)[at]
        return figures
    return None


def _diurnal(day: Diurnal, hours: Floats) -> Floats:
    clean, dirty = (((hours - at + 12) % 24 - 12) for at in (day.clean_h, day.dirty_h))
    shape = 1 - day.clean * np.exp(-((clean / 3) ** 2)) + day.dirty * np.exp(-((dirty / 2.5) ** 2))
    figures: Floats = day.mean * shape
    return figures


def _spans(scenario: Scenario, rng: np.random.Generator) -> tuple[Span, ...]:
    grid, start_s = scenario.grid, scenario.start_s
    end_s = start_s + scenario.windows * scenario.window_s
    if grid.file is not None:
        spans = read_series(grid.file).spans
        if not spans or spans[0].from_s > start_s or spans[-1].to_s < end_s:
            day = scenario.start.isoformat()
            raise FixFile(grid.file, "time", f"must reach over the simulated day, from {day}T00:00Z on")
        return spans
    steps = math.ceil((end_s - start_s + DAY_S) / STEP_S)
    begins = start_s + STEP_S * np.arange(steps, dtype=np.float64)
    figures = usual_intensity(grid, (begins + STEP_S / 2 - start_s) / HOUR_S, rng)
    if figures is None:
        flat = UNSTATED_G_PER_KWH if grid.g_per_kwh is None else grid.g_per_kwh
        return (Span(start_s - DAY_S, math.inf, flat, Quality.ASSUMED),)
    return tuple(
        Span(at, at + STEP_S, g, Quality.MODELLED) for at, g in zip(begins.tolist(), figures.tolist(), strict=True)
    )
