"""A sysfs tree whose counters advance with the CPU time that this machine really spends, and that knows the truth.

As a script: `python tests/support/sysfs_power.py ROOT --board intel` builds ROOT/sys and ROOT/proc and drives them
until it is ended by SIGTERM or its time is up; give the sensor ROOT/sys/class/powercap. ROOT/truth.json holds the
joules so far; started again on the same ROOT it goes on from there. Lines appended to ROOT/commands are obeyed at the
next tick: `reset ZONE`, `vanish ZONE`, `return ZONE` (ZONE as intel-rapl:0).

With u the share of CPU time that was busy, each socket draws 20 + 80 u W and its memory 4 + 8 u W; cores are 60% of the
socket, uncore a tenth, and psys is everything and 15 W.
"""

import argparse
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sysfs_tree
from sysfs_tree import Board, SysfsTree, Zone, replace_text

CpuSeconds = Callable[[], tuple[float, float]]
"""Busy CPU seconds, and those of busy and idle together, both since some moment."""

BOARDS = {
    "intel": sysfs_tree.intel_two_sockets,
    "desktop": sysfs_tree.desktop,
    "amd": sysfs_tree.amd,
    "mirrored": sysfs_tree.mirrored_dies,
    "dies": sysfs_tree.own_dies,
}


def watts_of(meter: str, board: Board, busy: float) -> float:
    """What stands behind a meter draws while a share `busy` of CPU time is busy."""
    package_w, dram_w = 20 + 80 * busy, 4 + 8 * busy
    if meter == "psys":
        return 15 + sum(watts_of(other, board, busy) for other in board.true_meters)
    parts = {"dram": dram_w, "core": 0.6 * package_w, "uncore": 0.1 * package_w}
    return parts.get(meter.rpartition("/")[2], package_w)


def machine_cpu_s() -> tuple[float, float]:
    """CPU seconds of this machine: busy since boot, and those that its processors could have been since some moment.

    What the kernel says of idle time is no measure of these: it leaves out what other virtual machines stole.
    """
    user, nice, system, _idle, _iowait, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    busy = user + nice + system + irq + softirq
    return busy / os.sysconf("SC_CLK_TCK"), time.monotonic() * (os.cpu_count() or 1)


class SysfsPower:
    """Drives a tree; goes on where an earlier driver of it was ended.

    start_j  what counters show at first, modulo their range; below zero, so far below the range
    drawn_j  true joules of each meter since the tree was built
    obeyed   lines of the file `commands` that are done
    """

    def __init__(self, tree: SysfsTree, start_j: float = 0.0) -> None:
        self.tree = tree
        meters = {zone.shows for zone in tree.board.zones}
        self.drawn_j = dict.fromkeys(meters, 0.0)
        self._zero_j = {zone.id: -start_j % zone.range_j for zone in tree.board.zones}
        self._away: set[str] = set()
        self.events: list[str] = []
        self.obeyed = 0
        self._lock = threading.Lock()
        if self._truth_file.exists():
            self._resume()
        self._tell()
        self._show()

    @property
    def truth_j(self) -> dict[str, float]:
        """Joules of every meter that counts."""
        return {meter: self.drawn_j[meter] for meter in self.tree.board.true_meters}

    def advance(self, seconds: float, busy: float) -> None:
        """Time passes under a share `busy` of CPU use, and the counters show it."""
        with self._lock:
            for meter in self.drawn_j:
                self.drawn_j[meter] += watts_of(meter, self.tree.board, busy) * seconds
            self._tell()
            self._show()

    def reset(self, zone_id: str) -> None:
        """The counter of a zone falls to zero."""
        with self._lock:
            self._zero_j[zone_id] = self.drawn_j[self._zone(zone_id).shows]
            self._note(f"reset {zone_id} at {self.drawn_j[self._zone(zone_id).shows]:.6f} J")
            self._show()

    def shift(self, zone_id: str, energy_j: float) -> None:
        """The counters of a zone's meter have counted so much more since before anyone read them."""
        with self._lock:
            for zone in self.tree.board.zones:
                if zone.shows == self._zone(zone_id).shows:
                    self._zero_j[zone.id] -= energy_j
            self._show()

    def vanish(self, zone_id: str) -> None:
        """A zone's files go; the hardware counts on."""
        with self._lock:
            self._away.add(zone_id)
            self._note(f"vanish {zone_id}")
            self.tree.vanish(zone_id)

    def come_back(self, zone_id: str) -> None:
        """They are back."""
        with self._lock:
            self.tree.come_back(zone_id)
            self._away.discard(zone_id)
            self._note(f"return {zone_id}")
            self._show()

    def obey_new(self) -> None:
        """What has been added to the file `commands`."""
        file = self.tree.root / "commands"
        lines = file.read_text().splitlines() if file.exists() else []
        for command in lines[self.obeyed :]:
            self.obeyed += 1
            verb, zone_id = command.split()
            {"reset": self.reset, "vanish": self.vanish, "return": self.come_back}[verb](zone_id)

    def _resume(self) -> None:
        past = json.loads(self._truth_file.read_text())
        self.drawn_j.update(past["drawn_j"])
        self._zero_j.update(past["zero_j"])
        self._away, self.events, self.obeyed = set(past["away"]), past["events"], past["obeyed"]
        for zone_id in self._away:  # whoever drove before may have been killed while they went, or came back
            self.tree.vanish(zone_id)

    @property
    def _truth_file(self) -> Path:
        return self.tree.root / "truth.json"

    def _zone(self, zone_id: str) -> Zone:
        return self.tree.board.zone(zone_id)

    def _note(self, event: str) -> None:
        self.events.append(f"{time.clock_gettime(time.CLOCK_BOOTTIME):.3f} {event}")
        self._tell()

    def _tell(self) -> None:
        """Before the counters move: a driver that dies between leaves counters that only lag behind."""
        truth = {
            "at_s": time.clock_gettime(time.CLOCK_BOOTTIME),
            "total_j": sum(self.truth_j.values()),
            "idle_w": sum(watts_of(meter, self.tree.board, 0.0) for meter in self.tree.board.true_meters),
            "full_w": sum(watts_of(meter, self.tree.board, 1.0) for meter in self.tree.board.true_meters),
            "truth_j": self.truth_j,
            "drawn_j": self.drawn_j,
            "zero_j": self._zero_j,
            "away": sorted(self._away),
            "events": self.events,
            "obeyed": self.obeyed,
        }
        replace_text(self._truth_file, json.dumps(truth, indent=1))

    def _show(self) -> None:
        for zone in self.tree.board.zones:
            if not any(zone.id == away or zone.id.startswith(f"{away}:") for away in self._away):
                self.tree.set_j(zone.id, (self.drawn_j[zone.shows] - self._zero_j[zone.id]) % zone.range_j)


def drive(
    power: SysfsPower,
    tick_s: float,
    ended: threading.Event,
    cpu_s: CpuSeconds = machine_cpu_s,
    tell_cpus: int | None = None,
) -> None:
    """Advances with the machine's CPU time every `tick_s`, and once more at the end.

    tell_cpus  the tree's proc/stat says how long so many processors were busy, where that is not what the machine says
    """
    at_s, (busy_s, all_s) = time.monotonic(), cpu_s()
    while True:
        over = ended.wait(tick_s)
        now_s, (now_busy_s, now_all_s) = time.monotonic(), cpu_s()
        if now_all_s > all_s or over:
            busy = (now_busy_s - busy_s) / max(now_all_s - all_s, 1e-9)
            power.advance(now_s - at_s, min(1.0, busy))
            at_s, busy_s, all_s = now_s, now_busy_s, now_all_s
            if tell_cpus is not None:
                power.tree.set_cpu_ticks(user=round(busy_s * os.sysconf("SC_CLK_TCK")), cpus=tell_cpus)
        power.obey_new()
        if over:
            return


@contextmanager
def driven(
    power: SysfsPower, tick_s: float = 0.1, cpu_s: CpuSeconds = machine_cpu_s, tell_cpus: int | None = None
) -> Iterator[SysfsPower]:
    """Drives in a thread of this process, as `drive`."""
    ended = threading.Event()
    thread = threading.Thread(target=drive, args=(power, tick_s, ended, cpu_s, tell_cpus))
    thread.start()
    try:
        yield power
    finally:
        ended.set()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description="Drive a stand-in for RAPL with this machine's CPU time.")
    parser.add_argument("root", type=Path)
    parser.add_argument("--board", choices=BOARDS, default="intel")
    parser.add_argument("--tick-s", type=float, default=0.1)
    parser.add_argument("--below-wrap-j", type=float, default=0.0, help="counters start so far below their range")
    parser.add_argument("--seconds", type=float, default=3600.0, help="ends by itself after so long")
    options = parser.parse_args()
    board = BOARDS[options.board]()
    known = (options.root / "truth.json").exists()
    tree = SysfsTree(options.root, board) if known else SysfsTree.build(options.root, board)
    power = SysfsPower(tree, -options.below_wrap_j)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    timer = threading.Timer(options.seconds, ended.set)
    timer.daemon = True
    timer.start()
    drive(power, options.tick_s, ended)
    print(json.dumps(power.truth_j))


if __name__ == "__main__":
    main()
