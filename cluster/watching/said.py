"""Figures of a window in words, the same in the live view and on plain lines."""

from collections.abc import Iterator
from datetime import UTC, datetime

from allocator.emissions import JOULES_PER_KWH
from allocator.joules import ORDER, Quality
from cluster.limits.schemas import LimitOut
from cluster.live.schemas import BoundsOut, CarbonOut, MixOut, SavedLiveOut, SpentOut, WindowEvent
from cluster.reporting.words import number as rounded
from cluster.reporting.words import percent, scaled

UNKNOWN = "?"
LEAST_SHARE = 0.005
"""Actions that take less of a stage's requests are left out."""


def number(value: float | None, digits: int = 3) -> str:
    """So many digits that count; a question mark for what nobody knows."""
    return UNKNOWN if value is None else rounded(value, digits)


def at(time_s: float) -> str:
    """Time of day, UTC."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%H:%M:%SZ")


def with_unit(value: float | None, unit: str) -> str:
    """The figure with the prefix that suits it: 42.1 W, 3.20 kW."""
    if value is None:
        return f"{UNKNOWN} {unit}"
    (text,), unit = scaled([value], unit)
    return f"{text} {unit}"


def watts(value: float | None) -> str:
    """Of power."""
    return with_unit(value, "W")


def energy(spent: SpentOut) -> str:
    """In kWh, or in Wh and less of little."""
    return with_unit(spent.energy_j / JOULES_PER_KWH * 1000, "Wh")


def grams(spent: SpentOut) -> str:
    """Of CO2e; that nobody knows the grid where so."""
    return "no CO2e known" if spent.grams is None else f"{with_unit(spent.grams, 'g')} CO2e"


def known(spent: SpentOut) -> str:
    """How the joules are known, the best first; what is nothing is left out."""
    shares = sorted(spent.shares.model_dump().items(), key=lambda one: ORDER[Quality(one[0])])
    return ", ".join(f"{percent(share)} {quality}" for quality, share in shares if share)


def grid(carbon: CarbonOut | None) -> str:
    """The intensity, with its kind; "" while nobody knows it."""
    if carbon is None:
        return ""
    stale = ", stale" if carbon.stale else ""
    zone = f" in {carbon.zone}" if carbon.zone else ""
    return f"{number(carbon.g_per_kwh)} g/kWh {carbon.kind}{zone}, {carbon.quality}{stale}"


def latency(window: WindowEvent) -> str:
    """Half, and all but one in a hundred, were answered within so many milliseconds."""
    told = window.requests.latency_ms
    return "" if told is None else f"p50 {number(told.p50)} ms  p99 {number(told.p99)} ms"


def degraded(window: WindowEvent) -> str:
    """Answers that were not as good as they could be, by reason; "" for none."""
    of = {reason: per_s for reason, per_s in window.requests.degraded_per_s.items() if per_s}
    return ", ".join(f"{number(per_s)}/s {reason.replace('_', ' ')}" for reason, per_s in sorted(of.items()))


def share_of(limit: LimitOut) -> float | None:
    """Spent of the limit, None where that is not known."""
    return None if limit.spend is None or not limit.limit else limit.spend / limit.limit


def mix(stage: MixOut) -> str:
    """What a stage's requests took."""
    usual = [action for action in stage.actions if action.share >= LEAST_SHARE]
    return "  ".join(
        f"{'skipped' if action.variant is None else f'{action.variant}@{action.items:,}'} {percent(action.share)}"
        for action in usual
    )


def savings(window: WindowEvent) -> Iterator[tuple[str, str]]:
    """A name and what is saved of it with its bounds, or why that is not known; nothing where nobody is held back."""
    told = window.savings
    if told is None:
        return
    if told.energy_j.relative is None and told.energy_j.total is None:
        yield "energy", told.energy_j.reason
        return
    yield "energy", _saved(told.energy_j)
    if told.co2e_g.relative is not None:
        yield "CO2e", _saved(told.co2e_g)
    reward = told.reward.relative
    if reward is not None:
        yield "reward", _bounds(BoundsOut(value=-reward.value, low=-reward.high, high=-reward.low), sign=True)


def _saved(saved: SavedLiveOut) -> str:
    return saved.reason if saved.relative is None else _bounds(saved.relative)


def _bounds(share: BoundsOut, sign: bool = False) -> str:
    plus = "+" if sign and share.value > 0 else ""
    return f"{plus}{percent(share.value)} ({percent(share.low)} to {percent(share.high)})"
