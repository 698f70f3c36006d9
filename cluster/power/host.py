"""What the kernel tells of this host: its boot, its clock, its processors and its memory."""

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_CPU_LINE = re.compile(r"cpu\d+\s")
_HYPERVISOR = re.compile(r"^flags\s*:.*\bhypervisor\b", re.MULTILINE)
_MEM_TOTAL = re.compile(r"^MemTotal:\s+(\d+) kB", re.MULTILINE)


def boottime_s() -> float:
    """Seconds since this host booted, sleep included: the same in every process and container of the host."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class HostFiles:
    """Reads under `proc`. Every method raises OSError or ValueError where the kernel does not tell."""

    proc: Path = PROC

    def boot_id(self) -> str:
        """Names one boot of one host; containers see the id of the host."""
        return (self.proc / "sys/kernel/random/boot_id").read_text().strip()

    def busy_cpu_s(self) -> float:
        """CPU seconds that all processors worked since boot, after proc(5).

        Waiting for the disk is not work, nor is what other virtual machines stole; guests stand in `user` already.
        """
        label, *ticks = self._stat()[0].split()
        if label != "cpu" or len(ticks) < 7:
            raise ValueError(f"{self.proc / 'stat'}: the first line is not the sum over processors")
        user, nice, system, _idle, _iowait, irq, softirq = map(int, ticks[:7])
        return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")

    def cpus(self) -> int:
        """Processors that are online, threads of one core each for itself."""
        return max(1, sum(1 for line in self._stat() if _CPU_LINE.match(line)))

    def memory_gb(self) -> float:
        """Installed memory, in 1e9 bytes, less what the firmware keeps."""
        total = _MEM_TOTAL.search((self.proc / "meminfo").read_text())
        if total is None:
            raise ValueError(f"{self.proc / 'meminfo'}: no line MemTotal")
        return int(total[1]) * 1024 / 1e9

    def is_virtual(self) -> bool:
        """Whether the processor says that it runs under a hypervisor; False where nothing is told."""
        try:
            return _HYPERVISOR.search((self.proc / "cpuinfo").read_text()) is not None
        except OSError:
            return False

    def _stat(self) -> list[str]:
        return (self.proc / "stat").read_text().splitlines()
