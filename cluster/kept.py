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
from cluster.purse import Purse
from models.errors import GreenFlowError

PRICES, LOAD, FORMAT = "control", "load", 1
LOAD_S = 300.0
"""Between two times that the forecast of load is written: it changes slowly, and is some kilobytes long."""


class Kept:
    """Prices by constraint and watts that chains cannot change with every window, the forecast of load now and then.

    wall  Unix time
    """

    def __init__(
        self, ledger: Ledger, desk: ControllerDesk, purse: Purse, pacer: QuotaPacer, wall: Callable[[], float]
    ) -> None:
        self._ledger, self._desk, self._purse, self._pacer, self._wall = ledger, desk, purse, pacer, wall
        self._load_s = wall()

    def states(self) -> tuple[State, ...]:
        """What is to be kept now."""
        now_s, state = self._wall(), self._desk.state
        if state is None:
            return ()
        control = {"prices": state.named_prices, "fixed_w": self._purse.fixed_w}
        prices = State(PRICES, json.dumps(control).encode(), FORMAT, now_s)
        if now_s - self._load_s < LOAD_S:
            return (prices,)
        self._load_s = now_s
        return (prices, State(LOAD, saved.dumped(self._pacer.load), FORMAT, now_s))

    def take_up(self) -> None:
        """Read what was kept. What cannot be read is learned anew; replicas hold the prices, too."""
        with contextlib.suppress(GreenFlowError):
            self._desk.remembered, fixed_w = _control(self._ledger.state(PRICES))
            if fixed_w is not None:
                self._purse.resume(fixed_w)
            load = self._ledger.state(LOAD)
            if load is not None:
                self._pacer.resume(load.value)


def _control(state: State | None) -> tuple[Mapping[str, float], float | None]:
    """Prices, and fixed watts; as far as they make sense."""
    if state is None or state.version != FORMAT:
        return {}, None
    try:
        kept = json.loads(state.value)
        prices = {str(name): float(price) for name, price in kept["prices"].items()}
        fixed_w = math.nan if kept["fixed_w"] is None else float(kept["fixed_w"])
    except (ValueError, TypeError, AttributeError, KeyError):
        return {}, None
    sound = {name: price for name, price in prices.items() if math.isfinite(price) and price >= 0}
    return sound, fixed_w if math.isfinite(fixed_w) and fixed_w >= 0 else None
