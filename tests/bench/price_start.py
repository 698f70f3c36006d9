"""A controller from its first window on: what the first windows spend, and what that costs a whole stream."""

from collections.abc import Callable
from typing import Any

import numpy as np
from price_cold import control_of, play
from price_report import Interval
from price_stream import Stream, bound_of
from rich.table import Table

from allocator.price.start import Start

WINDOWS, FIRST = 100, 5
STARTS: dict[str, Callable[[float], float | None]] = {
    "zero": lambda _: None,
    "rate unknown": lambda _: np.inf,
    "rate expected": lambda rate: rate,
    "half the rate expected": lambda rate: rate / 2,
    "twice the rate expected": lambda rate: rate * 2,
}
Found = dict[str, dict[str, list[float]]]


def cold_starts(streams: Callable[[int], Stream], seeds: int, say: Callable[[str], None]) -> Found:
    """By start and by when traffic begins: spend over the limit of the first windows, reward over the bound of the
    stream, spend over its quota less 1. Prices start from the stream's history, which none of its requests is part of.
    """
    found: Found = {}
    for seed in range(seeds):
        say(f"cold starts, seed {seed + 1} of {seeds}")
        stream = streams(seed)
        bound, rate = bound_of(stream), len(stream.rewards) / WINDOWS
        for begins in ("with a window", "amid a window"):
            for name, expected in STARTS.items():
                values = found.setdefault(f"{name}, {begins}", {})
                for key, value in _played(stream, bound, expected(rate), whole=begins == "with a window").items():
                    values.setdefault(key, []).append(value)
    return found


def _played(stream: Stream, bound: float, expected: float | None, *, whole: bool) -> dict[str, float]:
    """One stream; where traffic begins amid a window, the first one has half as many requests as the others."""
    limit = stream.quota / WINDOWS
    start = None if expected is None else Start(stream.history[:1024], expected)
    size = len(stream.rewards) // WINDOWS
    first = size if whole else size // 2
    windows = [stream.rewards[:first], *np.array_split(stream.rewards[first:], WINDOWS - 1)]
    played = play(control_of(stream.cost, limit, start), windows, stream.quota)
    values = {f"window {n + 1}": float(played.relative[n]) for n in range(FIRST)}
    over = np.maximum(played.relative[:FIRST] - 1, 0).sum()
    return {
        **values,
        "overspent": float(over),
        "reward": played.reward / bound,
        "excess": played.spend / stream.quota - 1,
    }


def cold_table(found: Found) -> Table:
    """A row per start."""
    table = Table(title="Cold starts: spend of the first windows over the limit, %", title_justify="left")
    table.add_column("prices start from, traffic begins")
    names = (*(f"window {n + 1}" for n in range(FIRST)), "overspent, windows", "reward/bound %", "spend - quota %")
    for name in names:
        table.add_column(name, justify="right")
    for start, values in found.items():
        windows = [Interval.of(values[f"window {n + 1}"]).text(1) for n in range(FIRST)]
        ends = [Interval.of(values[key]).text(2) for key in ("reward", "excess")]
        table.add_row(start, *windows, Interval.of(values["overspent"]).text(2, scale=1.0), *ends)
    return table


def as_json(found: Found) -> dict[str, Any]:
    """The same for a machine."""
    return {start: {key: Interval.of(v).plain() for key, v in values.items()} for start, values in found.items()}
