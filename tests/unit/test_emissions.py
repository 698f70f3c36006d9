"""Grams: PUE counts once, averages and marginals stay apart, and a sum is as well known as its worst part."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.emissions import Grams, Intensity, Kind, Pue, emitted, grams_per_joule
from allocator.joules import Quality

KWH_J = 3.6e6
GRID = Intensity(400.0, Kind.AVERAGE, Quality.MEASURED)


def test_a_kilowatt_hour_emits_the_grids_grams_times_pue() -> None:
    found = emitted(KWH_J, Quality.MEASURED, Pue(1.5, Quality.MEASURED), GRID)
    assert found == Grams(pytest.approx(600.0), Kind.AVERAGE, Quality.MEASURED)


def test_an_unset_pue_is_one_and_assumed() -> None:
    found = emitted(KWH_J, Quality.MEASURED, Pue(), GRID)
    assert (found.grams, found.quality) == (pytest.approx(400.0), Quality.ASSUMED)


@given(st.sampled_from(Quality), st.sampled_from(Quality), st.sampled_from(Quality))
def test_grams_are_as_well_known_as_the_worst_of_what_they_follow_from(
    joules: Quality, pue: Quality, grid: Quality
) -> None:
    order = list(Quality)
    found = emitted(1.0, joules, Pue(1.1, pue), Intensity(100.0, Kind.AVERAGE, grid))
    assert order.index(found.quality) == max(map(order.index, (joules, pue, grid)))


def test_grams_of_average_and_marginal_intensity_cannot_be_added() -> None:
    one = Grams(1.0, Kind.AVERAGE, Quality.MEASURED)
    assert one + Grams(2.0, Kind.AVERAGE, Quality.MODELLED) == Grams(3.0, Kind.AVERAGE, Quality.MODELLED)
    with pytest.raises(ValueError, match="average and of marginal"):
        one + Grams(2.0, Kind.MARGINAL, Quality.MEASURED)


def test_a_joules_grams_are_those_of_many_over_their_number() -> None:
    pue = Pue(1.2, Quality.MEASURED)
    assert grams_per_joule(pue, GRID) * KWH_J == pytest.approx(emitted(KWH_J, Quality.MEASURED, pue, GRID).grams)
