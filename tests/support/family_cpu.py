"""CPU time of what a test has started, for stand-ins that are to draw nothing for the rest of the machine."""

import time
from contextlib import suppress

import psutil

LIST_S = 0.5
"""Between two looks at which processes there are. What a process does that lives shorter may be missed."""


class FamilyCpu:
    """Called, tells as `sysfs_power.machine_cpu_s` does, of all descendants of this process, those gone included.

    cores  of a machine on which nothing else runs
    """

    def __init__(self, cores: int = 2) -> None:
        self._cores, self._listed_s = cores, float("-inf")
        self._processes: list[psutil.Process] = []
        self._spent: dict[psutil.Process, float] = {}

    def __call__(self) -> tuple[float, float]:
        now_s = time.monotonic()
        if now_s - self._listed_s > LIST_S:
            self._listed_s, self._processes = now_s, psutil.Process().children(recursive=True)
        for process in self._processes:
            with suppress(psutil.Error):
                times = process.cpu_times()
                self._spent[process] = times.user + times.system
        return sum(self._spent.values()), now_s * self._cores
