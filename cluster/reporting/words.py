"""Figures in words, the same in the terminal and on the page."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from allocator.emissions import JOULES_PER_KWH
from allocator.joules import Quality
from cluster.reporting.model import EnergyReport, Known, Total
from cluster.reporting.saved import SavedOf, SavingsReport

NONE = "–"
LEAST_KWH = 0.1
SHOWN_OF_ID = 8
PREFIXES = (
    (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scale:
    """In which unit a column is told: a figure in the base unit (J or kg) over `divisor`."""

    unit: str
    divisor: float

    def text(self, figure: float) -> str:
        """The figure without its unit."""
        return number(figure / self.divisor)


def energy_scale(report: EnergyReport) -> Scale:
    """For joules of rows: kWh, or J for a short run, of which a row would be nothing but noughts in kWh."""
    return Scale("kWh", JOULES_PER_KWH) if report.total.energy_kwh >= LEAST_KWH else Scale("J", 1.0)


def carbon_scale(report: EnergyReport) -> Scale:
    """For kg of rows: kg or g."""
    most_kg = max((one.kg_co2e for one in report.total.emissions), default=0.0)
    return Scale("kg", 1.0) if most_kg >= 1 else Scale("g", 1e-3)


def number(value: float | None, digits: int = 3) -> str:
    """So many digits that count, thousands parted by commas, no exponent: 12,345 or 0.00123. A dash for None."""
    if value is None:
        return NONE
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = abs(float(f"{value:.{digits - 1}e}"))  # 0.9996 is told as 1.00, which has fewer places
    places = max(0, digits - 1 - math.floor(math.log10(rounded)))
    return f"{value:,.{min(places, 12)}f}".replace("-", "−")


def scaled(values: Sequence[float], unit: str) -> tuple[list[str], str]:
    """The figures, and their unit with the prefix that suits the largest of them: 46.9 and mJ of 0.0469 J."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    size, prefix = next(((size, prefix) for size, prefix in PREFIXES if largest >= size), PREFIXES[-1])
    if not largest:
        size, prefix = 1.0, ""
    return [number(value / size) for value in values], f"{prefix}{unit}"


def count(value: int | None) -> str:
    """A number of things: in full up to 99,999, then 123k, 4.56M, 7.89G. A dash for None."""
    if value is None:
        return NONE
    if value < 100_000:
        return f"{value:,}"
    divisor, unit = next(one for one in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= 0.9995 * one[0])
    return f"{number(value / divisor)}{unit}"


def percent(share: float) -> str:
    """A share of one: 12.3%, and never 100% or 0% of what is not all or nothing."""
    if share in (0, 1):
        return f"{share:.0%}"
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{100 * share:.1f}%".replace("-", "−")


def known(figure: Known) -> str:
    """How it is known: `97.1% measured, 2.9% modelled`; what is nothing is left out."""
    shares = [(quality, getattr(figure, quality.value)) for quality in Quality]
    told = [f"{percent(share)} {quality.value}" for quality, share in shares if share]
    return ", ".join(told) or NONE


def duration(seconds: float) -> str:
    """Hours of a long time, minutes or seconds of a short one."""
    for unit, length_s in (("days", 2 * 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length_s:
            return f"{number(seconds / (86_400 if unit == 'days' else length_s))} {unit}"
    return f"{number(seconds)} s"


def short_id(name: str) -> str:
    """The beginning of an id that Ray made up; other names whole."""
    made_up = len(name) >= 32 and all(letter in "0123456789abcdef" for letter in name)
    return name[:SHOWN_OF_ID] if made_up else name


def facts(report: EnergyReport) -> Iterator[tuple[str, str]]:
    """The total, line by line: a name and what is said of it."""
    total = report.total
    yield "period", f"{report.since} to {report.until}, of which {duration(total.covered_s)} are billed"
    yield "energy", f"{number(total.energy_kwh)} kWh ({number(total.energy_j)} J), {known(total.known)}"
    yield "building", _building(total)
    yield from (("emissions", line) for line in emissions(total))
    if (made := report.embodied) is not None:
        yield "embodied", f"{number(made.kg_co2e)} kg CO2e of making the machines, {number(made.g_per_h)} g/h as stated"
    yield "traffic", f"{total.requests:,} requests, {total.items:,} items recommended"
    yield "went to", where(total)
    yield "a request", _each(total.joules_per_request, total.loaded_joules_per_request)
    yield "1,000 items", _each(total.joules_per_1000_items, total.loaded_joules_per_1000_items)
    if report.savings is not None and report.savings.holdback_requests:
        yield from savings_facts(report.savings)
    if not closes(total):
        yield "unbalanced", f"devices drew {number(total.closing_error_j)} J more than their parts add up to"


def emissions(total: Total) -> Iterator[str]:
    """A line for each kind of intensity, and one for what no intensity was known for."""
    for one in total.emissions:
        grid = f"{one.intensity.value} intensity, {number(one.mean_g_per_kwh)} g/kWh {one.intensity_quality.value}"
        yield f"{number(one.kg_co2e)} kg CO2e ({grid}), {known(one.known)}"
    if total.kwh_without_intensity:
        unknown = f"{number(total.kwh_without_intensity)} kWh" if total.emissions else "all of it"
        yield f"no intensity was known for {unknown}: no CO2e is told of that"


def where(total: Total) -> str:
    """What the joules went to, in shares."""
    parts = (("requests", total.attributed_j), ("idle", total.idle_j), ("unattributed", total.unattributed_j))
    return ", ".join(f"{percent(joules / total.energy_j if total.energy_j else 0)} {name}" for name, joules in parts)


def closes(total: Total) -> bool:
    """Whether devices and parts tell the same joules, to rounding."""
    return abs(total.closing_error_j) <= 1e-6 * max(1.0, total.energy_j)


def _building(total: Total) -> str:
    if total.mean_pue is None:
        return NONE
    return f"{number(total.facility_kwh)} kWh by a PUE of {total.mean_pue:.3g}, {total.pue_quality.value}"


def _each(own_j: float | None, loaded_j: float | None) -> str:
    if own_j is None:
        return NONE
    return f"{number(own_j)} J of own work; {number(loaded_j)} J with idle and unattributed shared out"


def savings_facts(told: SavingsReport) -> Iterator[tuple[str, str]]:
    """In words, line by line."""
    yield "saved", f"against {told.holdback_requests:,} requests held back, by {told.policy_requests:,} others; so far:"
    energy, grams = told.energy_j, told.co2e_g
    yield "saved", f"energy: {_words(energy, 1 / JOULES_PER_KWH, 'kWh')}"
    if grams.total is not None:
        yield "saved", f"CO2e: {_words(grams, 1e-3, 'kg')}"
    yield "saved", f"FLOPs: {_words(told.flops, 1.0, 'FLOPs')}"
    yield "reward", _reward(told.reward)


def _words(saved: SavedOf, scale: float, unit: str) -> str:
    if saved.total is None:
        return saved.reason
    total = saved.total
    low, high = number(total.low * scale), number(total.high * scale)
    text = f"{number(total.value * scale)} {unit} ({low} to {high})"
    if saved.relative is None:
        return text
    share = saved.relative
    return f"{percent(share.value)} ({percent(share.low)} to {percent(share.high)}), {text}"


def _reward(saved: SavedOf) -> str:
    """Of reward it is what is earned more that people ask for."""
    if saved.relative is None:
        return saved.reason
    more, low, high = (percent(-share) for share in (saved.relative.value, saved.relative.high, saved.relative.low))
    return f"{more} ({low} to {high}) of the static chain's, more where above zero"
