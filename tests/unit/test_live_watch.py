"""Notes of the live page: what they say, when they begin, and that they end."""

from collections import deque
from dataclasses import replace
from typing import Any

import pytest
from ledger_windows import device, window
from live_moments import moment, standing

from allocator.joules import DeviceJoules, Quality
from allocator.request_joules import Rates
from cluster.accountant import Closed
from cluster.live.notes import drift_note, stale_note
from cluster.live.schemas import NoteOut
from cluster.live.watch import EXCEEDED_WINDOWS, LOST_S, Watch
from cluster.power.base import Refusal

RAPL = Refusal("rapl", "package-0", "permission denied", "run `greenflow doctor`")
NVML = Refusal("nvml", "", "no driver", "install it")
ESTIMATED = replace(device(5.0, "host-a/host", quality=Quality.MODELLED), source="estimate")


def closed(*devices: DeviceJoules, refusals: tuple[Refusal, ...] = (), ledger_error: str | None = None) -> Closed:
    rates = Rates({}, None, Quality.ASSUMED, Quality.ASSUMED)
    return Closed(1000.0, devices, refusals, rates, ledger_error, account=window(1, devices=devices))


class Watched:
    """Windows that pass, and the notes after each."""

    def __init__(self) -> None:
        self.watch, self.recent, self.time_s = Watch(), deque[Any](maxlen=10), 1000.0

    def codes(self, books: Closed | None = None, seconds: float = 1.0, **changes: Any) -> list[str]:
        self.time_s += seconds
        self.recent.append(moment(self.time_s, **changes))
        self.watch.see(self.recent[-1], books)
        self.notes = self.watch.notes(self.recent, books)
        for note in self.notes:
            NoteOut.model_validate(note)
        return [note["code"] for note in self.notes]


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_all_is_well(watched: Watched) -> None:
    assert watched.codes(closed(device(10.0), refusals=(NVML,))) == []
    assert watched.codes() == []


def test_a_meter_that_is_lost_is_named_with_its_remedy_until_it_is_back_or_taken_away(watched: Watched) -> None:
    both = (device(10.0, "host-a/package-0"), device(4.0, "GPU-1", pool="GPU-1"))
    assert watched.codes(closed(*both)) == []
    half = closed(ESTIMATED, both[1], refusals=(NVML, RAPL))
    assert watched.codes(half) == ["estimated"], "it may only be late"
    assert watched.codes(half, seconds=LOST_S[0]) == ["sensor_lost"]
    assert watched.notes[0]["level"] == "error"
    assert "host-a/package-0" in watched.notes[0]["text"]
    assert "permission denied" in watched.notes[0]["text"]
    assert watched.codes(closed(*both)) == []
    watched.codes(half, seconds=LOST_S[0] + 1)
    assert watched.codes(half, seconds=LOST_S[1]) == ["estimated"]


def test_a_counter_that_stands_still_is_lost_too(watched: Watched) -> None:
    gpu = device(4.0, "GPU-1", pool="GPU-1")
    assert watched.codes(closed(gpu)) == []
    assert watched.codes(closed(replace(gpu, fresh=False)), seconds=LOST_S[0] + 1) == ["sensor_lost"]


def test_books_that_are_late_do_not_make_a_meter_a_lost_one(watched: Watched) -> None:
    books = closed(device(10.0))
    assert watched.codes(books) == []
    assert watched.codes(seconds=LOST_S[0] + 1) == []
    assert watched.codes(books) == []


def test_an_estimate_is_said_to_be_one_with_what_would_be_better(watched: Watched) -> None:
    assert watched.codes(closed(ESTIMATED, refusals=(NVML, RAPL))) == ["estimated"]
    assert watched.notes[0]["level"] == "info"
    assert RAPL.remedy in watched.notes[0]["text"], "of processors, which every machine has"


def test_a_ledger_that_cannot_be_written_comes_first(watched: Watched) -> None:
    books = closed(ESTIMATED, ledger_error="FixSetup: the disk is full")
    assert watched.codes(books, standings=(standing(reachable=False),)) == ["ledger", "limit_unreachable", "estimated"]
    assert "the disk is full" in watched.notes[0]["text"]


def test_a_limit_that_cannot_be_held_is_said_at_once_and_one_that_is_exceeded_after_some_windows(
    watched: Watched,
) -> None:
    assert watched.codes(standings=(standing(reachable=False, spend=120.0),)) == ["limit_unreachable"]
    above = (standing(spend=120.0),)
    watched.codes()
    codes = [watched.codes(standings=above) for _ in range(EXCEEDED_WINDOWS)]
    assert codes == [[]] * (EXCEEDED_WINDOWS - 1) + [["limit_exceeded"]]
    assert "100 W" in watched.notes[0]["text"]
    assert watched.codes() == []
    assert watched.codes(standings=above) == [], "they are counted in a row"


def test_what_has_no_limit_exceeds_none(watched: Watched) -> None:
    free = (standing(name="flops", limit=float("inf"), spend=1e12, reachable=True),)
    assert [watched.codes(standings=free) for _ in range(2 * EXCEEDED_WINDOWS)] == [[]] * (2 * EXCEEDED_WINDOWS)


def test_degraded_requests_are_said_while_they_are_more_than_a_few(watched: Watched) -> None:
    assert watched.codes(requests_per_s=1000.0, degraded_per_s={"undecided": 5.0}) == []
    assert watched.codes(requests_per_s=1000.0, degraded_per_s={"undecided": 100.0, "queue_full": 1.0}) == ["degraded"]
    assert "queue_full, undecided" in watched.notes[0]["text"]
    assert [watched.codes(requests_per_s=1000.0) for _ in range(10)][-1] == []


def test_nobody_answered_at_all_is_degraded_too(watched: Watched) -> None:
    assert watched.codes(requests_per_s=0.0, degraded_per_s={"no_variant": 3.0}) == ["degraded"]


@pytest.mark.parametrize(("side", "word"), [("low", "less"), ("high", "more")])
def test_drift_is_said_while_there_is_an_alarm(side: str, word: str) -> None:
    drift = {"alarm": {"side": side, "time_s": 1.0}, "ratio": 0.5}
    (note,) = drift_note({"reward": {"drift": drift}})
    assert (note["code"], note["level"]) == ("drift", "warning")
    assert word in note["text"]
    assert drift_note({"reward": {"drift": {"alarm": None, "ratio": 1.0}}}) == []
    assert drift_note({"reward": {"drift": None}}) == []


def test_a_stale_policy_is_said_with_its_age() -> None:
    note = stale_note(12.3)
    assert (note["code"], note["level"]) == ("stale", "error")
    assert "12 s" in note["text"]
