"""What a stand-in for meters has truly drawn, at any time since it was begun."""

import threading
import time

import numpy as np
from sysfs_power import SysfsPower

LOOK_S = 0.02


class Truth:
    """Watches a driven stand-in from a thread of its own until it is closed."""

    def __init__(self, power: SysfsPower) -> None:
        self._power = power
        self._at_s: list[float] = []
        self._joules: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def at(self, unix_s: float) -> float:
        """Joules up to a time, between two looks in proportion."""
        return float(np.interp(unix_s, self._at_s, self._joules))

    def power_w(self, from_s: float, to_s: float) -> float:
        """Mean watts between two Unix times."""
        return (self.at(to_s) - self.at(from_s)) / (to_s - from_s)

    def close(self) -> None:
        """Watch no more."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            joules = sum(self._power.truth_j.values())
            if not self._joules or joules > self._joules[-1]:
                self._at_s.append(time.time())
                self._joules.append(joules)
