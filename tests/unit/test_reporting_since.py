"""Points in time, as people name them."""

import pytest

from cluster.reporting.since import iso, moment, seconds
from models.errors import FixRequest

NOW_S = 1_764_028_800.0  # 2025-11-25T00:00Z


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("24h", "2025-11-24T00:00Z"),
        ("7d", "2025-11-18T00:00Z"),
        (" 4w ", "2025-10-28T00:00Z"),
        ("2025-11-24", "2025-11-24T00:00Z"),
        ("2025-11-24T08:30", "2025-11-24T08:30Z"),
        ("2025-11-24T08:30Z", "2025-11-24T08:30Z"),
        ("2025-11-24T08:30+02:00", "2025-11-24T06:30Z"),
        ("99999w", "1970-01-01T00:00Z"),
        ("0001-01-01T00:00+14:00", "1970-01-01T00:00Z"),
    ],
)
def test_a_moment_is_a_date_a_time_or_a_span_back(text: str, told: str) -> None:
    assert iso(moment(text, "since", NOW_S)) == told


@pytest.mark.parametrize("text", ["", "yesterday", "7", "d", "-7d", "7 days", "2025-13-01", "1.5h", "999999999999d"])
def test_what_is_no_moment_is_refused_with_examples(text: str) -> None:
    with pytest.raises(FixRequest, match=r"until: .* is no time: give one such as .*24h, 7d, 4w"):
        moment(text, "until", NOW_S)


def test_what_is_told_can_be_read_again() -> None:
    assert seconds(iso(NOW_S)) == NOW_S
