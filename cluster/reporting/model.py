"""The shape of an energy report, as `--json` prints it. Shares are of one; every unit is in its name."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from allocator.emissions import Kind
from allocator.joules import Quality
from cluster.reporting.saved import SavingsReport

By = Literal["hour", "day", "stage", "variant", "node"]


class Known(BaseModel):
    """How a figure is known: the share of it that a meter counted, that a model worked out, that was assumed."""

    model_config = ConfigDict(frozen=True)

    measured: float
    modelled: float
    assumed: float


class Emissions(BaseModel):
    """CO2e by one kind of intensity. Kinds are listed beside each other and never added."""

    model_config = ConfigDict(frozen=True)

    intensity: Kind
    kg_co2e: float
    energy_kwh: Annotated[float, Field(description="Of the machines, while intensity of this kind was known.")]
    mean_g_per_kwh: Annotated[
        float, Field(description="Grams over the kWh of the building, which are those times PUE.")
    ]
    intensity_quality: Annotated[Quality, Field(description="The worst that went into it.")]
    known: Annotated[Known, Field(description="A gram is as well known as the worst of joules, intensity and PUE.")]


class Sum(BaseModel):
    """Energy of the machines, and what it emitted."""

    model_config = ConfigDict(frozen=True)

    energy_kwh: float
    energy_j: float
    known: Known
    emissions: list[Emissions]
    kwh_without_intensity: Annotated[float, Field(description="While nobody knew the grid's: no grams are told of it.")]


class Total(Sum):
    """Everything in the period.

    Joules per request and per item are those that requests' own work is put down to; the loaded ones share out what is
    idle and unattributed as well. None where nothing was answered.
    """

    facility_kwh: Annotated[float, Field(description="Of the building: kWh of the machines times PUE.")]
    mean_pue: float | None
    pue_quality: Quality
    windows: int
    covered_s: Annotated[float, Field(description="Seconds that the windows cover.")]
    requests: int
    items: int
    attributed_j: float
    idle_j: float
    unattributed_j: float
    joules_per_request: float | None
    joules_per_1000_items: float | None
    loaded_joules_per_request: float | None
    loaded_joules_per_1000_items: float | None
    closing_error_j: Annotated[float, Field(description="Devices less parts: rounding, or a window did not close.")]


class Row(Sum):
    """One line of the report; what does not apply is null.

    start      of an hour or day, UTC
    part       share, idle or unattributed: what a line by stage or variant is
    covered_s  seconds of it that windows cover
    node       Ray's id of it, and `host` the machine
    requests   answered in it, and the items of their recommendations; by stage or variant, calls and pairs instead
    share      of all joules
    """

    start: str | None = None
    part: str | None = None
    stage: str | None = None
    variant: str | None = None
    host: str | None = None
    node: str | None = None
    covered_s: float | None = None
    requests: int | None = None
    items: int | None = None
    calls: int | None = None
    pairs: int | None = None
    attributed_j: float | None = None
    idle_j: float | None = None
    unattributed_j: float | None = None
    share: float


class Embodied(BaseModel):
    """CO2e of making the machines, as the operator spreads it over their life. In no other figure of the report."""

    model_config = ConfigDict(frozen=True)

    g_per_h: float
    kg_co2e: Annotated[float, Field(description="Over the hours that windows cover.")]


class Sensor(BaseModel):
    """What one kind of sensor told: joules of one quality. `devices` are counted on all hosts."""

    model_config = ConfigDict(frozen=True)

    source: str
    kind: str
    quality: Quality
    devices: int
    hosts: int
    energy_j: float
    share: float


class ServedTerm(BaseModel):
    """What was served from `since` on, until the next term begins."""

    model_config = ConfigDict(frozen=True)

    since: str
    software: str
    cascade: str
    sha256: Annotated[str, Field(description="Of cascade.yaml, in which stand those of the models.")]
    holdback: Annotated[float | None, Field(description="Share of users on the static chain; None for no experiment.")]
    carbon: Annotated[str, Field(description="Where intensities come from.")]


class LimitChanged(BaseModel):
    """Who set which limit when; `after` None where it was removed."""

    model_config = ConfigDict(frozen=True)

    at: str
    author: str
    name: str
    before: str | None
    after: str | None


class Basis(BaseModel):
    """What an auditor asks first: what was asked for, when it was told, by which version, and what it rests on.

    asked_since, asked_until  as named, where they were; the report tells what the ledger has of that time
    missing_s  of what was asked for, and between the first and the last total: seconds of which no window tells
    served, limit_changes     of the period, oldest first
    """

    model_config = ConfigDict(frozen=True)

    made: str
    software: str
    asked_since: str | None
    asked_until: str | None
    missing_s: float
    sensors: list[Sensor]
    served: list[ServedTerm]
    limit_changes: list[LimitChanged]


class EnergyReport(BaseModel):
    """Totals of a period, and the lines that they are made of. `since` and `until` are UTC, hours or days in full."""

    model_config = ConfigDict(frozen=True)

    ledger: str
    since: str
    until: str
    by: By
    total: Total
    rows: list[Row]
    basis: Basis
    embodied: Annotated[Embodied | None, Field(description="None where nobody states it.")] = None
    savings: Annotated[SavingsReport | None, Field(description="None where nobody is held back.")] = None

    def with_embodied(self, g_per_h: float | None) -> "EnergyReport":
        """The report with what the operator says that making the machines comes to in an hour; None for nothing."""
        if g_per_h is None:
            return self
        kg_co2e = g_per_h * self.total.covered_s / 3600 / 1000
        return self.model_copy(update={"embodied": Embodied(g_per_h=g_per_h, kg_co2e=kg_co2e)})
