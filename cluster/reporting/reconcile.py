"""Whether what a report tells adds up: every table against the total, parts against devices."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cluster.reporting.model import EnergyReport
from cluster.reporting.sums import ROUNDING, sum_of_rows

LINES = {"hour": "all hours", "day": "all days", "stage": "all stages", "variant": "all variants", "node": "all nodes"}


@dataclass(frozen=True, slots=True)
class Check:
    """Two ways to the same figure; `unit` J, kg CO2e or requests."""

    what: str
    summed: float
    total: float
    unit: str

    @property
    def difference(self) -> float:
        """What the sum has more."""
        return self.summed - self.total

    @property
    def agrees(self) -> bool:
        """To rounding."""
        return math.isclose(self.summed, self.total, rel_tol=ROUNDING, abs_tol=ROUNDING)


def checks(reports: Sequence[EnergyReport]) -> Iterator[Check]:
    """Of reports of one period by different lines."""
    total = reports[0].total
    parts_j = total.attributed_j + total.idle_j + total.unattributed_j
    yield Check("requests' work, idle and unattributed: all devices", parts_j, total.energy_j, "J")
    sensors_j = math.fsum(sensor.energy_j for sensor in reports[0].basis.sensors)
    yield Check("all sensors: all devices", sensors_j, total.energy_j, "J")
    for report in reports:
        yield from _of(report)


def _of(report: EnergyReport) -> Iterator[Check]:
    summed, lines = sum_of_rows(report.rows), LINES[report.by]
    yield Check(f"{lines}: energy", summed.energy_j, report.total.energy_j, "J")
    told = {one.intensity: one.kg_co2e for one in summed.emissions}
    for one in report.total.emissions:
        name = f"{lines}: emissions by {one.intensity.value} intensity"
        yield Check(name, told.get(one.intensity, 0.0), one.kg_co2e, "kg CO2e")
    if summed.requests is not None:
        yield Check(f"{lines}: requests", summed.requests, report.total.requests, "requests")
