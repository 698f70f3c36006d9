"""What lies ahead, step by step, as plans need it: from the spans that a source holds, at once."""

import numpy as np

from allocator.choice import Floats
from allocator.pacing.periods import step_edges
from cluster.carbon.base import CarbonProvider


def steps_ahead(provider: CarbonProvider, from_s: float, until_s: float, step_s: float) -> tuple[float | None, ...]:
    """Mean grams per kilowatt-hour of each step from then until then, as far as the source knows it. Never waits.

    K steps as in `allocator.pacing.periods.step_edges`, the last as short as it must be. The mean is over the part of a
    step that is known; None where none of it is. What to take instead is for the caller to say.
    """
    edges = step_edges(from_s, until_s, step_s)
    spans = provider.ahead(from_s, until_s) if len(edges) > 1 else ()
    if not spans:
        return (None,) * (len(edges) - 1)
    begins, ends = np.array([span.from_s for span in spans]), np.array([span.to_s for span in spans])
    figures = np.array([span.g_per_kwh for span in spans])
    at = np.stack([begins, ends], axis=1).ravel()
    lengths = ends - begins
    known_s = np.diff(_total(edges, at, lengths))
    sums = np.diff(_total(edges, at, lengths * figures))
    return tuple(float(s / k) if k > 0 else None for s, k in zip(sums, known_s, strict=True))


def _total(edges: Floats, at: Floats, amounts: Floats) -> Floats:
    """The running total at the edges of amounts that accrue evenly between pairs of times, and not between pairs."""
    after = np.cumsum(amounts)
    total: Floats = np.interp(edges, at, np.stack([after - amounts, after], axis=1).ravel())
    return total
