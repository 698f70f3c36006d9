"""A recorded run as a power sensor: demonstrations, and tests against real readings, on any machine."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Self

from cluster.power.base import Counter, Refusal
from cluster.power.host import boottime_s
from cluster.power.rapl_zones import MOST_POLL_S
from cluster.power.recording import load
from models.errors import FixFile, SensorLost


class ReplaySensor:
    """A PowerSensor that starts a recording when it is opened and plays it once, at the speed it was recorded.

    Each device shows its latest reading so far, as of when that was made; readings say the source `replay`. Device
    by device, the recording ends one of the device's longest pauses after its last reading: the device is gone then.
    """

    name = "replay"

    def __init__(self, file: Path, start_s: float, clock: Callable[[], float]) -> None:
        self._file, self._start_s, self._clock = file, start_s, clock
        self._tracks = _tracks(file, load(file))
        self._first_s = min(track[0].at_s for track in self._tracks.values())
        self._life = f"replay {start_s:.3f}"  # played again it starts over: another counter
        self.refusals: tuple[Refusal, ...] = ()
        self.poll_s = min(map(_poll_s, self._tracks.values()))

    @classmethod
    def open(cls, file: Path, *, start_s: float | None = None, clock: Callable[[], float] = boottime_s) -> Self:
        """Starts the recording now, or as of `start_s` on the clock. Raises FixFile naming line and column."""
        return cls(file, clock() if start_s is None else start_s, clock)

    def read(self) -> tuple[Counter, ...]:
        """What the recorded devices said by now. Raises SensorLost when the recording is over."""
        played_s = self._first_s + self._clock() - self._start_s
        found = {device: _latest(track, played_s) for device, track in self._tracks.items()}
        self.refusals = tuple(
            Refusal(self.name, device, f"{self._file}: holds no reading of this moment", "")
            for device, counter in found.items()
            if counter is None
        )
        there = tuple(self._shifted(counter) for counter in found.values() if counter is not None)
        if not there:
            raise SensorLost(f"replay: the recording {self._file} is over")
        return there

    def close(self) -> None:
        """The file was read when it was opened."""

    def _shifted(self, counter: Counter) -> Counter:
        at_s = self._start_s + counter.at_s - self._first_s
        return replace(counter, at_s=at_s, source=self.name, epoch=f"{self._life} {counter.epoch}".rstrip())


def _tracks(file: Path, counters: tuple[Counter, ...]) -> dict[str, list[Counter]]:
    """Device -> its readings. Raises FixFile when time goes back."""
    tracks: dict[str, list[Counter]] = {}
    for counter in counters:
        track = tracks.setdefault(counter.device, [])
        if track and counter.at_s < track[-1].at_s:
            raise FixFile(file, "at_s", f"{counter.device}: {counter.at_s} comes after {track[-1].at_s}")
        track.append(counter)
    return tracks


def _pause_s(track: list[Counter]) -> float:
    return max((after.at_s - before.at_s for before, after in pairwise(track)), default=1.0)


def _poll_s(track: list[Counter]) -> float:
    return min(MOST_POLL_S, *(counter.range_j / counter.most_w / 4 for counter in track))


def _latest(track: list[Counter], played_s: float) -> Counter | None:
    """The last reading so far; None before the first and after the end."""
    count = bisect_right(track, played_s, key=lambda counter: counter.at_s)
    if count == 0 or played_s > track[-1].at_s + _pause_s(track):
        return None
    return track[count - 1]
