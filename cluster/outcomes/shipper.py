"""Ships what an ingress replica remembers to whoever keeps the account of outcomes, every few seconds. No Ray here."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from cluster.events import Event, happened
from cluster.outcomes.recorder import Recorder, Shipment
from cluster.told_to_end import told_to_end

LEAST_S, MOST_S, OF_HORIZON = 1.0, 5.0, 1 / 20
LAST_S = 2.0
"""What a replica that ends spends on shipping what it still remembers."""
Payload = dict[str, Any]
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Parcel:
    """A shipment of one life of a replica. It may come twice, and counts once: its number says so."""

    replica: str
    number: int
    shipment: Shipment


def every_s(horizon_s: float) -> float:
    """How long a replica remembers before it ships: what is lost with it at most.

    A call costs as much as answering a request, whatever it carries. But a reward counts as late that is told in time
    and shipped when it is final already, so this is a small part of the time until then.
    """
    return max(LEAST_S, min(MOST_S, OF_HORIZON * horizon_s))


class OutcomesDesk(Protocol):
    """Who keeps the account of outcomes. Raises TryAgain, or Late, when nobody can now."""

    async def take(self, parcel: Parcel) -> None:
        """Take in what a replica ships."""
        ...

    async def savings(self) -> Payload:
        """As `cluster.outcomes.schemas.SavingsResponse`."""
        ...


class Shipper:
    """Sends one parcel at a time, and the same one until it is taken; the recorder's bound holds meanwhile."""

    def __init__(
        self,
        replica: str,
        recorder: Recorder,
        desk: OutcomesDesk,
        every_s: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._replica, self._recorder, self._desk = replica, recorder, desk
        self._every_s, self._sleep = every_s, sleep
        self._number = 0
        self._parcel: Parcel | None = None
        self._lost = False

    async def run(self) -> None:
        """Ship for ever."""
        while True:
            await self._sleep(self._every_s)
            await self.once()

    async def once(self) -> None:
        """Ship what there is. Never raises what a failure over there can cause."""
        if self._parcel is None:
            shipment = self._recorder.take()
            if not shipment:
                return
            self._number += 1
            self._parcel = Parcel(self._replica, self._number, shipment)
        try:
            await self._desk.take(self._parcel)
        except asyncio.CancelledError as error:
            if told_to_end():
                raise
            self._log(error)  # the call was cancelled over there, as when a channel is closed
        except Exception as error:  # whatever is wrong over there, requests are answered here
            self._log(error)
        else:
            self._parcel = None
            self._log(None)

    async def last(self) -> None:
        """What is left when the replica ends: the parcel under way, then what was remembered meanwhile."""
        try:
            async with asyncio.timeout(LAST_S):
                await self.once()
                if self._parcel is None:
                    await self.once()
        except TimeoutError:
            happened(logger, Event.OUTCOMES_KEPT, "those of the last requests could not be passed on in %g s", LAST_S)

    def _log(self, error: BaseException | None) -> None:
        """Say once that nobody takes parcels, and once that somebody does again."""
        if error is not None and not self._lost:
            text = "outcomes cannot be passed on, and are kept: %s: %s"
            happened(logger, Event.OUTCOMES_KEPT, text, type(error).__name__, error)
        elif error is None and self._lost:
            happened(logger, Event.OUTCOMES_PASSED, "outcomes are passed on again")
        self._lost = error is not None


@asynccontextmanager
async def shipped(shipper: Shipper) -> AsyncIterator[None]:
    """While it is entered, the shipper runs; what is left is shipped at the end."""
    run = asyncio.create_task(shipper.run())
    try:
        yield
    finally:
        run.cancel()
        await shipper.last()
