"""What devices drew since the bill before, from the reports of all meters: the controller's side. Pure.

Every moment of a pool is billed from one source. Where several could tell (a meter that reads package counters can
estimate as well, and another container of the host may do no better), it is the best one; the others are followed
meanwhile, so that whoever takes over goes on from where the one before stopped. An estimate that takes over is scaled
by what it was worth beside the meters (`cluster/power/stand_in.py`). A device that several meters read is billed once,
since it is the device's own counter that is billed (`cluster/power/tabs.py`).

A step whose bill could not be written down may be forgotten: stepping from the state before it bills it again.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from allocator.joules import ORDER, DeviceJoules, Quality, worst
from cluster.ledger.marks import Mark
from cluster.power import tabs
from cluster.power.meter import MeterReport
from cluster.power.names import Names, Reading, named, names_of, pool_of, readings_of
from cluster.power.stand_in import STAND_IN, Compared, compared
from cluster.power.tabs import REPLACED, Moved, Tab
from cluster.power.unwrap import Event

PATIENCE_S = 5.0
"""A meter or a source that was not heard for so long is not waited for where another one can tell."""
LEFT_S = 60.0
"""A device that was not heard for so long has no rows any more. Back again, it brings its joules and its time."""
FORGET_S = 3600.0
"""A device that no meter has told of for so long is forgotten. Should it come back, its first reading bills nothing."""
SOURCES = ("nvml", "rapl", "replay", "estimate")
"""Of two of equal quality, the first is billed: a module that NVML meters contains the packages that RAPL does."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The source that a pool is billed from, and the Unix time when it was heard last."""

    source: str
    heard_s: float


@dataclass(frozen=True, slots=True)
class Billing:
    """All that is open.

    tabs     by device
    claims   by pool
    compared  what the estimate of each pool is worth; a restart forgets it
    names    of hosts, by boot id
    events   how often each has happened to a device, as far as this controller knows
    since_s  Unix time of its first step, and `at_s` of its last
    """

    tabs: Mapping[str, Tab] = field(default_factory=dict)
    claims: Mapping[str, Claim] = field(default_factory=dict)
    compared: Mapping[str, Compared] = field(default_factory=dict)
    names: Names = field(default_factory=dict)
    events: Mapping[tuple[str, Event], int] = field(default_factory=dict)
    since_s: float | None = None
    at_s: float = 0.0


def resume(rows: Iterable[Mark]) -> Billing:
    """Where the ledger says that billing stopped; without rows, the very beginning.

    What counters have counted since then is billed when they are heard, if it is the same boot and driver.
    """
    open_tabs = {mark.device: tabs.resumed(mark) for mark in rows}
    return Billing(open_tabs, names=names_of({device: tab.host for device, tab in open_tabs.items()}))


def marks(billing: Billing) -> tuple[Mark, ...]:
    """What the ledger has to remember for `resume`, together with the bill that led here."""
    return tuple(tabs.marked(device, tab) for device, tab in sorted(billing.tabs.items()))


def step(billing: Billing, reports: Sequence[MeterReport], now_s: float) -> tuple[Billing, tuple[DeviceJoules, ...]]:
    """The state after a window, and a row for each device that is billed, heard or not, as long as it has not left.

    reports  of this window; those that are lost, late, repeated or out of order cost nothing but time
    now_s    Unix time
    The windows of a device add up to the time that passed, and its joules to what its counter moved (times what an
    estimate is worth): joules of a row that is not fresh come with a later one. Joules after a gap in which the counter
    may have wrapped once more are the fewest possible, and modelled.
    """
    start, readings = _started(billing, reports, now_s)
    pools = defaultdict(list)
    for device in sorted(start.tabs.keys() | readings.keys()):
        pools[_pool_of(device, readings.get(device), start.tabs.get(device))].append(device)
    window = _Window(start, readings, now_s)
    for pool, devices in sorted(pools.items()):
        window.bill(pool, devices)
    return window.after(), tuple(window.rows)


def _started(
    billing: Billing, reports: Sequence[MeterReport], now_s: float
) -> tuple[Billing, Mapping[str, Sequence[Reading]]]:
    """The state at a window's start: hosts have names, and who has left is forgotten; and what is read, by device."""
    since_s = now_s if billing.since_s is None else billing.since_s
    present = {tab.host for tab in billing.tabs.values() if now_s - tab.heard_s <= PATIENCE_S}
    names = named(billing.names, [report.host for report in reports], present)
    told = readings_of(reports, names)  # of a device that cannot be read meters tell the last reading for ever
    kept = {
        device: tab
        for device, tab in billing.tabs.items()
        if device in told or now_s - max(tab.heard_s, since_s) < FORGET_S
    }
    boots = {tab.host for tab in kept.values()} | {report.host.boot for report in reports}
    claims = {pool: claim for pool, claim in billing.claims.items() if now_s - claim.heard_s < FORGET_S}
    started = Billing(
        tabs=kept,
        claims=claims,
        compared={pool: known for pool, known in billing.compared.items() if pool in claims},
        names={boot: name for boot, name in names.items() if boot in boots},
        events=billing.events,
        since_s=since_s,
        at_s=now_s if billing.since_s is None else billing.at_s,
    )
    return started, told


def _pool_of(device: str, readings: Sequence[Reading] | None, tab: Tab | None) -> str:
    if readings:
        return readings[0].pool
    return tab.last.pool if tab is not None and tab.last is not None else pool_of(device)


class _Window:
    """One step under way, from the state `start`; `rows` are what it has billed so far."""

    def __init__(self, start: Billing, readings: Mapping[str, Sequence[Reading]], now_s: float) -> None:
        self.rows: list[DeviceJoules] = []
        self._start, self._readings, self._now_s = start, readings, now_s
        self._tabs, self._claims, self._events = dict(start.tabs), dict(start.claims), dict(start.events)
        self._compared = dict(start.compared)

    def after(self) -> Billing:
        """The state as it is now."""
        return replace(
            self._start,
            tabs=self._tabs,
            claims=self._claims,
            compared=self._compared,
            events=self._events,
            at_s=self._now_s,
        )

    def bill(self, pool: str, devices: Sequence[str]) -> None:
        """Bill a pool from its source, and let its other devices keep pace."""
        news = {device: reading for device in devices if (reading := self._news(device)) is not None}
        moving = {device: reading for device, reading in news.items() if not reading.metered.stale} or news
        source = self._source(pool, devices, moving)
        heard = any(reading.counter.source == source for reading in moving.values())
        first, estimate = len(self.rows), self._beside(source, news)
        for device in devices:
            reading = news.get(device)
            if source is not None and self._source_of(device, reading) == source:
                self._charge(device, reading, pool)
            elif heard or (reading is not None and device not in self._tabs):
                self._keep_pace(device, reading)
        if estimate is not None:
            self._compared[pool] = compared(self._compared.get(pool, Compared()), self.rows[first:], estimate)
        if heard:
            self._claims[pool] = Claim(_best(moving.values()), self._now_s)

    def _beside(self, source: str | None, news: Mapping[str, Reading]) -> Moved | None:
        """What the estimate adds, where one meter tells of it and of the source that is billed, as it did before."""
        if not any(reading.counter.source == STAND_IN for reading in news.values()):
            return None
        told = [(self._tabs.get(d), r) for d, r in news.items() if r.counter.source in (source, STAND_IN)]
        sessions = {reading.session for _, reading in told} | {tab.session for tab, _ in told if tab is not None}
        estimates = [(tab, reading) for tab, reading in told if tab is not None and reading.counter.source == STAND_IN]
        if source in (None, STAND_IN) or len(sessions) != 1 or len(estimates) != 1:
            return None
        return tabs.moved(*estimates[0], self._now_s)[1]

    def _news(self, device: str) -> Reading | None:
        tab = self._tabs.get(device)
        waited = tab is not None and self._now_s - tab.heard_s > PATIENCE_S
        return tabs.picked(tab, self._readings.get(device, ()), waited)

    def _source(self, pool: str, devices: Sequence[str], news: Mapping[str, Reading]) -> str | None:
        """The source that this window is billed from; None while that is open.

        After a restart those that the ledger knows are waited for, since their source was billed before.
        """
        claim = self._claims.get(pool)
        if claim is None:
            return None if not news or self._awaits(set(devices) - news.keys()) else self._goes_on(news)
        heard = any(reading.counter.source == claim.source for reading in news.values())
        if heard or not news or self._now_s - claim.heard_s <= PATIENCE_S:
            return claim.source
        return _best(news.values())

    def _goes_on(self, news: Mapping[str, Reading]) -> str:
        """The best source; but where the ledger says that another one stood in for it, that one up to now."""
        best = _best(news.values())
        known = {device: tab.billed.epoch for device in news if (tab := self._tabs.get(device)) is not None}
        replaced = {news[device].counter.source for device, epoch in known.items() if epoch == REPLACED}
        stood_in = [news[device] for device, epoch in known.items() if epoch != REPLACED]
        return _best(stood_in) if best in replaced and stood_in else best

    def _awaits(self, devices: Iterable[str]) -> bool:
        """Whether one of these is known from the ledger alone, and this controller is young."""
        assert self._start.since_s is not None
        if self._now_s - self._start.since_s > PATIENCE_S:
            return False
        known = [tab for device in devices if (tab := self._tabs.get(device)) is not None]
        return any(tab.last is None and tab.billed.epoch != REPLACED for tab in known)

    def _source_of(self, device: str, reading: Reading | None) -> str | None:
        tab = self._tabs.get(device)
        last = reading or (tab.last if tab is not None else None)
        return None if last is None else last.counter.source

    def _charge(self, device: str, reading: Reading | None, pool: str) -> None:
        """Bill what the device drew, or let it wait where nothing was heard."""
        tab, others = self._tabs.get(device), self._readings.get(device, ())
        if reading is not None:
            if tab is None:
                after, moved = tabs.opened(reading, self._now_s), Moved(0.0, 0.0, False, reading.metered.events)
            else:
                after, moved = tabs.moved(tab, reading, self._now_s)
            self._tabs[device] = tabs.anchored(after, others, anew=True)
            self._count(device, moved.events)
            self.rows.append(self._row_of(reading, moved, pool))
        elif tab is not None and tab.last is not None and self._now_s - tab.heard_s <= LEFT_S:
            passed_s = max(0.0, self._now_s - self._start.at_s)
            self._tabs[device] = tabs.anchored(tabs.waiting(tab, passed_s), others, anew=False)
            silent = self._now_s - tab.heard_s > PATIENCE_S
            quality = _doubted(tab.last.counter.quality, silent)
            self.rows.append(_row(tab.last, Moved(0.0, passed_s, fresh=False, busy_s=0.0), quality))

    def _row_of(self, reading: Reading, moved: Moved, pool: str) -> DeviceJoules:
        """What a reading adds; of an estimate, times what it is worth."""
        ratio = self._compared.get(pool, Compared()).ratio if reading.counter.source == STAND_IN else None
        if ratio is not None:
            return _row(reading, replace(moved, energy_j=moved.energy_j * ratio), Quality.MODELLED)
        doubtful = reading.metered.stale or Event.GAP in moved.events
        return _row(reading, moved, _doubted(reading.counter.quality, doubtful))

    def _keep_pace(self, device: str, reading: Reading | None) -> None:
        """Another source was billed for this window: what this device drew in it is not to be billed any more."""
        if reading is not None:
            opened = tabs.opened(reading, self._now_s)
            self._tabs[device] = tabs.anchored(opened, self._readings.get(device, ()), anew=True)
        elif device in self._tabs:
            self._tabs[device] = tabs.replaced(self._tabs[device])

    def _count(self, device: str, events: Mapping[Event, int]) -> None:
        for event, times in events.items():
            self._events[device, event] = self._events.get((device, event), 0) + times


def _best(readings: Iterable[Reading]) -> str:
    """The source of the best quality, which is that of the best of its devices."""

    def rank(reading: Reading) -> tuple[int, int, str]:
        counter = reading.counter
        place = SOURCES.index(counter.source) if counter.source in SOURCES else len(SOURCES)
        return ORDER[counter.quality], place, counter.source

    return min(readings, key=rank).counter.source


def _doubted(quality: Quality, doubtful: bool) -> Quality:
    return worst((quality, Quality.MODELLED)) if doubtful else quality


def _row(reading: Reading, moved: Moved, quality: Quality) -> DeviceJoules:
    counter = reading.counter
    return DeviceJoules(
        device=reading.device,
        pool=reading.pool,
        node=reading.node,
        host=reading.name,
        kind=counter.kind,
        source=counter.source,
        quality=quality,
        energy_j=moved.energy_j,
        window_s=moved.window_s,
        counter_j=counter.energy_j,
        epoch=counter.epoch,
        fresh=moved.fresh,
        busy_s=moved.busy_s,
    )
