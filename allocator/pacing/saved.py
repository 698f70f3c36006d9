"""What a forecast has learned, as bytes, so that a controller that starts anew knows the week already."""

import io
import zipfile
from math import isfinite, isinf, isnan, nan

import numpy as np

from allocator.pacing.forecast import LoadForecast, LoadState
from allocator.pacing.profile import Profile

FORMAT = 1


def dumped(state: LoadState) -> bytes:
    """The state, about 13 kB."""
    number = nan if state.number is None else state.number
    pairs = (state.profile.flat, state.running, *state.levels)
    figures = np.array([number, state.last_s, *(figure for pair in pairs for figure in pair)])
    sink = io.BytesIO()
    arrays = {"day": state.profile.day, "week": state.profile.week, "figures": figures}
    np.savez(sink, allow_pickle=False, format=np.array(FORMAT), **arrays)
    return sink.getvalue()


def restored(forecast: LoadForecast, data: bytes) -> LoadState:
    """What `dumped` was given.

    Raises ValueError saying why, when it is of another format or of bins of another length: begin anew then.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            found = {name: file[name] for name in ("format", "day", "week", "figures")}
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"saved forecast of load: cannot be read: {error}") from None
    if found["format"] != FORMAT:
        raise ValueError(f"saved forecast of load: of format {found['format']}, not {FORMAT}")
    day, week, figures = found["day"], found["week"], found["figures"]
    count = forecast.learning.per_day
    if (day.shape, week.shape, figures.shape) != ((2, count), (2, 7 * count), (10,)):
        raise ValueError(f"saved forecast of load: of other bins than {count} a day")
    number, last_s, *rest = figures.tolist()
    sound = not isinf(number) and isfinite(last_s)
    if not sound or not all(np.isfinite(part).all() and (part >= 0).all() for part in (day, week, np.array(rest))):
        raise ValueError("saved forecast of load: with figures that are no rates")
    flat, running, quick, slow = zip(rest[::2], rest[1::2], strict=True)
    began = None if isnan(number) else int(number)
    return LoadState(Profile(day, week, flat), began, running, (quick, slow), last_s)
