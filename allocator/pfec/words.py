"""Figures and findings in words. Nothing is called a gain whose interval holds zero."""

from collections.abc import Iterator

from allocator.pfec.methods import EQUAL, GREENFLOW
from allocator.pfec.report import EqualReward, Report
from allocator.pfec.resample import Interval

NONE = "–"


def mega(flops: float) -> str:
    """FLOPs in MFLOPs, three digits."""
    value = flops / 1e6
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def giga(flops: float) -> str:
    """FLOPs in GFLOPs, three digits."""
    return f"{flops / 1e9:.3g}"


def percent(share: float, digits: int = 1) -> str:
    """A share as percent."""
    text = f"{100 * share:.{digits}f}"
    return f"{text.removeprefix('-') if float(text) == 0 else text}%".replace("-", "−")


def interval_text(figure: Interval, signed: bool = True, digits: int = 3) -> str:
    """`+0.063 (+0.041 to +0.084)`; a dash where there is no figure."""
    if figure.value is None:
        return NONE
    low, value, high = (_number(x, signed, digits) for x in (figure.low, figure.value, figure.high))
    return f"{value} ({low} to {high})"


def percent_interval(figure: Interval) -> str:
    """`41.2% (38.0% to 44.1%)`; a dash where there is no figure, an open end where there is no number."""
    if figure.value is None:
        return NONE
    low, high = ("…" if x is None else percent(x) for x in (figure.low, figure.high))
    return f"{percent(figure.value)} ({low} to {high})"


def headlines(report: Report) -> Iterator[str]:
    """What was found, in a few sentences."""
    yield _at_equal_reward(report)
    yield _against_equal(report)
    own = [point.gap_share for point in report.method(GREENFLOW).points]
    shares = [share.value for share in own if share.value is not None]
    if shares:
        least, most = percent(min(shares), 0), percent(max(shares), 0)
        yield f"Of the gap between EQUAL and the oracle, GreenFlow closes {least} to {most}, depending on the budget."
    else:
        yield "EQUAL earns what the oracle earns: there is nothing to gain from telling requests apart."
    quality = report.assumptions.quality
    yield f"No energy was measured: joules are {quality}, grams assumed. How, is said below."


def _at_equal_reward(report: Report) -> str:
    full, less = (_needs(report, GREENFLOW, share) for share in (1.0, 0.99))
    saving = full.saving
    if saving.value is not None and saving.value > 0:
        sure = "" if saving.low is not None and saving.low > 0 else " That is not certain."
        others = _needs(report, EQUAL, 1.0).saving
        equal = "does so at no budget" if others.value is None else f"with {percent_interval(others)}"
        return (
            f"GreenFlow earns what the static chain earns with {percent_interval(saving)} less computation; "
            f"EQUAL {equal}.{sure}"
        )
    text = "GreenFlow does not earn the static chain's whole reward at any budget"
    if full.reached > 0:
        text += f", or in {percent(full.reached, 0)} of the draws only"
    if less.saving.value is None:
        return f"{text}."
    fixed = percent_interval(_needs(report, EQUAL, 0.99).saving)
    return f"{text}. For 99% of it, it needs {percent_interval(less.saving)} less computation; EQUAL {fixed}."


def _needs(report: Report, name: str, share: float) -> EqualReward:
    return next(one for one in report.equal_reward if (one.name, one.share_of_static) == (name, share))


def _against_equal(report: Report) -> str:
    gains = [point.over_equal for point in report.method(GREENFLOW).points]
    more = sum(1 for gain in gains if gain.clear and (gain.low or 0.0) > 0)
    fewer = sum(1 for gain in gains if gain.clear and (gain.high or 0.0) < 0)
    rest = len(gains) - more - fewer
    text = f"At equal computation GreenFlow earns more than EQUAL at {more} of {len(gains)} budgets, less at {fewer}"
    return f"{text}; at the other {rest} the interval of the difference holds zero." if rest else f"{text}."


def _number(value: float | None, signed: bool, digits: int) -> str:
    if value is None:
        return "…"
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    return (f"{0:.{digits}f}" if float(text) == 0 else text).replace("-", "−")
