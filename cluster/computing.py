"""What computation costs and what a window spent of it, from the books of replicas. Pure; no Ray here."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import exp

from allocator import busy, rows
from allocator.busy import BusyState
from allocator.chains import ChainSpace
from allocator.choice import Floats
from allocator.energy.prior import Prior
from allocator.energy.windows import Name
from allocator.rows import RowsState
from cluster.accounts import Window
from cluster.events import Event, happened
from cluster.work import WorkCounts, as_work, work_since

SETTLES_S = 5.0
"""Over how long measured seconds are held against those of the chains that ran: a window's report may come with the
next one's."""
MOST_OFF = 2.0
"""What chains are said to cost is learned, so it is not off by more for long. Seconds that a replica reports of all the
time that the controller, or itself, was away are no spend of this window."""


BUSY, ROWS = "busy-seconds", "rows-of-runs"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Computing:
    """What is known after a window.

    counted    work of all replicas since the books were opened, as of that window
    measured_s, said_s  busy seconds of late: as reported, and by the costs of the chains that ran
    spent_s    busy seconds of the window
    """

    busy: BusyState
    rows: RowsState = field(default_factory=RowsState)
    counted: WorkCounts | None = None
    measured_s: float = 0.0
    said_s: float = 0.0
    spent_s: float = 0.0

    @property
    def rows_per_run(self) -> Mapping[Name, float]:
        """Requests that share a run, by stage and variant, as `allocator.energy.figures.RowsPerRun`."""
        return self.rows.per_run

    def costs(self, space: ChainSpace) -> Floats:
        """Busy seconds of one request under each chain, (J,)."""
        return busy.chain_busy_s(self.busy, space, self.rows_per_run)

    def dumped(self) -> dict[str, bytes]:
        """What is to be kept, by key."""
        return {BUSY: busy.dumped(self.busy), ROWS: rows.dumped(self.rows)}

    def resumed(self, space: ChainSpace, prior: Prior, kept: Mapping[str, bytes]) -> "Computing":
        """With what was kept of variants that have not run since; what cannot be read is learned anew."""
        known, shared = self.busy, self.rows
        try:
            if BUSY in kept:
                known = replace(known, sums={**busy.restored(prior, kept[BUSY]).sums, **known.sums})
            if ROWS in kept:
                before = rows.restored(space, kept[ROWS])
                shared = RowsState({**before.requests, **shared.requests}, {**before.runs, **shared.runs})
        except ValueError as error:
            happened(logger, Event.BEGINS_ANEW, "what computation costs is learned anew: %s", error)
        return replace(self, busy=known, rows=shared)

    def after(self, space: ChainSpace, window: Window, counted: WorkCounts, window_s: float) -> "Computing":
        """With one more window. counted: work of all replicas since the books were opened.

        What the first window shows is where counting begins: nobody knows over how long its work was done.
        """
        if self.counted is None:
            return replace(self, counted=counted)
        work = as_work(work_since(counted, self.counted))
        known = busy.learned(self.busy, work)
        shared = rows.seen(self.rows, space, window.executed_per_s, window_s, work)
        said_s = float(window.executed_per_s @ busy.chain_busy_s(known, space, shared.per_run)) * window_s
        kept = exp(-window_s / SETTLES_S)
        measured_s, all_s = kept * self.measured_s + busy.spent_busy_s(work), kept * self.said_s + said_s
        off = measured_s / all_s if all_s > 0 else 1.0
        spent_s = said_s * min(max(off, 1 / MOST_OFF), MOST_OFF)
        return Computing(known, shared, counted, measured_s, all_s, spent_s)
