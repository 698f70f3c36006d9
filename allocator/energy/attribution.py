"""Who a window's joules are put down to: variants, idle machines, and nobody. It closes every window, to rounding.

Every window idle watts and variants claim what the model says they draw, and what earlier windows still owe them.
Idle is paid first; what is left is shared by claims; what is left of that, nobody here has caused (other programs):
it is unattributed. What could not be paid is owed. So where readings scatter around the model, a low one is made good
by a high one, and their scatter does not pile up as unattributed: only what exceeds all claims since the start does.
A counter that is late by a window, or a meter by a minute, is settled in the same way.

Debts fade with `owed_s`. Pure scatter of relative size s a second then leaks about 0.56 s / sqrt(owed_s) of the joules
into unattributed: 0.1% for 10% in an hour.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from allocator.choice import Floats
from allocator.energy.model import SILENT_WINDOWS
from allocator.energy.state import EnergyState, PoolState
from allocator.energy.windows import Gathered, Name, PoolWindow
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
    number = debts.windows + 1
    owed = {name: one for name, one in debts.pools.items() if number - one.last < SILENT_WINDOWS}
    shares: list[Share] = []
    accounts = []
    for one in window.pools:
        known = state.pools.get(one.pool)
        claims = _claims(one, known, owed.get(one.pool), owed_s)
        if one.epochs:
            paid, unattributed_j = _paid(claims, one.energy_j)
            accounts.append(PoolAccount(one.pool, one.energy_j, float(paid[0]), unattributed_j, one.quality))
            epochs = one.epochs
        else:
            paid = np.zeros_like(claims)
            epochs = owed[one.pool].epochs if one.pool in owed else {}
        owed[one.pool] = Owed(np.maximum(claims - paid, 0.0), epochs, number)
        shares += _shares(window.names, one, paid[1:])
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


def _claims(window: PoolWindow, known: PoolState | None, owed: Owed | None, owed_s: float) -> Floats:
    """(1 + V,) joules that idle and variants ask for. Nothing while no meter has told of the pool."""
    count = len(window.used) // 2
    if known is None:
        return np.zeros(1 + count)
    joules = known.coefficients
    drawn = joules[1:] * window.used
    claims = np.concatenate(([joules[0] * window.window_s], drawn[:count] + drawn[count:]))
    if owed is None or any(window.epochs.get(device, epoch) != epoch for device, epoch in owed.epochs.items()):
        return claims
    return claims + owed.joules * math.exp(-window.window_s / owed_s)


def _paid(claims: Floats, energy_j: float) -> tuple[Floats, float]:
    """What is paid of each claim, (1 + V,), and what is left for nobody: together energy_j, to rounding."""
    idle_j = min(float(claims[0]), energy_j)
    left_j, asked_j = energy_j - idle_j, float(claims[1:].sum())
    paid = claims * (min(left_j / asked_j, 1.0) if asked_j > 0 else 0.0)
    paid[0] = idle_j
    return paid, max(left_j - asked_j, 0.0)


def _shares(names: Sequence[Name], window: PoolWindow, paid: Floats) -> Iterator[Share]:
    count = len(names)
    used, joules = window.used.tolist(), paid.tolist()
    for (stage, variant), calls, items, energy_j in zip(names, used[:count], used[count:], joules, strict=True):
        if calls or items or energy_j:
            yield Share(stage, variant, window.pool, int(calls), int(items), energy_j, window.quality)
