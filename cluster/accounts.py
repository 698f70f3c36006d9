"""What replicas counted, and what of it is new: the books that the controller keeps. Pure; no Ray here.

Counters are cumulative, so a report that is lost loses nothing (the next one holds all of it) and one that comes twice
bills nothing twice. A replica also states what the last answered report held: that is where a controller begins that
does not know the replica, for example one that has just been restarted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from allocator.choice import Floats, Ints
from allocator.energy.windows import Name
from cluster.metrics import NO_ENERGIES
from cluster.took import none_took
from cluster.work import NO_WORK, WorkCounts, work_since, work_sum

FRESH_WINDOWS = 2.0
FORGET_S = 3600.0
MOST_ROWS = 512
"""Reward rows that a window's sample holds: more tell prices little more, and with many replicas take their time."""


@dataclass(frozen=True, slots=True, eq=False)
class Totals:
    """What one replica has counted since it began.

    at_s      when, on the replica's own monotonic clock
    executed  (J,) requests that ran each chain, whoever chose it
    decided   requests that a policy gave a chain
    handed    items that recommendations held
    work      what its variants did, and what was done around them
    degraded  requests that were answered less well than decided, or not at all, by reason
    deciding_s  seconds of processor time that decisions took
    predicted  reward of the requests that a policy gave a chain
    took      how many answers took how long, as `cluster.took` counts them
    energies  requests whose joules are known, by the bucket of `cluster.metrics.ENERGY_BOUNDS` that these lie in
    unpriced  (J,) of the executed those whose chain no policy chose: held back, named, or while nobody could decide.
              None where there are none
    """

    at_s: float
    executed: Ints
    decided: int
    handed: int = 0
    work: WorkCounts = field(default_factory=dict)
    degraded: Mapping[str, int] = field(default_factory=dict)
    deciding_s: float = 0.0
    predicted: float = 0.0
    took: Ints = field(default_factory=none_took)
    energies: Ints = field(default_factory=NO_ENERGIES.copy)
    unpriced: Ints | None = None

    @classmethod
    def none(cls, at_s: float, chains: int) -> "Totals":
        """What a replica has counted that begins at `at_s`."""
        return cls(at_s, np.zeros(chains, np.int64), 0)


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What a replica tells the controller once a window.

    replica  unique for each life of a replica
    totals   what it has counted
    acked    what it had counted in the last report that was answered; at first, nothing
    rewards  (S, J) predicted rewards of a uniform sample of what it decided since its last report, in random order
    version  of the policy that it holds, 0 without any, and that policy's prices (M,)
    serves   the variants that others reach by it
    absent   of those that it sends requests to, the ones of which it knows no replica; None where it sends none
    reward_model  what predicted `rewards`; "" where nothing did
    """

    replica: str
    totals: Totals
    acked: Totals
    rewards: NDArray[np.float32]
    version: int
    prices: Floats
    serves: tuple[Name, ...] = ()
    absent: tuple[Name, ...] | None = None
    reward_model: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """What all replicas together did in a window.

    executed_per_s  (J,) requests a second that ran each chain
    decided_per_s   requests a second that a policy gave a chain
    rewards         (S, J) predicted rewards of a uniform sample of those
    unpriced_per_s  (J,) of the executed those whose chain no policy chose
    """

    executed_per_s: Floats
    decided_per_s: float
    rewards: NDArray[np.float32]
    unpriced_per_s: Floats | float = 0.0

    @classmethod
    def none(cls, chains: int) -> "Window":
        """One in which nobody did anything."""
        return cls(np.zeros(chains), 0.0, np.empty((0, chains), np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class _Rate:
    """Requests a second: executed (J,), decided, and unpriced (J,)."""

    executed: Floats
    decided: float
    unpriced: Floats | float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """One replica in the books.

    totals    the newest heard
    closed    those with which the last window that heard of it was closed
    rate      requests a second between the two before; None before the first
    rewards   of the newest report, until a window has used them
    heard_s   when it was heard last, on the controller's monotonic clock
    """

    totals: Totals
    closed: Totals
    rate: _Rate | None
    rewards: NDArray[np.float32]
    heard_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Books:
    """All accounts, and what all replicas did since the books were opened, those gone included.

    billed    (J,) requests that ran each chain
    handed    items that recommendations held
    work      what variants did
    degraded  requests that were answered less well than decided, or not at all, by reason
    deciding_s  seconds of processor time that decisions took
    predicted  reward of the requests that a policy gave a chain
    took      how many answers took how long, as `cluster.took` counts them
    energies  requests by what they took, as `Totals.energies`
    """

    billed: Ints
    accounts: Mapping[str, Account] = field(default_factory=dict)
    handed: int = 0
    work: WorkCounts = field(default_factory=lambda: NO_WORK)
    degraded: Mapping[str, int] = field(default_factory=dict)
    deciding_s: float = 0.0
    predicted: float = 0.0
    took: Ints = field(default_factory=none_took)
    energies: Ints = field(default_factory=NO_ENERGIES.copy)


def opened(chains: int) -> Books:
    """Books of a chain space of that size in which nothing is written yet."""
    return Books(np.zeros(chains, np.int64))


def heard(books: Books, report: Report, now_s: float) -> Books:
    """The books after a report. One that is not newer than what is known changes nothing."""
    known = books.accounts.get(report.replica)
    base = report.acked if known is None else known.totals
    if report.totals.at_s <= base.at_s and known is not None:
        return books
    new = np.maximum(report.totals.executed - base.executed, 0)
    handed = max(0, report.totals.handed - base.handed)
    work = work_sum(books.work, work_since(report.totals.work, base.work))
    if known is None:
        account = Account(report.totals, base, None, report.rewards, now_s)
    else:
        account = replace(known, totals=report.totals, rewards=report.rewards, heard_s=now_s)
    accounts = {**books.accounts, report.replica: account}
    degraded = {**books.degraded}
    for reason, times in report.totals.degraded.items():
        degraded[reason] = degraded.get(reason, 0) + max(0, times - base.degraded.get(reason, 0))
    return Books(
        books.billed + new,
        accounts,
        books.handed + handed,
        work,
        degraded,
        deciding_s=books.deciding_s + max(0.0, report.totals.deciding_s - base.deciding_s),
        predicted=books.predicted + report.totals.predicted - base.predicted,
        energies=books.energies + np.maximum(report.totals.energies - base.energies, 0),
        took=books.took + np.maximum(report.totals.took - base.took, 0),
    )


def without_rewards(books: Books) -> Books:
    """The books without any sample of rewards, for another model predicts them from now on."""
    accounts = {name: replace(account, rewards=account.rewards[:0]) for name, account in books.accounts.items()}
    return replace(books, accounts=accounts)


def closed(books: Books, now_s: float, window_s: float) -> tuple[Window, Books]:
    """The window that ends now, and the books in which it is closed.

    Spend is counted per second of the replica's own clock, so a report that covers two windows makes no peak, and a
    replica whose report is late counts on at its last rate for one window more. One that stays silent counts nothing.
    """
    accounts = {
        name: _closed(account) for name, account in books.accounts.items() if now_s - account.heard_s < FORGET_S
    }
    counted = [
        (account, books.accounts[name].rewards)
        for name, account in accounts.items()
        if account.rate is not None and now_s - account.heard_s <= FRESH_WINDOWS * window_s
    ]
    executed, unpriced = np.zeros((2, len(books.billed)))
    decided = 0.0
    for account, _ in counted:
        assert account.rate is not None
        executed += account.rate.executed
        decided += account.rate.decided
        unpriced += account.rate.unpriced
    window = Window(executed, decided, _sample(counted, len(books.billed)), unpriced)
    return window, replace(books, accounts=accounts)


def _closed(account: Account) -> Account:
    span_s = account.totals.at_s - account.closed.at_s
    if span_s <= 0:
        return account
    rate = _rate(account.closed, account.totals, span_s)
    return replace(account, closed=account.totals, rate=rate, rewards=account.rewards[:0])


def _rate(before: Totals, now: Totals, span_s: float) -> _Rate:
    executed = np.maximum(now.executed - before.executed, 0) / span_s
    decided = max(now.decided - before.decided, 0) / span_s
    if now.unpriced is None:
        return _Rate(executed, decided)
    unpriced = np.maximum(now.unpriced - (0 if before.unpriced is None else before.unpriced), 0) / span_s
    return _Rate(executed, decided, unpriced)


def _sample(counted: list[tuple[Account, NDArray[np.float32]]], chains: int) -> NDArray[np.float32]:
    """A uniform sample of all decided requests: from each replica as many rows as its share of the decisions, and about
    MOST_ROWS at most."""
    rows = [
        (rewards, account.rate.decided) for account, rewards in counted if account.rate and account.rate.decided > 0
    ]
    rows = [(rewards, rate) for rewards, rate in rows if len(rewards)]
    if not rows:
        return np.empty((0, chains), np.float32)
    most = min(*(len(rewards) / rate for rewards, rate in rows), MOST_ROWS / sum(rate for _, rate in rows))
    return np.concatenate([rewards[: max(1, round(most * rate))] for rewards, rate in rows])
