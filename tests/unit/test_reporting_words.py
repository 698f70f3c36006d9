"""Figures in words."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.reporting.model import Known
from cluster.reporting.words import count, duration, known, number, percent, short_id


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.00001234, "0.0000123"),
        (0.72, "0.720"),
        (1.0, "1.00"),
        (0.9996, "1.00"),
        (12.345, "12.3"),
        (123_456.7, "123,457"),
        (-1.5, "−1.50"),
    ],
)
def test_a_number_shows_three_digits_that_count_and_no_exponent(value: float | None, text: str) -> None:
    assert number(value) == text


@given(st.floats(1e-9, 1e12))
def test_a_number_that_is_told_is_nearly_the_number(value: float) -> None:
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=0.006)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (99_999, "99,999"), (100_000, "100k"), (999_999, "1.00M"), (6_174_709_072, "6.17G")],
)
def test_many_things_are_told_in_short(value: int | None, text: str) -> None:
    assert count(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0%"), (1, "100%"), (0.123, "12.3%"), (1e-9, "<0.1%"), (0.99999, ">99.9%"), (-0.02, "−2.0%")],
)
def test_a_share_is_never_all_or_nothing_unless_it_is(share: float, text: str) -> None:
    assert percent(share) == text


def test_only_what_there_is_of_a_quality_is_told() -> None:
    assert known(Known(measured=0.75, modelled=0.0, assumed=0.25)) == "75.0% measured, 25.0% assumed"
    assert known(Known(measured=0.0, modelled=0.0, assumed=0.0)) == "–"


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5.00 s"), (90, "1.50 min"), (7200, "2.00 h"), (30 * 86_400, "30.0 days")]
)
def test_a_time_has_the_unit_that_suits_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_only_ids_that_ray_made_up_are_shortened() -> None:
    assert short_id("0a1b2c3d" * 7) == "0a1b2c3d"
    assert short_id("a-host-with-a-name-longer-than-any-id-of-ray") == "a-host-with-a-name-longer-than-any-id-of-ray"


def test_what_is_no_number_is_told_as_such() -> None:
    assert number(math.inf) == "inf"
