"""What those who look at the live page cost: throughput beside a hundred open streams, and the cores of one.

One server. A closed loop of clients loads it in stretches, every other one beside a hundred open streams; each pair of
stretches gives a ratio of throughputs, and the mean of their logarithms an interval, as in `paired.py`. Who reads the
streams is a process of its own, and takes its share of the same cores. Then the server is left alone, with one open
stream in every other stretch: what its processes take more is what a page costs.
"""

import json
import math
import multiprocessing
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
SETTLE_S = 1.0


@dataclass
class Found:
    """Answers a second beside open streams and without, and cores of the server beside one stream and without.

    events  that the readers were sent in all
    """

    with_streams: list[float] = field(default_factory=list)
    without: list[float] = field(default_factory=list)
    cores_with_one: list[float] = field(default_factory=list)
    cores_without: list[float] = field(default_factory=list)
    events: int = 0
    failed: int = 0


@contextmanager
def looking(url: str, streams: int, found: Found) -> Iterator[None]:
    """So many streams are open and read, from another process, for as long as it is entered."""
    ours, theirs = multiprocessing.Pipe()
    reader = multiprocessing.get_context("spawn").Process(target=_read, args=(url, streams, theirs), daemon=True)
    reader.start()
    try:
        assert ours.recv() == "open"
        time.sleep(SETTLE_S)
        yield
    finally:
        ours.send("close")
        found.events += ours.recv()
        reader.join(10)


def _read(url: str, streams: int, told: Connection) -> None:
    """Open all, then read whatever comes, and count events."""
    import selectors

    place = urlsplit(url)
    request = f"GET /v1/live HTTP/1.1\r\nHost: {place.netloc}\r\nAccept: text/event-stream\r\n\r\n".encode()
    events = 0
    with selectors.DefaultSelector() as ready:
        for _ in range(streams):
            one = socket.create_connection((place.hostname, place.port), timeout=10)
            one.sendall(request)
            assert b" 200 " in one.recv(1 << 16)
            ready.register(one, selectors.EVENT_READ)
        told.send("open")
        while not told.poll():
            for key, _ in ready.select(0.1):
                events += key.fileobj.recv(1 << 20).count(b"event: window")  # type: ignore[union-attr]
        for key in list(ready.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
    told.send(events)


def throughput(server: Running, clients: int, seconds: float, found: Found) -> float:
    """Answers a second; what failed is added up."""
    bodies = request_bodies(user_ids(DEMO), seed=0)
    report = run_fast(run_load(LoadPlan(server.url, bodies, clients, seconds=seconds, warmup_s=0.3)))
    found.failed += report.failed
    return report.throughput_per_s


def measure_throughput(server: Running, clients: int, pairs: int, seconds: float, console: Console) -> Found:
    """Loads it beside streams and without in turn; which of the two comes first alternates."""
    found = Found()
    throughput(server, clients, 3 * seconds, found)
    for number in range(pairs):
        for beside in (True, False) if number % 2 else (False, True):
            if beside:
                with looking(server.url, STREAMS, found):
                    found.with_streams.append(throughput(server, clients, seconds, found))
            else:
                time.sleep(SETTLE_S)
                found.without.append(throughput(server, clients, seconds, found))
        console.print(f"pair {number + 1} of {pairs}: {found.with_streams[-1] / found.without[-1]:.3f}", style="dim")
    return found


def measure_cores(server: Running, pairs: int, seconds: float, found: Found) -> None:
    """Cores that all processes of the server take at rest, beside one stream and without, in turn."""
    for number in range(pairs):
        for beside in (True, False) if number % 2 else (False, True):
            if beside:
                with looking(server.url, 1, found):
                    found.cores_with_one.append(_cores(server, seconds))
            else:
                time.sleep(SETTLE_S)
                found.cores_without.append(_cores(server, seconds))


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


def page_of(found: Found) -> tuple[float, float, float]:
    """Cores that one open page takes, and their interval."""
    return interval([one - other for one, other in zip(found.cores_with_one, found.cores_without, strict=True)])


def word(reached: bool, missed: bool) -> str:
    """How a figure with an interval stands to what was to be reached."""
    return "reached" if reached else "missed" if missed else "not told apart"


@click.command(context_settings={"show_default": True})
@click.option("--clients", type=click.IntRange(1), default=32)
@click.option("--pairs", type=click.IntRange(LEAST_PAIRS), default=20)
@click.option("--seconds", type=click.FloatRange(0.5), default=3.0, help="Length of a loaded stretch.")
@click.option("--rest-pairs", type=click.IntRange(LEAST_PAIRS), default=8)
@click.option("--rest-seconds", type=click.FloatRange(1.0), default=10.0, help="Length of a stretch at rest.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures here.")
def main(
    clients: int, pairs: int, seconds: float, rest_pairs: int, rest_seconds: float, json_file: Path | None
) -> None:
    """Measure what open streams of the live page cost.

    \b
    Example:
      python tests/bench/listeners.py --pairs 20 --json out/listeners.json
    """
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    with running(Server("looked-at", "looked at", UP, SAME_WORK, static=False), DEMO) as server:
        found = measure_throughput(server, clients, pairs, seconds, console)
        measure_cores(server, rest_pairs, rest_seconds, found)
    ratio, low, high = ratio_of(found)
    console.print(
        f"{STREAMS} open streams: throughput with / without {ratio:.3f} ({low:.3f}..{high:.3f}), to reach"
        f" {LEAST_RATIO}: {word(low >= LEAST_RATIO, high < LEAST_RATIO)}; {len(found.without)} pairs,"
        f" {mean(found.without):,.0f} answers/s without, failed {found.failed}, events {found.events}"
    )
    page, less, more = page_of(found)
    console.print(
        f"one open page: {page:.4f} cores ({less:.4f}..{more:.4f}) of all server processes, at most {MOST_CORES}:"
        f" {word(more <= MOST_CORES, less > MOST_CORES)}; {mean(found.cores_without):.3f} cores without"
    )
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        summary = {"machine": describe(ROOT), "ratio": [ratio, low, high], "page_cores": [page, less, more]}
        json_file.write_text(json.dumps({**summary, **vars(found)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
