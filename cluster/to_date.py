"""Tells in metrics what the ledger has of today (UTC) and in all: counters forget when processes end. No Ray here."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from cluster.ledger.store import Ledger
from cluster.ledger.totals import DAY_S
from cluster.metrics import Metrics
from cluster.spending import Total
from models.errors import GreenFlowError

DAY, ALL = "day", "all"
READ_S, TELL_S = 10.0, 1.0
Read = Callable[[float], Mapping[str, Total]]


def to_date(ledger: Ledger, now_s: float) -> Mapping[str, Total]:
    """What all devices drew in the day (UTC) of a Unix time, and in all days. Errors as those of the ledger."""
    with ledger.use() as db:
        return {period: _total(db.execute(_QUERY, (since_s,)).fetchone()) for period, since_s in _begins(now_s).items()}


_QUERY = "SELECT total(energy_j), total(grams) FROM device_total WHERE span = 'day' AND start_s >= ?"


def _begins(now_s: float) -> Mapping[str, int]:
    return {DAY: int(now_s // DAY_S) * DAY_S, ALL: 0}


def _total(row: tuple[float, float]) -> Total:
    return Total(float(row[0]), float(row[1]))


async def keep_told(
    read: Read,
    metrics: Metrics,
    wall: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """For ever: read every READ_S, in a thread, and set the gauges every TELL_S, or they would disappear between.

    While the ledger cannot be read nothing is told; that it cannot is said elsewhere.
    """
    told: Mapping[str, Total] = {}
    read_s = -READ_S
    while True:
        now_s = wall()
        if not 0 <= now_s - read_s < READ_S:
            try:
                told, read_s = await asyncio.to_thread(read, now_s), now_s
            except GreenFlowError:
                told = {}
        for period, total in told.items():
            metrics.set("greenflow_ledger_energy_joules", total.joules, {"period": period})
            metrics.set("greenflow_ledger_emissions_grams", total.grams, {"period": period})
        await sleep(TELL_S)
