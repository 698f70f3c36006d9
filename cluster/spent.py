"""What has been spent since an hour began: as the ledger has it, and what it lacks yet. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from math import floor

from allocator.limits import HOUR_S
from cluster.spending import Billed, Total

KEPT_S = 2 * 86_400.0
"""Older windows are in no period that runs."""
MOST_PENDING = 1000


@dataclass(frozen=True, slots=True)
class Ledgered:
    """What the ledger has.

    until_s  Unix time at which its newest window ended; 0 where it has none
    hours    of all windows that began in an hour, by the Unix time at which that began
    """

    until_s: float
    hours: Mapping[float, Total] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spent:
    """Windows counted once each, whether they are in the ledger or not: those that ended after its newest are not.

    The ledger is to be asked anew now and then: then what it has got meanwhile need not be kept beside it, and
    whatever was billed otherwise there than windows said (from its own marks, after it was replaced) is right again.

    pending  windows that ended after the ledger's newest, in order
    from_s   Unix time from which on windows were counted; None before the first
    """

    ledgered: Ledgered | None = None
    pending: tuple[Billed, ...] = ()
    from_s: float | None = None

    def seen(self, billed: Billed) -> "Spent":
        """With one more window."""
        from_s = billed.began_s if self.from_s is None else self.from_s
        pending = self.pending
        if self.ledgered is None or billed.end_s > self.ledgered.until_s:
            pending = (*self._young(billed.end_s), billed)
        return replace(self, pending=pending if len(pending) <= MOST_PENDING else _by_hour(pending), from_s=from_s)

    def told(self, ledgered: Ledgered) -> "Spent":
        """With what the ledger has now. One that was moved aside has told of hours that its successor knows less of."""
        before = {} if self.ledgered is None else self.ledgered.hours
        since_s = ledgered.until_s - KEPT_S
        older = {at_s: total for at_s, total in before.items() if at_s >= since_s}
        hours = {**older, **ledgered.hours}
        hours = {at_s: _more(total, older.get(at_s, Total())) for at_s, total in hours.items()}
        pending = tuple(one for one in self.pending if one.end_s > ledgered.until_s)
        return replace(self, ledgered=replace(ledgered, hours=hours), pending=pending)

    def knows(self, start_s: float) -> bool:
        """Whether all is known that was spent since then: by the ledger, or because it was counted from before on."""
        return self.ledgered is not None or (self.from_s is not None and self.from_s <= start_s)

    def within(self, start_s: float, end_s: float) -> Total:
        """Of all windows that began from one Unix time to before another, at both of which an hour begins, as far as is
        known. Hours that lie ahead hold what was counted while the clock was wrong."""
        hours = {} if self.ledgered is None else self.ledgered.hours
        found = [total for hour_s, total in hours.items() if start_s <= hour_s < end_s]
        found += [one.total for one in self.pending if start_s <= one.began_s < end_s]
        return reduce(Total.__add__, found, Total())

    def _young(self, now_s: float) -> tuple[Billed, ...]:
        if not self.pending or self.pending[0].began_s >= now_s - KEPT_S:
            return self.pending
        return tuple(one for one in self.pending if one.began_s >= now_s - KEPT_S)


def _more(one: Total, other: Total) -> Total:
    return max(one, other, key=lambda total: total.joules)


def _by_hour(pending: Iterable[Billed]) -> tuple[Billed, ...]:
    """The windows of each hour as one, for a ledger that is out of reach for long."""
    found: dict[int, Billed] = {}
    for one in pending:
        hour = floor(one.began_s / HOUR_S)
        known = found.get(hour)
        found[hour] = one if known is None else Billed(known.began_s, one.end_s, known.total + one.total)
    return tuple(found.values())
