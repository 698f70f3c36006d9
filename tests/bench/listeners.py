"""What those who look at the live page cost: throughput beside a hundred open streams, and the cores of one.

One server. A closed loop of clients loads it in short stretches, every other one beside a hundred open streams; each
pair of stretches gives a ratio of throughputs, and the mean of their logarithms an interval, as in `paired.py`. Who
reads the streams is a process of its own, and takes its share of the same cores. Then the server is left alone, beside
no stream, one and a hundred in turn: what its processes take more is what these cost.
"""

import json
import math
import multiprocessing
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import NormalDist, mean, stdev
from urllib.parse import urlsplit

import click
from machine import describe
from paired import LEAST_PAIRS, SAME_WORK, UP
from process_group import spent_between
from rich.console import Console
from servers import ROOT, Running, Server, running

from cluster.commands.load import run_fast
from cluster.config import DEMO
from cluster.traffic.bodies import request_bodies, user_ids
from cluster.traffic.load import LoadPlan, run_load

STREAMS = 100
LEAST_RATIO, MOST_CORES = 0.98, 0.01
"""To be reached."""
SETTLE_S = 0.3
REST = (0, 1, STREAMS)


@dataclass
class Found:
    """Answers a second beside open streams and without, and cores of the server at rest, by how many streams are open.

    events  that the readers were sent in all
    """

    with_streams: list[float] = field(default_factory=list)
    without: list[float] = field(default_factory=list)
    cores: dict[int, list[float]] = field(default_factory=lambda: {streams: [] for streams in REST})
    events: int = 0
    failed: int = 0


class Reader:
    """A process that opens streams and reads whatever comes, while it is entered."""

    def __init__(self, url: str) -> None:
        self._url, (self._ours, self._theirs) = url, multiprocessing.Pipe()

    def __enter__(self) -> "Reader":
        spawn = multiprocessing.get_context("spawn")
        self._process = spawn.Process(target=_read, args=(self._url, self._theirs), daemon=True)
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.send(None)
        self._process.join(10)

    @contextmanager
    def looking(self, streams: int, found: Found) -> Iterator[None]:
        """So many streams are open for as long as it is entered."""
        self._ours.send(streams)
        assert self._ours.recv() == "open"
        time.sleep(SETTLE_S)
        try:
            yield
        finally:
            self._ours.send(0)
            found.events += self._ours.recv()


def _read(url: str, told: Connection) -> None:
    """Open as many as is told, read whatever comes, and count events; again and again."""
    place = urlsplit(url)
    request = f"GET /v1/live HTTP/1.1\r\nHost: {place.netloc}\r\nAccept: text/event-stream\r\n\r\n".encode()
    while (streams := told.recv()) is not None:
        events = 0
        with selectors.DefaultSelector() as ready:
            for _ in range(streams):
                one = socket.create_connection((place.hostname, place.port), timeout=10)
                one.sendall(request)
                ready.register(one, selectors.EVENT_READ)
            told.send("open")
            while not told.poll():
                for key, _ in ready.select(0.1) if streams else ():
                    events += key.fileobj.recv(1 << 20).count(b"event: window")  # type: ignore[union-attr]
                if not streams:
                    time.sleep(0.05)
            for key in list(ready.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
        told.recv()
        told.send(events)


def throughput(server: Running, clients: int, seconds: float, found: Found) -> float:
    """Answers a second; what failed is added up."""
    bodies = request_bodies(user_ids(DEMO), seed=0)
    report = run_fast(run_load(LoadPlan(server.url, bodies, clients, seconds=seconds, warmup_s=0.3)))
    found.failed += report.failed
    return report.throughput_per_s


def measure_throughput(
    server: Running, reader: Reader, clients: int, pairs: int, seconds: float, console: Console
) -> Found:
    """Loads it beside streams and without in turn; which of the two comes first alternates."""
    found = Found()
    throughput(server, clients, 5 * seconds, found)
    for number in range(pairs):
        for streams in (STREAMS, 0) if number % 2 else (0, STREAMS):
            with reader.looking(streams, found):
                answers_per_s = throughput(server, clients, seconds, found)
            (found.with_streams if streams else found.without).append(answers_per_s)
        console.print(f"pair {number + 1} of {pairs}: {found.with_streams[-1] / found.without[-1]:.3f}", style="dim")
    return found


def measure_cores(server: Running, reader: Reader, rounds: int, seconds: float, found: Found) -> None:
    """Cores that all processes of the server take at rest, beside no stream, one and many, in turn."""
    for number in range(rounds):
        for streams in REST if number % 2 else reversed(REST):
            with reader.looking(streams, found):
                found.cores[streams].append(_cores(server, seconds))


def _cores(server: Running, seconds: float) -> float:
    before, began_s = server.group.cpu_s(), time.monotonic()
    time.sleep(seconds)
    return spent_between(before, server.group.cpu_s()) / (time.monotonic() - began_s)


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and its 95% interval, by the normal distribution."""
    centre, half = mean(values), NormalDist().inv_cdf(0.975) * stdev(values) / math.sqrt(len(values))
    return centre, centre - half, centre + half


def ratio_of(found: Found) -> tuple[float, float, float]:
    """Geometric mean of the ratios of throughputs, and its interval."""
    logs = [math.log(one / other) for one, other in zip(found.with_streams, found.without, strict=True)]
    centre, low, high = interval(logs)
    return math.exp(centre), math.exp(low), math.exp(high)


def cores_of(found: Found, streams: int) -> tuple[float, float, float]:
    """Cores that so many open streams take, and their interval."""
    return interval([one - other for one, other in zip(found.cores[streams], found.cores[0], strict=True)])


def word(reached: bool, missed: bool) -> str:
    """How a figure with an interval stands to what was to be reached."""
    return "reached" if reached else "missed" if missed else "not told apart"


@click.command(context_settings={"show_default": True})
@click.option("--clients", type=click.IntRange(1), default=32)
@click.option("--pairs", type=click.IntRange(LEAST_PAIRS), default=40)
@click.option("--seconds", type=click.FloatRange(0.5), default=1.5, help="Length of a loaded stretch.")
@click.option("--rounds", type=click.IntRange(LEAST_PAIRS), default=20)
@click.option("--rest-seconds", type=click.FloatRange(1.0), default=5.0, help="Length of a stretch at rest.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures here.")
def main(clients: int, pairs: int, seconds: float, rounds: int, rest_seconds: float, json_file: Path | None) -> None:
    """Measure what open streams of the live page cost.

    \b
    Example:
      python tests/bench/listeners.py --pairs 20 --json out/listeners.json
    """
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    looked_at = Server("looked-at", "looked at", UP, SAME_WORK, static=False)
    with running(looked_at, DEMO) as server, Reader(server.url) as reader:
        found = measure_throughput(server, reader, clients, pairs, seconds, console)
        measure_cores(server, reader, rounds, rest_seconds, found)
    ratio, low, high = ratio_of(found)
    console.print(
        f"{STREAMS} open streams: throughput with / without {ratio:.3f} ({low:.3f}..{high:.3f}), to reach"
        f" {LEAST_RATIO}: {word(low >= LEAST_RATIO, high < LEAST_RATIO)}; {len(found.without)} pairs,"
        f" {mean(found.without):,.0f} answers/s without, failed {found.failed}, events {found.events}"
    )
    told = {streams: cores_of(found, streams) for streams in REST[1:]}
    for streams, (cores, less, more) in told.items():
        console.print(f"{streams} open: {cores:.4f} cores ({less:.4f}..{more:.4f}) of all server processes at rest")
    _, less, more = told[1]
    console.print(f"one at most {MOST_CORES}: {word(more <= MOST_CORES, less > MOST_CORES)}")
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        summary = {"machine": describe(ROOT), "ratio": [ratio, low, high], "cores_of_streams": told}
        json_file.write_text(json.dumps({**summary, **vars(found)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
