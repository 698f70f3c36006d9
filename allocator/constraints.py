"""Constraints: a resource, and how much of it may be spent, which may change over time."""

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import inf, isnan
from typing import Self


class Resource(StrEnum):
    """What a request spends, in the one unit that is used inside."""

    FLOPS = "flops"  # floating-point operations
    JOULES = "joules"  # J
    COMPUTE = "compute"  # seconds that a device is busy
    GRAMS = "grams"  # g of CO2e


@dataclass(frozen=True, slots=True)
class Schedule:
    """A limit per second as a step function of time: `per_second[n]` holds from `from_s[n]` until the next entry.

    The first entry holds before its time as well, the last one for ever. Values are >= 0; infinity means no limit.
    """

    from_s: tuple[float, ...]
    per_second: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.from_s or len(self.from_s) != len(self.per_second):
            raise ValueError("a schedule needs as many times as limits, and at least one")
        if any(later <= earlier for earlier, later in pairwise(self.from_s)):
            raise ValueError(f"the times of a schedule must ascend, got {self.from_s}")
        if any(isnan(value) or value < 0 for value in self.per_second):
            raise ValueError(f"limits must be >= 0, got {self.per_second}")

    @classmethod
    def constant(cls, per_second: float) -> Self:
        """The same limit at all times."""
        return cls((0.0,), (per_second,))

    def over(self, start_s: float, length_s: float) -> float:
        """How much may be spent between `start_s` and `start_s + length_s`."""
        total, now_s, end_s = 0.0, start_s, start_s + length_s
        while now_s < end_s:
            at = max(bisect_right(self.from_s, now_s) - 1, 0)
            until_s = min(end_s, self.from_s[at + 1] if at + 1 < len(self.from_s) else inf)
            total += self.per_second[at] * (until_s - now_s)
            now_s = until_s
        return total


@dataclass(frozen=True, slots=True)
class Constraint:
    """Spend of `resource` stays within `limit`. The name is for people, metrics and settings."""

    name: str
    resource: Resource
    limit: Schedule

    def window_limit(self, start_s: float, window_s: float) -> float:
        """The limit of one window, in the resource's unit."""
        return self.limit.over(start_s, window_s)


def flops_per_second(limit: float, name: str = "flops") -> Constraint:
    """The GreenFlow paper's constraint: at most `limit` FLOPs per second, at all times."""
    return Constraint(name, Resource.FLOPS, Schedule.constant(limit))


def paced(quota: float, spent: float, left_s: float, window_s: float) -> float:
    """The next window's limit under a quota: what is left of it, spread evenly over the time that is left.

    Windows that spent too much or too little are so made good by all that follow, and the quota is met at its end.
    """
    if left_s <= window_s:
        return max(quota - spent, 0.0)
    return max(quota - spent, 0.0) * window_s / left_s
