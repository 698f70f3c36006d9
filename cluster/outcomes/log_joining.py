"""Joins what was logged of outcomes to what was logged of decisions, by request id."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cluster.outcomes.log_opening import LogFile

EARLY_S = 60.0
"""An outcome may seem to come before its decision by so much: clocks of two machines differ."""
GAP_S, OF_HORIZON = 60.0, 1 / 20
"""So long outcomes may go unheard, and for no more than that share of their horizon, while a writer is started anew,
without the rows around it being left out. Not where some are known to be lost."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which decisions are wanted: from `since_s` to before `until_s`, in whose horizon no outcome went unheard.

    heard   spans of time without lost outcomes, in order, none near another but where some were lost in between
    unripe  also those with an outcome whose horizon was not heard
    """

    since_s: float
    until_s: float
    horizon_s: float
    heard: tuple[tuple[float, float], ...]
    unripe: bool

    def ripe(self, times_s: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether all is known of decisions of these times (n,)."""
        begins, ends = np.array([(-np.inf, -np.inf), *self.heard]).T
        known: NDArray[np.bool_] = times_s + self.horizon_s <= ends[np.searchsorted(begins, times_s, "right") - 1]
        return known

    def outcomes(self, files: Sequence[LogFile]) -> list[LogFile]:
        """The files that may hold theirs, in order of time."""
        until_s = self.until_s + self.horizon_s
        found = [one for one in files if one.to_s >= self.since_s - EARLY_S and one.from_s <= until_s]
        return sorted(found, key=lambda one: one.from_s)


def heard_by(files: Sequence[LogFile], end_s: float, horizon_s: float) -> tuple[tuple[float, float], ...]:
    """When outcomes were heard, by all files together. Where none says it, from ever to the end of the log."""
    merged: list[tuple[float, float]] = []
    gap_s = min(GAP_S, OF_HORIZON * horizon_s)
    for one in sorted(file.heard for file in files if file.heard is not None):
        if merged and one.from_s <= merged[-1][1] + gap_s and not one.after_loss:
            merged[-1] = merged[-1][0], max(merged[-1][1], one.to_s)
        else:
            merged.append((one.from_s, one.to_s))
    return tuple(merged) or ((-np.inf, end_s),)


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Of n decisions in the order of their files: when, what they earned, and which of them are to be handed out."""

    times_s: NDArray[np.float64]
    rewards: NDArray[np.float32]
    kept: NDArray[np.bool_]


def join(decisions: Sequence[LogFile], outcomes: Sequence[LogFile], window: Window) -> Joined:
    """Of several outcomes of one request the first in the order of files counts, but none of before it: the id may have
    been another request's."""
    read = [one.read(["request_id", "time_s"]) for one in decisions]
    times_s = np.concatenate([np.empty(0), *(columns["time_s"].to_numpy() for columns in read)])
    came_s, rewards = _found(pa.chunked_array([c["request_id"] for c in read], pa.string()), times_s, outcomes)
    in_time = came_s <= times_s + window.horizon_s
    known = window.ripe(times_s) | (in_time & window.unripe)
    kept = known & (times_s >= window.since_s) & (times_s < window.until_s)
    return Joined(times_s, np.where(in_time, rewards, 0).astype(np.float32), kept)


def _found(
    ids: Any, times_s: NDArray[np.float64], outcomes: Sequence[LogFile]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """When each request's outcome came, (n,), NaN for those without; and what it is. times_s (n,) of the decisions."""
    read = [one.read(["request_id", "time_s", "reward"]) for one in outcomes]
    heard = pa.chunked_array([c["request_id"] for c in read], pa.string())
    came_s = np.concatenate([*(c["time_s"].to_numpy() for c in read), [np.nan]])  # the last is nobody's
    rewards = np.concatenate([*(c["reward"].to_numpy() for c in read), np.zeros(1, np.float32)])
    at = pc.fill_null(pc.index_in(ids, value_set=heard), len(heard)).to_numpy()
    early = np.flatnonzero(came_s[at] < times_s - EARLY_S)
    if len(early):  # their ids were another request's before, which is rare
        at = at.copy()
        at[early] = _later(ids.take(early), times_s[early], heard, came_s)
    return came_s[at], rewards[at]


def _later(ids: Any, times_s: NDArray[np.float64], heard: Any, came_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Where among the outcomes `heard` the first of each request is that did not come before it; else the last place of
    `came_s`."""
    known = pc.unique(ids)
    places = np.flatnonzero(pc.is_in(heard, value_set=known).to_numpy())
    names = pc.index_in(heard.take(places), value_set=known).to_numpy()
    order = np.argsort(names, kind="stable")
    names, places = names[order], np.append(places[order], len(came_s) - 1)
    wanted = pc.index_in(ids, value_set=known).to_numpy()
    at, ends = (np.searchsorted(names, wanted, side) for side in ("left", "right"))
    early = np.arange(len(at))
    while len(early := early[(at[early] < ends[early]) & (came_s[places[at[early]]] < times_s[early] - EARLY_S)]):
        at[early] += 1
    return places[np.where(at < ends, at, len(names))]
