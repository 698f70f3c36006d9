"""Up to where one device is billed, and what a new reading of it adds. Pure.

A device may be read by several meters: by those of all Ray nodes on its host, and by one after another. So what is
billed is how far the device's own counter has moved since the bill before, whoever tells. Where one meter tells of all
of that time, it says so itself, and knows of wraps in between.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cluster.ledger.marks import Mark
from cluster.power import unwrap
from cluster.power.meter import Events
from cluster.power.names import Reading
from cluster.power.unwrap import Event, UnwrapState

REPLACED = "replaced"
"""The epoch of a device in whose stead another one was billed: no counter of its own can be compared with it."""


@dataclass(frozen=True, slots=True)
class Tab:
    """What is open with a device.

    billed    up to where its counter is billed, and on which `host` (its boot id)
    session   of the meter that told, and what that meter knew by then: `energy_j` and `events`
    anchors   what other meters that told of it at the same time knew: their sessions, and these sessions' joules
    last      the reading that was taken in last; None where only the ledger remembers the device
    told_s    until when, on the host's clock, windows are accounted for
    heard_s   Unix time when `last` was heard
    """

    billed: UnwrapState
    host: str
    session: str
    energy_j: float
    events: Events
    anchors: Mapping[str, float]
    last: Reading | None
    told_s: float
    heard_s: float


@dataclass(frozen=True, slots=True)
class Moved:
    """What a reading adds to a tab. Not `fresh` where nothing is known of the window yet.

    busy_s  seconds that the host's processors worked since the reading before; None where nobody knows
    """

    energy_j: float
    window_s: float
    fresh: bool
    events: Events = field(default_factory=dict)
    busy_s: float | None = None


def opened(reading: Reading, now_s: float) -> Tab:
    """The tab of a device whose counter is billed up to this reading."""
    known = (reading.session, reading.metered.energy_j, reading.metered.events)
    return Tab(unwrap.init(reading.counter), reading.boot, *known, {}, reading, reading.at_s, now_s)


def resumed(mark: Mark) -> Tab:
    """The tab as the ledger remembers it."""
    billed = UnwrapState(mark.counter_j, mark.at_s, mark.epoch)
    return Tab(billed, mark.host, "", 0.0, {}, {}, None, mark.at_s, mark.unix_s)


def marked(device: str, tab: Tab) -> Mark:
    """What the ledger has to remember of it."""
    return Mark(device, tab.host, tab.billed.epoch, tab.billed.counter_j, tab.billed.at_s, tab.heard_s)


def picked(tab: Tab | None, readings: Sequence[Reading], waited: bool) -> Reading | None:
    """The reading to go on with, None without news.

    That is the newest of the meter that told last, else the newest of another whose counter can be compared with what
    is billed. Others are taken when the first meter has been `waited` for.
    """
    news = [r for r in readings if tab is None or _is_news(tab, r)]
    if len(news) > 1:
        news.sort(key=lambda r: r.at_s)
    if tab is None or not news:
        return news[-1] if news else None
    same = [r for r in news if r.session == tab.session]
    comparable = same or [r for r in news if r.counter.epoch == tab.billed.epoch]
    if comparable:
        return comparable[-1]
    return news[-1] if waited or tab.last is None else None


def _is_news(tab: Tab, reading: Reading) -> bool:
    seen_s = tab.billed.at_s if tab.last is None else tab.last.at_s
    return reading.boot != tab.host or reading.at_s > seen_s


def moved(tab: Tab, reading: Reading, now_s: float) -> tuple[Tab, Moved]:
    """The tab after a reading that is news is billed, and what it comes to."""
    energy_j, event = _drawn(tab, reading)
    known = tab.events if reading.session == tab.session else reading.metered.events if tab.last is None else {}
    events = {kind: n - known.get(kind, 0) for kind, n in reading.metered.events.items() if n > known.get(kind, 0)}
    if event is not None:
        events[event] = events.get(event, 0) + 1
    passed_s = reading.at_s - tab.told_s if reading.boot == tab.host else now_s - tab.heard_s
    fresh = energy_j > 0 or (event is None and reading.metered.fresh)
    after = opened(reading, now_s)
    if reading.boot == tab.host and tab.told_s > after.told_s:
        after = replace(after, told_s=tab.told_s)
    if (after.billed.counter_j, after.billed.epoch) == (tab.billed.counter_j, tab.billed.epoch) and energy_j == 0:
        after = replace(after, billed=tab.billed)  # since then it may have been waiting for its update
    return after, Moved(max(0.0, energy_j), max(0.0, passed_s), fresh, events, _busy(tab, reading))


def _busy(tab: Tab, reading: Reading) -> float | None:
    if tab.last is None or reading.boot != tab.host:
        return None
    before_s, now_s = tab.last.metered.busy_s, reading.metered.busy_s
    return None if before_s is None or now_s is None else max(0.0, now_s - before_s)


def _drawn(tab: Tab, reading: Reading) -> tuple[float, Event | None]:
    """Joules since the tab was billed last, and what happened to the counter in so far as the meter cannot know."""
    metered = reading.metered
    if reading.session == tab.session:
        return metered.energy_j - tab.energy_j, None
    if reading.counter.epoch != tab.billed.epoch:
        return metered.energy_j - tab.anchors.get(reading.session, metered.energy_j), Event.EPOCH
    if metered.first.at_s > tab.billed.at_s:
        _, step = unwrap.step(tab.billed, metered.first)
        return step.energy_j + metered.energy_j - metered.before_j, step.event
    _, step = unwrap.step(tab.billed, reading.counter)
    return step.energy_j, step.event


def anchored(tab: Tab, readings: Sequence[Reading], anew: bool) -> Tab:
    """The tab with what other meters know by now.

    anew  the tab has just been billed; else only meters that were not known are noted
    """
    heard = {r.session: r.metered.energy_j for r in readings if r.session != tab.session}
    anchors = heard if anew else {**heard, **tab.anchors}
    return tab if anchors == tab.anchors else replace(tab, anchors=anchors)


def waiting(tab: Tab, passed_s: float) -> Tab:
    """The tab after a window in which nothing was heard of the device."""
    return replace(tab, told_s=tab.told_s + passed_s)


def replaced(tab: Tab) -> Tab:
    """The tab after a window in which nothing was heard of the device, and another one was billed in its stead."""
    return replace(tab, billed=replace(tab.billed, epoch=REPLACED), session="", anchors={})
