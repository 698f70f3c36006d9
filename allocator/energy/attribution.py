"""Who a window's joules are put down to: variants, idle machines, and nobody. It closes every window, to rounding.

Every window idle watts and variants claim what the model says they draw, and what earlier windows still owe them.
Idle is paid first; what is left is shared by claims; what is left of that, nobody here has caused (other programs):
it is unattributed. What could not be paid is owed. So where readings scatter around the model, a low one is made good
by a high one, and their scatter does not pile up as unattributed: only what exceeds all claims since the start does.
A counter that is late by a window, or a meter by a minute, is settled in the same way.

Where joules are missing, after a reboot or a gap of minutes, nothing of them is owed: nobody will ever tell them.

Debts fade with `owed_s`. Pure scatter of relative size s a second then leaks about 0.56 s / sqrt(owed_s) of the joules
into unattributed: 0.1% for 10% in an hour.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from allocator.choice import Floats
from allocator.energy.model import SILENT_WINDOWS
from allocator.energy.state import EnergyState
from allocator.energy.windows import LONGEST_S, Gathered, PoolWindow
from allocator.joules import PoolAccount, Quality, Share

OWED_S = 3600.0


@dataclass(frozen=True, slots=True, eq=False)
class Owed:
    """What a pool has not been able to pay: (1 + V,) joules of idle, then of each variant.

    epochs  of its devices, as last seen: at a new one joules are missing, and the debts with them
    last    number of the last window that told of it
    """

    joules: Floats
    epochs: Mapping[str, str]
    last: int


@dataclass(frozen=True, slots=True, eq=False)
class Debts:
    """All pools' debts, carried from window to window."""

    pools: Mapping[str, Owed] = field(default_factory=dict)
    windows: int = 0


@dataclass(frozen=True, slots=True)
class Attributed:
    """A window's joules. Of each pool: energy_j = sum of its shares + idle_j + unattributed_j, to rounding.

    A pool of which no meter spoke has shares of zero joules and no account. A share may hold joules for work of earlier
    windows and count no calls.
    """

    shares: tuple[Share, ...]
    pools: tuple[PoolAccount, ...]


def attribute(debts: Debts, state: EnergyState, window: Gathered, owed_s: float = OWED_S) -> tuple[Attributed, Debts]:
    """Where the window's joules went, by the model as it is in `state`; and the debts after it. Pure."""
    number, pools = debts.windows + 1, window.pools
    owed = {name: one for name, one in debts.pools.items() if number - one.last < SILENT_WINDOWS}
    claims = _claims(window, state, owed, owed_s)
    told_j = np.array([one.energy_j if one.epochs else 0.0 for one in pools])
    paid, unattributed_j = _paid(claims, told_j)
    accounts = [
        PoolAccount(one.pool, one.energy_j, idle_j, left_j, one.quality)
        for one, idle_j, left_j in zip(pools, paid[:, 0].tolist(), unattributed_j.tolist(), strict=True)
        if one.epochs
    ]
    shares = _shares(window, paid[:, 1:])
    for one, left in zip(pools, np.maximum(claims - paid, 0.0), strict=True):
        before = owed.get(one.pool)
        epochs = one.epochs or (before.epochs if before is not None else {})
        owed[one.pool] = Owed(left * (not _joules_missing(before, one)), epochs, number)
    shares += [Share(w.stage, w.variant, w.pool, w.calls, w.items, 0.0, Quality.ASSUMED) for w in window.strange]
    return Attributed(tuple(shares), tuple(accounts)), Debts(owed, number)


def fully_loaded(attributed: Attributed) -> tuple[Share, ...]:
    """The shares with their pools' idle joules divided among them in proportion. Never a marginal cost.

    Idle joules of a pool whose shares hold none stay with nobody.
    """
    idle = {account.pool: account.idle_j for account in attributed.pools}
    total = {pool: math.fsum(s.energy_j for s in attributed.shares if s.pool == pool) for pool in idle}
    return tuple(
        replace(share, energy_j=share.energy_j * (1 + idle[share.pool] / total[share.pool]))
        if total.get(share.pool, 0.0) > 0
        else share
        for share in attributed.shares
    )


def run_shares(call_j: float, item_j: float, items: Sequence[int] | Floats) -> Floats:
    """What each request in one run of a variant bears of it, (R,) joules.

    The call's part in equal parts, the items' part by the request's own items: the Shapley value of the run's joules
    as the model has them, call_j if anybody is in it + item_j x items.
    """
    own = np.asarray(items, np.float64)
    return call_j / len(own) + item_j * own


def _claims(window: Gathered, state: EnergyState, owed: Mapping[str, Owed], owed_s: float) -> Floats:
    """(P, 1 + V) joules that idle and variants of each pool ask for. Nothing while no meter has told of the pool."""
    pools, count = window.pools, len(window.names)
    joules, debts = np.zeros((len(pools), 1 + 2 * count)), np.zeros((len(pools), 1 + count))
    for at, one in enumerate(pools):
        known, before = state.pools.get(one.pool), owed.get(one.pool)
        if known is not None:
            joules[at] = known.coefficients
            if before is not None and _same_epochs(before, one):
                debts[at] = before.joules
    seconds = np.array([one.window_s for one in pools])
    drawn = joules[:, 1:] * np.reshape([one.used for one in pools], (len(pools), 2 * count))
    claims = np.column_stack((joules[:, 0] * seconds, drawn[:, :count] + drawn[:, count:]))
    total: Floats = claims + debts * np.exp(-seconds / owed_s)[:, None]
    return total


def _joules_missing(owed: Owed | None, window: PoolWindow) -> bool:
    """Whether the window tells of more seconds than of joules."""
    return window.window_s > LONGEST_S or (owed is not None and not _same_epochs(owed, window))


def _same_epochs(owed: Owed, window: PoolWindow) -> bool:
    return all(window.epochs.get(device, epoch) == epoch for device, epoch in owed.epochs.items())


def _paid(claims: Floats, energy_j: Floats) -> tuple[Floats, Floats]:
    """What is paid of each claim, (P, 1 + V), and what is left for nobody, (P,): together energy_j (P,) to rounding."""
    idle_j = np.minimum(claims[:, 0], energy_j)
    left_j, asked_j = energy_j - idle_j, claims[:, 1:].sum(axis=1)
    share = np.divide(np.minimum(left_j, asked_j), asked_j, out=np.zeros_like(left_j), where=asked_j > 0)
    paid: Floats = claims * share[:, None]
    paid[:, 0] = idle_j
    return paid, np.maximum(left_j - asked_j, 0.0)


def _shares(window: Gathered, paid: Floats) -> list[Share]:
    """Of variants that did something in the window, or are paid, (P, V), for what they did before."""
    shares, count = [], len(window.names)
    for one, joules, some in zip(window.pools, paid.tolist(), np.any(paid, axis=1).tolist(), strict=True):
        if some or one.used.any():
            used = one.used.tolist()
            columns = zip(window.names, used[:count], used[count:], joules, strict=True)
            shares += [
                Share(stage, variant, one.pool, int(calls), int(items), energy_j, one.quality)
                for (stage, variant), calls, items, energy_j in columns
                if calls or items or energy_j
            ]
    return shares
