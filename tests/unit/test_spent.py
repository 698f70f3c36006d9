"""What quotas have spent: every window once, wherever it is written, and the ledger asked again until it answers."""

import asyncio
from collections.abc import Callable
from itertools import accumulate
from math import inf
from pathlib import Path

import pytest
from fake_time import FakeTime
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from ledger_windows import MIDNIGHT_S, device, window

from cluster.counting import COUNT_S, keep_counted, ledgered
from cluster.ledger.store import Ledger
from cluster.spending import Billed, Total
from cluster.spent import KEPT_S, MOST_PENDING, Ledgered, Spent
from models.errors import TryAgain

HOUR_S = 3600.0


def billed(end_s: float, joules: float, window_s: float = 1.0) -> Billed:
    return Billed(end_s - window_s, end_s, Total(joules, joules / 10))


def had(windows: list[Billed]) -> Ledgered:
    """What a ledger has that was written these windows."""
    hours: dict[float, Total] = {}
    for one in windows:
        hour_s = one.began_s // HOUR_S * HOUR_S
        hours[hour_s] = hours.get(hour_s, Total()) + one.total
    return Ledgered(max((one.end_s for one in windows), default=0.0), hours)


@examples(max_examples=200, deadline=None)
@given(
    lengths=st.lists(st.floats(1.0, 2000.0), min_size=1, max_size=40),
    before=st.integers(0, 40),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=60),
)
def test_every_window_is_counted_once_whenever_it_is_told_written_and_read(
    lengths: list[float], before: int, steps: list[tuple[bool, int]]
) -> None:
    """Windows before the controller began are in the ledger alone; a step tells some windows, or reads the ledger
    when it has got that many more."""
    ends = list(accumulate(lengths, initial=float(MIDNIGHT_S)))[1:]
    windows = [billed(end_s, 2.0**at % 1009, lengths[at]) for at, end_s in enumerate(ends)]
    began = written = told = min(before, len(windows))
    spent, read = Spent(), False
    for reads, many in steps:
        if reads:
            written = min(written + many, len(windows))
            spent, read = spent.told(had(windows[:written])), True
        else:
            for one in windows[told : told + many]:
                spent = spent.seen(one)
            told = min(told + many, len(windows))
        known = windows[: max(told, written)] if read else windows[began:told]
        for start_s in (MIDNIGHT_S, MIDNIGHT_S + HOUR_S, MIDNIGHT_S + 2 * HOUR_S):
            joules = sum(one.total.joules for one in known if one.began_s >= start_s)
            assert spent.within(start_s, inf).joules == pytest.approx(joules)
            assert spent.within(start_s, inf).grams == pytest.approx(joules / 10)


def test_without_a_ledger_only_what_was_counted_from_its_beginning_is_known() -> None:
    spent = Spent()
    assert not spent.knows(MIDNIGHT_S)
    spent = spent.seen(billed(MIDNIGHT_S + HOUR_S, 1.0))
    assert not spent.knows(MIDNIGHT_S)
    assert spent.knows(MIDNIGHT_S + HOUR_S)
    assert spent.told(Ledgered(0.0)).knows(MIDNIGHT_S)


def test_days_without_a_ledger_lose_nothing_and_take_no_more_room() -> None:
    spent = Spent()
    for minute in range(1, 5 * MOST_PENDING):
        spent = spent.seen(billed(MIDNIGHT_S + 60.0 * minute, 1.0, 60.0))
        assert len(spent.pending) <= MOST_PENDING
    now_s = MIDNIGHT_S + 60.0 * 5 * MOST_PENDING
    today_s = now_s // 86_400 * 86_400
    assert spent.within(today_s, inf).joules == (now_s - today_s) / 60 - 1
    assert spent.within(now_s - KEPT_S // HOUR_S * HOUR_S, inf).joules <= KEPT_S / 60


def test_what_was_counted_while_the_clock_was_ahead_is_of_no_period_before() -> None:
    windows = [billed(MIDNIGHT_S + hour * HOUR_S, joules) for hour, joules in ((0.5, 4.0), (3, 90.0), (4, 90.0))]
    spent = Spent().told(had(windows))
    assert spent.within(MIDNIGHT_S, MIDNIGHT_S + HOUR_S).joules == 4.0
    assert spent.within(MIDNIGHT_S + HOUR_S, inf).joules == 180.0


def test_the_ledger_tells_its_hours_and_up_to_which_window(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    assert ledgered(ledger, 0.0) == Ledgered(0.0, {})
    for number, end_s in enumerate(
        (MIDNIGHT_S - 5.0, MIDNIGHT_S + 1.0, MIDNIGHT_S + 2.0, MIDNIGHT_S + 4000.0), start=1
    ):
        ledger.write(window(number, end_s, [device(10.0 * number)]))
    found = ledgered(ledger, MIDNIGHT_S)
    assert found.until_s == MIDNIGHT_S + 4000.0
    assert {at_s: total.joules for at_s, total in found.hours.items()} == {MIDNIGHT_S: 50.0, MIDNIGHT_S + HOUR_S: 40.0}
    assert found.hours[MIDNIGHT_S].grams == pytest.approx(50.0 / 3.6e6 * 1.5 * 300)
    ledger.close()


async def until(happens: Callable[[], bool], time: FakeTime) -> None:
    for _ in range(2000):
        if happens():
            return
        await asyncio.sleep(0.001)
        await time.advance(0.0)
    raise AssertionError("it does not happen")


def test_the_ledger_is_asked_again_until_it_answers_and_then_for_what_is_new(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[float] = []
    told: list[Ledgered] = []

    def locked_twice(since_s: float) -> Ledgered:
        asked.append(since_s)
        if len(asked) < 3:
            raise TryAgain("the file is locked")
        return Ledgered(float(len(asked)))

    async def story() -> None:
        time = FakeTime(1e6)
        task = asyncio.create_task(keep_counted(locked_twice, told.append, time, time.sleep))
        for turn in range(1, 5):
            await until(lambda turn=turn: len(asked) == turn and bool(time._sleeping), time)  # type: ignore[misc]
            await time.advance(COUNT_S - 0.1)
            assert len(asked) == turn, "not more often"
            await time.advance(0.1)
        task.cancel()

    asyncio.run(story())
    assert asked[:4] == [1e6 - KEPT_S + COUNT_S * turn for turn in range(4)]
    assert [one.until_s for one in told[:2]] == [3.0, 4.0]
    assert caplog.text.count("the file is locked") == 1
