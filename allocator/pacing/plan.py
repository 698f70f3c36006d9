"""The one price at which the rest of a period spends what is left of its quota, and what a window may spend meanwhile.

With N_k requests and b_k uncontrolled joules forecast for step k, grams g_k of a joule, and s(p) the mean joules of a
request at price p per joule, the price y per gram solves  sum_k g_k (b_k + N_k s(y g_k)) = left.  For a quota of joules
all g_k are one, and y is per joule. The one price for all times is what earns most: it is the dual variable of the
period's only constraint, so no joule moved from one time to another would earn more there.
"""

from dataclasses import dataclass
from math import inf

import numpy as np

from allocator.choice import Floats
from allocator.pacing.curve import LEAST_PRICE, POINTS, Curve, Spend

HALVINGS = 50
HIGHEST = 1e100
CLEAN = 1e-3
"""Steps cleaner than this share of the dirtiest are not what a price is found for: it would have no bound."""


@dataclass(frozen=True, slots=True, eq=False)
class Ahead:
    """What is forecast for the K steps until a period ends. All (K,) and >= 0.

    length_s      seconds of each step
    load          requests per second that chains are chosen for
    offset_w      watts that chains cannot change: idle, other programs, requests that name their chain
    per_joule     of the quota's unit: grams of a joule, or ones where the quota is of joules
    """

    length_s: Floats
    load: Floats
    offset_w: Floats
    per_joule: Floats

    def __post_init__(self) -> None:
        columns = {"length_s": self.length_s, "load": self.load, "offset_w": self.offset_w, "per_joule": self.per_joule}
        for name, column in columns.items():
            if len(column) != len(self.length_s) or not np.isfinite(column).all() or (column < 0).any():
                raise ValueError(f"{name}: expected {len(self.length_s)} finite numbers >= 0, got {column}")

    def spend(self, curve: Curve, price: float) -> float:
        """What the steps spend at a price per unit of the quota, in that unit."""
        joules = self.offset_w + self.load * curve.at(price * self.per_joule)
        return float(self.length_s @ (self.per_joule * joules))


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """How to go on until the next plan. A quota's unit is J or g.

    price      per unit of the quota, finite and >= 0; zero where the quota does not bind
    reachable  whether the cheapest chains keep to the quota, by the forecast
    curve      mean joules of a request by price per joule
    """

    price: float
    reachable: bool
    curve: Curve

    def allowance(
        self, load: float, window_s: float, left: float, offset_w: float = 0.0, per_joule: float = 1.0
    ) -> float:
        """What chains may spend in a window, in the quota's unit: what the plan's price makes them spend at this load.

        It follows the load and the intensity, so that the price need not; infinity where nothing limits it.

        load       requests per second of this window, as whoever follows the price expects them
        left       of the quota, now; the window never spends more than it, so neither does a period's last
        offset_w   watts that chains cannot change: they come first
        per_joule  of the quota's unit, now
        """
        remaining = max(0.0, left - offset_w * per_joule * window_s)
        requests = load * window_s
        planned = requests * per_joule * float(self.curve.at(np.array(self.price * per_joule)))
        if per_joule == 0.0 or (self.price == 0.0 and planned <= remaining):
            return inf
        return min(planned, remaining)


def planned(left: float, ahead: Ahead, spend: Spend, ceiling: float) -> Plan:
    """The plan for what is left of a quota.

    Looks at `spend` at most 2 POINTS + 2 times, once or twice where the quota binds never or always. Where even the
    cheapest chains spend too much, the price is that of the cheapest chains, and the plan is not reachable; likewise
    where the quota is overspent already.

    left     in the quota's unit; may be negative
    ceiling  price per joule from which on all requests take the cheapest chain, as in the bounds of a price's state
    """
    curve = Curve.ends(spend, ceiling)
    if ahead.spend(curve, 0.0) <= left:
        return Plan(0.0, True, curve)
    dirty = ahead.per_joule[ahead.per_joule > CLEAN * ahead.per_joule.max(initial=0.0)]
    if not len(dirty):  # overspent, and no time left in which anything is spent
        return Plan(curve.ceiling, False, curve)
    highest = min(curve.ceiling / float(dirty.min()), HIGHEST)
    if ahead.spend(curve, highest) > left:
        return Plan(highest, False, curve)
    curve = curve.among(spend, np.geomspace(LEAST_PRICE * ceiling, ceiling, POINTS))
    low, high = _bracket(left, ahead, curve, highest)
    seen = float(max(low * dirty.min(), LEAST_PRICE * ceiling)), float(min(high * dirty.max(), ceiling))
    curve = curve.among(spend, np.geomspace(*seen, POINTS + 2)[1:-1])
    return Plan(_meeting(left, ahead, curve, highest), True, curve)


def _bracket(left: float, ahead: Ahead, curve: Curve, highest: float) -> tuple[float, float]:
    """Two prices a factor apart, between which the curve's own points say that the price lies."""
    price = _meeting(left, ahead, curve, highest)
    factor = LEAST_PRICE ** (-1.0 / (POINTS - 1))
    return price / factor, price * factor


def _meeting(left: float, ahead: Ahead, curve: Curve, highest: float) -> float:
    """The lowest price in [0, highest] at which the steps spend what is left; spend never rises with the price."""
    low, high = 0.0, highest
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if ahead.spend(curve, middle) > left:
            low = middle
        else:
            high = middle
    return high
