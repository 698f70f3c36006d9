"""How many calls a replica has under way on average, and how many replicas that asks for.

Serve's own figure is a sample every few seconds of how many calls are under way at that moment. A variant that runs for
two milliseconds ten times a second is at rest in nearly all samples: it would be taken for unused and be left without a
replica.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext

LOAD = "load"


class Ongoing:
    """Enter it for each call. Used from one event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._calls, self._call_s = 0, 0.0
        self._since_s = self._at_s = clock()

    def __enter__(self) -> None:
        self._advance()
        self._calls += 1

    def __exit__(self, *_: object) -> None:
        self._advance()
        self._calls -= 1

    def mean(self) -> float:
        """Mean number of calls under way since this was asked last; 0 only where there was none."""
        self._advance()
        span_s, call_s = self._at_s - self._since_s, self._call_s
        self._since_s, self._call_s = self._at_s, 0.0
        return call_s / span_s if span_s > 0 else float(self._calls)

    def _advance(self) -> None:
        now_s = self._clock()
        self._call_s += self._calls * (now_s - self._at_s)
        self._at_s = now_s


def by_load(context: "AutoscalingContext") -> tuple[float, dict[str, Any]]:
    """The number of replicas that Serve's autoscaler is to aim for; it sees to bounds, delays and cold starts itself.

    So many that each has `target_ongoing_requests` under way, by what replicas say of themselves and, where that is
    more, by Serve's samples, which count the calls that wait as well. While none runs yet, what was aimed for before.
    """
    config = context.config
    if config is None or context.current_num_replicas == 0:
        return float(context.target_num_replicas), {}
    loads = (context.aggregated_metrics or {}).get(LOAD, {})
    calls = max(sum(loads.values()), context.total_num_requests)
    return calls / config.target_ongoing_requests, {}
