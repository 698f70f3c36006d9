"""Limits as operators state them: a kind, a number and a unit; and what they come to inside."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from allocator.constraints import Resource
from allocator.emissions import JOULES_PER_KWH

HOUR_S, DAY_S = 3600.0, 86_400.0
CAPACITY = "capacity"
"""The limit that nobody has to state: what processors can do. One that an operator states by this name replaces it."""
NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")


class Kind(StrEnum):
    """What is limited.

    power    watts of all machines together, idle and other programs included
    energy   kWh of all machines in a day
    carbon   grams of CO2e of all machines in an hour or a day
    compute  seconds a second that variants, and the work around them, take; all replicas added up
    flops    floating-point operations a second, as counted from the models
    """

    POWER = "power"
    ENERGY = "energy"
    CARBON = "carbon"
    COMPUTE = "compute"
    FLOPS = "flops"


@dataclass(frozen=True, slots=True)
class Unit:
    """size  of one of it in the resource's own unit: a second's, or with `period_s` that of a whole such period"""

    size: float
    period_s: float | None = None


RESOURCES: Mapping[Kind, Resource] = {
    Kind.POWER: Resource.JOULES,
    Kind.ENERGY: Resource.JOULES,
    Kind.CARBON: Resource.GRAMS,
    Kind.COMPUTE: Resource.COMPUTE,
    Kind.FLOPS: Resource.FLOPS,
}
UNITS: Mapping[Kind, Mapping[str, Unit]] = {
    Kind.POWER: {"W": Unit(1.0)},
    Kind.ENERGY: {"kWh/day": Unit(JOULES_PER_KWH, DAY_S)},
    Kind.CARBON: {"g/h": Unit(1.0, HOUR_S), "g/day": Unit(1.0, DAY_S)},
    Kind.COMPUTE: {"busy_s/s": Unit(1.0)},
    Kind.FLOPS: {"FLOP/s": Unit(1.0)},
}


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit. Raises ValueError, beginning with the field's name, for one that says nothing.

    name   for people, metrics and the API; small letters, digits, - and _
    limit  >= 0 and finite, in `unit`
    """

    name: str
    kind: Kind
    limit: float
    unit: str

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"name: {self.name!r} must begin with a small letter, then up to 39 of a-z, 0-9, - and _")
        if self.unit not in UNITS[self.kind]:
            raise ValueError(f"unit: {self.unit!r} does not go with {self.kind}; use {' or '.join(UNITS[self.kind])}")
        if not (math.isfinite(self.limit) and self.limit >= 0):
            raise ValueError(f"limit: must be a finite number >= 0, got {self.limit}")

    @property
    def resource(self) -> Resource:
        """What is spent."""
        return RESOURCES[self.kind]

    @property
    def period_s(self) -> float | None:
        """The hour or day that a quota is for, which begins at full hours or at midnight UTC; None for a limit at all
        times."""
        return UNITS[self.kind][self.unit].period_s

    @property
    def size(self) -> float:
        """What one of `unit` is in the resource's own."""
        return UNITS[self.kind][self.unit].size

    @property
    def quota(self) -> float:
        """The limit in the resource's unit (J, g, s, FLOPs): of each second, or of a whole `period_s`."""
        return self.limit * self.size
