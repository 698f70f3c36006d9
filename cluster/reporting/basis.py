"""What a report rests on: sensors, what was served, who changed limits, and what is missing."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from allocator.joules import Quality
from cluster.ledger.changes import newest_changes
from cluster.ledger.marks import state_of
from cluster.ledger.read import Period, devices_by, traffic_by
from cluster.limits.stated import said
from cluster.reporting.model import Basis, LimitChanged, Sensor, ServedTerm
from cluster.reporting.since import iso
from cluster.served import SERVED, Served, restored, software

MOST_CHANGES = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """Unix times that were named, None for no bound; and that of the asking."""

    since_s: float | None
    until_s: float | None
    now_s: float


def basis_of(db: sqlite3.Connection, period: Period, asked: Asked) -> Basis:
    """Of the part of the ledger that the period is."""
    return Basis(
        made=iso(asked.now_s),
        software=software(),
        asked_since=None if asked.since_s is None else iso(asked.since_s),
        asked_until=None if asked.until_s is None else iso(asked.until_s),
        missing_s=_missing_s(db, period, asked),
        sensors=_sensors(db, period),
        served=_served(db, period),
        limit_changes=_changes(db, period),
    )


def _missing_s(db: sqlite3.Connection, period: Period, asked: Asked) -> float:
    """What lies ahead is not missing. Nor is what the first and the last total lack, of which nobody knows whether the
    account had begun, or has ended."""
    totals = traffic_by(db, period, "t.start_s")
    first_s, last_s, length_s = int(min(totals)), int(max(totals)), period.length_s
    between = range(first_s + length_s, last_s, length_s)
    gaps_s = sum(max(0.0, length_s - (totals[at].covered_s if at in totals else 0.0)) for at in between)
    before_s = 0.0 if asked.since_s is None else max(0.0, first_s - asked.since_s)
    after_s = 0.0 if asked.until_s is None else max(0.0, min(asked.until_s, asked.now_s) - last_s - length_s)
    return gaps_s + before_s + after_s


def _sensors(db: sqlite3.Connection, period: Period) -> list[Sensor]:
    drawn = devices_by(db, period, "n.source", "n.kind", "t.quality", "n.device", "n.host")
    whole_j = sum(amount.energy_j for amount in drawn.values())
    found: dict[tuple[str, str, str], tuple[set[str], set[str], float]] = {}
    for (source, kind, quality, device, host), amount in drawn.items():
        key = str(source), str(kind), str(quality)
        devices, hosts, energy_j = found.get(key, (set(), set(), 0.0))
        found[key] = devices | {str(device)}, hosts | {str(host)}, energy_j + amount.energy_j
    return [
        Sensor(
            source=source,
            kind=kind,
            quality=Quality(quality),
            devices=len(devices),
            hosts=len(hosts),
            energy_j=energy_j,
            share=energy_j / whole_j if whole_j else 0.0,
        )
        for (source, kind, quality), (devices, hosts, energy_j) in sorted(found.items(), key=lambda one: -one[1][2])
    ]


def _served(db: sqlite3.Connection, period: Period) -> list[ServedTerm]:
    kept = state_of(db, SERVED)
    return [_term(one) for one in within(() if kept is None else restored(kept.value), period)]


def within(terms: Sequence[Served], period: Period) -> Sequence[Served]:
    """The terms that were under way in the period."""
    ends = [*(term.since_s for term in terms[1:]), float("inf")]
    return [t for t, end_s in zip(terms, ends, strict=False) if t.since_s < period.until_s and end_s > period.since_s]


def _term(one: Served) -> ServedTerm:
    return ServedTerm(
        since=iso(one.since_s),
        software=one.software,
        cascade=one.cascade,
        sha256=one.sha256,
        holdback=one.holdback,
        carbon=one.carbon,
    )


def _changes(db: sqlite3.Connection, period: Period) -> list[LimitChanged]:
    of_then = [c for c in newest_changes(db, MOST_CHANGES) if period.since_s <= c.at_s < period.until_s]
    return [
        LimitChanged(
            at=iso(change.at_s),
            author=change.author,
            name=change.name,
            before=None if change.before is None else said(change.before),
            after=None if change.after is None else said(change.after),
        )
        for change in reversed(of_then)
    ]
