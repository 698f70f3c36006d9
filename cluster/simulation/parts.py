"""What a scenario is made of, as its YAML file states it: traffic, machines, what goes wrong, grid and limits."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from allocator.limits import UNITS, Kind

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Hour = Annotated[float, Field(ge=0, le=24 * 31)]
CLOSE = 0.6


class Part(BaseModel):
    """Frozen, and a key that it does not have is refused with the one that was meant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, given: Any) -> Any:
        for key in given if isinstance(given, Mapping) else ():
            if key not in cls.model_fields:
                raise ValueError(f"there is no key {key!r} here; {_meant(str(key), list(cls.model_fields))}")
        return given


def _meant(name: str, known: list[str]) -> str:
    """What to write instead."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=CLOSE)
    return f"did you mean {close[0]!r}?" if close else f"it may have {', '.join(known)}"


class Span(Part):
    """Some hours of the day, counted from its start."""

    at_h: Hour
    hours: Positive


class Crowd(Span):
    """A flash crowd: so many times the requests of its region, or of all."""

    times: Annotated[float, Field(gt=0, le=100)]
    region: Name | None = None


class Region(Part):
    """Where requests come from.

    rps     mean requests a second of a usual day
    swing, second  of the day's wave and its second harmonic, as shares of the mean; both are highest at `peak_h`
    """

    rps: Annotated[float, Field(ge=0, le=1e7)]
    swing: Share = 0.0
    second: Share = 0.0
    peak_h: Annotated[float, Field(ge=0, le=24)] = 20.0


class Traffic(Part):
    """All requests.

    noise, settles_s  by which share the load wanders around what is usual, and how soon that is forgotten
    """

    regions: Annotated[dict[Name, Region], Field(min_length=1)]
    noise: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    settles_s: Positive = 900.0
    crowds: tuple[Crowd, ...] = ()


class VariantCost(Part):
    """True joules of one variant: of a request, and of an item that it infers."""

    row_j: Amount
    item_j: Amount


class Group(Part):
    """Equal machines, simulated as one: their joules and work are added up.

    idle_w, cores, core_w  of one machine: watts at rest, processors, watts of a busy one
    joules_per_flop  what a model's operation takes; the processors are busy for as long as that lasts at `core_w`
    request_j        of the work around the models
    spread           by which each variant's true joules differ from that, as the standard deviation of their logarithm:
                     the energy model does not know it
    variants         true joules of variants by `stage/variant`, instead of joules_per_flop and spread
    meter_noise      relative standard deviation of a window's reading
    """

    region: Name
    count: Annotated[int, Field(ge=1, le=100_000)]
    cores: Annotated[int, Field(ge=1, le=4096)] = 32
    idle_w: Amount = 60.0
    core_w: Positive = 5.0
    joules_per_flop: Positive = 6e-8
    request_j: Positive = 0.01
    spread: Annotated[float, Field(ge=0, le=1)] = 0.15
    variants: dict[str, VariantCost] = {}
    meter_noise: Annotated[float, Field(ge=0, le=0.5)] = 0.01


class Silence(Span):
    """Sensors of a group that cannot be read for a while; the machines draw on, and their counters count on.

    estimated  whether the estimate from busy processors is there meanwhile, as it is beside RAPL; else nothing is heard
    """

    group: Name
    estimated: bool = True


class Failure(Span):
    """Machines of a group that are down for a while. Where all of them are, they boot anew and their counters begin at
    nothing; a region without a machine is served by the others."""

    group: Name
    share: Annotated[float, Field(gt=0, le=1)] = 1.0


class Diurnal(Part):
    """A grid's usual day: clean around noon, dirty in the evening; g/kWh."""

    mean: Positive = 350.0
    clean: Share = 0.4
    clean_h: Annotated[float, Field(ge=0, le=24)] = 13.0
    dirty: Annotated[float, Field(ge=0, le=5)] = 0.5
    dirty_h: Annotated[float, Field(ge=0, le=24)] = 19.5
    noise: Annotated[float, Field(ge=0, le=0.5)] = 0.02


class Grid(Part):
    """What a kilowatt-hour emits: one figure, a series of hours, a CSV file as `carbon.file`, or a day that is made up.

    series        g/kWh of each hour of the day, from its start; the last one lasts
    forecast      whether its source tells what lies ahead, and `forecast_error` the relative error of that
    pue           joules of the building per joule of its machines
    """

    g_per_kwh: Amount | None = None
    series: tuple[Amount, ...] = ()
    file: Path | None = None
    diurnal: Diurnal | None = None
    forecast: bool = True
    forecast_error: Annotated[float, Field(ge=0, le=1)] = 0.0
    pue: Annotated[float, Field(ge=1, le=10)] = 1.2

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [self.g_per_kwh is not None, bool(self.series), self.file is not None, self.diurnal is not None]
        if sum(given) > 1:
            raise ValueError("give one of g_per_kwh, series, file and diurnal")
        return self


class Change(Part):
    """From `at_h` on another limit; null lifts it."""

    at_h: Hour
    limit: Amount | str | None


class LimitPart(Part):
    """As in the settings of limits: a kind, a number, a unit (left out: W, kWh/day, g/day, busy_s/s, FLOP/s).

    limit  in the unit; or a share such as 80%, of what the same day takes without any limit: of a whole day, of its
           hour that takes most, or of its highest window
    """

    kind: Kind
    limit: Amount | str
    unit: str | None = None
    name: Name | None = None
    changes: tuple[Change, ...] = ()

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.unit is not None and self.unit not in UNITS[self.kind]:
            raise ValueError(f"unit: {self.unit!r} does not go with {self.kind}; use {' or '.join(UNITS[self.kind])}")
        for one in (self.limit, *(change.limit for change in self.changes)):
            share_of(one)
        return self

    @property
    def chosen_unit(self) -> str:
        """The unit, also where it was left out."""
        return self.unit or list(UNITS[self.kind])[-1]

    @property
    def chosen_name(self) -> str:
        """What it is called; left out, as in the settings."""
        daily = {"g/day": "carbon-day", "g/h": "carbon-hour"}
        return self.name or daily.get(self.chosen_unit, str(self.kind))


def share_of(limit: float | str | None) -> float | None:
    """0.8 of `80%`; None for a number, or none. Raises ValueError for other words."""
    if not isinstance(limit, str):
        return None
    try:
        share = float(limit.removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not (limit.endswith("%") and 0 <= share <= 10):
        raise ValueError(f"a limit is a number or a share such as 80%, not {limit!r}")
    return share
