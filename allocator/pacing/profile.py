"""What is usual at each time of day and week: rates in bins, each as far as it was seen."""

from dataclasses import dataclass

import numpy as np

from allocator.choice import Floats, Ints

DAY_S, WEEK_S = 86_400.0, 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Learning:
    """How a profile learns.

    bin_s       length of a bin; a day is a whole number of them
    keep_day    what a bin of the day keeps of the past with each new day: the last few days count
    keep_week   the same for a bin of the week, with each new week
    trust_s     seconds of seeing a bin of the day that weigh as much as the present mean
    trust_week_s  seconds of seeing a bin of the week that weigh as much as that time of any day
    flat_s      over how long the mean of what is seen at present goes, as the time constant of an exponential window:
                it stands in for bins that were never seen. Short, for without a history the day so far says less of
                the rest of it than the rate of the last minutes, which makes an even spread
    """

    bin_s: float = 900.0
    keep_day: float = 0.75
    keep_week: float = 0.6
    trust_s: float = 100.0
    trust_week_s: float = 700.0
    flat_s: float = 300.0

    def __post_init__(self) -> None:
        if not self.bin_s > 0 or DAY_S % self.bin_s:
            raise ValueError(f"bin_s: a day must be a whole number of bins, got {self.bin_s}")

    @property
    def per_day(self) -> int:
        """Bins of a day."""
        return round(DAY_S / self.bin_s)


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """How long each bin was seen and what came in it, both with the weights of their age. Times are UTC.

    day   (2, D) seconds, then requests, for D bins from midnight
    week  (2, 7 D) the same from midnight on Thursdays, when Unix time began
    flat  seconds and requests of the last minutes
    """

    day: Floats
    week: Floats
    flat: tuple[float, float]

    @classmethod
    def empty(cls, how: Learning) -> "Profile":
        """Nothing seen yet."""
        return cls(np.zeros((2, how.per_day)), np.zeros((2, 7 * how.per_day)), (0.0, 0.0))

    @property
    def mean(self) -> float:
        """Requests per second at present; 0 before anything was seen."""
        seconds, requests = self.flat
        return requests / seconds if seconds > 0 else 0.0

    def rates(self, bins: Ints, how: Learning) -> Floats:
        """Requests per second of bins, counted from Unix time 0 on, (n,)."""
        daily = _drawn(self.day[:, bins % how.per_day], np.asarray(self.mean), how.trust_s)
        return _drawn(self.week[:, bins % (7 * how.per_day)], daily, how.trust_week_s)


def with_window(profile: Profile, seconds: float, requests: float, how: Learning) -> Profile:
    """The profile with one more window in its present mean. Bins learn when they are over: `with_bin`."""
    keep = float(np.exp(-seconds / how.flat_s))
    before_s, before = profile.flat
    return Profile(profile.day, profile.week, (keep * before_s + seconds, keep * before + requests))


def with_bin(profile: Profile, number: int, seconds: float, requests: float, how: Learning) -> Profile:
    """The profile after so much was seen of a bin. One seen in part only replaces that part of the past."""
    new, part = np.array([seconds, requests]), min(seconds / how.bin_s, 1.0)
    day, week = profile.day.copy(), profile.week.copy()
    for table, keep in ((day, how.keep_day), (week, how.keep_week)):
        at = number % table.shape[1]
        table[:, at] = keep**part * table[:, at] + new
    return Profile(day, week, profile.flat)


def _drawn(seen: Floats, towards: Floats, trust_s: float) -> Floats:
    """The rates of bins seen for (2, n) seconds and requests, drawn towards others the more the less they were seen."""
    seconds, requests = seen
    own = np.divide(requests, seconds, out=np.zeros_like(seconds), where=seconds > 0)
    share = seconds**2 / (seconds**2 + trust_s**2)
    rates: Floats = share * own + (1 - share) * towards
    return rates
