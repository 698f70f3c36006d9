"""Says of limits that nothing is known to hold them by. No Ray here."""

import logging
from collections.abc import Collection, Sequence

from allocator.constraints import Resource
from allocator.limits import Limit
from cluster.events import Event, happened

PATIENCE_S = 15.0
"""A source that has only just been asked may still answer."""
logger = logging.getLogger(__name__)


class Unheld:
    """Looks once a window, and says once of each limit that it is not held."""

    def __init__(self) -> None:
        self._since_s: dict[str, float] = {}
        self._said: set[str] = set()

    def look(self, limits: Sequence[Limit], known: Collection[Resource], now_s: float) -> None:
        """known: the resources of which it is known what chains cost and windows spend."""
        lacking = {limit.name: limit for limit in limits if limit.resource not in known}
        self._since_s = {name: self._since_s.get(name, now_s) for name in lacking}
        self._said &= lacking.keys()
        for name in lacking.keys() - self._said:
            if now_s - self._since_s[name] >= PATIENCE_S:
                self._said.add(name)
                happened(logger, Event.LIMIT_NOT_HELD, "limit %s is not held: %s", name, _why(lacking[name]))


def _why(limit: Limit) -> str:
    if limit.resource is Resource.GRAMS:
        return (
            "nobody has told the grid's carbon intensity yet; `greenflow doctor` says why its source does not answer, "
            "and GREENFLOW_CARBON_G_PER_KWH states a figure; watts and kWh can be limited without"
        )
    return f"nobody can tell what is spent of {limit.resource}"
