"""Phases under one cap and one rate each: what was drawn in them, and whether that is what could be reached.

What can be reached lies between the watts without any cap and those of the cheapest chains alone. Both are looked at
before the phases and, for the machine wanders, after them. A cap that lies between them in both looks is itself the
goal; else the goal is what the two looks leave open, from the lesser to the greater.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from limits_stand import Driven

from cluster.traffic.report import LoadReport

OVER_S = 10.0
NEAR = 0.05
WITHIN_S, LATER_S = 10.0, 20.0
LEAST_W, NO_W = 1.0, 1e6
HIGH, LOW = 0.7, 0.35
THIRD = 1 / 3


@dataclass(frozen=True)
class Phase:
    """A stretch of time under one cap and one rate."""

    about: str
    seconds: float
    cap_w: float
    rate: float


@dataclass(frozen=True)
class Played:
    """What happened in a phase: true watts of each second, and what became of its requests."""

    phase: Phase
    watts: Sequence[float]
    load: LoadReport

    @property
    def settled_w(self) -> float:
        """Mean without the first seconds."""
        return float(np.mean(self.watts[min(int(OVER_S), len(self.watts) // 2) :]))


@dataclass(frozen=True)
class Look:
    """Watts without a cap and with the cheapest chains at the whole rate, and without a cap at a third of it.

    third_w  None where nobody looked
    free, least  the phases themselves
    """

    free: Played
    least: Played
    third_w: float | None = None

    @property
    def free_w(self) -> float:
        """Without a cap."""
        return self.free.settled_w

    @property
    def least_w(self) -> float:
        """With the cheapest chains."""
        return self.least.settled_w

    @property
    def tells(self) -> bool:
        """Whether the caps of the phases lie apart so far that watts which do not follow them are told from it."""
        return (HIGH - LOW) * (self.free_w - self.least_w) > NEAR * self.free_w

    def between(self, share: float) -> float:
        """A cap that leaves chains this share of what they can be made to spend."""
        return self.least_w + share * (self.free_w - self.least_w)

    def reached(self, phase: Phase) -> float:
        """What a perfect controller would draw."""
        if phase.rate < self.free.phase.rate:
            return phase.cap_w if self.third_w is None else min(phase.cap_w, self.third_w)
        return min(max(phase.cap_w, self.least_w), self.free_w)


@dataclass(frozen=True)
class Found:
    """Whether a phase came near its goal, and stayed there.

    goal_w    from the lesser to the greater; mostly the same
    tells     whether caps could do enough for that to say anything
    averages  over the OVER_S from each second on
    near_s    when these first came within NEAR; None for never
    later_s   how long they were off again at a stretch, after that
    """

    played: Played
    goal_w: tuple[float, float]
    tells: bool
    mean_w: float
    averages: tuple[float, ...] = field(repr=False)
    near_s: float | None
    later_s: float

    @property
    def off(self) -> float:
        """Relative difference of the mean and the goal."""
        return self.mean_w / min(max(self.mean_w, self.goal_w[0]), self.goal_w[1]) - 1

    @property
    def clear(self) -> bool:
        """Whether the goal is: caps can do something, and the machine has not wandered so far that all could be it."""
        return self.tells and self.goal_w[1] <= (1 + NEAR) * self.goal_w[0]

    @property
    def held(self) -> bool:
        """Whether the watts came near in time and stayed there."""
        return self.near_s is not None and self.near_s <= WITHIN_S and self.later_s < LATER_S

    @property
    def reached(self) -> bool:
        """As asked for."""
        return self.held and self.clear

    @property
    def verdict(self) -> str:
        """In a word, or some. What is missed by the widest goal is missed."""
        if self.held:
            vague = "unclear: the machine wandered" if self.tells else "unclear: caps can do too little"
            return "reached" if self.clear else vague
        if self.near_s is None:
            return "missed: never near"
        return "missed: late" if self.near_s > WITHIN_S else "missed: not held"


def played(stand: Driven, phase: Phase) -> Played:
    """Let a phase happen."""
    stand.traffic.cut()
    stand.traffic.rate(phase.rate)
    stand.put(phase.cap_w)
    began_s = time.time()
    time.sleep(phase.seconds + 0.2)  # the truth is looked at a little later than it happens
    return Played(phase, stand.truth.watts(began_s, began_s + phase.seconds), stand.traffic.cut())


def look(stand: Driven, rate: float, seconds: float, third: bool = True) -> Look:
    """See between which watts caps can do anything."""
    free = played(stand, Phase("no cap", seconds, NO_W, rate))
    least = played(stand, Phase("the cheapest chains", seconds, LEAST_W, rate))
    if not third:
        return Look(free, least)
    return Look(free, least, played(stand, Phase("no cap, a third", seconds, NO_W, rate * THIRD)).settled_w)


def transitions(at: Look, seconds: float, short: bool) -> list[Phase]:
    """Caps and rates that follow each other. The short list has what must be shown, and begins it sooner."""
    rate, high_w, low_w = at.free.phase.rate, at.between(HIGH), at.between(LOW)
    ready_s = seconds / 2 if short else seconds
    phases = [
        Phase("begin", ready_s, high_w, rate),
        Phase("what chains may spend halves", seconds, low_w, rate),
        Phase("and doubles", seconds, high_w, rate),
        Phase("traffic falls to a third", ready_s, low_w, rate * THIRD),
        Phase("traffic triples", seconds, low_w, rate),
    ]
    if short:
        return phases
    return [*phases, Phase("a cap out of reach", seconds, LEAST_W, rate), Phase("and back", seconds, low_w, rate)]


def found(what: Played, looks: Sequence[Look]) -> Found:
    """How near the watts came to what could be reached under the cap."""
    goals = [one.reached(what.phase) for one in looks]
    low_w, high_w = min(goals), max(goals)
    averages = np.convolve(what.watts, np.ones(int(OVER_S)) / OVER_S, mode="valid")
    near = (averages >= (1 - NEAR) * low_w) & (averages <= (1 + NEAR) * high_w)
    first = int(near.argmax()) if near.any() else None
    later_s = float(longest(~near[first:])) if first is not None else 0.0
    tells = all(one.tells for one in looks)
    return Found(what, (low_w, high_w), tells, what.settled_w, tuple(averages.tolist()), first, later_s)


def longest(flags: Sequence[bool] | np.ndarray) -> int:
    """Length of the longest stretch of true ones."""
    length, most = 0, 0
    for flag in flags:
        length = length + 1 if flag else 0
        most = max(most, length)
    return most
