"""Joules and grams summed up, without mixing what must stay apart: qualities, and kinds of intensity."""

from collections.abc import Mapping
from dataclasses import dataclass

from allocator.joules import Quality, worst
from cluster.ledger.entries import NO_INTENSITY


@dataclass(frozen=True, slots=True)
class Cell:
    """Joules that are known alike.

    quality         of the joules
    intensity_kind  average, marginal, or none while nobody knew the intensity: then there are no grams
    energy_j        of the machines; `facility_j` of the building: times PUE
    """

    quality: Quality
    intensity_kind: str
    intensity_quality: Quality
    pue_quality: Quality
    energy_j: float
    facility_j: float
    grams: float

    @property
    def grams_quality(self) -> Quality:
        """The worst of joules, intensity and PUE."""
        return worst((self.quality, self.intensity_quality, self.pue_quality))


@dataclass(frozen=True, slots=True)
class Amount:
    """A sum of cells."""

    cells: tuple[Cell, ...] = ()

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.cells + other.cells)

    @property
    def energy_j(self) -> float:
        """Joules of the machines."""
        return sum(cell.energy_j for cell in self.cells)

    @property
    def pue(self) -> float | None:
        """Mean PUE over the joules, None for none."""
        energy_j = self.energy_j
        return sum(cell.facility_j for cell in self.cells) / energy_j if energy_j else None

    @property
    def pue_quality(self) -> Quality:
        """The worst that a joule was multiplied with."""
        return worst(cell.pue_quality for cell in self.cells if cell.energy_j)

    def by_quality(self) -> Mapping[Quality, float]:
        """Joules of each quality, all three named."""
        return {q: sum(cell.energy_j for cell in self.cells if cell.quality is q) for q in Quality}

    def intensity_kinds(self) -> tuple[str, ...]:
        """The kinds of intensity by which there are grams, by name."""
        return tuple(sorted({cell.intensity_kind for cell in self.cells} - {NO_INTENSITY}))

    def of_kind(self, kind: str) -> "Amount":
        """The part whose intensity is of that kind."""
        return Amount(tuple(cell for cell in self.cells if cell.intensity_kind == kind))

    def grams(self, kind: str) -> float:
        """Grams of CO2e by that kind of intensity; kinds are never added."""
        return sum(cell.grams for cell in self.cells if cell.intensity_kind == kind)
