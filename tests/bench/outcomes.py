"""Measures what becomes of decisions: microseconds of CPU for each, from the ingress to the log and back.

python tests/bench/outcomes.py [--rows N] [--batch B] [--width Fc] [--json FILE] [--profile] [--folder DIR]

Decisions are made up: micro-batches of B, shipped in one piece for each second of --rate requests, with 105 chains and
contexts of Fc numbers. Half of them get a reward, some of them twice. `join` matures all of them; `waiting` is what
200,000 decisions take that wait for theirs. Reading is measured in a process of its own, for its peak memory counts.
"""

import cProfile
import json
import pickle
import pstats
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).parents[2]

from machine import describe  # noqa: E402

from allocator.arms import Assignment  # noqa: E402
from cluster.outcomes.drift import Drift  # noqa: E402
from cluster.outcomes.joiner import Joiner  # noqa: E402
from cluster.outcomes.log import FileLog  # noqa: E402
from cluster.outcomes.log_reader import read_log  # noqa: E402
from cluster.outcomes.log_settings import LogSettings  # noqa: E402
from cluster.outcomes.log_tables import Head  # noqa: E402
from cluster.outcomes.pending import Matured  # noqa: E402
from cluster.outcomes.records import Decisions, Reward, joined  # noqa: E402
from cluster.outcomes.routes import read_feedback  # noqa: E402
from cluster.traffic.clicks import MOST  # noqa: E402

BEGAN_S, CHAINS, WAITING = 1_700_000_000.0, 105, 200_000
HEAD = Head("cascade", "model", tuple(f"recall>pre-rank@{at}>rank@{at}" for at in range(CHAINS)))
BOUND_US = {"join": 3.0}
Second = tuple[list[Decisions], list[Reward]]


def batch(rng: np.random.Generator, number: int, count: int, width: int, time_s: float) -> Decisions:
    """A micro-batch of requests with ids of 32 digits."""
    return Decisions(
        time_s=time_s,
        request_ids=tuple(f"{number:016x}{at:016x}" for at in range(count)),
        users=rng.integers(0, 2**64, count, np.uint64),
        groups=rng.integers(0, 256, count).astype(np.int16),
        arms=(rng.random(count) < 0.05).astype(np.int8),
        contexts=rng.integers(0, 5000, (count, width)).astype(np.float32),
        chains=rng.integers(0, CHAINS, count).astype(np.int32),
        propensities=np.full(count, 0.99, np.float32),
        predicted=rng.random(count, np.float32),
        flops=rng.integers(1, CHAINS, count) * 1e6,
        energy_j=rng.random(count, np.float32),
        static_j=1.0, error_j=0.01, grams_per_j=1e-4, policy_version=int(time_s), degraded=np.zeros(count, bool),
    )  # fmt: skip


def seconds(rows: int, count: int, width: int, rate: int) -> Iterator[Second]:
    """What comes each second: micro-batches, and rewards of those of this second and of five seconds ago."""
    rng, before = np.random.default_rng(1), list[tuple[str, ...]]()
    for second in range(max(1, rows // rate)):
        made = [
            batch(rng, second * rate + at, min(count, rate - at), width, BEGAN_S + second)
            for at in range(0, rate, count)
        ]
        before.append(tuple(one for part in made for one in part.request_ids))
        ids = [*before[max(0, second - 5)][: 9 * rate // 20], *before[-1][-rate // 20 :], before[0][0]]
        yield made, [Reward(one, float(at % 3), BEGAN_S + second) for at, one in enumerate(ids)]


def cpu_us(call: Callable[[], object], rows: int) -> float:
    """CPU microseconds a row of one call."""
    began = time.process_time()
    call()
    return 1e6 * (time.process_time() - began) / rows


def join(stream: list[Second], horizon_s: float = 60.0) -> list[Matured]:
    """Join it all, a step a second; what matured in each."""
    joiner = Joiner(horizon_s)
    steps = [joiner.step(made, rewards, BEGAN_S + at) for at, (made, rewards) in enumerate(stream)]
    steps.append(joiner.step([], [], BEGAN_S + len(stream) + horizon_s))
    return [step.matured for step in steps]


def drift(matured: list[Matured]) -> None:
    """Watch it all."""
    watch = Drift(CHAINS)
    for at, rows in enumerate(matured):
        watch.step(rows, BEGAN_S + at)


def fill(log: FileLog, stream: list[Second], now_s: float) -> None:
    """Add it all, and write what is due."""
    for made, rewards in stream:
        for one in made:
            log.add_decisions(one, '{"power":0.125}')
        log.add_outcomes(rewards)
        log.flush(now_s)


def in_ingress(stream: list[Second]) -> dict[str, float]:
    """What an ingress does besides, by name: CPU microseconds a request, or a reward."""
    ids = [one for made, _ in stream for part in made for one in part.request_ids]
    bodies = [
        json.dumps({"feedback": [{"request_id": one, "reward": 1} for one in ids[at : at + MOST]]}).encode()
        for at in range(0, len(ids), MOST)
    ]
    assignment, rewards = Assignment(0.02, "salt"), list[Reward]()
    found = {"assign to an arm": cpu_us(lambda: [assignment.of(user) for user in range(len(ids))], len(ids))}
    found["hear of a reward"] = cpu_us(
        lambda: [rewards.append(Reward(*told, BEGAN_S)) for body in bodies for told in read_feedback(body)], len(ids)
    )
    found["pickle and unpickle a reward"] = cpu_us(
        lambda: [pickle.loads(pickle.dumps(rewards[at : at + MOST], 5)) for at in range(0, len(ids), MOST)], len(ids)
    )
    return found


def waiting_mb() -> float:
    """Of a joiner that is full, ids included."""
    tracemalloc.start()
    joiner = Joiner(most=WAITING)
    for made, _ in seconds(WAITING, 64, 0, 1000):
        joiner.step(joined(made), [], BEGAN_S)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held / 1e6


def measure(rows: int, count: int, width: int, rate: int, folder: Path) -> dict[str, float]:
    """Everything, by name: CPU microseconds a decision, but for what says otherwise."""
    stream = list(track(seconds(rows, count, width, rate), "making requests", rows // rate))
    rows = sum(len(one) for made, _ in stream for one in made)
    found = in_ingress(stream)
    shipped: list[Second] = []
    found["put together"] = cpu_us(
        lambda: shipped.extend((list(joined(made)), rewards) for made, rewards in stream), rows
    )
    pickles: list[bytes] = []
    found["pickle"] = cpu_us(lambda: pickles.extend(pickle.dumps(made, 5) for made, _ in shipped), rows)
    found["unpickle"] = cpu_us(lambda: [pickle.loads(one) for one in pickles], rows)
    found["shipped, bytes"] = sum(map(len, pickles)) / rows
    matured: list[Matured] = []
    found["join"] = cpu_us(lambda: matured.extend(join(shipped)), rows)
    found["join, not put together"] = cpu_us(lambda: join(stream), rows)
    found["drift"] = cpu_us(lambda: drift(matured), rows)
    log = FileLog(LogSettings(folder=folder), HEAD, "bench", BEGAN_S)
    found["log"] = cpu_us(lambda: fill(log, shipped, BEGAN_S), rows)
    log.flush(BEGAN_S + len(stream) + 60, everything=True)
    found["logged, bytes"] = log.counts.size / rows
    found["waiting, MB"] = waiting_mb()
    reader = [sys.executable, __file__, "--read", str(folder)]
    found |= json.loads(
        subprocess.run(reader, check=True, capture_output=True, text=True, cwd=Path(__file__).parent).stdout
    )
    return found


def peak_bytes() -> int:
    """Most memory that this process has ever had; what getrusage says may be its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def read(folder: Path) -> dict[str, float]:
    """Read a log; the peak of this process over what it took before, a row."""
    before = peak_bytes()
    began = time.process_time()
    rows = read_log(folder, horizon_s=60.0)
    spent, peak = time.process_time() - began, peak_bytes()
    return {
        "read": 1e6 * spent / len(rows),
        "read, rows": len(rows),
        "read, peak bytes": (peak - before) / len(rows),
    }


@click.command(context_settings={"show_default": True})
@click.option("--rows", type=click.IntRange(1000), default=500_000, help="Decisions.")
@click.option("--batch", "count", type=click.IntRange(1), default=16, help="Of a micro-batch.")
@click.option("--width", type=click.IntRange(0), default=40, help="Numbers of a context.")
@click.option("--rate", type=click.IntRange(20), default=1000, help="Requests a second.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures there too.")
@click.option("--folder", type=click.Path(path_type=Path), help="On the disk to measure.  [default: the temporary one]")
@click.option("--profile", is_flag=True, help="Show where joining spends its time instead.")
@click.option("--read", "log_folder", type=click.Path(path_type=Path), hidden=True)
def main(
    rows: int, count: int, width: int, rate: int, json_file: Path | None, folder: Path | None, profile: bool,
    log_folder: Path | None,
) -> None:  # fmt: skip
    """Measure what each decision costs after it is made. Never judges."""
    if log_folder is not None:
        print(json.dumps(read(log_folder)))
        return
    if profile:
        stream = [(list(joined(made)), rewards) for made, rewards in seconds(rows, count, 0, rate)]
        with cProfile.Profile() as profiler:
            join(stream)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(12)
        return
    machine = describe(ROOT)
    with tempfile.TemporaryDirectory(prefix="gf-outcomes-", dir=folder) as scratch:
        found = measure(rows, count, width, rate, Path(scratch))
    table = Table("µs of CPU a decision, or as it says", "", "to reach", title=f"{rows:,} decisions")
    for name, figure in found.items():
        table.add_row(
            name,
            f"{figure:,.3g}" if figure < 1000 else f"{figure:,.0f}",
            f"≤ {BOUND_US[name]:g}" if name in BOUND_US else "",
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps({"machine": machine, "found": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
