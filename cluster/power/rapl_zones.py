"""Finds the RAPL zones whose joules add up to a host's processors and memory, in a powercap tree of sysfs.

The tree: `intel-rapl:0` is a zone, `intel-rapl:0:1` one inside it; the driver of that name serves AMD too. A zone's
file `name` says what it counts: package-N (with -die-M where a package has several dies), and nested in it dram, core
and uncore; psys is the whole board. Core and uncore are part of their package and psys holds packages: they are never
added. `intel-rapl-mmio` is another way to registers of the same package. A zone's `enabled` is about limits of power:
one that says 0 counts all the same. Sources: Documentation/power/powercap and
Documentation/ABI/testing/sysfs-class-powercap of Linux.
"""

import os
import re
from collections import Counter as Tallied
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.power import rapl_words as words
from cluster.power.base import Refusal

Read = Callable[[Path], str]

# Above what any socket and the memory on it draw: the largest sold have 500 W, and 24 modules of up to 20 W.
MOST_W: Mapping[str, float] = {"package": 1500.0, "dram": 600.0}
# A package draws more than its stated power for seconds; doubled, the figure is safely out of reach.
HEADROOM = 2.0
MOST_POLL_S = 60.0

MAIN = "intel-rapl"
_CONTROLS = (MAIN, "intel-rapl-mmio")
_ZONE = re.compile(r"(intel-rapl(?:-mmio)?)((?::\d+)+)")
_PACKAGE = re.compile(r"(package-\d+)(?:-die-\d+)?")


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone whose joules count.

    device   unique on the host: package-0, package-0/dram, package-0-die-1
    package  the socket it belongs to; zones of one socket and kind may mirror one counter
    kind     package or dram
    control  the driver that shows it
    most_w   more than it can draw
    """

    device: str
    package: str
    kind: str
    control: str
    folder: Path
    range_j: float
    most_w: float

    @property
    def poll_s(self) -> float:
        """A quarter of its shortest possible wrap, and at most a minute."""
        return min(MOST_POLL_S, self.range_j / self.most_w / 4)

    def energy_j(self, read: Read) -> float:
        """What its counter says. Raises OSError, or ValueError where that is no number."""
        return int(read(self.folder / "energy_uj")) / 1e6


@dataclass(frozen=True, slots=True)
class Tree:
    """What is to be read, what is there but not read, and links to zones that lead nowhere."""

    zones: tuple[Zone, ...]
    refusals: tuple[Refusal, ...]
    dangling: int


@dataclass(frozen=True, slots=True)
class _Found:
    control: str
    path: tuple[int, ...]
    folder: Path
    name: str


def find_zones(root: Path, read: Read) -> Tree:
    """The zones under `root`, which is flat as /sys/class/powercap or nested as /sys/devices/virtual/powercap.

    Raises OSError when `root` cannot be listed.
    """
    folders, dangling = _folders(root)
    found, refusals = _named(folders, read)
    chosen, duplicates = _without_twins(found)
    zones: list[Zone] = []
    names = Tallied(zone.name for zone in chosen if zone.name != "dram")
    for zone in chosen:
        device = _device(zone, chosen, names)
        try:
            zones.append(_zone(zone, device, read))
        except (OSError, ValueError) as error:
            refusals.append(words.refused(device, zone.folder / "max_energy_range_uj", error))
    return Tree(tuple(zones), tuple(refusals + duplicates), dangling)


def _folders(root: Path) -> tuple[dict[str, Path], int]:
    """Zone ids and where they lie, and how many links lead nowhere."""
    folders: dict[str, Path] = {}
    dangling = 0
    pending = [root]
    while pending:
        for entry in sorted(pending.pop().iterdir()):
            if entry.name in _CONTROLS and os.path.isdir(entry):
                pending.append(entry)
            elif _ZONE.fullmatch(entry.name) and entry.name not in folders:
                if os.path.isdir(entry):
                    folders[entry.name] = entry
                    pending.append(entry)
                else:
                    dangling += 1
    return folders, dangling


def _named(folders: Mapping[str, Path], read: Read) -> tuple[list[_Found], list[Refusal]]:
    found, refusals = [], []
    for zone_id, folder in folders.items():
        match = _ZONE.fullmatch(zone_id)
        assert match is not None, "only such folders are collected"
        path = tuple(int(number) for number in match[2][1:].split(":"))
        try:
            found.append(_Found(match[1], path, folder, read(folder / "name").strip()))
        except OSError as error:
            refusals.append(words.refused(zone_id, folder / "name", error))
    return sorted(found, key=lambda zone: (zone.control, zone.path)), refusals


def _without_twins(found: list[_Found]) -> tuple[list[_Found], list[Refusal]]:
    """Packages and their memory; of a package that two drivers show, the one of intel-rapl, which sorts first."""
    packages: dict[str, _Found] = {}
    chosen: list[_Found] = []
    refusals: list[Refusal] = []
    for zone in found:
        parent = next((up for up in chosen if (up.control, up.path) == (zone.control, zone.path[:-1])), None)
        if len(zone.path) == 1 and _PACKAGE.fullmatch(zone.name):
            twin = packages.setdefault(zone.name, zone)
            if twin.control != zone.control:
                refusals.append(words.duplicate(zone.folder.name, twin.name, twin.folder.name))
            else:
                chosen.append(zone)
        elif zone.name == "dram" and parent is not None and _PACKAGE.fullmatch(parent.name):
            chosen.append(zone)
    return chosen, refusals


def _device(zone: _Found, chosen: list[_Found], names: Mapping[str, int]) -> str:
    if zone.name == "dram":
        parent = next(up for up in chosen if (up.control, up.path) == (zone.control, zone.path[:-1]))
        return f"{_device(parent, chosen, names)}/dram"
    return zone.name if names[zone.name] == 1 else f"{zone.name}@{zone.folder.name}"


def _zone(zone: _Found, device: str, read: Read) -> Zone:
    match = _PACKAGE.match(device)
    assert match is not None, "devices are named after their package"
    kind = "dram" if zone.name == "dram" else "package"
    range_j = int(read(zone.folder / "max_energy_range_uj")) / 1e6
    if range_j <= 0:
        raise ValueError("must be above 0")
    return Zone(device, match[1], kind, zone.control, zone.folder, range_j, _most_w(zone.folder, kind, read))


def _most_w(folder: Path, kind: str, read: Read) -> float:
    """From the stated power and the limits in force; a limit alone says little, for it may be lifted at any time."""
    stated = _constraints_w(folder, "max_power_uw", read)
    if not stated:
        return MOST_W[kind]
    return min(MOST_W[kind], HEADROOM * max(stated + _constraints_w(folder, "power_limit_uw", read)))


def _constraints_w(folder: Path, what: str, read: Read) -> list[float]:
    watts = []
    for file in sorted(folder.glob(f"constraint_*_{what}")):
        try:
            watts.append(int(read(file)) / 1e6)
        except (OSError, ValueError):
            continue  # many firmwares state none: reading then fails with "no data available"
    return [value for value in watts if value > 0]
