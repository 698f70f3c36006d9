"""One Ray node's meter: reads its sensors, and adds up each device's joules since the meter began. No Ray here."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cluster.power import unwrap
from cluster.power.base import Counter, PowerSensor, Refusal
from cluster.power.unwrap import Event, UnwrapState
from models.errors import SensorLost

STALE_S = 10.0
"""A counter that stands still for so long seems broken: no device draws nothing."""
LONGEST_POLL_S = 60.0

Events = Mapping[Event, int]
_UNCOMPARABLE = (Event.EPOCH, Event.RESET, Event.JUMP)


@dataclass(frozen=True, slots=True)
class HostId:
    """A machine: its boot id, which is the same in all of its containers, and what people call it."""

    boot: str
    name: str


@dataclass(frozen=True, slots=True)
class Metered:
    """One device, as of its last reading.

    counter   that reading, and `busy_s` for how long the host's processors have worked by then, all of them added up,
              since it booted; None where that is not what the device's joules go with
    first     the reading that it is compared with all along: the session's first, or the first after a reset
    energy_j  joules since the session began, and `before_j` those of them from before `first`
    power_w   between the last two readings that moved the counter; None before there are two
    fresh     False while the counter waits for an update, is stale, or is lost
    stale     the counter stands still, as none does that works
    events    how often each has happened since then too
    """

    counter: Counter
    first: Counter
    energy_j: float = 0.0
    before_j: float = 0.0
    power_w: float | None = None
    fresh: bool = False
    events: Events = field(default_factory=dict)
    busy_s: float | None = None
    stale: bool = False


@dataclass(frozen=True, slots=True)
class MeterReport:
    """What a meter knows: cumulative, so one that is lost loses nothing and one that comes twice bills nothing twice.

    node      Ray node that it runs on
    session   unique for each life of a meter; `energy_j` of two sessions cannot be subtracted
    refusals  what is there but not read, and why
    """

    node: str
    host: HostId
    session: str
    devices: tuple[Metered, ...]
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Track:
    """A device with what it takes to go on.

    state    of its counter
    moved_s  when, on the host's clock, it was last seen to move
    """

    metered: Metered
    state: UnwrapState
    moved_s: float
    lost: bool = False


def begun(counter: Counter, busy_s: float | None = None) -> Track:
    """A device that is read for the first time."""
    return Track(Metered(counter, counter, busy_s=busy_s), unwrap.init(counter), counter.at_s)


def read(track: Track, counter: Counter, busy_s: float | None = None) -> Track:
    """The device after another reading."""
    before = track.metered
    state, step = unwrap.step(track.state, counter)
    moved_s = counter.at_s if step.energy_j > 0 or step.event else track.moved_s
    stale = counter.at_s - moved_s >= STALE_S
    events = [step.event] if step.event else []
    if stale and not before.stale:
        events.append(Event.STALE)
    energy_j = before.energy_j + step.energy_j
    anew = step.event in _UNCOMPARABLE
    metered = Metered(
        counter=counter,
        first=counter if anew else before.first,
        energy_j=energy_j,
        before_j=energy_j if anew else before.before_j,
        power_w=step.energy_j / step.span_s if step.fresh else before.power_w,
        fresh=step.fresh and not stale,
        events=counted(before.events, events),
        busy_s=busy_s,
        stale=stale,
    )
    return Track(metered, state, moved_s)


def lost(track: Track) -> Track:
    """The device after an attempt to read it that failed."""
    if track.lost:
        return track
    metered = replace(track.metered, fresh=False, power_w=None, events=counted(track.metered.events, [Event.LOST]))
    return replace(track, metered=metered, lost=True)


def counted(events: Events, more: Sequence[Event]) -> Events:
    """The counts with these added."""
    return events if not more else {**events, **{event: events.get(event, 0) + more.count(event) for event in more}}


class Meter:
    """Reads sensors and remembers. Used from one thread.

    refusals  of sensors that could not be opened
    busy_s    for how long the host's processors have worked since it booted, all of them added up; it may raise OSError
              or ValueError, and nobody knows then
    """

    def __init__(
        self,
        node: str,
        host: HostId,
        session: str,
        sensors: Sequence[PowerSensor],
        refusals: tuple[Refusal, ...] = (),
        busy_s: Callable[[], float] | None = None,
    ) -> None:
        self._busy_s = busy_s
        self._node, self._host, self._session = node, host, session
        self._sensors, self._refusals = tuple(sensors), refusals
        self._lost: dict[str, Refusal] = {}
        self._tracks: dict[str, dict[str, Track]] = {sensor.name: {} for sensor in self._sensors}

    @property
    def poll_s(self) -> float:
        """Most seconds between two polls, so that no counter wraps unseen."""
        return min([LONGEST_POLL_S, *(sensor.poll_s for sensor in self._sensors)])

    def poll(self) -> None:
        """Read every sensor once."""
        for sensor in self._sensors:
            tracks = self._tracks[sensor.name]
            counters = {counter.device: counter for counter in self._read(sensor)}
            busy_s = self._busy() if any(_of_host(counter) for counter in counters.values()) else None
            for device in tracks.keys() - counters.keys():
                tracks[device] = lost(tracks[device])
            for device, counter in counters.items():
                told_s = busy_s if _of_host(counter) else None
                known = tracks.get(device)
                tracks[device] = begun(counter, told_s) if known is None else read(known, counter, told_s)

    def report(self) -> MeterReport:
        """What is known, as of the last poll."""
        devices = tuple(track.metered for tracks in self._tracks.values() for track in tracks.values())
        refusals = [refusal for sensor in self._sensors for refusal in sensor.refusals]
        refusals += self._lost.values()
        return MeterReport(self._node, self._host, self._session, devices, (*self._refusals, *refusals))

    def close(self) -> None:
        """Close the sensors. No poll after it."""
        for sensor in self._sensors:
            sensor.close()

    def _busy(self) -> float | None:
        try:
            return None if self._busy_s is None else self._busy_s()
        except (OSError, ValueError):
            return None

    def _read(self, sensor: PowerSensor) -> tuple[Counter, ...]:
        try:
            counters = sensor.read()
        except SensorLost as error:
            problem = f"it cannot be read any more: {error}"
            self._lost[sensor.name] = Refusal(sensor.name, "", problem, "it is read again as soon as it answers")
            return ()
        self._lost.pop(sensor.name, None)
        return tuple(counter for counter in counters if math.isfinite(counter.energy_j))


def _of_host(counter: Counter) -> bool:
    """Whether its joules are those of this host's processors now, rather than a GPU's, or of a recording."""
    return counter.pool == "cpu" and counter.source != "replay"
