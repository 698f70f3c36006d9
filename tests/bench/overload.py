"""Measures what overload and deadlines do to answers, in this process and without HTTP: one ingress replica's worth.

python tests/bench/overload.py [--seconds N] [--json FILE]

First more requests arrive than can be answered (Poisson, open loop, the static chain), with the queue's usual bound and
with none. Then clients whose answers are of no use after some milliseconds ask beside others that have time (closed
loop, the policy chooses, no price): they say so by `timeout_ms`, or only leave when it is over. Last, what it costs to
learn how long things take: microseconds a micro-batch, beside the CPU time of a lone request.
"""

import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from random import Random

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy, as in a replica
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import click  # noqa: E402
import numpy as np  # noqa: E402
from machine import describe  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from tiny_reward import NobodyThere, fixed, policy_of  # noqa: E402
from tiny_serving import inline_runners  # noqa: E402

from allocator.chains import ChainSpace  # noqa: E402
from allocator.reward import RewardModel  # noqa: E402
from cluster.cascade import CascadeExecutor  # noqa: E402
from cluster.config import DEMO, BatchSettings  # noqa: E402
from cluster.deciding import Allocation, LocalDecider  # noqa: E402
from cluster.follower import Follower, Tie  # noqa: E402
from cluster.latency import Latency, Part, Spans  # noqa: E402
from cluster.schemas import RecommendRequest  # noqa: E402
from cluster.service import Recommender  # noqa: E402
from cluster.snapshot import Snapshot  # noqa: E402
from cluster.tally import Tally  # noqa: E402
from cluster.work import Workbook  # noqa: E402
from models.errors import OutOfTime, Overloaded  # noqa: E402
from models.loading import Cascade  # noqa: E402

USERS = 500
UNBOUNDED = 100_000


@dataclass
class Outcome:
    """What came of the requests of one kind. late: refused by their deadline, or left because it was over."""

    answered_s: list[float] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    refused: int = 0
    late: int = 0

    def figures(self, seconds: float) -> dict[str, float]:
        """Per second, and percentiles in milliseconds."""
        of = self.answered_s or [float("nan")]
        asked = len(self.answered_s) + self.late
        return {
            "answered_per_s": len(self.answered_s) / seconds,
            "p50_ms": 1e3 * float(np.percentile(of, 50)),
            "p99_ms": 1e3 * float(np.percentile(of, 99)),
            "refused_per_s": self.refused / seconds,
            "late_share": self.late / asked if asked else 0.0,
            "reward": float(np.mean(self.rewards)) if self.rewards else float("nan"),
        }


@contextmanager
def recommender(batch: BatchSettings, decides: bool) -> Iterator[Recommender]:
    """The demo, all inside this process, as one ingress replica holds it."""
    cascade = Cascade.open(DEMO)
    space = ChainSpace(cascade.spec, len(cascade.items))
    with ThreadPoolExecutor(2) as threads, ThreadPoolExecutor(1) as deciding:
        allocation = None
        if decides:
            tally = Tally(len(space), 64, np.random.default_rng(0), Workbook("here/cpu"))
            follower = Follower(Tie("one", len(space), "", 1.0, 10.0), tally, NobodyThere(), time.monotonic)
            follower.snapshot = Snapshot(policy_of(space, model=""), ())
            model = RewardModel.open(DEMO, cascade.spec, space)
            allocation = Allocation(
                LocalDecider(fixed(model), follower, tally, deciding), tally, follower, space.static
            )
        executor = CascadeExecutor(inline_runners(cascade, threads))
        yield Recommender(cascade, executor, batch, {}, allocation=allocation)


async def ask(one: Recommender, request: RecommendRequest, outcome: Outcome, leaves_after_s: float = inf) -> None:
    """One request, and what came of it."""
    start_s = time.perf_counter()
    try:
        async with asyncio.timeout(None if leaves_after_s == inf else leaves_after_s):
            answer = await one.recommend(request)
    except Overloaded:
        outcome.refused += 1
    except (OutOfTime, TimeoutError):
        outcome.late += 1
    else:
        outcome.answered_s.append(time.perf_counter() - start_s)
        outcome.rewards.append(answer["predicted_reward"] or 0.0)


async def arrive(one: Recommender, rate: float, seconds: float) -> tuple[Outcome, float]:
    """Requests at that rate whatever becomes of them; what came of all, and after how many seconds."""
    rng, outcome, tasks = Random(0), Outcome(), []
    start_s = time.perf_counter()
    due_s = 0.0
    while due_s < seconds:
        while due_s <= time.perf_counter() - start_s:
            request = RecommendRequest(user_id=rng.randrange(USERS))
            tasks.append(asyncio.ensure_future(ask(one, request, outcome)))
            due_s += rng.expovariate(rate)
        await asyncio.sleep(0.002)
    await asyncio.gather(*tasks)
    return outcome, time.perf_counter() - start_s


async def hurry(
    one: Recommender, hurried: int, patient: int, timeout_ms: int, says: bool, seconds: float
) -> tuple[Outcome, Outcome]:
    """Clients with and without a deadline, each asking again when it has its answer."""
    with_it, without = Outcome(), Outcome()
    until_s = time.perf_counter() + seconds

    async def client(seed: int, in_a_hurry: bool) -> None:
        rng = Random(seed)
        while time.perf_counter() < until_s:
            request = RecommendRequest(
                user_id=rng.randrange(USERS), timeout_ms=timeout_ms if in_a_hurry and says else None
            )
            leaves_s = timeout_ms / 1e3 if in_a_hurry else inf
            await ask(one, request, with_it if in_a_hurry else without, leaves_s)
            await asyncio.sleep(0.005)

    await asyncio.gather(*(client(n, n < hurried) for n in range(hurried + patient)))
    return with_it, without


def learning_us(space: ChainSpace, times: int = 20_000) -> float:
    """Microseconds that it takes to learn from one micro-batch of the static chain, reading the clock included."""
    latency, clock = Latency(space, time.monotonic), time.perf_counter
    start_s = clock()
    for _ in range(times):
        spans = Spans()
        for at, action in enumerate(space.static.actions):
            before_s = clock()
            name = action.stage, str(action.variant)
            spans.ran(Part(name, 8, None if at == 0 else 8 * action.items, clock() - before_s + 1e-3))
        latency.saw(spans, 8, 0.02)
    return 1e6 * (clock() - start_s) / times


async def lone_cpu_ms(one: Recommender, seconds: float) -> float:
    """Milliseconds of CPU time of a request that is alone, HTTP left out."""
    outcome = Outcome()
    until_s, cpu_s = time.perf_counter() + seconds, time.process_time()
    for n in itertools.count():
        if time.perf_counter() >= until_s:
            return 1e3 * (time.process_time() - cpu_s) / n
        await ask(one, RecommendRequest(user_id=n % USERS), outcome)
    raise AssertionError


def _overload(seconds: float, rows: list[dict[str, object]]) -> None:
    for bound in (None, UNBOUNDED):
        with recommender(BatchSettings(most_waiting=bound), decides=False) as one:
            asyncio.run(arrive(one, 200, 1))
            for rate in (400, 2000, 4000):
                outcome, took_s = asyncio.run(arrive(one, rate, seconds))
                case = f"{rate} arrive a second, " + ("bounded" if bound is None else "no bound")
                rows.append({"case": case, **outcome.figures(took_s)})


def _deadlines(seconds: float, rows: list[dict[str, object]]) -> None:
    for hurried, patient in ((16, 0), (4, 32)):
        for timeout_ms, says in itertools.product((10, 20, 40, 80), (True, False)):
            with recommender(BatchSettings(), decides=True) as one:
                asyncio.run(hurry(one, 8, 8, 60_000, True, 1.0))
                with_it, _ = asyncio.run(hurry(one, hurried, patient, timeout_ms, says, seconds))
            case = f"{hurried} clients with {timeout_ms} ms" + (f" beside {patient}" if patient else "")
            rows.append({"case": case + (", say so" if says else ", leave"), **with_it.figures(seconds)})


@click.command(context_settings={"show_default": True})
@click.option("--seconds", type=click.FloatRange(0.5), default=3.0, help="Length of each case.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures here.")
def main(seconds: float, json_file: Path | None) -> None:
    """Measure refusals, deadlines, and what learning about time costs. Never judges."""
    rows: list[dict[str, object]] = []
    _overload(seconds, rows)
    _deadlines(seconds, rows)
    with recommender(BatchSettings(), decides=False) as one:
        learning, lone = learning_us(one.space), asyncio.run(lone_cpu_ms(one, seconds))
    table = Table("case", *list(rows[0])[1:])
    for row in rows:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()))
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(table)
    console.print(f"learning: {learning:.1f} us a micro-batch; a lone request takes {lone:.2f} ms of CPU time")
    if json_file is not None:
        document = {"machine": describe(ROOT), "cases": rows, "learning_us": learning, "lone_cpu_ms": lone}
        json_file.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
