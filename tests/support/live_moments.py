"""Windows as people are told of them, made up."""

from typing import Any

import numpy as np
from small_space import SPACE

from cluster.live.actions import Actions
from cluster.live.moment import Moment
from cluster.snapshot import Standing
from cluster.took import Took

ACTIONS = Actions(SPACE)


def took(*times_s: float) -> Any:
    """Answers that took so long."""
    counted = Took()
    for one in times_s:
        counted.count(one)
    return counted.counts()


def used(**requests: float) -> Any:
    """Requests by action, where so many ran these chains of SPACE: `c3=1.5` of the one at index 3."""
    executed = np.zeros(len(SPACE))
    for chain, count in requests.items():
        executed[int(chain[1:])] = count
    return ACTIONS.used(executed)


def standing(**changes: Any) -> Standing:
    """A limit of 100 W that is kept."""
    told = {"name": "cap", "kind": "power", "unit": "W", "limit_per_s": 100.0, "spend_per_s": 90.0, "price": 0.5}
    return Standing(**{**told, "limit": 100.0, "spend": 90.0, **changes})


def moment(time_s: float = 1000.0, **changes: Any) -> Moment:
    """A second in which two requests were answered."""
    told: dict[str, Any] = {
        "window_s": 1.0,
        "requests_per_s": 2.0,
        "decided_per_s": 2.0,
        "degraded_per_s": {},
        "predicted_per_s": 6.0,
        "took": took(0.01, 0.02),
        "used": used(c0=2.0),
        "power_w": 50.0,
        "devices": {"host/package-0": 50.0},
        "own_j": 3.0,
        "answered": 2,
        "g_per_kwh": 300.0,
        "standings": (standing(),),
    }
    return Moment(time_s=time_s, **{**told, **changes})
