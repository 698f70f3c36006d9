"""What a part of the server costs: two servers at once, one with it and one without, under load in turn.

A machine that is shared with others changes its speed within seconds. So both servers run all the time, and a closed
loop of clients goes from one to the other every few seconds; each pair of stretches gives a ratio of throughputs, and
the mean of their logarithms an interval. Which of the two comes first alternates; which is started first changes
after half of the pairs, since of two that are alike the one that was started first was found slower by 1% (-1 to 3%).
What both do in the background, under load or not, slows both alike and does not show in that: it is measured apart,
in cores, as the processor time of each while the other one is under load, and what the part adds to it is taken off
the ratio as its share of all cores.

Of two servers that are alike (`--part nothing`) neither is to be found slower: that tells what the rest is worth.

Where a part hears of rewards, the clients of both see to the same of what they are shown; those of the server with it
tell of a reward for every answer, in batches once a second, and those of the other one find nothing to tell of.
"""

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import NormalDist, mean, stdev
from tempfile import TemporaryDirectory

import click
import numpy as np
from machine import describe
from process_group import spent_between, spent_by_name
from rich.console import Console
from servers import ROOT, Running, Server, running

from cluster.commands.load import run_fast
from cluster.config import DEMO
from cluster.traffic.bodies import request_bodies, user_ids
from cluster.traffic.clicks import Clicks
from cluster.traffic.load import LoadPlan, run_load

UP = (str(Path(sys.executable).with_name("greenflow")), "up", "--placement", "inline")
# Under a limit each of them would find a price of its own, and run other chains than the other.
SAME_WORK = {"GREENFLOW_LIMITS_CAPACITY_SHARE": "0"}
OFF = {"GREENFLOW_ENERGY_ENABLED": "false"}
LEAST_PAIRS = 4
SMALL_S = 2e-6


@dataclass(frozen=True)
class Part:
    """A part of the server: the environments of a server with it, and of one without.

    least  ratio that is to be reached
    told   whether the one with it is told of a reward for every answer
    """

    about: str
    with_it: dict[str, str]
    without: dict[str, str]
    least: float
    told: bool = False


# Rewards are final after so short a time that they become so while the benchmark runs, as they do in a server that has
# run for long; it is long enough for parcels to be as few as by default. Exploration would run other chains than the
# other server.
OUTCOMES = {
    "GREENFLOW_LOG_FOLDER": "{folder}",
    "GREENFLOW_FEEDBACK_HORIZON_S": "100",
    "GREENFLOW_EXPERIMENT_EXPLORE": "0",
}
NO_EXPERIMENT = {"GREENFLOW_EXPERIMENT_ENABLED": "false"}
PARTS = {
    "metering": Part("joules accounted for", {}, OFF, 0.98),
    "outcomes": Part("holdback, a log of decisions, feedback", OUTCOMES, NO_EXPERIMENT, 0.97, told=True),
    "nothing": Part("two servers that are alike", {}, {}, 1.0),
}


@dataclass(frozen=True)
class Stretch:
    """One of the two servers under load.

    per_s   answers a second
    parts   processor seconds of an answer, by what the processes are called that took them
    rest    cores that the other server took meanwhile
    """

    per_s: float
    parts: dict[str, float]
    rest: float

    @property
    def cpu_s(self) -> float:
        """Processor seconds of an answer, of all processes."""
        return sum(self.parts.values())


@dataclass
class Paired:
    """Stretches with and without, pair by pair.

    failed  requests and rewards; `told` of the latter were taken in
    """

    with_it: list[Stretch] = field(default_factory=list)
    without: list[Stretch] = field(default_factory=list)
    failed: int = 0
    told: int = 0

    @property
    def ratios(self) -> list[float]:
        """Throughput with it over without."""
        return [one.per_s / other.per_s for one, other in zip(self.with_it, self.without, strict=True)]

    def interval(self) -> tuple[float, float, float]:
        """Geometric mean of the ratios and its 95% interval, by the normal distribution, less the background."""
        left = 1 - self.background / cores()
        centre, low, high = _interval(self.ratios)
        return centre * left, low * left, high * left

    def cpu_interval(self) -> tuple[float, float, float]:
        """The same of processor seconds of an answer, with it over without; the background is in them."""
        return _interval([one.cpu_s / other.cpu_s for one, other in zip(self.with_it, self.without, strict=True)])

    @property
    def background(self) -> float:
        """Cores that the part takes besides, whether or not there are requests: each server rests while the other
        one is under load."""
        return mean(one.rest for one in self.without) - mean(one.rest for one in self.with_it)

    def differences(self) -> list[tuple[str, float, float]]:
        """By how much the processes of each name take more for an answer with it: seconds, and half of a 95%
        interval; the largest first, but for those that are small and not told apart from nothing."""
        found = []
        for name in {name for one in (*self.with_it, *self.without) for name in one.parts}:
            pairs = zip(self.with_it, self.without, strict=True)
            more = [one.parts.get(name, 0.0) - other.parts.get(name, 0.0) for one, other in pairs]
            centre, half = mean(more), NormalDist().inv_cdf(0.975) * stdev(more) / math.sqrt(len(more))
            if abs(centre) >= SMALL_S or abs(centre) > half:
                found.append((name, centre, half))
        return sorted(found, key=lambda one: -abs(one[1]))


def _interval(ratios: Sequence[float]) -> tuple[float, float, float]:
    logs = [math.log(ratio) for ratio in ratios]
    centre, half = mean(logs), NormalDist().inv_cdf(0.975) * stdev(logs) / math.sqrt(len(logs))
    return math.exp(centre), math.exp(centre - half), math.exp(centre + half)


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def both(part: Part, with_first: bool) -> Iterator[dict[bool, Running]]:
    """A server with it, and one without; which is started first."""
    with TemporaryDirectory(prefix="gfb-log-") as folder:
        ones = {key: value.format(folder=folder) for key, value in part.with_it.items()}
        environments = {True: SAME_WORK | ones, False: SAME_WORK | part.without}
        first, second = (
            Server(name, name, UP, environments[on], static=False)
            for on, name in ((with_first, "first"), (not with_first, "second"))
        )
        with running(first, DEMO) as one, running(second, DEMO) as other:
            yield {with_first: one, not with_first: other}


def compared(part: Part, clients: int, pairs: int, seconds: float, console: Console) -> Paired:
    """Loads both in turn. Ctrl-C ends it with the pairs so far."""
    found = Paired()
    try:
        for with_first, last in ((True, pairs // 2), (False, pairs)):
            with both(part, with_first) as servers:
                _load(servers, part, clients, last, seconds, found, console)
    except KeyboardInterrupt:
        del found.with_it[len(found.without) :]
        console.print(f"stopped after {len(found.without)} pairs")
    return found


def _load(
    servers: dict[bool, Running], part: Part, clients: int, last: int, seconds: float, found: Paired, console: Console
) -> None:
    """Until there are so many pairs; first both are warmed up."""
    tells: dict[bool, Clicks | None] = {on: told_of(int(on)) if part.told else None for on in servers}
    warm = Paired()
    for on, server in servers.items():
        throughput(server, clients, 2 * seconds, warm, tells[on])
    while len(found.without) < last:
        first = bool(len(found.without) % 2)
        pair = {
            on: _stretch(servers[on], servers[not on], clients, seconds, found, tells[on]) for on in (first, not first)
        }
        found.with_it.append(pair[True])
        found.without.append(pair[False])
        console.print(f"pair {len(found.without)}: {found.ratios[-1]:.3f}", style="dim")


def _stretch(
    server: Running, rests: Running, clients: int, seconds: float, found: Paired, clicks: Clicks | None
) -> Stretch:
    resting, own, began_s = rests.group.cpu_s(), server.group.named_cpu_s(), time.monotonic()
    per_s = throughput(server, clients, seconds, found, clicks)
    took_s, parts = time.monotonic() - began_s, spent_by_name(own, server.group.named_cpu_s())
    rest = spent_between(resting, rests.group.cpu_s()) / took_s
    return Stretch(per_s, {name: cpu_s / took_s / per_s for name, cpu_s in parts.items()}, rest)


def throughput(server: Running, clients: int, seconds: float, found: Paired, clicks: Clicks | None = None) -> float:
    """Answers a second; what failed is added up."""
    bodies = request_bodies(user_ids(DEMO), seed=0)
    report = run_fast(run_load(LoadPlan(server.url, bodies, clients, seconds=seconds, warmup_s=0.3, clicks=clicks)))
    found.failed += report.failed
    if report.clicks is not None:
        found.failed += report.clicks.failed
        found.told += report.clicks.sent
    return report.throughput_per_s


def told_of(clicks: int) -> Clicks:
    """So many clicks on every page."""
    return lambda shown: np.full(len(shown), clicks, np.int64)


@click.command(context_settings={"show_default": True})
@click.option("--part", type=click.Choice(list(PARTS)), default="metering")
@click.option("--clients", type=click.IntRange(1), default=32)
@click.option("--pairs", type=click.IntRange(LEAST_PAIRS), default=30)
@click.option("--seconds", type=click.FloatRange(0.5), default=2.0, help="Length of a stretch.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures here.")
def main(part: str, clients: int, pairs: int, seconds: float, json_file: Path | None) -> None:
    """Compare throughput with a part of the server and without it, side by side.

    \b
    Example:
      python tests/bench/paired.py --part metering --pairs 40 --json out/paired.json
    """
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    found = compared(PARTS[part], clients, pairs, seconds, console)
    if len(found.ratios) < LEAST_PAIRS:
        raise SystemExit("too few pairs to say anything")
    ratio, low, high = found.interval()
    least = PARTS[part].least
    word = "reached" if low >= least else "missed" if high < least else "not told apart"
    console.print(
        f"{PARTS[part].about}: throughput with / without {ratio:.3f} ({low:.3f}..{high:.3f}), to reach {least}: {word};"
        f" of it {found.background:.3f} cores in the background; {len(found.ratios)} pairs,"
        f" {mean(one.per_s for one in found.without):,.0f} answers/s without, failed {found.failed}"
        + (f", told of {found.told:,} rewards" if PARTS[part].told else "")
    )
    cpu, cpu_low, cpu_high = found.cpu_interval()
    whole_us = 1e6 * mean(one.cpu_s for one in found.without)
    console.print(
        f"processor time of an answer, with / without: {cpu:.3f} ({cpu_low:.3f}..{cpu_high:.3f}),"
        f" {whole_us:,.0f} us without; more with it, by process:"
    )
    for name, more_s, half_s in found.differences():
        console.print(f"  {name}: {1e6 * more_s:+.1f} ± {1e6 * half_s:.1f} us")
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        document = {"machine": describe(ROOT), "part": part, "ratio": ratio, "low": low, "high": high}
        document["cpu"] = {"ratio": cpu, "low": cpu_low, "high": cpu_high}
        json_file.write_text(json.dumps({**document, **asdict(found)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
