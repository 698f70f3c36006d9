"""What a simulated day came to, in words and figures: the same in the terminal and on the page."""

from collections.abc import Iterator, Sequence
from math import isinf, isnan

from allocator.emissions import JOULES_PER_KWH
from cluster.reporting.words import NONE, count, number
from cluster.simulation.outcome import LimitOutcome, Outcome

ENDLESS = "∞"
LIMIT_HEADERS = ("limit", "at least", "used", "above it", "largest", "price", "out of reach")
COMPARED = (
    "limits",
    "kWh",
    "of none",
    "kg CO2e",
    "of none",
    "reward",
    "of none",
    "of static",
    "of best fixed",
    "of optimum",
)
COMPARED_NOTE = (
    "Of none: over the same day without limits. Of static: over the static chain for everybody. Of best fixed: over "
    "the best mix of two fixed chains with the same energy. Of optimum: of the most that they allow in hindsight."
)


def share(part: float | None, whole: float | None = 1.0) -> str:
    """A ratio in percent with two places, for what differs by little."""
    if part is None or whole is None or not whole or isnan(part):
        return NONE
    if isinf(part):
        return ENDLESS
    return f"{100 * part / whole:.2f}%".replace("-", "−")


def facts(one: Outcome) -> Iterator[tuple[str, str]]:
    """Name and words of everything that is one figure."""
    seconds = one.windows * one.window_s
    mean = count(round(one.requests / seconds)) if seconds else NONE
    yield "requests", f"{count(one.requests)}; {mean}/s on average, {count(round(one.most_rps))}/s at most"
    free, static = one.free, one.static
    of = f"{share(one.joules, free.joules)} of no limit, {share(one.joules, static.joules)} of the static chain"
    yield "energy", f"{number(one.kwh, 4)} kWh; {of}"
    of = f"{share(one.grams, free.grams)} of no limit, {share(one.grams, static.grams)} of the static chain"
    yield "carbon", f"{number(one.grams / 1000, 4)} kg CO2e; {of}"
    of = f"{share(one.reward, free.reward)} of no limit, {share(one.reward, static.reward)} of the static chain"
    yield "reward", f"{count(round(one.reward))}; {of}"
    if one.best_fixed is not None:
        yield "", f"{share(one.reward, one.best_fixed)} of the best fixed chains with the same energy"
    if one.of_optimum is not None:
        yield "", f"{share(one.of_optimum)} of the hindsight optimum"
    yield "ledger", f"{number(one.billed_j / JOULES_PER_KWH, 4)} kWh billed, {_off(one.billed_j, one.joules)}"
    yield "degraded", _degraded(one)


def _off(billed_j: float, true_j: float) -> str:
    if not true_j:
        return "nothing was drawn"
    off = 100 * (billed_j / true_j - 1)
    return f"{off:+.2f}% off what was drawn".replace("-", "−")


def _degraded(one: Outcome) -> str:
    reasons = (
        (one.silent, "with silent sensors"),
        (one.unreachable, "with a limit out of reach"),
        (one.overloaded, f"that refused {count(one.refused)} requests"),
    )
    told = ", ".join(f"{times:,} {reason}" for times, reason in reasons if times)
    return f"{one.degraded:,} of {one.windows:,} windows" + (f": {told}" if told else "")


def played(one: Outcome) -> str:
    """How much of the day that is."""
    whole = f"{one.windows:,} windows of {one.window_s:g} s on {one.machines:,} machines"
    if one.complete:
        return whole
    return f"stopped after {one.windows:,} of {one.planned:,} windows of {one.window_s:g} s; figures are of these alone"


def limit_cells(one: LimitOutcome) -> tuple[str, ...]:
    """A row under LIMIT_HEADERS."""
    least, mean, most = (number(price) for price in one.prices)
    stated = f"{number(one.limit, 4)} {one.unit}"
    price = f"{least} to {most}, mean {mean}" if one.prices[2] > 0 else "0"
    return one.name, stated, share(one.used), share(one.over), share(one.most), price, f"{one.unreachable:,}"


def compared_cells(label: str, one: Outcome) -> tuple[str, ...]:
    """A row under COMPARED."""
    return (
        label,
        number(one.kwh, 4),
        share(one.joules, one.free.joules),
        number(one.grams / 1000, 4),
        share(one.grams, one.free.grams),
        count(round(one.reward)),
        share(one.reward, one.free.reward),
        share(one.reward, one.static.reward),
        share(one.reward, one.best_fixed),
        share(one.of_optimum),
    )


def compared_static(one: Outcome) -> tuple[str, ...]:
    """The row of the static chain, whose day is the same for all."""
    free, static = one.free, one.static
    return (
        "static chain",
        number(static.joules / JOULES_PER_KWH, 4),
        share(static.joules, free.joules),
        number(static.grams / 1000, 4),
        share(static.grams, free.grams),
        count(round(static.reward)),
        share(static.reward, free.reward),
        share(1.0),
        NONE,
        NONE,
    )


def compared_rows(outcomes: Sequence[tuple[str, Outcome]]) -> list[tuple[str, ...]]:
    """All rows under COMPARED."""
    rows = [compared_cells(label, one) for label, one in outcomes]
    return [*rows, compared_static(outcomes[0][1])] if outcomes else rows
