"""Carbon intensity from somebody's server: fetched in the background, answered from what is held.

Which figure holds, best first: the server's figure for the period that runs; its forecast for that period, where the
newest figure is of a period that is over; else the last figure known, which ages and is marked stale after `stale_s`.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from cluster.carbon.api import GridApi
from cluster.carbon.base import Intensity, Sleep, Span
from cluster.carbon.series import Series
from cluster.carbon.transport import Answer, Ask, Transport
from models.errors import FixSetup, GreenFlowError, TryAgain

Clock = Callable[[], float]

SOON_S = 30.0
LONGEST_WAIT_S = 60.0
FORECAST_EVERY_S = 1800.0
REFUSED_PAUSE_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How often to ask and how long to wait.

    refresh_s   between refreshes; a figure's period that ends before makes the next one come sooner, not below SOON_S
    timeout_s   for one answer
    tries       for one document in one refresh
    backoff_s   before the second try, doubled with each, each time a random share of it ("full jitter"), so that many
                controllers do not ask in step after an outage
    stale_s     how long after its period a figure is not yet stale
    forecast    whether to fetch it at all
    """

    refresh_s: float = 300.0
    timeout_s: float = 10.0
    tries: int = 3
    backoff_s: float = 1.0
    stale_s: float = 7200.0
    forecast: bool = True


class HttpCarbon:
    """What a server says, held here. Used from one event loop.

    clock  Unix time; `sleep`, `rng` and `transport` are injected like it
    """

    def __init__(self, api: GridApi, transport: Transport, pace: Pace, clock: Clock, sleep: Sleep, rng: random.Random):
        self.source = api.source
        self.problem: str | None = None
        self._api, self._transport, self._pace = api, transport, pace
        self._clock, self._sleep, self._rng = clock, sleep, rng
        self._latest: Span | None = None
        self._ahead = Series()
        self._ahead_due_s = -math.inf if pace.forecast else math.inf
        self._asked_to_wait_s = 0.0

    def now(self, unix_s: float) -> Intensity | None:
        """As `CarbonProvider.now`."""
        held, forecast = self._latest, self._ahead.at(unix_s)
        if forecast is not None and (held is None or unix_s >= held.to_s):
            held = forecast
        held = held or self._ahead.last_before(unix_s)
        if held is None:
            return None
        return Intensity.of(held, unix_s, self._pace.stale_s, self._api.kind, self._api.zone, self.source)

    def ahead(self, from_s: float, to_s: float) -> tuple[Span, ...]:
        """As `CarbonProvider.ahead`. The server's own figure for the period that runs comes before its forecast."""
        known = [*self._ahead.spans, *((self._latest,) if self._latest is not None else ())]
        return Series.of(known).between(from_s, to_s)

    async def refresh(self) -> float:
        """As `CarbonProvider.refresh`."""
        self._asked_to_wait_s, self.problem = 0.0, None
        try:
            self._latest = self._api.read_now(await self._fetch(self._api.ask_now()))
        except GreenFlowError as error:
            self.problem = str(error)
        if self._clock() >= self._ahead_due_s and self._asked_to_wait_s <= LONGEST_WAIT_S:
            await self._refresh_ahead()
        return self._pause_s()

    async def _refresh_ahead(self) -> None:
        """The forecast is a help, not a duty: plans without one refuse it, and are then left alone for a day."""
        now_s = self._clock()
        try:
            fetched = self._api.read_ahead(await self._fetch(self._api.ask_ahead(now_s)))
            self._ahead, self._ahead_due_s = Series.of(fetched), now_s + FORECAST_EVERY_S
        except FixSetup:
            self._ahead_due_s = now_s + REFUSED_PAUSE_S
        except TryAgain:
            self._ahead_due_s = now_s + self._pace.refresh_s

    async def _fetch(self, ask: Ask) -> bytes:
        """The document. Raises TryAgain after the last try, FixSetup when we are refused."""
        for attempt in range(1, self._pace.tries + 1):
            try:
                return self._body(await self._transport.get(ask, self._pace.timeout_s))
            except TryAgain:
                if attempt == self._pace.tries or self._asked_to_wait_s > LONGEST_WAIT_S:
                    raise
            backoff_s = self._pace.backoff_s * 2 ** (attempt - 1) * self._rng.random()
            await self._sleep(max(backoff_s, self._asked_to_wait_s))
        raise AssertionError("unreachable: the last try returns or raises")

    def _body(self, answer: Answer) -> bytes:
        if answer.status == 200:
            return answer.body
        self._asked_to_wait_s = max(self._asked_to_wait_s, answer.retry_after_s or 0.0)
        said = f"{self.source} answered {answer.status} for zone {self._api.zone}"
        if answer.status == 429 or answer.status >= 500:
            raise TryAgain(f"{said}; it is asked again later")
        raise FixSetup(f"{said}; {self._api.token_hint}")

    def _pause_s(self) -> float:
        """Until the next refresh: sooner where the period ends, later where the server asks for it."""
        pause_s = self._pace.refresh_s
        if self.problem is None and self._latest is not None:
            ends_in_s = self._latest.to_s - self._clock()
            if 0 < ends_in_s < pause_s:
                pause_s = max(SOON_S, ends_in_s)
        return max(pause_s * (1 + 0.1 * self._rng.random()), self._asked_to_wait_s)
