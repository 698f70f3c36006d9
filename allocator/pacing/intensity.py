"""What a joule will cost in grams, step by step, from whoever knows it best."""

from collections.abc import Sequence

import numpy as np

from allocator.choice import Floats


def filled(known: Sequence[float | None], now: float, usual: Floats | None = None) -> Floats:
    """A grid's intensity in each of K steps, (K,), in the unit of what is given.

    known  what its source forecasts, None for steps of which it says nothing
    now    the intensity at present: it is taken to last where nothing better is known
    usual  (K,) a forecast of our own, such as a `LoadForecast` of past intensities: comes before `now`
    """
    fallback = np.full(len(known), now) if usual is None else usual
    return np.array([mine if theirs is None else theirs for theirs, mine in zip(known, fallback, strict=True)], float)
