"""How long requests will take under each chain, learned from micro-batches as this replica sees them. No Ray here.

A run of a variant takes a time of its own and one for each item in it, a line that is learned by least squares. What is
said of it is not the line but a time that all but few runs keep: the line times the quantile of what they took of it.
What the runs do not explain (deciding, threads, looking up users, writing answers) is learned in the same way, as one
more part of a micro-batch, whose items are its requests.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from math import exp
from typing import NamedTuple

import numpy as np

from allocator.affine import Line, Sums, line
from allocator.chains import ChainSpace
from allocator.choice import Floats, Ints, Mask

Name = tuple[str, str]
KEPT = 0.97
"""What an observation still counts after one more of its kind."""
QUANTILE, QUANTILE_STEP = 0.95, 0.1
MOST_OFF = 20.0
FEWEST = 3
"""So many runs of a variant are seen before anything is said of it."""
SHARP_S, HALVES_S = 10.0, 30.0
"""What has not run for SHARP_S is thought to take half as long with every HALVES_S. Else a variant that was slow once
would be left out for ever, and nobody would see that it is quick again."""
LINE_EVERY = 8
LOOKS_S = 0.1
TIES_S_PER_FLOP = 1e-15
"""Among chains of which nothing is known the one of fewer FLOPs counts as the quicker one."""


class Part(NamedTuple):
    """What one variant did in a micro-batch: rows, and the items in them, None where it searched its whole index."""

    name: Name
    rows: int
    items: int | None
    took_s: float


@dataclass(slots=True)
class Spans:
    """Where the time of a micro-batch went. Written by one thread at a time.

    path_s  seconds with a part under way, those side by side counted once
    """

    parts: list[Part] = field(default_factory=list)
    path_s: float = 0.0

    def ran(self, part: Part) -> None:
        """A part has run, after those before it."""
        self.parts.append(part)
        self.path_s += part.took_s

    def ran_together(self, parts: "Spans") -> None:
        """These parts have run, all at the same time."""
        self.parts += parts.parts
        self.path_s += max((part.took_s for part in parts.parts), default=0.0)


@dataclass(slots=True)
class _Known:
    """One part, as far as it is known.

    shape  of the line, until runs of several sizes have been seen
    line   as of a few runs ago: to work it out takes longer than to take a run in
    off    the quantile of what runs took, in parts of what the line said
    """

    shape: Line
    sums: Sums = field(default_factory=Sums)
    line: Line = (0.0, 0.0)
    off: float = 1.0
    times: int = 0
    seen_s: float = 0.0

    def see(self, items: float, took_s: float, now_s: float) -> None:
        took_s = max(took_s, 1e-9)
        if self.times:
            run_s, item_s = self.line
            # Robbins and Monro's rule for a quantile: up by a lot, rarely; down by little, else. Outliers count once.
            above = took_s > self.off * (run_s + item_s * items)
            self.off *= exp(QUANTILE_STEP * (QUANTILE if above else QUANTILE - 1))
            self.off = min(max(self.off, 1.0), MOST_OFF)
        self.sums = self.sums.seen(1.0, items, took_s, took_s, KEPT)
        self.times, self.seen_s = self.times + 1, now_s
        if self.times < LINE_EVERY or self.times % LINE_EVERY == 0:
            self.line = line(self.sums, self.shape)

    def said(self, now_s: float) -> Line:
        if self.times < FEWEST:
            return 0.0, 0.0
        factor = self.off * 0.5 ** (max(0.0, now_s - self.seen_s - SHARP_S) / HALVES_S)
        run_s, item_s = self.line
        return factor * run_s, factor * item_s


class Latency:
    """Learns and predicts for one replica, from one event loop.

    clock  in seconds, never back
    """

    def __init__(self, space: ChainSpace, clock: Callable[[], float]) -> None:
        self._space, self._clock = space, clock
        self._names = space.variants
        # A run's own time is taken for that of a whole row's items until runs of several sizes have been seen.
        self._known = {
            name: _Known((max(float(most), 1.0), 1.0))
            for name, most in zip(self._names, self._inferred.max(axis=0), strict=True)
        }
        self._index = {n: float(self._known[n].shape[0]) for n in self._names if n[0] == self._names[0][0]}
        self._around = _Known((1.0, 1.0))
        self._told: tuple[float, Floats, Floats] | None = None

    def saw(self, spans: Spans, rows: int, took_s: float) -> None:
        """A micro-batch of so many requests took so long in all, spans included."""
        now_s = self._clock()
        for part in spans.parts:
            items = part.rows * self._index[part.name] if part.items is None else part.items
            self._known[part.name].see(items, part.took_s, now_s)
        self._around.see(rows, took_s - spans.path_s, now_s)

    def chains_s(self, rows: int) -> Floats:
        """Seconds within which a micro-batch of so many requests is answered if all take that chain, (J,).

        A part of which nothing is known yet counts nothing.
        """
        run_s, item_s = self._lines()
        around_s, each_s = self._around.said(self._clock())
        chains_s = self._space.costs(run_s[:, None], rows * item_s[:, None])[:, 0]
        total: Floats = chains_s + around_s + each_s * rows + TIES_S_PER_FLOP * self._space.flops
        return total

    def batch_s(self, chains: Ints) -> float:
        """Seconds within which a micro-batch of these chains, (B,) indices, is answered, one part after the other."""
        run_s, item_s = self._lines()
        around_s, each_s = self._around.said(self._clock())
        used, items = self._called[chains].any(axis=0), self._inferred[chains].sum(axis=0)
        return float(run_s @ used + item_s @ items) + around_s + each_s * len(chains)

    def _lines(self) -> tuple[Floats, Floats]:
        """Of all variants, (V,) each; looked at anew now and then."""
        now_s = self._clock()
        if self._told is None or not 0 <= now_s - self._told[0] < LOOKS_S:
            said = [self._known[name].said(now_s) for name in self._names]
            self._told = now_s, np.array([run for run, _ in said]), np.array([item for _, item in said])
        return self._told[1], self._told[2]

    @cached_property
    def _called(self) -> Floats:
        one = np.eye(len(self._names))
        return self._space.costs(one, 0 * one)

    @cached_property
    def _inferred(self) -> Floats:
        one = np.eye(len(self._names))
        return self._space.costs(0 * one, one)


@dataclass(frozen=True, slots=True, eq=False)
class TimeLeft:
    """What deadlines leave to a micro-batch.

    left_s    (B,) to each request, infinity without a deadline
    chains_s  (J,) within which it would be answered under each chain
    """

    left_s: Floats
    chains_s: Floats

    def take(self, rows: Ints) -> "TimeLeft":
        """What they leave to these requests."""
        return TimeLeft(self.left_s[rows], self.chains_s)


def in_time(time: TimeLeft, available: Mask) -> tuple[Mask, Mask]:
    """The chains that each request may take, (B, J), and whether one of them is in time, (B,).

    A request for which none would be in time may take the quickest of those that are `available`, (J,).
    """
    allowed: Mask = (time.chains_s <= time.left_s[:, None]) & available
    fits: Mask = np.any(allowed, axis=1)
    if not fits.all():
        quickest = int(np.where(available, time.chains_s, np.inf).argmin())
        allowed[~fits, quickest] = True
    return allowed, fits
