"""How a report's figures come about, in sentences that an auditor can check against the ledger."""

from collections.abc import Iterator

from allocator.emissions import Kind
from cluster.reporting.model import EnergyReport, Total
from cluster.reporting.saved import SavingsReport
from cluster.reporting.words import duration, number, percent

INTENSITY = {
    Kind.AVERAGE: "average intensity of the location's grid, which tells a footprint",
    Kind.MARGINAL: "marginal intensity, of the plant that answers to one more kilowatt-hour, which tells what a saving "
    "is worth",
}
HELD_BACK = (
    "A share of the users is held back: their requests run the static chain, as all would without GreenFlow. A "
    "salted hash of the user's id decides who, and users, not requests, are the units. Saved is the static chain's "
    "mean a request, less that of all others, times their requests. Joules of a request come from the energy model, "
    "without idle watts; the model's error is in the interval."
)
SEQUENCE = (
    "Intervals are 95% confidence sequences (asymptotic; Waudby-Smith and others, arXiv 2103.06476): they hold at all "
    "times together, so looking early or often spoils nothing."
)


def methods(report: EnergyReport) -> Iterator[tuple[str, str]]:
    """A name and what is to be known of it, in the order of the figures."""
    total = report.total
    yield "Scope", _scope(report)
    yield "Period", _period(report)
    yield "Energy", _energy()
    yield "Work and idle", _idle(total)
    yield "Building", _building(total)
    yield "Emissions", _emissions(total)
    yield "Quality", _quality()
    if report.savings is not None:
        yield "Savings", _savings(report, report.savings)
    yield "Software", _software(report)
    yield (
        "Rounding",
        (
            "Figures are rounded for reading, sums are of the unrounded ones. All of them in full: greenflow report "
            "--json and --csv, from the same ledger."
        ),
    )


def _scope(report: EnergyReport) -> str:
    made = "stated by the operator, and told apart" if report.embodied is not None else "not told"
    kinds = {one.intensity for one in report.total.emissions}
    average = "operational emissions of that electricity, location-based (scope 2 of who buys it)"
    marginal = "what it emits by marginal intensity, which says what a saving is worth and belongs in no inventory"
    emitted = marginal if kinds == {Kind.MARGINAL} else average
    if len(kinds) > 1:
        emitted = f"{average}; apart from them {marginal}"
    return (
        "Electricity of the machines that served recommendations (processors, memory and accelerators that have a "
        f"meter or a model; network and storage are not metered), and {emitted}. "
        f"Emissions of making the machines are {made}."
    )


def _period(report: EnergyReport) -> str:
    basis = report.basis
    asked = ""
    if basis.asked_since is not None or basis.asked_until is not None:
        asked = f" Asked for: {basis.asked_since or 'the beginning'} to {basis.asked_until or 'now'}."
    missing = f" No window tells of {duration(basis.missing_s)} of it." if basis.missing_s >= 1 else ""
    return (
        f"{report.since} to {report.until}, in hours and days of UTC; a window belongs to the hour in which it began. "
        f"{report.total.windows:,} windows tell of {duration(report.total.covered_s)}.{asked}{missing}"
    )


def _energy() -> str:
    return (
        "Differences of the devices' own counters, each billed once, also across restarts; where a device has no "
        "counter, its power over time; where it has no meter, a model of processor time. Every joule is written to the "
        "ledger with how it is known."
    )


def _idle(total: Total) -> str:
    if not total.energy_j:
        return "Nothing was drawn."
    idle, left = percent(total.idle_j / total.energy_j), percent(total.unattributed_j / total.energy_j)
    return (
        "An energy model, learned from the meters, tells what machines draw at rest from what requests add. Idle is in "
        f"every total ({idle} of it) and never part of a request's own joules; where it is shared out over requests, "
        f"the figure says so. What nobody can be put down to is unattributed ({left})."
    )


def _building(total: Total) -> str:
    if total.mean_pue is None:
        return "Nothing was drawn."
    how = {
        "measured": "as the operator has metered it",
        "modelled": "as modelled",
        "assumed": "assumed, for nobody has stated a metered one",
    }[total.pue_quality.value]
    return f"Emissions are of the building's energy: the machines' times a PUE of {total.mean_pue:.3g}, {how}."


def _emissions(total: Total) -> str:
    if not total.emissions:
        return "Nobody knew the grid's intensity in this time: no emissions are told."
    kinds = "; ".join(
        f"{number(one.energy_kwh)} kWh by the {INTENSITY[one.intensity]} ({number(one.mean_g_per_kwh)} g/kWh on "
        f"average, {one.intensity_quality.value})"
        for one in total.emissions
    )
    apart = " Both kinds stand side by side and are never added." if len(total.emissions) > 1 else ""
    unknown = ""
    if total.kwh_without_intensity:
        unknown = f" For {number(total.kwh_without_intensity)} kWh nobody knew it: no emissions are told of these."
    return f"Grams = kWh of the machines x PUE x intensity at the time, window by window: {kinds}.{apart}{unknown}"


def _quality() -> str:
    return (
        "Measured: a meter counted it. Modelled: worked out from something measured, such as processor time. Assumed: "
        "worked out from a figure that nobody measured here. A gram is as well known as the worst of its joules, "
        "intensity and PUE."
    )


def _savings(report: EnergyReport, told: SavingsReport) -> str:
    shares = sorted({term.holdback for term in report.basis.served if term.holdback is not None})
    share = f" Held back are {' then '.join(percent(one) for one in shares)} of the users." if shares else ""
    arms = f" So far {told.holdback_requests:,} requests held back, {told.policy_requests:,} others."
    return f"{HELD_BACK}{share}{arms} {SEQUENCE} They are of the whole experiment, not of this period alone."


def _software(report: EnergyReport) -> str:
    basis = report.basis
    served = "; ".join(
        f"from {term.since} cascade {term.cascade} (cascade.yaml {term.sha256[:12]}) by GreenFlow {term.software}, "
        f"intensity from: {term.carbon}"
        for term in basis.served
    )
    what = f"Served: {served}." if served else "The ledger does not say which cascade was served."
    return f"{what} Told by GreenFlow {basis.software} from {report.ledger}, {basis.made}."
