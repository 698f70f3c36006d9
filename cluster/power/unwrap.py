"""Joules from a counter that wraps, is reset, or waits: one device, one reading after another. Pure.

A counter shows joules modulo its range. Two readings of it differ by what the device drew, plus or minus whole ranges;
the device's most watts say how many of these there can have been. What cannot be drawn joules is never billed.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from cluster.power.base import Counter

TICK_S = 1.0
"""A counter may show what was true this long ago: drivers update some of them no more often. It is added to the time
between two readings before the most that can have been drawn in it is worked out, or a device under full load that is
read twice within one of its driver's updates would seem to draw too much."""


class Event(StrEnum):
    """What happened to a counter, other than counting.

    wrap   it passed its range; billed
    reset  it went back, too far for a wrap; nothing is billed
    jump   it went ahead by more than the device can draw; nothing is billed, for a counter that was set counted nothing
    epoch  another boot or driver counts now; nothing is billed, since the two cannot be subtracted
    gap    it was not read for so long that it may have wrapped once more; the least that it can have been is billed
    lost   it could not be read any more; it is read again when it is back, and is then billed for all of the time
    stale  it stood still for so long that it seems broken
    """

    WRAP = "wrap"
    RESET = "reset"
    JUMP = "jump"
    EPOCH = "epoch"
    GAP = "gap"
    LOST = "lost"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class UnwrapState:
    """Where the counter stood when it last moved, and since when, on the host's clock, it has been seen there."""

    counter_j: float
    at_s: float
    epoch: str


@dataclass(frozen=True, slots=True)
class Step:
    """What a reading adds.

    energy_j  joules since the last reading that moved the counter, and `span_s` the time since then
    event     what else happened
    fresh     False when nothing is known of the time since: the counter was not updated, or cannot be compared
    """

    energy_j: float
    span_s: float
    event: Event | None = None
    fresh: bool = True


def init(counter: Counter) -> UnwrapState:
    """The state after the first reading, which bills nothing: nobody knows what was before."""
    return UnwrapState(counter.energy_j, counter.at_s, counter.epoch)


def step(state: UnwrapState, counter: Counter) -> tuple[UnwrapState, Step]:
    """The state after a reading, and what it adds. A reading that is not newer than the state changes nothing.

    Exact for a device that draws less than `most_w`, as long as it is read at least twice in the time in which it could
    pass its range, less TICK_S.
    """
    span_s = counter.at_s - state.at_s
    if counter.epoch != state.epoch:
        return init(counter), Step(0.0, 0.0, Event.EPOCH, fresh=False)
    if span_s <= 0 or (counter.energy_j == state.counter_j and not counter.live):
        return state, Step(0.0, 0.0, fresh=False)
    drawn_j, event = _drawn(state, counter, span_s)
    if event in (Event.RESET, Event.JUMP):
        return init(counter), Step(0.0, span_s, event, fresh=False)
    return init(counter), Step(drawn_j, span_s, event)


def _drawn(state: UnwrapState, counter: Counter, span_s: float) -> tuple[float, Event | None]:
    """The fewest joules that explain the reading, and what it takes for it."""
    drawn_j = counter.energy_j - state.counter_j
    back = drawn_j < 0
    if back:
        drawn_j += counter.range_j
    if not (math.isfinite(drawn_j) and drawn_j <= counter.most_w * (span_s + TICK_S)):
        return 0.0, Event.RESET if back else Event.JUMP
    if math.isfinite(counter.most_w) and drawn_j + counter.range_j <= counter.most_w * span_s:
        return drawn_j, Event.GAP
    return drawn_j, Event.WRAP if back else None
