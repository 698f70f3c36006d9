"""From amounts of the ledger to the figures of a report."""

import math
from collections.abc import Iterable, Sequence

from allocator.emissions import JOULES_PER_KWH, Kind
from allocator.joules import Quality, worst
from cluster.ledger.amount import Amount, Cell
from cluster.ledger.entries import IDLE, NO_INTENSITY, SHARE, UNATTRIBUTED
from cluster.ledger.read import Done, Key, Traffic
from cluster.reporting.model import Emissions, Known, Row, Sum, Total

GRAMS_PER_KG = 1000.0
ROUNDING = 1e-6
"""As a share of one: what the closing of many windows may come to."""


def sum_of(amount: Amount) -> Sum:
    """Energy and emissions of an amount."""
    return Sum(
        energy_kwh=amount.energy_j / JOULES_PER_KWH,
        energy_j=amount.energy_j,
        known=_known((cell.quality, cell.energy_j) for cell in amount.cells),
        emissions=[_emissions(amount.of_kind(kind), Kind(kind)) for kind in amount.intensity_kinds()],
        kwh_without_intensity=amount.of_kind(NO_INTENSITY).energy_j / JOULES_PER_KWH,
    )


def total_of(drawn: Amount, parts: dict[str, Done], traffic: Traffic) -> Total:
    """The total: what devices drew, the parts that it is put down to by kind, and the traffic meanwhile."""
    attributed_j, idle_j, left_j = (joules_of(parts, kind) for kind in (SHARE, IDLE, UNATTRIBUTED))
    requests, items = traffic.requests, traffic.items
    return Total(
        **sum_of(drawn).model_dump(),
        facility_kwh=sum(cell.facility_j for cell in drawn.cells) / JOULES_PER_KWH,
        mean_pue=drawn.pue,
        pue_quality=drawn.pue_quality,
        windows=traffic.windows,
        covered_s=traffic.covered_s,
        requests=requests,
        items=items,
        attributed_j=attributed_j,
        idle_j=idle_j,
        unattributed_j=left_j,
        joules_per_request=ratio(attributed_j, requests),
        joules_per_1000_items=ratio(attributed_j * 1000, items),
        loaded_joules_per_request=ratio(drawn.energy_j, requests),
        loaded_joules_per_1000_items=ratio(drawn.energy_j * 1000, items),
        closing_error_j=drawn.energy_j - (attributed_j + idle_j + left_j),
    )


def sum_of_rows(rows: Sequence[Row]) -> Row:
    """All rows as one, without names; runs and pairs of different stages are not added."""
    energy_j = math.fsum(row.energy_j for row in rows)
    return Row(
        energy_kwh=energy_j / JOULES_PER_KWH,
        energy_j=energy_j,
        known=_mixed([(row.energy_j, row.known) for row in rows]),
        emissions=[one for kind in Kind if (one := _summed(rows, kind)) is not None],
        kwh_without_intensity=math.fsum(row.kwh_without_intensity for row in rows),
        share=_whole(math.fsum(row.share for row in rows)),
        covered_s=_added([row.covered_s for row in rows]),
        requests=_counted([row.requests for row in rows]),
        items=_counted([row.items for row in rows]),
        attributed_j=_added([row.attributed_j for row in rows]),
        idle_j=_added([row.idle_j for row in rows]),
        unattributed_j=_added([row.unattributed_j for row in rows]),
    )


def _whole(share: float) -> float:
    """Exactly one where only rounding is lacking."""
    return 1.0 if math.isclose(share, 1.0, rel_tol=ROUNDING) else share


def _summed(rows: Sequence[Row], kind: Kind) -> Emissions | None:
    found = [one for row in rows for one in row.emissions if one.intensity is kind]
    if not found:
        return None
    kg, facility = math.fsum(one.kg_co2e for one in found), [_facility_kwh(one) for one in found]
    return Emissions(
        intensity=kind,
        kg_co2e=kg,
        energy_kwh=math.fsum(one.energy_kwh for one in found),
        mean_g_per_kwh=ratio(kg * GRAMS_PER_KG, math.fsum(facility)) or 0.0,
        intensity_quality=worst(one.intensity_quality for one in found),
        known=_mixed([(one.kg_co2e, one.known) for one in found]),
    )


def _facility_kwh(one: Emissions) -> float:
    return ratio(one.kg_co2e * GRAMS_PER_KG, one.mean_g_per_kwh) or 0.0


def _mixed(parts: Sequence[tuple[float, Known]]) -> Known:
    return _known((quality, weight * getattr(known, quality.value)) for weight, known in parts for quality in Quality)


def _added(figures: Sequence[float | None]) -> float | None:
    known = [one for one in figures if one is not None]
    return math.fsum(known) if known else None


def _counted(counts: Sequence[int | None]) -> int | None:
    known = [one for one in counts if one is not None]
    return sum(known) if known else None


def joules_of(parts: dict[str, Done], kind: str) -> float:
    """Joules of the parts of one kind, zero for none."""
    return parts[kind].amount.energy_j if kind in parts else 0.0


def first_keys(summed: Iterable[tuple[Key, Done]]) -> dict[str, Done]:
    """By the one string that each key consists of."""
    return {str(key[0]): done for key, done in summed}


def ratio(over: float, under: float) -> float | None:
    """The quotient, None for nothing to divide by."""
    return over / under if under else None


def _emissions(amount: Amount, kind: Kind) -> Emissions:
    grams = amount.grams(kind)
    facility_kwh = sum(cell.facility_j for cell in amount.cells) / JOULES_PER_KWH
    return Emissions(
        intensity=kind,
        kg_co2e=grams / GRAMS_PER_KG,
        energy_kwh=amount.energy_j / JOULES_PER_KWH,
        mean_g_per_kwh=ratio(grams, facility_kwh) or 0.0,
        intensity_quality=_worst_used(amount.cells),
        known=_known((cell.grams_quality, cell.grams) for cell in amount.cells),
    )


def _worst_used(cells: Iterable[Cell]) -> Quality:
    return worst(cell.intensity_quality for cell in cells if cell.energy_j)


def _known(figures: Iterable[tuple[Quality, float]]) -> Known:
    by = dict.fromkeys(Quality, 0.0)
    for quality, figure in figures:
        by[quality] += figure
    whole = sum(by.values())
    return Known(**{quality.value: figure / whole if whole else 0.0 for quality, figure in by.items()})
