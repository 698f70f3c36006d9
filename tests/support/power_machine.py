"""A tree whose clock, processors and power go together, for tests of sensors on the host."""

from pathlib import Path

from sysfs_power import SysfsPower
from sysfs_tree import Board, SysfsTree

from cluster.power.host import HostFiles
from cluster.power.rapl import RaplSensor


class BootClock:
    """Boot time that passes when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class Machine:
    """start_j: what all counters show at first, modulo their range."""

    def __init__(self, root: Path, board: Board, start_j: float = 0.0) -> None:
        self.clock = BootClock()
        self.tree = SysfsTree.build(root, board)
        self.power = SysfsPower(self.tree, start_j)
        self.host = HostFiles(self.tree.proc)
        self._busy_ticks = 0

    def pass_s(self, seconds: float, busy: float = 0.5) -> None:
        """Time passes, with a share `busy` of four processors' time spent."""
        self.clock.sleep(seconds)
        self._busy_ticks += int(busy * 4 * seconds * 100)
        self.tree.set_cpu_ticks(user=self._busy_ticks)
        self.power.advance(seconds, busy)

    def rapl(self) -> RaplSensor:
        return RaplSensor.open(self.tree.powercap, host=self.host, clock=self.clock)
