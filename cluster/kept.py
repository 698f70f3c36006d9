"""What the ledger keeps of the control loop, so that a controller that starts anew goes on where the last one stood."""

import contextlib
import json
import math
from collections.abc import Callable, Mapping

from allocator.pacing import saved
from cluster.desk import ControllerDesk
from cluster.ledger.marks import State
from cluster.ledger.store import Ledger
from cluster.pacer import QuotaPacer
from cluster.spending import Total
from models.errors import GreenFlowError

PRICES, LOAD, FORMAT = "prices", "load", 1
LOAD_S = 300.0
"""Between two times that the forecast of load is written: it changes slowly, and is some kilobytes long."""


class Kept:
    """Prices by constraint with every window, and the forecast of load now and then.

    wall  Unix time
    """

    def __init__(self, ledger: Ledger, desk: ControllerDesk, pacer: QuotaPacer, wall: Callable[[], float]) -> None:
        self._ledger, self._desk, self._pacer, self._wall = ledger, desk, pacer, wall
        self._load_s = wall()

    def states(self) -> tuple[State, ...]:
        """What is to be kept now."""
        now_s, state = self._wall(), self._desk.state
        if state is None:
            return ()
        prices = State(PRICES, json.dumps(state.named_prices).encode(), FORMAT, now_s)
        if now_s - self._load_s < LOAD_S:
            return (prices,)
        self._load_s = now_s
        return (prices, State(LOAD, saved.dumped(self._pacer.load), FORMAT, now_s))

    def take_up(self) -> None:
        """Read what was kept. What cannot be read is learned anew; replicas hold the prices, too."""
        with contextlib.suppress(GreenFlowError):
            self._desk.remembered = _prices(self._ledger.state(PRICES))
            load = self._ledger.state(LOAD)
            if load is not None:
                self._pacer.resume(load.value)


def _prices(state: State | None) -> Mapping[str, float]:
    if state is None or state.version != FORMAT:
        return {}
    try:
        kept = {str(name): float(price) for name, price in json.loads(state.value).items()}
    except (ValueError, TypeError, AttributeError):
        return {}
    return {name: price for name, price in kept.items() if math.isfinite(price) and price >= 0}


def spent_since(ledger: Ledger, start_s: float) -> Total:
    """What the ledger has of all windows that began at or after a Unix time at which an hour begins."""
    with ledger.use() as db:
        row = db.execute(
            "SELECT total(energy_j), total(grams) FROM device_total WHERE span = 'hour' AND start_s >= ?", (start_s,)
        ).fetchone()
    return Total(float(row[0]), float(row[1]))
