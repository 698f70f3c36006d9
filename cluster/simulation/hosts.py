"""Groups of machines as their meters and replicas tell of them: counters that count on, and what was served."""

from dataclasses import replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from allocator.choice import Floats, Ints
from allocator.joules import Quality
from cluster.accounts import Report, Totals
from cluster.power.base import Counter
from cluster.power.fake import FakeSensor
from cluster.power.meter import HostId, Meter, MeterReport
from cluster.simulation.fleet import Fleet
from cluster.work import NO_WORK, pool_of, work_sum

DEVICE, ESTIMATE = "package-0", "estimate"
TOLD = "the scenario keeps it silent"
ESTIMATED_OFF = 0.7, 1.3
"""By which an estimate's watts at rest and of a busy processor are off: it is scaled by what it was worth before."""


class Sensor(FakeSensor):
    """One that a meter can tell from others."""

    def __init__(self, name: str, counter: Counter) -> None:
        super().__init__(counter)
        self.name = name


class Host:
    """One group: a sensor, the meter that reads it, and one replica that serves. It boots anew after a failure.

    counted_j  what its counter has counted in all its lives
    """

    def __init__(self, name: str, number: int, fleet: Fleet, noise: float) -> None:
        self.name, self.counted_j = name, 0.0
        self._number, self._fleet, self._noise = number, fleet, noise
        self._boots, self._at_s, self._busy_s = 0, 0.0, 0.0
        self.up = False

    def boot(self, at_s: float) -> None:
        """Its machines begin: counters at nothing, and nothing served."""
        self.up, self._at_s, self._busy_s = True, at_s, 0.0
        self._boots += 1
        self.life = f"{self.name}-{self._boots}"
        counter = Counter(
            DEVICE, "cpu", "package", "simulation", Quality.MEASURED, at_s, 0.0, epoch=self.life, most_w=inf
        )
        modelled = replace(counter, device="host", kind="host", source=ESTIMATE, quality=Quality.MODELLED)
        self._sensor, self._estimate = Sensor("simulation", counter), Sensor(ESTIMATE, modelled)
        host, sensors = HostId(self.life, self.name), [self._sensor, self._estimate]
        self._meter = Meter(self.name, host, self.life, sensors, busy_s=lambda: self._busy_s)
        self._meter.poll()
        chains = len(self._fleet.space)
        self._executed, self._unpriced = np.zeros((2, chains), np.int64)
        self._decided, self._work = 0, NO_WORK
        self._acked = Totals.none(at_s, chains)

    def fail(self) -> None:
        """All of its machines are gone, with what they knew."""
        self.up = False

    def run(self, window_s: float, watts: float, executed: Floats, unpriced: Floats, rng: np.random.Generator) -> float:
        """A window passes, in which it draws so much at rest and serves so many requests of each chain, (J,), with
        `unpriced` (J,) among them, whose chain no policy chose; the joules that it truly draws."""
        work_j = float(self._fleet.chain_j[self._number] @ executed)
        true_j = watts * window_s + work_j
        read_j = max(true_j * (1 + self._noise * float(rng.standard_normal())), 0.0)
        self._at_s += window_s
        busy_s = float(self._fleet.chain_s[self._number] @ executed)
        self._busy_s += busy_s
        self.counted_j += read_j
        self._sensor.draw({DEVICE: read_j}, self._at_s)
        idle_off, busy_off = ESTIMATED_OFF
        core_w = self._fleet.groups[self._number].core_w
        self._estimate.draw({"host": idle_off * watts * window_s + busy_off * core_w * busy_s}, self._at_s)
        self._executed += np.rint(executed).astype(np.int64)
        self._unpriced += np.rint(unpriced).astype(np.int64)
        self._decided += round(float(executed.sum() - unpriced.sum()))
        pool = pool_of(self.life)
        new = {(*name, pool): counts for name, counts in self._fleet.work(self._number, executed).items()}
        self._work = work_sum(self._work, new)
        return true_j

    def meter(self, silent: bool, estimated: bool = True) -> MeterReport:
        """What its meter tells; while its sensor is silent, by the estimate, or what it knew before."""
        self._sensor.gone = {DEVICE: TOLD} if silent else {}
        self._estimate.gone = {"host": TOLD} if silent and not estimated else {}
        self._meter.poll()
        return self._meter.report()

    def report(self, rewards: NDArray[np.float32], version: int, prices: Floats, items: int) -> Report:
        """What its replica tells the controller. items: that a recommendation holds."""
        executed: Ints = self._executed.copy()
        totals = Totals(
            self._at_s,
            executed,
            self._decided,
            items * int(executed.sum()),
            dict(self._work),
            unpriced=self._unpriced.copy(),
        )
        acked, self._acked = self._acked, totals
        return Report(self.life, totals, acked, rewards, version, prices)
