"""What metrics say of today and of all days is what the ledger holds."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

import pytest
from ledger_windows import MIDNIGHT_S, device, window

from cluster.ledger.store import Ledger
from cluster.metrics import RecordedMetrics
from cluster.spending import Total
from cluster.to_date import ALL, DAY, READ_S, keep_told, to_date
from models.errors import TryAgain

DAY_S = 86_400.0
ENERGY, GRAMS = "greenflow_ledger_energy_joules", "greenflow_ledger_emissions_grams"


class End(Exception):
    """Of the time that a test lets pass."""


def told(read: Callable[[float], Mapping[str, Total]], seconds: float) -> list[dict[str, float]]:
    """The joules that are told in each second of so many, by period."""
    now_s, seen = MIDNIGHT_S, list[dict[str, float]]()
    metrics = RecordedMetrics()

    async def sleep(seconds_: float) -> None:
        nonlocal now_s
        seen.append({labels[0][1]: joules for (name, labels), joules in metrics.values.items() if name == ENERGY})
        metrics.values.clear()
        now_s += seconds_
        if now_s >= MIDNIGHT_S + seconds:
            raise End

    with contextlib.suppress(End):
        asyncio.run(keep_told(read, metrics, lambda: now_s, sleep))
    return seen


def test_today_begins_at_midnight_utc_and_all_days_count_in_all() -> None:
    ledger = Ledger.open(None)
    ledger.write(window(1, MIDNIGHT_S - 5.0))
    ledger.write(window(2, MIDNIGHT_S + 5.0, devices=(device(30.0),)))
    found = to_date(ledger, MIDNIGHT_S + 10.0)
    assert {period: total.joules for period, total in found.items()} == {DAY: 30.0, ALL: 40.0}
    assert found[ALL].grams == pytest.approx(40.0 / 3.6e6 * 1.5 * 300.0)
    assert to_date(ledger, MIDNIGHT_S + DAY_S)[DAY] == Total(0.0, 0.0)


def test_gauges_are_set_in_every_second_and_the_ledger_is_asked_now_and_then() -> None:
    asked: list[float] = []

    def read(now_s: float) -> Mapping[str, Total]:
        asked.append(now_s)
        return {ALL: Total(float(len(asked)))}

    assert [one[ALL] for one in told(read, 2 * READ_S)] == [1.0] * int(READ_S) + [2.0] * int(READ_S)
    assert asked == [MIDNIGHT_S, MIDNIGHT_S + READ_S]


def test_while_the_ledger_cannot_be_read_nothing_is_told_and_it_is_asked_again() -> None:
    answers = iter([{ALL: Total(1.0)}, None, {ALL: Total(3.0)}])

    def read(_: float) -> Mapping[str, Total]:
        if (answer := next(answers)) is None:
            raise TryAgain("locked")
        return answer

    seen = told(read, READ_S + 2)
    assert [one.get(ALL) for one in seen] == [1.0] * int(READ_S) + [None, 3.0]
