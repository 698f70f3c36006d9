"""A forecast of load: what is usual at each time of day and week, learned, times the level that holds at present.

Written here because the seasonal models of libraries are fitted anew each time to an evenly spaced history without
gaps, and know one season: statsmodels' Holt-Winters (multiplicative, of a day) missed what was left of the days of a
log of two weeks with holidays by 10% on average, this by 7%, and it takes a second longer to import.

Anything else that comes at a rate >= 0 is forecast as well, such as the intensity of a grid without a forecast of its
own: tell it as `requests = g_per_kwh * window_s`.
"""

from dataclasses import dataclass, field
from math import exp, floor, isfinite, log

import numpy as np

from allocator.choice import Floats
from allocator.pacing.periods import step_edges
from allocator.pacing.profile import Learning, Profile, with_bin, with_window

EXPECTED_S = 60.0
SHRINK = 10.0
MOST_LEVEL = 8.0
NOTHING = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Fading:
    """One part of the present level: over how long it is measured, and how soon it is gone from the forecast, both as
    time constants."""

    memory_s: float
    fades_s: float


@dataclass(frozen=True, slots=True, eq=False)
class LoadState:
    """What is remembered: about 12 kB, however long it runs.

    number   the bin that runs, counted from Unix time 0; None before the first window
    running  seconds and requests of it so far
    levels   for each `Fading` the recent requests, and those that the profile expected
    last_s   Unix time at which the last window ended
    """

    profile: Profile
    number: int | None
    running: tuple[float, float]
    levels: tuple[tuple[float, float], ...]
    last_s: float


@dataclass(frozen=True, slots=True)
class LoadForecast:
    """Its own configuration, without state; all methods are pure.

    The level is what came over what the profile expected. It has a quick part, such as news that everybody wants to
    see, which is gone in hours, and a slow one, such as a holiday, which lasts a day. Far ahead the profile alone
    counts. For times that were never seen the present rate is taken to last.

    learning  of the profile
    quick     of the level
    slow      of the level
    """

    learning: Learning = field(default_factory=Learning)
    quick: Fading = Fading(600.0, 5400.0)
    slow: Fading = Fading(4 * 3600.0, 24 * 3600.0)

    def init(self, expected_per_s: float = 0.0) -> LoadState:
        """Nothing known, but perhaps a rate that somebody expects: the first minutes of windows replace it."""
        profile = Profile.empty(self.learning)
        if expected_per_s > 0:
            profile = with_window(profile, EXPECTED_S, EXPECTED_S * expected_per_s, self.learning)
        return LoadState(profile, None, NOTHING, (NOTHING, NOTHING), 0.0)

    def seen(self, state: LoadState, unix_s: float, window_s: float, requests: float) -> LoadState:
        """The state after a window that ended at `unix_s`, in which so many requests came.

        Windows may be of any length up to a bin's, and some may be missing: nothing is concluded from a gap. Do not
        tell of windows that nobody counted, for zero means that nobody came. Raises ValueError for what is no window.
        """
        if not (isfinite(unix_s) and isfinite(window_s) and isfinite(requests) and window_s > 0 and requests >= 0):
            raise ValueError(f"no window: {requests} requests in {window_s} s until {unix_s}")
        how, number = self.learning, floor((unix_s - window_s / 2) / self.learning.bin_s)
        profile, running = state.profile, state.running
        if state.number is not None and number != state.number:
            profile, running = with_bin(profile, state.number, *running, how), NOTHING
        profile = with_window(profile, window_s, requests, how)
        expected = float(profile.rates(np.array([number]), how)[0]) * window_s
        passed_s = window_s if state.number is None else max(unix_s - state.last_s, window_s)
        levels = tuple(
            _followed(level, requests, expected, exp(-passed_s / part.memory_s))
            for level, part in zip(state.levels, (self.quick, self.slow), strict=True)
        )
        return LoadState(profile, number, (running[0] + window_s, running[1] + requests), levels, unix_s)

    def ahead(self, state: LoadState, now_s: float, until_s: float, step_s: float) -> Floats:
        """Mean requests per second of each step from now until then, (K,), >= 0, K as in `step_edges`.

        The last step is shorter where the time is no whole number of steps: its figure is the mean over what it has.
        """
        edges = step_edges(now_s, until_s, step_s)
        lengths = np.diff(edges)
        if not len(lengths):
            return lengths
        usual = np.diff(self._usual_until(state, edges)) / lengths
        return usual * self._level(state, (edges[:-1] + edges[1:]) / 2 - state.last_s)

    def _usual_until(self, state: LoadState, edges: Floats) -> Floats:
        """Requests that the profile expects from the bin of the first edge on until each edge, (K + 1,)."""
        how = self.learning
        first, last = floor(edges[0] / how.bin_s), floor(edges[-1] / how.bin_s)
        numbers = np.arange(first, last + 1)
        total = np.concatenate([[0.0], np.cumsum(state.profile.rates(numbers, how) * how.bin_s)])
        ends = np.arange(first, last + 2) * how.bin_s
        found: Floats = np.interp(edges, ends, total)
        return found

    def _level(self, state: LoadState, after_s: Floats) -> Floats:
        """What the profile is to be multiplied by, so long after the last window, (K,)."""
        quick, slow = (_logarithm(level) for level in state.levels)
        later = np.maximum(after_s, 0.0)
        level: Floats = np.exp(
            slow * np.exp(-later / self.slow.fades_s) + (quick - slow) * np.exp(-later / self.quick.fades_s)
        )
        return level


def _followed(level: tuple[float, float], requests: float, expected: float, keep: float) -> tuple[float, float]:
    return keep * level[0] + requests, keep * level[1] + expected


def _logarithm(level: tuple[float, float]) -> float:
    """Of actual over expected, drawn towards 0 where both are a few requests only, as they are at night."""
    came, expected = level
    return max(-log(MOST_LEVEL), min(log((came + SHRINK) / (expected + SHRINK)), log(MOST_LEVEL)))
