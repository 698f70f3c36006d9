"""A forecast of one positive quantity, in logarithms: level and trend, quick after steps, deaf to single spikes."""

from dataclasses import dataclass, replace

import numpy as np

LARGEST_INNOVATION = 1.0


@dataclass(frozen=True, slots=True)
class Tracking:
    """How a tracker follows.

    outlier    innovations of more than this many standard deviations are taken for a step or a spike
    gains      least and largest share of an innovation that the level takes over, once settled
    adapt      how fast the gain follows the correlation of successive innovations
    forget     weight of a window in the running variance of innovations
    learn      weight of an outlier in the running share of spikes
    """

    outlier: float = 5.0
    gains: tuple[float, float] = (0.02, 0.8)
    adapt: float = 0.05
    forget: float = 0.03
    learn: float = 0.25
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
    spiky     running share of outliers that turned out to be spikes
    held      the tracker before an outlier, until the next value tells a spike from a step
    followed  whether the forecast follows that outlier meanwhile
    """

    level: float
    trend: float
    noise: float
    gain: float
    since: int
    last: float
    spiky: float = 0.5
    held: "Tracker | None" = None
    followed: bool = True

    def ahead(self, windows: float = 1.0) -> float:
        """The forecast for so many windows later."""
        if self.held is not None and not self.followed:
            return self.held.ahead(windows + 1)
        return self.level + self.trend * windows


def started(value: float, how: Tracking) -> Tracker:
    """A tracker that has seen one value."""
    return Tracker(value, 0.0, how.start_noise, how.start_gain, 1, 0.0)


def tracked(tracker: Tracker, value: float, how: Tracking, least_noise: float = 0.0) -> Tracker:
    """The tracker after one more value; `least_noise` is the standard deviation that the value has at least.

    An outlier may be a step or a spike; what was known before is held. When the next value lies nearer to what was
    held, the outlier was a spike and is forgotten; otherwise it was a step. Until then it is followed if that is the
    lesser evil: with the quantity at r times its forecast, missing a step overspends by r - 1, and following a spike
    leaves 1 - 1/r unused, so it is followed when r times the chance of a step is more than the chance of a spike.
    """
    held = tracker.held
    if held is not None:
        spike = abs(value - held.ahead(2)) < abs(value - tracker.level)
        spiky = tracker.spiky + how.learn * (spike - tracker.spiky)
        kept = replace(held, level=held.ahead()) if spike else replace(tracker, held=None)
        return _updated(replace(kept, spiky=spiky), value, how, least_noise)
    surprise = value - tracker.ahead()
    noise = max(tracker.noise, least_noise)
    if abs(surprise) <= how.outlier * noise:
        return _updated(tracker, value, how, least_noise)
    follow = surprise + np.log(1 - tracker.spiky) > np.log(tracker.spiky)
    # Outliers raise the noise as well: where it was taken for too small, they become ordinary values.
    held = replace(tracker, noise=_noise(noise, how.outlier * noise, how))
    return replace(held, level=value, trend=0.0, since=1, last=0.0, held=held, followed=bool(follow))


def shifted(tracker: Tracker, by: float) -> Tracker:
    """The tracker of the same quantity in another unit: all levels moved by `by`."""
    held = None if tracker.held is None else shifted(tracker.held, by)
    return replace(tracker, level=tracker.level + by, held=held)


def _updated(tracker: Tracker, value: float, how: Tracking, least_noise: float) -> Tracker:
    """One step of Holt's filter: innovations of one sign raise the gain, alternating ones lower it.

    An innovation is the quantity over its forecast, less 1. Unlike the difference of logarithms it is zero on average
    when the forecast is the quantity's mean, however few requests it is counted from. The trend's gain is
    Benedict and Bordner's, g^2 / (2 - g), optimal for a level that moves at a changing rate.
    """
    innovation = float(np.expm1(min(value - tracker.ahead(), LARGEST_INNOVATION)))
    noise = max(tracker.noise, least_noise, 1e-12)
    bounded = float(np.clip(innovation, -how.outlier * noise, how.outlier * noise))
    agreement = float(np.clip(bounded * tracker.last / noise**2, -1.0, 1.0))
    gain = float(np.clip(tracker.gain * np.exp(how.adapt * agreement), *how.gains))
    share = max(gain, 1.0 / (tracker.since + 1))
    trend = tracker.trend + gain**2 / (2 - gain) * bounded if tracker.since * gain >= 1 else tracker.trend
    trend = float(np.clip(trend, -how.largest_trend, how.largest_trend))
    level = tracker.ahead() + share * innovation
    return Tracker(level, trend, _noise(noise, bounded, how), gain, tracker.since + 1, bounded, tracker.spiky)


def _noise(noise: float, innovation: float, how: Tracking) -> float:
    """The running standard deviation of innovations after one more."""
    variance: float = (1 - how.forget) * noise**2 + how.forget * innovation**2
    return float(variance**0.5)
