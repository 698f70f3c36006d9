"""The dual of the allocation problem, minimised exactly by cutting planes."""

from dataclasses import dataclass

import numpy as np

from allocator.choice import Floats, Mask, Rewards, best_chains, ceilings, penalties, rewards_of


@dataclass(frozen=True, slots=True)
class DualPoint:
    """A point of the dual D(p) = mean_i max_j (R[i,j] - p.C[j]) + p.b.

    prices  (M,)
    value   D(prices): an upper bound of the mean reward that any allocation within the limits can earn
    spend   (M,) mean spend per request there; b - spend is a subgradient
    gap     how far `value` can be above the minimum of D over the box that was searched
    """

    prices: Floats
    value: float
    spend: Floats
    gap: float


def dual_at(rewards: Rewards, costs: Floats, limit: Floats, prices: Floats, available: Mask | None = None) -> DualPoint:
    """The dual at these prices; its gap is not known. rewards (N, J), costs (J, M), limit (M,) per request."""
    penalty = penalties(costs, prices, available)
    chains = best_chains(rewards, penalty)
    net = float((rewards_of(rewards, chains) - penalty[chains]).sum())
    allowed = np.where(prices > 0, limit, 0.0)  # no limit at no price costs nothing
    return DualPoint(prices, net / len(rewards) + float(prices @ allowed), costs[chains].mean(axis=0), np.inf)


def minimise_dual(
    rewards: Rewards,
    costs: Floats,
    limit: Floats,
    available: Mask | None = None,
    box: tuple[Floats, Floats] | None = None,
    tolerance: float = 1e-6,
    most: int = 300,
) -> DualPoint:
    """The least value of the dual for prices in `box` (by default all that matter), to `tolerance` of its range.

    Kelley's cutting planes: D is convex and piecewise linear, so every evaluation gives a plane below it; the next
    prices minimise the largest plane, by a linear programme of M + 1 variables. `gap` certifies the result: where it
    is zero the value is the minimum. Resources without a limit (infinite) get the price zero.
    """
    low, high = box if box is not None else (np.zeros(len(limit)), ceilings(rewards, costs, available))
    free = np.isinf(limit)
    limit, high = np.where(free, 0.0, limit), np.where(free, low, high)
    planes: list[DualPoint] = []
    best, prices = None, (low + high) / 2
    for _ in range(most):
        point = dual_at(rewards, costs, limit, prices, available)
        planes.append(point)
        best = point if best is None or point.value < best.value else best
        prices, least = _lowest(planes, limit, low, high)
        gap = max(best.value - least, 0.0)
        if gap <= tolerance * max(abs(best.value), 1e-300):
            break
    assert best is not None
    return DualPoint(best.prices, best.value, best.spend, gap)


def _lowest(planes: list[DualPoint], limit: Floats, low: Floats, high: Floats) -> tuple[Floats, float]:
    """Where the largest of the planes is lowest within the box, and how low.

    Solved in units of the box and of the planes' own range, as prices may be as small as 1e-12.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # 0.3 s, which replicas that solve nothing are spared

    width = np.where(high > low, high - low, 1.0)
    slopes = np.array([(limit - plane.spend) * width for plane in planes])
    starts = np.array([(plane.prices - low) / width for plane in planes])
    values = np.array([plane.value for plane in planes])
    unit = max(float(np.abs(slopes).max()), 1e-300)
    rows = np.column_stack([slopes / unit, -np.ones(len(planes))])
    right = ((slopes * starts).sum(axis=1) - (values - values.min())) / unit
    within = Bounds(np.append(np.zeros(len(low)), -np.inf), np.append((high > low).astype(float), np.inf))
    # linprog solves it likewise, and takes longer than that to look at what it was given.
    done = milp(np.append(np.zeros(len(low)), 1.0), constraints=LinearConstraint(rows, ub=right), bounds=within)
    if done.status != 0:  # numerically stuck: the least plane's own point ends the search
        return planes[int(values.argmin())].prices, float(values.min())
    return low + width * done.x[:-1], float(done.x[-1] * unit + values.min())
