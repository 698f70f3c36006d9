"""What the ledger keeps of the control loop, so that a controller that starts anew goes on where the last one stood."""

import asyncio
import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from cluster.carbon.remembered import INTENSITY, RememberedCarbon
from cluster.computing import BUSY, ROWS
from cluster.desk import ControllerDesk
from cluster.events import Event, happened
from cluster.ledger.marks import State
from cluster.ledger.store import Ledger
from cluster.pacer import GRID, LOAD, QuotaPacer
from cluster.purse import Purse
from cluster.served import SERVED, Served, continued, dumped, restored
from models.errors import GreenFlowError, TryAgain

PRICES, FORMAT = "control", 1
COSTS_S, INTENSITY_S, LOAD_S, SERVED_S = 30.0, 60.0, 300.0, 300.0
"""Between two times that what changes slowly is written; forecasts are some kilobytes long."""
SAVINGS, SAVINGS_S = "savings", 5.0
ALONE_S = 5.0
"""Between two times that is written what is due, where no window of the account takes it along."""
Values = Mapping[str, bytes]
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """Something to keep: under which keys, and how many seconds lie between two times that it is written.

    dumped  what to keep now, by key; a key may be missing where nothing is known
    resume  takes up what was kept, by key, as far as there is any; what is none of its own begins anew
    """

    keys: tuple[str, ...]
    every_s: float
    dumped: Callable[[], Values]
    resume: Callable[[Values], None]


@dataclass
class Handed:
    """Something that somebody else hands over to be kept, and asks for again.

    value  None for nothing; what is handed over early is not replaced by what was kept before
    read   whether it is known what was kept before
    """

    key: str
    every_s: float
    value: bytes | None = None
    read: bool = False

    @property
    def part(self) -> Part:
        """What is to be kept of it."""
        return Part((self.key,), self.every_s, self._dumped, self._resume)

    def asked(self) -> bytes | None:
        """What was handed over last, or kept before. Raises TryAgain while nobody can tell: who took that for nothing
        would have it written over."""
        if self.value is None and not self.read:
            raise TryAgain(f"what was kept of {self.key} cannot be read yet")
        return self.value

    def _dumped(self) -> Values:
        return {} if self.value is None else {self.key: self.value}

    def _resume(self, kept: Values) -> None:
        self.read = True
        if self.value is None:
            self.value = kept.get(self.key)


class Kept:
    """Keeps the parts, and hands out what was kept of them. Nothing is written over what could not be read yet.

    wall  Unix time
    """

    def __init__(self, ledger: Ledger, parts: Sequence[Part], wall: Callable[[], float]) -> None:
        self._ledger, self._parts, self._wall = ledger, parts, wall
        self._written_s: dict[tuple[str, ...], float] = {}
        self._taken_up, self._complained, self._unwritten = False, False, False

    def states(self) -> tuple[State, ...]:
        """What is to be written now."""
        if not self._taken_up:
            return ()
        now_s = self._wall()
        due = [part for part in self._parts if not 0 <= now_s - self._written_s[part.keys] < part.every_s]
        self._written_s.update({part.keys: now_s for part in due})
        return tuple(State(key, value, FORMAT, now_s) for part in due for key, value in part.dumped().items())

    async def alone(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Write what is due every now and then, for ever: for where no joules are accounted for."""
        while True:
            await sleep(ALONE_S)
            await self.write()

    async def write(self) -> None:
        """Write what is due; all of it later, where the ledger cannot be written."""
        states = self.states()
        if not states:
            return
        try:
            await asyncio.to_thread(self._ledger.remember, states)
        except GreenFlowError as error:
            self._written_s = dict.fromkeys(self._written_s, -math.inf)
            if not self._unwritten:
                happened(logger, Event.LEDGER_ERROR, "what the next controller is to know is not written: %s", error)
            self._unwritten = True
            return
        if self._unwritten:
            happened(logger, Event.LEDGER_BACK, "what the next controller is to know is written again")
        self._unwritten = False

    async def take_up(self) -> bool:
        """Take up what was kept, once. False while the ledger cannot be read: to be called again then."""
        if self._taken_up:
            return True
        try:
            found = await asyncio.to_thread(self._read)
        except GreenFlowError as error:
            if not self._complained:
                text = "what an earlier controller knew cannot be read, and is asked for again: %s"
                happened(logger, Event.LEDGER_ERROR, text, error)
            self._complained = True
            return False
        if self._complained:
            happened(logger, Event.LEDGER_BACK, "what an earlier controller knew is taken up now, late")
        for part in self._parts:
            part.resume({key: found[key] for key in part.keys if key in found})
        self._taken_up = True
        self._written_s = {part.keys: self._wall() for part in self._parts}
        return True

    def _read(self) -> dict[str, bytes]:
        found = {key: self._ledger.state(key) for part in self._parts for key in part.keys}
        return {key: state.value for key, state in found.items() if state is not None and state.version == FORMAT}


def parts_of(
    desk: ControllerDesk, purse: Purse, pacer: QuotaPacer, carbon: RememberedCarbon, wall: Callable[[], float]
) -> tuple[Part, ...]:
    """All that is kept: prices with every window, what chains cost now and then, forecasts seldom."""
    return (
        prices_part(desk, purse),
        Part((BUSY, ROWS), COSTS_S, purse.dumped, purse.resume_costs),
        Part((INTENSITY,), INTENSITY_S, lambda: carbon.dumped(wall()), carbon.resume),
        Part((LOAD,), LOAD_S, lambda: {LOAD: pacer.dumped(LOAD)}, pacer.resume),
        grid_part(pacer, carbon.of),
    )


def grid_part(pacer: QuotaPacer, of: str) -> Part:
    """The forecast of the grid's intensity, under a key that says of which source and zone: no other may take it up."""
    key = f"{GRID} {of}"

    def resume(kept: Values) -> None:
        if key in kept:
            pacer.resume({GRID: kept[key]})

    return Part((key,), LOAD_S, lambda: {key: pacer.dumped(GRID)}, resume)


def served_part(now: Served) -> Part:
    """What was served since when, up to now."""
    terms: tuple[Served, ...] = (now,)

    def resume(kept: Values) -> None:
        nonlocal terms
        terms = continued(restored(kept.get(SERVED)), now)

    return Part((SERVED,), SERVED_S, lambda: {SERVED: dumped(terms)}, resume)


def prices_part(desk: ControllerDesk, purse: Purse) -> Part:
    """Prices by constraint, and watts that chains cannot change. Replicas hold the prices, too."""

    def dumped() -> Values:
        if desk.state is None:
            return {}
        return {PRICES: json.dumps({"prices": desk.state.prices_by_key, "fixed_w": purse.fixed_w}).encode()}

    def resume(kept: Values) -> None:
        desk.remembered, fixed_w = _control(kept.get(PRICES))
        if fixed_w is not None:
            purse.resume(fixed_w)

    return Part((PRICES,), 0.0, dumped, resume)


def _control(value: bytes | None) -> tuple[Mapping[str, float], float | None]:
    """Prices, and fixed watts; as far as they make sense."""
    if value is None:
        return {}, None
    try:
        kept = json.loads(value)
        prices = {str(name): float(price) for name, price in kept["prices"].items()}
        fixed_w = math.nan if kept["fixed_w"] is None else float(kept["fixed_w"])
    except (ValueError, TypeError, AttributeError, KeyError):
        return {}, None
    sound = {name: price for name, price in prices.items() if math.isfinite(price) and price >= 0}
    return sound, fixed_w if math.isfinite(fixed_w) and fixed_w >= 0 else None
