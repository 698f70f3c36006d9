"""Says in the log what the controller notices from window to window: once when it begins, once when it is over. No Ray
here."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from allocator.energy.windows import Name
from allocator.joules import Quality
from cluster.accountant import Closed
from cluster.events import Event, happened
from cluster.power.base import Refusal
from cluster.snapshot import Standing

CALM_S = 10.0
"""Degraded answers are over when none was counted for so long."""
UNREAD_S = 12.0
"""A device that was measured is lost when nothing fresh came of it for so long: some counters are slow."""
START_S = 30.0
MOST_DEVICES = 10_000
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Episode:
    """Degraded answers for one reason: since when, the newest, and how many."""

    since_s: float
    newest_s: float
    answers: int


class Noticing:
    """Used from one event loop. Tells a bounded number of lines, whatever requests do.

    clock  seconds that only grow
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._began_s = clock, clock()
        self._away: frozenset[Name] = frozenset()
        self._beyond: set[str] = set()
        self._degraded: dict[str, int] = {}
        self._episodes: dict[str, Episode] = {}
        self._sensors, self._fresh = _Sensors(), False

    def away(self, away: frozenset[Name]) -> None:
        """The variants without a replica now. While replicas start one after another nothing is said of them."""
        if self._clock() - self._began_s < START_S:
            return
        for stage, variant in sorted(away - self._away):
            text = "no replica of %s/%s is there: its chains leave the choice"
            happened(logger, Event.VARIANT_LOST, text, stage, variant)
        for stage, variant in sorted(self._away - away):
            happened(logger, Event.VARIANT_BACK, "%s/%s is there", stage, variant)
        self._away = away

    def ticked(self, standings: Sequence[Standing], degraded: Mapping[str, int], closed: Closed | None) -> None:
        """A tick has ended. `degraded` is what was counted so far, by reason; `closed` None where no books were."""
        self._reach(standings)
        for reason, times in degraded.items():
            self._counted(reason, times - self._degraded.get(reason, 0))
        self._degraded = dict(degraded)
        self._calm()
        if closed is not None:
            self._sensors.look(closed, self._clock())
            self._grid(closed)

    def _reach(self, standings: Sequence[Standing]) -> None:
        beyond = {one.name: one for one in standings if one.limited and not one.reachable}
        for name in sorted(beyond.keys() - self._beyond):
            text = "limit %s of %g %s: even the cheapest chains, with what runs idle, exceed it"
            happened(logger, Event.LIMIT_OUT_OF_REACH, text, name, beyond[name].limit, beyond[name].unit)
        for name in sorted(self._beyond & {one.name for one in standings} - beyond.keys()):
            happened(logger, Event.LIMIT_IN_REACH, "limit %s can be kept", name)
        self._beyond = set(beyond)

    def _counted(self, reason: str, answers: int) -> None:
        now_s = self._clock()
        if answers <= 0:
            return
        if (episode := self._episodes.get(reason)) is None:
            happened(logger, Event.DEGRADED_BEGAN, "%s: %d in a window", reason, answers)
            self._episodes[reason] = Episode(now_s, now_s, answers)
        else:
            episode.newest_s, episode.answers = now_s, episode.answers + answers

    def _calm(self) -> None:
        now_s = self._clock()
        over = [reason for reason, one in self._episodes.items() if now_s - one.newest_s >= CALM_S]
        for reason in over:
            one = self._episodes.pop(reason)
            happened(logger, Event.DEGRADED_ENDED, "%s: %d in %.0f s", reason, one.answers, one.newest_s - one.since_s)

    def _grid(self, closed: Closed) -> None:
        """Only what was fresh once can turn stale: where nobody states an intensity there is nothing to say."""
        intensity = closed.intensity
        fresh = intensity is not None and not intensity.stale
        if fresh and not self._fresh:
            assert intensity is not None
            happened(logger, Event.INTENSITY_FRESH, "%g g/kWh from %s", intensity.g_per_kwh, intensity.source)
        elif self._fresh and not fresh:
            happened(logger, Event.INTENSITY_STALE, "the grid's intensity is not told any more; the last figure stays")
        self._fresh = fresh


class _Sensors:
    """Which devices were measured, and what is said of those that are not any more."""

    def __init__(self) -> None:
        self._measured_s: dict[str, float] = {}
        self._lost: set[str] = set()
        self._absent: set[tuple[str, str]] = set()

    def look(self, closed: Closed, now_s: float) -> None:
        fresh = {one.device for one in closed.devices if one.quality is Quality.MEASURED and one.fresh}
        if len(self._measured_s) < MOST_DEVICES:
            self._measured_s.update(dict.fromkeys(fresh, now_s))
        for device in sorted(self._lost & fresh):
            happened(logger, Event.SENSOR_BACK, "%s is measured again", device)
        self._lost -= fresh
        silent = {device for device, at_s in self._measured_s.items() if now_s - at_s >= UNREAD_S}
        for device in sorted(silent - self._lost):
            why = "; ".join(_said(one) for one in closed.refusals if _is_about(one, device))
            happened(logger, Event.SENSOR_LOST, "%s is not measured any more%s", device, f": {why}" if why else "")
        self._lost |= silent
        self._tell_absent(closed.refusals)

    def _tell_absent(self, refusals: Collection[Refusal]) -> None:
        for one in refusals:
            known = (one.sensor, one.what)
            if known not in self._absent and len(self._absent) < MOST_DEVICES:
                self._absent.add(known)
                what = f" {one.what}" if one.what else ""
                happened(logger, Event.SENSOR_ABSENT, "%s%s: %s", one.sensor, what, _said(one))


def _is_about(refusal: Refusal, device: str) -> bool:
    return bool(refusal.what) and refusal.what in device


def _said(refusal: Refusal) -> str:
    return "; ".join(part for part in (refusal.problem, refusal.remedy) if part)
