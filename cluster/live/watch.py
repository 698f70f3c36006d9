"""Watches windows for what is wrong or worth knowing, over several of them where one tells nothing. No Ray here."""

from collections.abc import Sequence

from allocator.joules import Quality
from cluster.accountant import Closed
from cluster.live.moment import Moment
from cluster.live.notes import Note, note, worst_first
from cluster.power.base import Refusal
from cluster.snapshot import Standing

EXCEEDED, EXCEEDED_WINDOWS = 1.05, 5
"""A limit is told as exceeded once spend was so many times it in so many windows in a row: one above it is noise."""
DEGRADED_SHARE = 0.01
LOST_S = 10.0, 600.0
"""A meter that has told nothing for so long is lost; for longer than the second, it was taken away."""
ESTIMATE = "estimate"
"""The source of devices that no meter reads."""


class Watch:
    """Remembers what can only be told over several windows. Used from one event loop."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._measured_s: dict[str, float] = {}
        self._above: dict[str, int] = {}

    def see(self, moment: Moment, closed: Closed | None) -> None:
        """A window has ended, with these books."""
        self._now_s = self._now_s if closed is None else moment.time_s  # books that are late tell of no meter
        for device in () if closed is None else closed.devices:
            if device.fresh and device.quality is Quality.MEASURED:
                self._measured_s[device.device] = moment.time_s
        oldest_s = moment.time_s - LOST_S[1]
        self._measured_s = {name: at_s for name, at_s in self._measured_s.items() if at_s > oldest_s}
        self._above = {one.name: self._above.get(one.name, 0) + 1 for one in moment.standings if _above(one)}

    @property
    def lost(self) -> list[str]:
        """Devices that a meter has read, and reads no more."""
        return sorted(name for name, at_s in self._measured_s.items() if self._now_s - at_s > LOST_S[0])

    def notes(self, recent: Sequence[Moment], closed: Closed | None) -> list[Note]:
        """All of them, the worst first.

        recent  the last windows, one at least, the newest last
        """
        found = [] if closed is None else self._of_books(closed)
        for standing in recent[-1].standings:
            found += _of_limit(standing, self._above.get(standing.name, 0))
        found += _degraded(recent)
        return worst_first(found)

    def _of_books(self, closed: Closed) -> list[Note]:
        found: list[Note] = []
        if closed.ledger_error is not None:
            said = f"The ledger cannot be written ({closed.ledger_error}); meters hold what it lacks: mend that."
            found.append(note("error", "ledger", said))
        estimated = sorted(device.device for device in closed.devices if device.source == ESTIMATE)
        if lost := self.lost:
            said = f"{_listed(lost)}: no meter tells of it any more, and what stands in for it is modelled. "
            found.append(note("error", "sensor_lost", said + _remedy(closed.refusals, lost[0])))
        elif estimated:
            said = f"{_listed(estimated)}: no meter reads it, and its power is an estimate. "
            found.append(note("info", "estimated", said + _remedy(closed.refusals)))
        return found


def _above(one: Standing) -> bool:
    return one.limited and one.spend > EXCEEDED * one.limit


def _of_limit(one: Standing, windows_above: int) -> list[Note]:
    if not one.limited:
        return []
    stated = f"The limit {one.name} of {one.limit:g} {one.unit}"
    if not one.reachable:
        said = f"{stated} cannot be held by any choice of chains ({one.spend:.4g} {one.unit} now): raise it, or spread "
        return [note("warning", "limit_unreachable", said + "the load over fewer or thriftier machines.")]
    if windows_above >= EXCEEDED_WINDOWS:
        said = f"{stated} is exceeded ({one.spend:.4g} {one.unit}) in {windows_above} windows in a row: if prices "
        rest = "do not mend that in a minute, look for other programs there, and for requests that name their chain."
        return [note("warning", "limit_exceeded", said + rest)]
    return []


def _degraded(recent: Sequence[Moment]) -> list[Note]:
    sums: dict[str, float] = {}
    for moment in recent:
        for reason, per_s in moment.degraded_per_s.items():
            sums[reason] = sums.get(reason, 0.0) + per_s * moment.window_s
    requests = sum(moment.requests_per_s * moment.window_s for moment in recent)
    share = sum(sums.values()) / max(requests, sum(sums.values()), 1e-9)
    if share <= DEGRADED_SHARE:
        return []
    reasons = ", ".join(sorted(reason for reason, count in sums.items() if count > 0))
    said = f"{100 * share:.3g}% of the requests are answered less well than decided, or not at all ({reasons}): "
    return [note("warning", "degraded", said + "`greenflow status` shows which replicas are missing.")]


def _remedy(refusals: Sequence[Refusal], device: str = "") -> str:
    """Of what is not read, the first that something can be done about: of that device, else of the processors, which
    every machine has."""
    known = [one for one in refusals if one.remedy]
    for one in sorted(known, key=lambda one: (not (device and one.what in device and one.what), one.sensor != "rapl")):
        return f"{one.sensor}: {one.problem}: {one.remedy}."
    return "`greenflow doctor` says what is missing."


def _listed(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
