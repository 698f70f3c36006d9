"""cluster.carbon.file and series: a CSV of intensities, step by step."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.emissions import Kind
from allocator.joules import Quality
from cluster.carbon.base import Span
from cluster.carbon.file import FileCarbon, read_series
from cluster.carbon.series import Series
from models.errors import FixFile

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC).timestamp()
GOOD = "time,g_per_kwh,quality\n2026-11-24T12:00Z,182,measured\n2026-11-24T12:30Z,175.5,modelled\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "grid.csv"
    path.write_text(GOOD)
    return path


def test_each_figure_holds_until_the_next(file: Path) -> None:
    carbon = FileCarbon(file, Kind.MARGINAL, "DE", stale_s=600)
    first, second = carbon.now(NOON + 1799), carbon.now(NOON + 1800)
    assert first is not None
    assert second is not None
    assert (first.g_per_kwh, first.quality, first.at_s) == (182, Quality.MEASURED, NOON)
    assert (second.g_per_kwh, second.quality, second.at_s) == (175.5, Quality.MODELLED, NOON + 1800)
    assert (first.kind, first.zone, first.source) == (Kind.MARGINAL, "DE", "file grid.csv")


def test_before_the_first_figure_nothing_is_known(file: Path) -> None:
    assert FileCarbon(file).now(NOON - 1) is None


def test_the_last_figure_holds_as_long_as_the_one_before_and_then_ages_and_turns_stale(file: Path) -> None:
    carbon = FileCarbon(file, stale_s=600)
    held, aged, stale = (carbon.now(NOON + after) for after in (3599, 3600 + 600, 3600 + 601))
    assert held is not None
    assert aged is not None
    assert stale is not None
    assert (held.age_s, held.stale, held.quality) == (0, False, Quality.MODELLED)
    assert (aged.age_s, aged.stale, aged.quality) == (600, False, Quality.MODELLED)
    assert (stale.age_s, stale.stale, stale.quality) == (601, True, Quality.ASSUMED)
    assert stale.g_per_kwh == 175.5


def test_times_may_be_unix_seconds_or_iso_with_any_zone(tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    path.write_text(f"\ufeffg_per_kwh,time\n1,{NOON}\n\n2,2026-11-24T13:30:00+01:00\n", encoding="utf-8")
    assert [(span.from_s, span.g_per_kwh) for span in read_series(path).spans] == [(NOON, 1), (NOON + 1800, 2)]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "line 1: the columns must be time,g_per_kwh"),
        ("time,g\n", "line 1"),
        ("time,g_per_kwh,g_per_kwh\n", "line 1"),
        (GOOD + "2026-11-24T13:00Z,170\n", "line 4: expected 3 columns, got 2"),
        (GOOD + "2026-11-24T12:30Z,170,measured\n", "line 4, column time: times must ascend"),
        (GOOD + "2026-11-24 13:00,170,measured\n", "line 4, column time: '2026-11-24 13:00' has no time zone"),
        (GOOD + "noon,170,measured\n", "line 4, column time: expected Unix seconds or ISO 8601"),
        (GOOD + "1763985600000,170,measured\n", "line 4, column time: expected Unix seconds"),
        (GOOD + "nan,170,measured\n", "line 4, column time"),
        (GOOD + "2026-11-24T13:00Z,-1,measured\n", "line 4, column g_per_kwh"),
        (GOOD + "2026-11-24T13:00Z,nan,measured\n", "line 4, column g_per_kwh"),
        (GOOD + "2026-11-24T13:00Z,a lot,measured\n", "line 4, column g_per_kwh: .*'a lot'"),
        (GOOD + "2026-11-24T13:00Z,170,good\n", "line 4, column quality: expected one of measured, modelled, assumed"),
        ("time,g_per_kwh\n2026-11-24T12:00Z,182\n", "1 figures are no series"),
    ],
)
def test_a_bad_line_is_refused_by_line_and_column(file: Path, text: str, named: str) -> None:
    file.write_text(text)
    with pytest.raises(FixFile, match=named) as refused:
        FileCarbon(file)
    assert refused.value.file == str(file)


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FixFile, match="cannot be read: No such file"):
        FileCarbon(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"time,g_per_kwh\n\xff\xfe")
    with pytest.raises(FixFile, match="no CSV file in UTF-8"):
        FileCarbon(tmp_path / "bytes.csv")


def rewrite(file: Path, text: str) -> None:
    file.write_text(text)
    os.utime(file, ns=(1, file.stat().st_mtime_ns + 1_000_000_000))


def test_a_file_that_changes_is_read_again_and_a_bad_one_leaves_what_was_known(file: Path) -> None:
    carbon = FileCarbon(file)
    rewrite(file, GOOD.replace("182", "99"))
    assert carbon.now(NOON).g_per_kwh == 182  # type: ignore[union-attr]
    asyncio.run(carbon.refresh())
    assert carbon.now(NOON).g_per_kwh == 99  # type: ignore[union-attr]
    rewrite(file, "nonsense")
    asyncio.run(carbon.refresh())
    assert "line 1" in (carbon.problem or "")
    assert carbon.now(NOON).g_per_kwh == 99  # type: ignore[union-attr]
    file.unlink()
    asyncio.run(carbon.refresh())
    assert "cannot be read" in (carbon.problem or "")
    rewrite_back = GOOD.replace("182", "77")
    file.write_text(rewrite_back)
    asyncio.run(carbon.refresh())
    assert carbon.problem is None
    assert carbon.now(NOON).g_per_kwh == 77  # type: ignore[union-attr]


spans = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 20), st.integers(0, 9)).map(
        lambda t: Span(float(t[0]), float(t[0] + t[1]), float(t[2]), Quality.MEASURED)
    ),
    max_size=12,
)


@given(spans, st.floats(0, 80), st.floats(0.1, 40))
def test_a_series_has_one_figure_at_a_time_that_of_the_newest_span_and_covers_nothing_else(
    given: list[Span], at: float, length: float
) -> None:
    series = Series.of(given)
    begun = [span for span in given if span.from_s <= at]
    newest = max(begun, key=lambda span: span.from_s, default=None)
    found = series.at(at)
    if newest is None:
        assert found is None
        assert series.last_before(at) is None
    else:
        last = [span for span in given if span.from_s == newest.from_s][-1]
        assert (found.g_per_kwh if found else None) == (last.g_per_kwh if at < last.to_s else None)
    for span in series.between(at, at + length):
        middle = series.at((span.from_s + span.to_s) / 2)
        assert middle is not None
        assert middle.g_per_kwh == span.g_per_kwh
        assert at <= span.from_s < span.to_s <= at + length
