"""Tells the pacer of quotas what the ledger has, again and again and beside everything else. No Ray here."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from cluster.events import Event, happened
from cluster.ledger.store import Ledger
from cluster.spending import Total
from cluster.spent import KEPT_S, Ledgered
from models.errors import GreenFlowError

COUNT_S = 5.0
logger = logging.getLogger(__name__)


def ledgered(ledger: Ledger, since_s: float) -> Ledgered:
    """What the ledger has of the hours that began at or after a Unix time. Errors as those of the ledger."""
    with ledger.use() as db:
        (until_s,) = db.execute("SELECT end_s FROM progress").fetchone()
        rows = db.execute(
            """SELECT start_s, total(energy_j), total(grams) FROM device_total WHERE span = 'hour' AND start_s >= ?
            GROUP BY start_s""",
            (since_s,),
        ).fetchall()
    return Ledgered(float(until_s), {float(at_s): Total(float(joules), float(grams)) for at_s, joules, grams in rows})


async def keep_counted(
    ledgered: Callable[[float], Ledgered],
    tell: Callable[[Ledgered], None],
    wall: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Ask the ledger every few seconds, in a thread of its own, for ever; that it cannot be read is said once.

    ledgered  what it has of the hours from a Unix time on
    """
    failing = False
    while True:
        try:
            tell(await asyncio.to_thread(ledgered, wall() - KEPT_S))
            failing = False
        except GreenFlowError as error:
            if not failing:
                text = "what was spent before is not known, and is asked for again: %s"
                happened(logger, Event.LEDGER_ERROR, text, error)
            failing = True
        await sleep(COUNT_S)
