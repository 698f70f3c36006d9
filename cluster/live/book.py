"""What the controller tells those who look: fed by every tick, put into words once a window and only if asked."""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from allocator.emissions import Kind, Pue
from cluster.accountant import Closed
from cluster.accounts import Books, Window
from cluster.bookkeeping import Payload, Told, power_payload, unbilled_payload
from cluster.events import Event, happened
from cluster.live.actions import Actions
from cluster.live.desk import Look
from cluster.live.moment import Moment, joules_a_request, latency_ms, watts_by_device
from cluster.live.notes import Note
from cluster.live.ring import Ring, encoded
from cluster.live.watch import Watch
from cluster.snapshot import Standing
from models.errors import GreenFlowError, TryAgain

RECENT = 10
"""Windows over which what happens now and then is told."""
SPENT_S, FIRST_S = 5.0, 0.5
"""Between two times that the ledger is asked what the day has spent; and what the first who looks waits for it."""
LEAST_S = 1.0
"""Between two windows that are told of."""
Clock = Callable[[], float]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sources:
    """Whom it asks when somebody looks.

    constraints  as `cluster.limits.desk.LimitDesk.constraints`
    spent        what the ledger has, for a kind of intensity, in a thread; None where joules are not accounted for
    building     the PUE
    next_in_s    until the next window ends
    """

    constraints: Callable[[], Awaitable[list[Payload]]]
    spent: Callable[[Kind | None], Payload | None] | None
    building: Pue
    next_in_s: Clock


class LiveBook:
    """As `cluster.live.desk.LiveDesk`. Used from one event loop.

    clock  monotonic; `wall` is Unix time
    ring   the history
    whole  whether that of before is in it; to be set by whoever fills the ring
    """

    def __init__(self, actions: Actions, sources: Sources, clock: Clock, wall: Clock, window_s: float) -> None:
        self._actions, self._sources, self._clock, self._wall = actions, sources, clock, wall
        self._window_s = window_s
        self.ring, self._watch = Ring(actions), Watch()
        self._recent: deque[Moment] = deque(maxlen=RECENT)
        self._before: tuple[Books, float] | None = None
        self._closed: Closed | None = None
        self._made: tuple[bytes, tuple[Note, ...]] | None = None
        self._spent: Payload | None = None
        self._asked_s = -float("inf")
        self._asking: asyncio.Task[None] | None = None
        self._failing = False
        self.whole = False

    def ticked(self, window: Window, books: Books, standings: Sequence[Standing], told: Told) -> None:
        """A tick has ended; `told` are the windows whose books were closed since the last one."""
        closed = [*told.late, *([] if told.closed is None else [told.closed])]
        self._closed = closed[-1] if closed else self._closed
        moment = self._moment(window, books, tuple(standings), closed)
        self._recent.append(moment)
        self.ring.add(moment)
        self._watch.see(moment, closed[-1] if closed else None)
        self._made = None

    async def look(self, since_s: float) -> Look:
        """As `LiveDesk.look`. What is told of one window is made once."""
        if not self._recent:
            raise TryAgain("no window has ended yet")
        await self._ask_ledger()
        moment = self._recent[-1]
        if self._made is None:
            constraints = await self._sources.constraints()
            self._made = encoded(self._told(moment, constraints)), tuple(self._watch.notes(self._recent, self._closed))
        window, notes = self._made
        return Look(self.ring.since(since_s), moment.time_s, window, notes, self._next_in_s(), self.whole)

    def _next_in_s(self) -> float:
        """Where windows are short, not before some more of them."""
        next_in_s = self._sources.next_in_s()
        missing_s = 0.0 if self._window_s >= LEAST_S else LEAST_S - next_in_s
        return next_in_s + math.ceil(max(0.0, missing_s) / self._window_s) * self._window_s

    def _moment(
        self, window: Window, books: Books, standings: tuple[Standing, ...], closed: Sequence[Closed]
    ) -> Moment:
        now_s = self._clock()
        before, then_s = self._before or (books, now_s - self._window_s)
        self._before, window_s = (books, now_s), max(now_s - then_s, 1e-3)
        degraded = {
            reason: (times - before.degraded.get(reason, 0)) / window_s
            for reason, times in books.degraded.items()
            if times > before.degraded.get(reason, 0)
        }
        accounts = [one.account for one in closed if one.account is not None]
        newest = closed[-1] if closed else None
        devices = {} if newest is None else watts_by_device(newest.devices)
        known_w = [watts for watts in devices.values() if watts is not None]
        return Moment(
            time_s=self._wall(),
            window_s=window_s,
            requests_per_s=float(window.executed_per_s.sum()),
            decided_per_s=window.decided_per_s,
            degraded_per_s=degraded,
            predicted_per_s=(books.predicted - before.predicted) / window_s,
            took=books.took - before.took,
            used=self._actions.used(window.executed_per_s),
            power_w=sum(known_w) if known_w else None,
            devices=devices,
            own_j=sum(share.energy_j for one in accounts for share in one.shares) if accounts else None,
            answered=sum(one.requests for one in accounts),
            g_per_kwh=None if newest is None or newest.intensity is None else newest.intensity.g_per_kwh,
            standings=standings,
        )

    def _told(self, moment: Moment, constraints: list[Payload]) -> dict[str, Any]:
        """As `cluster.live.schemas.WindowEvent`, without what only replicas know."""
        return {
            "time_s": moment.time_s,
            "window_s": moment.window_s,
            "power": self._power(moment),
            "energy": self._spent,
            "carbon": None if self._closed is None else self._carbon(self._closed),
            "constraints": constraints,
            "requests": {
                "per_s": moment.requests_per_s,
                "decided_per_s": moment.decided_per_s,
                "degraded_per_s": dict(moment.degraded_per_s),
                "reward_per_s": moment.predicted_per_s,
                "latency_ms": latency_ms(moment.took),
                "energy_j": joules_a_request([moment]),
            },
            "mix": self._actions.listed(moment.used),
        }

    def _power(self, moment: Moment) -> Payload | None:
        """None where joules are not accounted for; where they are, of the first windows nothing may be billed yet."""
        if self._closed is not None:
            return power_payload(self._closed)
        return None if self._sources.spent is None else unbilled_payload(moment.time_s)

    def _carbon(self, closed: Closed) -> dict[str, Any] | None:
        now, building = closed.intensity, self._sources.building
        if now is None:
            return None
        return {
            "zone": now.zone,
            "g_per_kwh": now.g_per_kwh,
            "kind": now.kind.value,
            "quality": now.quality.value,
            "pue": building.ratio,
            "pue_quality": building.quality.value,
            "stale": now.stale,
        }

    async def _ask_ledger(self) -> None:
        """Have the ledger asked now and then, beside everything else; only the very first one waits for it a moment."""
        if self._sources.spent is None:
            return
        if self._asking is None and self._clock() - self._asked_s >= SPENT_S:
            self._asked_s = self._clock()
            self._asking = asyncio.create_task(self._ask())
        if self._asking is not None and self._spent is None and not self._failing:
            await asyncio.wait([self._asking], timeout=FIRST_S)

    async def _ask(self) -> None:
        assert self._sources.spent is not None
        intensity = None if self._closed is None else self._closed.intensity
        try:
            kind = None if intensity is None else intensity.kind
            self._spent = await asyncio.to_thread(self._sources.spent, kind)
            self._failing = False
        except GreenFlowError as error:
            if not self._failing:
                happened(logger, Event.NOT_KNOWN, "what the day has spent cannot be told: %s", error)
            self._failing = True
        finally:
            self._asking = None
