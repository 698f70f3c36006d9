"""Lets stand-in GPUs draw what this machine's processors work, until it is ended. A program for end-to-end tests:

    python tests/support/nvml_power.py FOLDER [--gpus counted,sampled] [--reload-at S] [--lose-at S --lose-for S]

Builds libnvidia-ml.so.1 into FOLDER and prints FOLDER once its counters run: put it into LD_LIBRARY_PATH of what is to
read them. What was truly drawn is written to FOLDER/truth.jsonl: a line every second, and one at the end.
"""

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import nvml_stand_in
from nvml_stand_in import Gpu, StandIn

from cluster.power.host import HostFiles, boottime_s

TICK_S = 0.05
LOST = 15
KINDS = {"counted": Gpu("GPU-stand-in-counted"), "sampled": Gpu("GPU-stand-in-sampled", counts=0)}


@dataclass(frozen=True)
class Watts:
    """What each GPU draws while the processors rest, and while all of them work."""

    idle_w: float
    full_w: float


class Drawing:
    """GPUs whose power follows the work of the processors.

    drawn_j    what each has drawn since the beginning, whatever its counter shows
    counted_j  what its counter shows
    """

    def __init__(self, stand_in: StandIn, watts: Watts, busy_s: Callable[[], float], cpus: int, now_s: float) -> None:
        self.stand_in, self._watts, self._busy_s, self._cpus = stand_in, watts, busy_s, cpus
        self._last = (now_s, busy_s())
        self.drawn_j = self.counted_j = 0.0
        stand_in.write()

    def tick(self, now_s: float) -> None:
        """Draw power up to now."""
        then_s, busy_then_s = self._last
        busy_s = self._busy_s()
        share = (busy_s - busy_then_s) / (now_s - then_s) / self._cpus
        power_w = self._watts.idle_w + share * (self._watts.full_w - self._watts.idle_w)
        self.drawn_j += power_w * (now_s - then_s)
        self.counted_j += power_w * (now_s - then_s)
        self._last = (now_s, busy_s)
        words = {"mj": round(self.counted_j * 1000), "mw": round(power_w * 1000)}
        self.stand_in.gpus = [replace(gpu, **words) for gpu in self.stand_in.gpus]
        self.stand_in.write()

    def reload(self) -> None:
        """Reload the driver: counters start again, and nobody is told what was drawn since they were read."""
        self.counted_j = 0.0
        self.stand_in.reload_driver()

    def lose(self, error: int) -> None:
        """Let the first GPU fall off the bus, or with 0 come back."""
        self.stand_in.change(0, error=error)

    def truth(self, now_s: float) -> str:
        """A line of truth.jsonl."""
        drawn_j = {gpu.uuid: self.drawn_j for gpu in self.stand_in.gpus}
        return json.dumps({"unix_s": time.time(), "boottime_s": now_s, "drawn_j": drawn_j})


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gpus", default="counted", help="comma-separated: counted, sampled")
    parser.add_argument("--idle-w", type=float, default=40)
    parser.add_argument("--full-w", type=float, default=250)
    parser.add_argument("--reload-at", type=float, default=float("inf"), help="seconds from the beginning")
    parser.add_argument("--lose-at", type=float, default=float("inf"))
    parser.add_argument("--lose-for", type=float, default=10)
    return parser.parse_args()


def main() -> None:
    """Run until a signal ends it."""
    asked, ended = arguments(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    gpus = [KINDS[kind] for kind in asked.gpus.split(",")]
    begun_s, host = boottime_s(), HostFiles()
    watts = Watts(asked.idle_w, asked.full_w)
    stand_in = StandIn(nvml_stand_in.build(asked.folder), gpus)
    drawing = Drawing(stand_in, watts, host.busy_cpu_s, host.cpus(), begun_s)
    events = sorted(
        [
            (asked.reload_at, drawing.reload),
            (asked.lose_at, lambda: drawing.lose(LOST)),
            (asked.lose_at + asked.lose_for, lambda: drawing.lose(0)),
        ],
        key=lambda event: event[0],
    )
    told_s = begun_s
    sys.stdout.write(f"{asked.folder}\n")
    sys.stdout.flush()
    with (asked.folder / "truth.jsonl").open("a", buffering=1) as truth:
        while not ended.wait(TICK_S):
            now_s = boottime_s()
            drawing.tick(now_s)
            while events and now_s - begun_s >= events[0][0]:
                events.pop(0)[1]()
            if now_s - told_s >= 1:
                told_s = now_s
                truth.write(drawing.truth(now_s) + "\n")
        now_s = boottime_s()
        drawing.tick(now_s)
        truth.write(drawing.truth(now_s) + "\n")


if __name__ == "__main__":
    main()
