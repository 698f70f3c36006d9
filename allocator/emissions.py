"""From joules of machines to grams of CO2e: grams = joules / 3.6e6 x PUE x intensity. PUE is applied here, once."""

from dataclasses import dataclass
from enum import StrEnum

from allocator.joules import Quality, worst

JOULES_PER_KWH = 3.6e6


class Kind(StrEnum):
    """What a grid intensity answers.

    average   grams per kWh of all that is generated now: what a footprint is reckoned with
    marginal  grams per kWh of the plant that answers to one more kWh: what a saving is worth
    """

    AVERAGE = "average"
    MARGINAL = "marginal"


@dataclass(frozen=True, slots=True)
class Intensity:
    """The grid's grams of CO2e per kWh, >= 0."""

    grams_per_kwh: float
    kind: Kind
    quality: Quality


@dataclass(frozen=True, slots=True)
class Pue:
    """Power usage effectiveness, >= 1: joules that the building draws per joule of its machines. Unset, it is 1."""

    ratio: float = 1.0
    quality: Quality = Quality.ASSUMED


@dataclass(frozen=True, slots=True)
class Grams:
    """Operational emissions in grams of CO2e. Those of average and of marginal intensity cannot be added."""

    grams: float
    kind: Kind
    quality: Quality

    def __add__(self, other: "Grams") -> "Grams":
        if self.kind is not other.kind:
            raise ValueError(f"grams of {self.kind} and of {other.kind} intensity cannot be added; keep two sums")
        return Grams(self.grams + other.grams, self.kind, worst((self.quality, other.quality)))


def grams_of(joules: float, pue: float, grams_per_kwh: float) -> float:
    """Grams of CO2e of so many joules of machines."""
    return joules / JOULES_PER_KWH * pue * grams_per_kwh


def emitted(joules: float, quality: Quality, pue: Pue, intensity: Intensity) -> Grams:
    """The grams of so many joules of machines, as well known as the worst of what they follow from."""
    grams = grams_of(joules, pue.ratio, intensity.grams_per_kwh)
    return Grams(grams, intensity.kind, worst((quality, pue.quality, intensity.quality)))


def grams_per_joule(pue: Pue, intensity: Intensity) -> float:
    """Grams of one joule: a price per gram times this is the price per joule."""
    return grams_of(1.0, pue.ratio, intensity.grams_per_kwh)
