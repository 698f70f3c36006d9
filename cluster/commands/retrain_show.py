"""What `greenflow train-reward --log` says to people."""

from datetime import UTC, datetime

from rich import box
from rich.console import Console
from rich.table import Table

from allocator.ope.evaluation import Evaluation, Figure, Worth
from cluster.candidate import Candidate, Span
from cluster.commands.retrain_rows import OTHERS, Evidence

NAMES = {
    "dr": "doubly robust",
    "kinds_cautious": "by kinds, current model",
    "kinds": "by kinds, its own model",
    "snips": "self-normalised inverse propensities",
    "ips": "inverse propensities",
}


def show(console: Console, candidate: Candidate, seen: Evidence) -> None:
    """Print what it was trained on and how it was judged, and in the last line what to think of it."""
    found = candidate.evaluation
    for name, span in (("learned from", candidate.trained), ("judged on", candidate.held)):
        console.print(f"{name} {_span(span)}", highlight=False)
    console.print(horizon_said(seen.horizon_s, seen.horizons_s), highlight=False)
    if seen.missed:
        console.print(
            f"{seen.missed:,} more are from before the first policy that was logged: left out", highlight=False
        )
    if seen.others:
        console.print(f"{seen.others:,} more are {OTHERS}", highlight=False)
    console.print(_worths(found))
    console.print(_support(found))
    console.print(_error(found), highlight=False)
    colour = {"better": "green", "worse": "red"}.get(found.verdict, "yellow")
    console.print(f"[{colour}]The candidate is {found.verdict}[/{colour}]: {found.reason}.", highlight=False)


def horizon_said(horizon_s: float, horizons_s: tuple[float, ...]) -> str:
    """How long after a request its reward counts, and why where the log was written with several horizons."""
    counts = f"a reward counts within {horizon_s:g} s of its request"
    if len(horizons_s) < 2:
        return counts
    several = " and ".join(f"{one:g} s" for one in horizons_s)
    return f"{counts}: feedback.horizon_s was {several}, and the log has all rewards for the shortest only"


def _worths(found: Evaluation) -> Table:
    headers = ("a request", "current", "candidate", "candidate - current, 95%")
    table = Table(*headers, box=box.SIMPLE_HEAD, title=f"{found.requests:,} later requests of {found.users:,} users")
    columns: tuple[Worth, ...] = (found.current, found.candidate, found.difference)
    for what, part in (("reward", "reward"), ("reward less its price", "net")):
        for key, name in NAMES.items():
            current, candidate, difference = (getattr(worth, part)[key] for worth in columns)
            table.add_row(f"{what}, {name}", _value(current), _value(candidate), _interval(difference))
    flops = [worth.flops for worth in columns]
    share = flops[2] / max(flops[0], 1e-12)
    table.add_row("FLOPs", f"{flops[0]:,.0f}", f"{flops[1]:,.0f}", f"{share:+.1%}")
    return table


def _support(found: Evaluation) -> Table:
    headers = ("policy", "mean weight, 1 but for chance", "worth so many requests", "weights cut")
    table = Table(
        *headers, box=box.SIMPLE_HEAD, title=f"both take the same chain for {found.agree:.1%} of the requests"
    )
    for name, policy in (("current", found.current), ("candidate", found.candidate)):
        cut = "none" if found.most_weight is None else f"{policy.clipped:.2%} to {found.most_weight:g}"
        for by, mean, size in (
            ("chains", policy.mean_weight, policy.effective_size),
            ("kinds", policy.mean_kind_weight, policy.effective_kind_size),
        ):
            table.add_row(f"{name}, by {by}", f"{_value(mean)} ({_ends(mean)})", f"{size:,.0f}", cut)
    return table


def _error(found: Evaluation) -> str:
    error = found.error
    if error.value is None or error.low is None or error.high is None:
        return "how well either predicts cannot be told"
    span = f"{error.low:+.2%} to {error.high:+.2%}"
    return f"its squared error on what the executed chains earned is lower by {error.value:+.2%} (95%: {span})"


def _value(figure: Figure) -> str:
    return "unknown" if figure.value is None else f"{figure.value:.4f}"


def _interval(figure: Figure) -> str:
    if figure.value is None:
        return "unknown"
    mark = " *" if figure.sign else ""
    return f"{figure.value:+.4f} ({_ends(figure)}){mark}"


def _ends(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return "no bounds"
    return f"{figure.low:+.4f} to {figure.high:+.4f}"


def _span(span: Span) -> str:
    start, end = (datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S") for at_s in (span.from_s, span.to_s))
    explored = f"{span.explored:,} of them explored"
    return f"{span.requests:,} requests of {span.users:,} users, {explored}, {start} to {end} UTC"
