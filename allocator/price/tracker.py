"""A forecast of one positive quantity, in logarithms: level and trend, quick after steps, deaf to single spikes."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, slots=True)
class Tracking:
    """How a tracker follows.

    outlier    innovations of more than this many standard deviations are taken for a step or a spike
    gains      least and largest share of an innovation that the level takes over, once settled
    adapt      how fast the gain follows the correlation of successive innovations
    forget     weight of a window in the running variance of innovations
    """

    outlier: float = 5.0
    gains: tuple[float, float] = (0.02, 0.8)
    adapt: float = 0.05
    forget: float = 0.03
    start_gain: float = 0.15
    start_noise: float = 0.03
    largest_trend: float = 0.05


@dataclass(frozen=True, slots=True)
class Tracker:
    """Level and trend per window of a logarithm.

    noise     standard deviation of the innovations
    gain      the settled share of an innovation that the level takes over
    since     values since the last step; the level is their mean until that is settled
    last      last innovation
    held      the tracker before an outlier, until the next value tells a spike from a step
    """

    level: float
    trend: float
    noise: float
    gain: float
    since: int
    last: float
    held: "Tracker | None" = None

    def ahead(self, windows: float = 1.0) -> float:
        """The forecast for so many windows later."""
        return self.level + self.trend * windows


def started(value: float, how: Tracking) -> Tracker:
    """A tracker that has seen one value."""
    return Tracker(value, 0.0, how.start_noise, how.start_gain, 1, 0.0)


def tracked(tracker: Tracker, value: float, how: Tracking, least_noise: float = 0.0) -> Tracker:
    """The tracker after one more value; `least_noise` is the standard deviation that the value has at least.

    An outlier is followed at once, because it may be a step; what was known before is held. When the next value lies
    nearer to what was held, the outlier was a spike and is forgotten; otherwise it was a step.
    """
    held = tracker.held
    if held is not None:
        if abs(value - held.ahead(2)) < abs(value - tracker.level):
            return _updated(replace(held, level=held.ahead()), value, how, least_noise)
        return _updated(replace(tracker, held=None), value, how, least_noise)
    noise = max(tracker.noise, least_noise)
    if abs(value - tracker.ahead()) > how.outlier * noise:
        return replace(tracker, level=value, trend=0.0, since=1, last=0.0, held=tracker)
    return _updated(tracker, value, how, least_noise)


def shifted(tracker: Tracker, by: float) -> Tracker:
    """The tracker of the same quantity in another unit: all levels moved by `by`."""
    held = None if tracker.held is None else shifted(tracker.held, by)
    return replace(tracker, level=tracker.level + by, held=held)


def _updated(tracker: Tracker, value: float, how: Tracking, least_noise: float) -> Tracker:
    """One step of Holt's filter: innovations of one sign raise the gain, alternating ones lower it.

    The trend's gain is Benedict and Bordner's, g^2 / (2 - g), optimal for a level that moves at a changing rate.
    """
    innovation = value - tracker.ahead()
    noise = max(tracker.noise, least_noise, 1e-12)
    bounded = float(np.clip(innovation, -how.outlier * noise, how.outlier * noise))
    agreement = float(np.clip(bounded * tracker.last / noise**2, -1.0, 1.0))
    gain = float(np.clip(tracker.gain * np.exp(how.adapt * agreement), *how.gains))
    variance = (1 - how.forget) * noise**2 + how.forget * bounded**2
    share = max(gain, 1.0 / (tracker.since + 1))
    trend = tracker.trend + gain**2 / (2 - gain) * bounded if tracker.since * gain >= 1 else tracker.trend
    trend = float(np.clip(trend, -how.largest_trend, how.largest_trend))
    level = tracker.ahead() + share * innovation
    return Tracker(level, trend, variance**0.5, gain, tracker.since + 1, bounded)
