"""The controller's work on joules: once a window it asks the meters and closes the books. No Ray here."""

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from allocator.joules import DeviceJoules, worst
from cluster.accountant import Accountant, Closed, Done
from cluster.desk import Clock, ControllerDesk
from cluster.ledger.marks import State
from cluster.ledger.store import Ledger
from cluster.metrics import Metrics, NullMetrics
from cluster.power.meter import MeterReport
from cluster.publishing import publish
from cluster.reporting.payload import energy
from cluster.unwritten import joined
from models.errors import TryAgain

Payload = dict[str, Any]
UNBILLED = "no window has been billed yet"
SILENT_WINDOWS = 3.0
METERS_SHARE, CLOSED_SHARE = 0.25, 0.35
"""Shares of a window that meters, and the closing of the books in all, may take before prices are made without them."""
MOST_UNTOLD = 100
"""Windows that nobody has asked for yet, before the oldest are put together: nobody may serve for days."""
Remember = Callable[[], tuple[State, ...]]


class MeterSource(Protocol):
    """Where meters' reports come from."""

    async def reports(self, timeout_s: float) -> tuple[MeterReport, ...]:
        """Those that come in time."""
        ...


class EnergyDesk(Protocol):
    """Who answers for people what is drawn and was drawn. Raises TryAgain, or Late, when nobody can now."""

    async def power(self) -> Payload:
        """As `cluster.schemas.PowerResponse`."""
        ...

    async def energy(self, windows: int) -> Payload:
        """As `cluster.reporting.payload.EnergyResponse`, with so many windows at most."""
        ...


@dataclass(frozen=True, slots=True)
class Told:
    """What was closed since somebody asked last; each window is told once.

    closed  the window that ends now; None when that takes too long, it is then `late` another time
    late    the windows before it, in order
    """

    closed: Closed | None = None
    late: tuple[Closed, ...] = ()


class Bookkeeper:
    """Closes the books in each of the desk's ticks, when what replicas counted is fresh.

    window_s  the desk's; without any replica that reports, the books are closed every few of them all the same
    wall      Unix time
    remember  what the ledger is to keep with every window
    """

    def __init__(
        self,
        accountant: Accountant,
        ledger: Ledger,
        desk: ControllerDesk,
        meters: MeterSource,
        window_s: float,
        wall: Clock,
        metrics: Metrics | None = None,
        remember: Remember = tuple,
    ) -> None:
        self._accountant, self._ledger, self._desk, self._meters = accountant, ledger, desk, meters
        self._window_s, self._wall, self._metrics = window_s, wall, metrics or NullMetrics()
        self._remember = remember
        self._closed: Closed | None = None
        self._untold: list[Closed] = []
        self._closing: asyncio.Task[Closed] | None = None
        self._times = 0

    async def run(self) -> None:
        """Close window after window where nobody else does, for ever: machines draw power though nobody serves."""
        while True:
            before = self._times
            await asyncio.sleep(SILENT_WINDOWS * self._window_s)
            if self._times == before:
                await asyncio.shield(self._under_way())

    async def soon(self) -> Told:
        """Close the window that ends now, after one that is under way; what takes too long is closed all the same."""
        closed = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSED_SHARE * self._window_s):
                if self._closing is not None and not self._closing.done():
                    await asyncio.shield(self._closing)
                closed = await asyncio.shield(self._under_way())
        untold, self._untold = self._untold, []
        return Told(closed, tuple(one for one in untold if one is not closed))

    def _under_way(self) -> "asyncio.Task[Closed]":
        if self._closing is None or self._closing.done():
            self._closing = asyncio.create_task(self.once())
        return self._closing

    async def once(self) -> Closed:
        """Close the window that ends now."""
        books = self._desk.books
        done = Done(int(books.billed.sum()), books.handed, books.work)
        reports = await self._meters.reports(METERS_SHARE * self._window_s)
        version = self._desk.policy_version
        about = (reports, done, version, self._wall(), self._remember())
        self._closed = await asyncio.to_thread(self._accountant.close, *about)
        self._untold = _shortened([*self._untold, self._closed])
        self._times += 1
        self._desk.rates = self._closed.rates
        publish(self._metrics, self._closed)
        return self._closed

    async def power(self) -> Payload:
        """As `EnergyDesk.power`."""
        if self._closed is None:
            raise TryAgain(UNBILLED)
        return power_payload(self._closed)

    async def energy(self, windows: int) -> Payload:
        """As `EnergyDesk.energy`."""
        return await asyncio.to_thread(self._energy, windows)

    def _energy(self, windows: int) -> Payload:
        with self._ledger.use() as db:
            return energy(db, windows).model_dump(mode="json")


def _shortened(untold: list[Closed]) -> list[Closed]:
    """With the two oldest as one where there are too many: nothing that was billed is lost by it."""
    if len(untold) <= MOST_UNTOLD:
        return untold
    first, second, *rest = untold
    assert second.account is not None
    return [replace(second, account=joined(first.account, second.account)), *rest]


def power_payload(closed: Closed) -> Payload:
    """Watts by node and device in the window that was closed; None, and why, where no meter has told any."""
    by_node: dict[tuple[str, str], list[DeviceJoules]] = {}
    for device in closed.devices:
        by_node.setdefault((device.node, device.host), []).append(device)
    nodes = [
        {"node": node, "host": host, "power_w": _sum_w(devices), "devices": [_device(device) for device in devices]}
        for (node, host), devices in sorted(by_node.items())
    ]
    power_w = _sum_w(closed.devices)
    return {
        "time_s": closed.end_s,
        "power_w": power_w,
        "unknown": None if power_w is not None else _why_unknown(closed),
        "quality": worst(device.quality for device in closed.devices).value if closed.devices else None,
        "nodes": nodes,
        "not_read": [
            {"sensor": r.sensor, "what": r.what, "problem": r.problem, "remedy": r.remedy} for r in closed.refusals
        ],
        "ledger_error": closed.ledger_error,
    }


def unbilled_payload(time_s: float) -> Payload:
    """The same before any window was closed."""
    unknown = {"power_w": None, "unknown": UNBILLED, "quality": None, "ledger_error": None}
    return {"time_s": time_s, **unknown, "nodes": [], "not_read": []}


def _why_unknown(closed: Closed) -> str:
    """Why there are no watts. A device that is billed for the first time was read for no time yet."""
    if not closed.devices:
        return "nothing is billed yet: no meter has told of a device; not_read says what is not read, and why"
    if not any(device.window_s > 0 for device in closed.devices):
        return "nothing is billed yet: a meter's first reading is where its bill begins"
    return "no counter has moved in the last window"


def _device(device: DeviceJoules) -> Payload:
    return {
        "device": device.device,
        "kind": device.kind,
        "source": device.source,
        "quality": device.quality.value,
        "power_w": _watts(device),
    }


def _sum_w(devices: Sequence[DeviceJoules]) -> float | None:
    """Of those that have told; None while none has."""
    told = [watts for device in devices if (watts := _watts(device)) is not None]
    return math.fsum(told) if told else None


def _watts(device: DeviceJoules) -> float | None:
    """Mean of the window; None while the counter tells nothing of it."""
    return device.energy_j / device.window_s if device.fresh and device.window_s > 0 else None
