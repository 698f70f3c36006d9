"""The best that any allocation could earn offline: one price by bisection, exact bounds by linear programme.

The problem, for requests i with reward rows R[i, :], chains of cost C[j, :] and total limits L:

    maximise sum_i R[i, j(i)]   subject to   sum_i C[j(i), m] <= L[m] for every resource m,   one chain j(i) per request

Its linear relaxation lets a request take fractions of chains. The relaxation's optimum bounds every allocation from
above, and with N requests and M constraints at most M requests are split at it, so for many requests it is the optimum.
By duality it equals the least value over p >= 0 of  sum_i max_j (R[i, j] - p.C[j]) + p.L.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, eye_array, kron

from allocator.choice import Floats, Ints, Mask, Rewards, ceilings, chains_under, rewards_of
from allocator.cutting_plane import DualPoint, dual_at, minimise_dual
from models.errors import FixRequest

HALVINGS = 60
WIDENINGS = 12
WIDER = 8.0


@dataclass(frozen=True, slots=True)
class Offline:
    """An allocation by price, and what bounds it. Totals over all N requests.

    prices  (M,)
    chains  (N,) within every limit
    reward  what the chains earn
    spend   (M,) what they cost
    bound   no allocation within the limits earns more
    """

    prices: Floats
    chains: Ints
    reward: float
    spend: Floats
    bound: float


@dataclass(frozen=True, slots=True)
class Bound:
    """The optimum of the linear relaxation, in total over all requests, and the prices that prove it.

    gap  how far `value` can lie above the optimum; zero up to rounding when solved by the linear programme
    """

    value: float
    prices: Floats
    gap: float


def bisect_price(rewards: Rewards, cost: Floats, limit: float, available: Mask | None = None) -> Offline:
    """The lowest price at which the total spend of one resource meets its limit, and the allocation at it.

    rewards (N, J), cost (J,), limit in total. `bound` is the lower of the duals at the two prices that the bisection
    ends between: the optimum of the relaxation up to rounding. What the allocation misses of it is at most one
    request's step. Source of the method: DCAF, arXiv 2006.09684, where spend falls with the price as well.

    Raises FixRequest when even the cheapest chain for all spends more than the limit.
    """
    costs, per_request = cost[:, None], np.array([limit / len(rewards)])
    _check_reachable(costs, per_request, available)
    low, high = np.zeros(1), ceilings(rewards, costs, available) * (1 + 1e-6)
    at_low = dual_at(rewards, costs, per_request, low, available)
    if at_low.spend[0] <= per_request[0]:
        return _offline(rewards, costs, at_low, available)
    at_high = dual_at(rewards, costs, per_request, high, available)
    for _ in range(HALVINGS):
        middle = dual_at(rewards, costs, per_request, (at_low.prices + at_high.prices) / 2, available)
        if middle.prices[0] in (at_low.prices[0], at_high.prices[0]):
            break
        if middle.spend[0] > per_request[0]:
            at_low = middle
        else:
            at_high = middle
    return _offline(rewards, costs, at_high, available, at_low.value)


def _offline(rewards: Rewards, costs: Floats, at: DualPoint, available: Mask | None, other: float = np.inf) -> Offline:
    chains = chains_under(rewards, costs, at.prices, available)
    reward = float(rewards_of(rewards, chains).sum())
    return Offline(at.prices, chains, reward, costs[chains].sum(axis=0), min(at.value, other) * len(rewards))


def dual_bound(
    rewards: Rewards, costs: Floats, limits: Floats, available: Mask | None = None, tolerance: float = 1e-6
) -> Bound:
    """The relaxation's optimum for any number of requests and constraints, through the dual.

    Any prices give a valid bound; the least one equals the optimum, and `gap` certifies how close this one is.
    rewards (N, J), costs (J, M), limits (M,) in total; infinity for none.

    Raises FixRequest when no choice of chains is within the limits.
    """
    per_request = limits / len(rewards)
    _check_reachable(costs, per_request, available)
    worst = float(rewards[:, _open(costs, available)].min(axis=1).mean(dtype=np.float64))
    high = np.maximum(ceilings(rewards, costs, available), _scale(rewards, costs))
    for _ in range(WIDENINGS):
        # Where constraints pull apart, the price that matters may lie above what one constraint alone would need.
        point = minimise_dual(rewards, costs, per_request, available, (np.zeros(len(limits)), high), tolerance)
        if point.value < worst - tolerance * abs(worst):
            raise _unreachable(limits)
        at_edge = (point.prices >= high * (1 - 1e-9)) & (high > 0)
        if not at_edge.any():
            break
        high = np.where(at_edge, high * WIDER, high)
    return Bound(point.value * len(rewards), point.prices, point.gap * len(rewards))


def lp_bound(rewards: Rewards, costs: Floats, limits: Floats, available: Mask | None = None) -> Bound:
    """The same optimum by one sparse linear programme (HiGHS): exact, for up to some 10^5 request-chain pairs.

    rewards (N, J), costs (J, M), limits (M,) in total; infinity for none.

    Raises FixRequest when no choice of chains is within the limits.
    """
    keep = _open(costs, available)
    rows, count = rewards[:, keep].astype(np.float64), len(rewards)
    bound_by = np.flatnonzero(np.isfinite(limits))
    unit = np.maximum(np.abs(costs[keep]).max(axis=0), 1e-300)[bound_by]  # coefficients of 1e10 would be cut off
    per_request = csr_array((costs[keep][:, bound_by] / unit).T)
    done = linprog(
        -rows.ravel(),
        A_ub=kron(csr_array(np.ones((1, count))), per_request, format="csr") if len(bound_by) else None,
        b_ub=limits[bound_by] / unit if len(bound_by) else None,
        A_eq=kron(eye_array(count, format="csr"), csr_array(np.ones((1, rows.shape[1]))), format="csr"),
        b_eq=np.ones(count),
        bounds=(0, None),
        method="highs",
    )
    if done.status == 2:
        raise _unreachable(limits)
    prices = np.zeros(len(limits))
    if len(bound_by):
        prices[bound_by] = -done.ineqlin.marginals / unit
    return Bound(float(-done.fun), prices, 0.0)


def _open(costs: Floats, available: Mask | None) -> Mask:
    return np.ones(len(costs), bool) if available is None else available


def _scale(rewards: Rewards, costs: Floats) -> Floats:
    """Prices (M,) of the size of all rewards over all costs; zero for a resource that all chains spend alike."""
    spread = max(float(np.abs(rewards).max()), 1e-12)
    cost_range: Floats = np.ptp(costs, axis=0)
    prices: Floats = np.divide(spread, cost_range, out=np.zeros_like(cost_range), where=cost_range > 0)
    return prices


def _check_reachable(costs: Floats, per_request: Floats, available: Mask | None) -> None:
    keep = _open(costs, available)
    if not keep.any():
        raise FixRequest("available", "no chain is available: name at least one")
    if (costs[keep].min(axis=0) > per_request * (1 + 1e-12)).any():
        raise _unreachable(per_request)


def _unreachable(limits: Floats) -> FixRequest:
    return FixRequest("limits", f"no choice of chains is within {limits.tolist()}: raise the limits")
