"""Measures what becomes of decisions: microseconds of CPU for each, from the ingress to the log and back.

python tests/bench/outcomes.py [--rows N] [--batch B] [--width Fc] [--json FILE] [--profile] [--folder DIR]

Answers are made up: micro-batches of B with the demo's chains and contexts of Fc numbers. The ingress's recorder is
told of them and ships them in one piece for each second of --rate requests. Half of them get a reward, some of them
twice. `join` matures all of them; `waiting` is what 200,000 decisions take that wait for theirs. Reading is measured in
a process of its own, for its peak memory counts.
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).parents[2]

from machine import describe  # noqa: E402

from allocator.arms import Assignment  # noqa: E402
from allocator.chains import ChainSpace  # noqa: E402
from allocator.choice import Ints  # noqa: E402
from allocator.joules import Quality  # noqa: E402
from allocator.request_joules import Rates  # noqa: E402
from cluster.answers import Call, Given  # noqa: E402
from cluster.config import DEMO  # noqa: E402
from cluster.outcomes.drift import Drift  # noqa: E402
from cluster.outcomes.joiner import Joiner  # noqa: E402
from cluster.outcomes.log import FileLog  # noqa: E402
from cluster.outcomes.log_reader import read_log  # noqa: E402
from cluster.outcomes.log_settings import LogSettings  # noqa: E402
from cluster.outcomes.log_tables import Head  # noqa: E402
from cluster.outcomes.pending import Matured  # noqa: E402
from cluster.outcomes.recorder import Joules, Recorder  # noqa: E402
from cluster.outcomes.records import Decisions, Reward  # noqa: E402
from cluster.outcomes.routes import read_feedback  # noqa: E402
from cluster.traffic.clicks import MOST  # noqa: E402
from models.batch import UserRows  # noqa: E402
from models.features import UserQuery  # noqa: E402
from models.loading import Cascade  # noqa: E402

BEGAN_S, WAITING, ITEMS = 1_700_000_000.0, 200_000, 10
BOUND_US = {"join": 3.0}
Second = tuple[tuple[Decisions, ...], list[Reward]]
Answered = tuple[UserRows, list[Given], Ints, Joules, None]


def demo_space() -> ChainSpace:
    """The chains of the demo."""
    cascade = Cascade.open(DEMO)
    return ChainSpace(cascade.spec, len(cascade.items))


def head_of(space: ChainSpace) -> Head:
    """Of the log."""
    return Head("cascade", "model", tuple(chain.id for chain in space))


class Ingress:
    """Answers micro-batches of made-up requests, and has them remembered and shipped. `cpu_s`: what that took."""

    def __init__(self, space: ChainSpace, count: int, width: int, rate: int) -> None:
        self._space, self._count, self._width, self._rate = space, count, width, rate
        self._rng, self._assignment, self._now_s = np.random.default_rng(1), Assignment(0.05, "salt"), BEGAN_S
        self._recorder = Recorder(space, lambda: self._now_s, width > 0, rate)
        self.cpu_s = 0.0

    def ships(self, second: int) -> tuple[Decisions, ...]:
        """What is shipped of a second of requests, with ids of 32 digits."""
        self._now_s, rate = BEGAN_S + second, self._rate
        answered = [
            self._answered(second * rate + at, min(self._count, rate - at)) for at in range(0, rate, self._count)
        ]
        began_s = time.process_time()
        for one in answered:
            self._recorder.answered(*one)
        shipped = self._recorder.take().decisions
        self.cpu_s += time.process_time() - began_s
        return shipped

    def _answered(self, number: int, count: int) -> Answered:
        rng, version = self._rng, int(self._now_s)
        users = UserRows(np.empty((count, 0), np.int64), rng.integers(0, 5000, (count, self._width)))
        chains = rng.integers(0, len(self._space), count)
        given = [
            Given(self._call(f"{number:016x}{at:016x}"), self._space.chains[chain], reward, version, propensity=0.99)
            for at, (chain, reward) in enumerate(zip(chains.tolist(), rng.random(count).tolist(), strict=True))
        ]
        rates = Rates({}, 1e-4, Quality.MODELLED, Quality.MODELLED, 0.01)
        return users, given, chains, Joules(rng.random(count), 1.0, rates), None

    def _call(self, request_id: str) -> Call:
        return Call(UserQuery(request_id), ITEMS, None, request_id, self._assignment.of(request_id))


def seconds(ingress: Ingress, rows: int, rate: int) -> Iterator[Second]:
    """What comes each second: decisions, and rewards of those of this second and of five seconds ago."""
    before = list[tuple[str, ...]]()
    for second in range(max(1, rows // rate)):
        shipped = ingress.ships(second)
        before.append(tuple(one for part in shipped for one in part.request_ids))
        ids = [*before[max(0, second - 5)][: 9 * rate // 20], *before[-1][-rate // 20 :], before[0][0]]
        yield shipped, [Reward(one, float(at % 3), BEGAN_S + second) for at, one in enumerate(ids)]


def apart(decisions: tuple[Decisions, ...], count: int) -> tuple[Decisions, ...]:
    """As they would be, were micro-batches not put together."""
    return tuple(
        one.take(np.arange(at, min(at + count, len(one)))) for one in decisions for at in range(0, len(one), count)
    )


def cpu_us(call: Callable[[], object], rows: int) -> float:
    """CPU microseconds a row of one call."""
    began = time.process_time()
    call()
    return 1e6 * (time.process_time() - began) / rows


def join(stream: Sequence[Second], horizon_s: float = 60.0) -> list[Matured]:
    """Join it all, a step a second; what matured in each."""
    joiner = Joiner(horizon_s)
    steps = [joiner.step(made, rewards, BEGAN_S + at) for at, (made, rewards) in enumerate(stream)]
    steps.append(joiner.step([], [], BEGAN_S + len(stream) + horizon_s))
    return [step.matured for step in steps]


def drift(matured: list[Matured], chains: int) -> None:
    """Watch it all."""
    watch = Drift(chains)
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


def waiting_mb(space: ChainSpace) -> float:
    """Of a joiner that is full, ids included."""
    ingress = Ingress(space, 64, 0, 1000)
    tracemalloc.start()
    joiner = Joiner(most=WAITING)
    for made, _ in seconds(ingress, WAITING, 1000):
        joiner.step(made, [], BEGAN_S)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held / 1e6


def measure(rows: int, count: int, width: int, rate: int, folder: Path) -> dict[str, float]:
    """Everything, by name: CPU microseconds a decision, but for what says otherwise."""
    space = demo_space()
    ingress = Ingress(space, count, width, rate)
    shipped = list(track(seconds(ingress, rows, rate), "answering requests", max(1, rows // rate)))
    rows = sum(len(one) for made, _ in shipped for one in made)
    found = in_ingress(shipped)
    found["remember and put together"] = 1e6 * ingress.cpu_s / rows
    pickles: list[bytes] = []
    found["pickle"] = cpu_us(lambda: pickles.extend(pickle.dumps(made, 5) for made, _ in shipped), rows)
    found["unpickle"] = cpu_us(lambda: [pickle.loads(one) for one in pickles], rows)
    found["shipped, bytes"] = sum(map(len, pickles)) / rows
    matured: list[Matured] = []
    found["join"] = cpu_us(lambda: matured.extend(join(shipped)), rows)
    single = [(apart(made, count), rewards) for made, rewards in shipped]
    found["join, not put together"] = cpu_us(lambda: join(single), rows)
    found["drift"] = cpu_us(lambda: drift(matured, len(space)), rows)
    log = FileLog(LogSettings(folder=folder), head_of(space), "bench", BEGAN_S)
    found["log"] = cpu_us(lambda: fill(log, shipped, BEGAN_S), rows)
    log.flush(BEGAN_S + len(shipped) + 60, everything=True)
    found["logged, bytes"] = log.counts.size / rows
    found["waiting, MB"] = waiting_mb(space)
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
        stream = list(seconds(Ingress(demo_space(), count, 0, rate), rows, rate))
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
