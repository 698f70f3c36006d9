"""allocator.pacing.saved: a forecast goes on as if it had never stopped, and what is none is refused."""

import io

import numpy as np
import pytest
from pacing_day import DAY_S, MINUTE_S, MONDAY_S, learned, usual_load

from allocator.pacing.forecast import LoadForecast
from allocator.pacing.profile import Learning
from allocator.pacing.saved import dumped, restored

FORECAST = LoadForecast()
LEARNED = learned([usual_load(), usual_load()])


def test_what_is_restored_goes_on_alike() -> None:
    one, other = LEARNED, restored(FORECAST, dumped(LEARNED))
    for minute in range(1, 40):
        one, other = (FORECAST.seen(of, MONDAY_S + minute * MINUTE_S, MINUTE_S, 900.0) for of in (one, other))
    ahead = [FORECAST.ahead(of, MONDAY_S + 40 * MINUTE_S, MONDAY_S + DAY_S, 900.0) for of in (one, other)]
    np.testing.assert_array_equal(*ahead)
    assert dumped(one) == dumped(other)


def test_nothing_learned_can_be_saved_as_well() -> None:
    again = restored(FORECAST, dumped(FORECAST.init()))
    assert again.number is None
    assert FORECAST.seen(again, MONDAY_S, 1.0, 5.0).levels == FORECAST.seen(FORECAST.init(), MONDAY_S, 1.0, 5.0).levels


@pytest.mark.parametrize("data", [b"", b"no archive", dumped(LEARNED)[:200], dumped(LEARNED)[:-30]])
def test_bytes_that_are_no_saved_forecast_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="saved forecast of load: cannot be read"):
        restored(FORECAST, data)


def changed(**arrays: np.ndarray) -> bytes:
    with np.load(io.BytesIO(dumped(LEARNED))) as file:
        found = {name: file[name] for name in file.files}
    sink = io.BytesIO()
    np.savez(sink, **{**found, **arrays})
    return sink.getvalue()


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"format": np.array(99)}, "of format 99"),
        ({"week": np.zeros((2, 5))}, "of other bins than 96 a day"),
        ({"figures": np.zeros(3)}, "of other bins than 96 a day"),
        ({"day": np.full((2, 96), np.nan)}, "no rates"),
        ({"day": np.full((2, 96), -1.0)}, "no rates"),
        ({"figures": np.full(10, np.nan)}, "no rates"),
        ({"figures": np.array([np.inf, *np.zeros(9)])}, "no rates"),
    ],
)
def test_a_saved_forecast_that_makes_no_sense_is_refused(arrays: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        restored(FORECAST, changed(**arrays))


def test_one_of_other_bins_is_refused() -> None:
    with pytest.raises(ValueError, match="of other bins than 24 a day"):
        restored(LoadForecast(learning=Learning(bin_s=3600.0)), dumped(LEARNED))
