"""Which variants are there, and so which chains may be taken: from what replicas report. No Ray here, and no clock.

A variant inside the ingress replicas is there whenever they are. One with a deployment of its own is there while
replicas say that they serve it; a replica that falls silent is gone. Those who send requests say besides of which
variants they know no replica. They notice a death within milliseconds, so that together with a report that is due the
variant is away by the next tick, not the one after; and a replica that has just started, or is about to stop, serves
nobody as long as none of them knows it.

Silence is counted up to the newest report of anybody, not up to now: a controller that was held up itself would else
take all for gone at once.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from allocator.chains import ChainSpace
from allocator.choice import Mask
from allocator.energy.windows import Name
from cluster.accounts import Report

ON_TIME_WINDOWS = 0.5
SILENT_WINDOWS = 1.5
GRACE_WINDOWS = 5.0
FORGET_WINDOWS = 60.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What a replica said last, and when, on the controller's clock."""

    at_s: float
    serves: tuple[Name, ...]
    absent: tuple[Name, ...] | None


class Roster:
    """Who was heard when. Used from one event loop.

    own  the variants with deployments of their own; the others are always there
    """

    def __init__(self, own: Collection[Name], window_s: float) -> None:
        self._own, self._window_s = frozenset(own), window_s
        self._replicas: dict[str, Heard] = {}
        self._met: set[Name] = set()
        self._began_s: float | None = None

    def hear(self, report: Report, now_s: float) -> None:
        """A report has come."""
        self._began_s = now_s if self._began_s is None else self._began_s
        self._replicas[report.replica] = Heard(now_s, report.serves, report.absent)
        self._met.update(report.serves)

    def away(self) -> frozenset[Name]:
        """The variants that requests cannot be sent to. To be asked once a window, when reports are in.

        A variant that was never heard of is given GRACE_WINDOWS from the first report on: replicas start one after
        another, and a controller that was restarted hears of all of them within that time.
        """
        if self._began_s is None:
            return frozenset()
        latest_s = max(one.at_s for one in self._replicas.values())
        self._forget(latest_s)
        serving = self._serving(latest_s, SILENT_WINDOWS)
        on_time = self._serving(latest_s, ON_TIME_WINDOWS)
        grace = latest_s - self._began_s <= GRACE_WINDOWS * self._window_s
        silent = {name for name in self._own - serving if name in self._met or not grace}
        return frozenset(silent | self._missed(latest_s, on_time) & self._own)

    def _missed(self, latest_s: float, on_time: set[Name]) -> set[Name]:
        """The variants that all who send requests miss, or some of them and no report of a replica says otherwise."""
        missing = [set(one.absent) for one in self._fresh(latest_s, SILENT_WINDOWS) if one.absent is not None]
        return set.intersection(*missing) | (set.union(*missing) - on_time) if missing else set()

    def _serving(self, latest_s: float, windows: float) -> set[Name]:
        return {name for one in self._fresh(latest_s, windows) for name in one.serves}

    def _fresh(self, latest_s: float, windows: float) -> list[Heard]:
        return [one for one in self._replicas.values() if latest_s - one.at_s <= windows * self._window_s]

    def _forget(self, latest_s: float) -> None:
        oldest_s = latest_s - FORGET_WINDOWS * self._window_s
        self._replicas = {name: one for name, one in self._replicas.items() if one.at_s >= oldest_s}


def without(space: ChainSpace, away: Collection[Name]) -> Mask:
    """The chains that use none of these variants, (J,)."""
    gone = [at for at, name in enumerate(space.variants) if name in away]
    used: Mask = np.any(space.calls[:, gone], axis=1)
    return np.logical_not(used)
