"""What all processes of one server use together: found by a mark in their environment, which children inherit.

A tree by parents would miss what Ray reparents; the mark stays.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import psutil

MARK = "GREENFLOW_BENCH_SERVER"


@dataclass(frozen=True)
class ProcessGroup:
    """All processes whose environment says `MARK=name`."""

    name: str

    def members(self) -> Iterator[psutil.Process]:
        """Those that live now."""
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.name:
                    yield process
            except psutil.Error:
                continue

    def titled(self, part: str) -> list[psutil.Process]:
        """Those that Ray calls after this actor, or after this deployment of Serve."""
        return [
            one for one in self.members() if (title := _title(one)).startswith(f"ray::{part}") or f":{part}" in title
        ]

    def cpu_s(self) -> dict[int, float]:
        """CPU seconds so far, user and system, by process id."""
        return {pid: cpu_s for pid, (_, cpu_s) in self.named_cpu_s().items()}

    def named_cpu_s(self) -> dict[int, tuple[str, float]]:
        """The same, with what the process is called: as Ray calls it, where it does, else by its program."""
        spent = {}
        for process in self.members():
            try:
                times, title = process.cpu_times(), _title(process)
            except psutil.Error:
                continue
            spent[process.pid] = _name(title), times.user + times.system
        return spent

    def pss_bytes(self) -> int:
        """Proportional set size of all members: a page that n processes share counts 1/n in each."""
        total = 0
        for process in self.members():
            try:
                total += process.memory_full_info().pss
            except psutil.Error:
                continue
        return total

    def kill(self) -> list[str]:
        """End what is left; returns the names of those processes."""
        left = list(self.members())
        names = [process.name() for process in left]
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=10)
        return names


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _name(title: str) -> str:
    if title.startswith("ray::"):
        return title.removeprefix("ray::").split(".")[0].strip()
    return Path(title.split(" ")[0]).name


def spent_between(before: dict[int, float], after: dict[int, float]) -> float:
    """CPU seconds spent between two calls of `cpu_s`."""
    return sum(cpu_s - before.get(pid, 0.0) for pid, cpu_s in after.items())


def spent_by_name(before: dict[int, tuple[str, float]], after: dict[int, tuple[str, float]]) -> dict[str, float]:
    """The same between two calls of `named_cpu_s`, by what processes are called."""
    spent: dict[str, float] = {}
    for pid, (name, cpu_s) in after.items():
        spent[name] = spent.get(name, 0.0) + cpu_s - before.get(pid, (name, 0.0))[1]
    return spent


class PeakMemory:
    """The highest `pss_bytes` of a group, sampled in a thread while the `with` block runs."""

    def __init__(self, group: ProcessGroup, every_s: float = 1.0) -> None:
        self._group, self._every_s = group, every_s
        self._over = Event()
        self._thread = Thread(target=self._sample, daemon=True)
        self.peak_bytes = 0

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.peak_bytes = max(self.peak_bytes, self._group.pss_bytes())

    def _sample(self) -> None:
        while not self._over.wait(self._every_s):
            self.peak_bytes = max(self.peak_bytes, self._group.pss_bytes())


@dataclass(frozen=True)
class Moment:
    """Clocks that a measurement is the difference of."""

    at_s: float
    server: dict[int, float]
    client_s: float
    system_s: float

    @classmethod
    def now(cls, group: ProcessGroup) -> "Moment":
        """Read all clocks."""
        system = psutil.cpu_times()
        idle_s = system.idle + getattr(system, "iowait", 0.0) + getattr(system, "steal", 0.0)
        own = os.times()
        return cls(time.perf_counter(), group.cpu_s(), own.user + own.system, sum(system) - idle_s)

    def until(self, end: "Moment") -> "Spent":
        """What was spent from this moment to the end."""
        server_s = spent_between(self.server, end.server)
        client_s = end.client_s - self.client_s
        other_s = max(0.0, end.system_s - self.system_s - server_s - client_s)
        return Spent(end.at_s - self.at_s, server_s, client_s, other_s)


@dataclass(frozen=True)
class Spent:
    """Wall-clock seconds, and CPU seconds of the server, of the client, and of all else on the machine."""

    wall_s: float
    server_s: float
    client_s: float
    other_s: float
