"""Measures what each variant's runs take on this machine, and where a variant is best placed."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np

from models.batch import RaggedBatch, UserRows, offsets_of
from models.features import UserQuery
from models.loading import Cascade
from models.spec import Device, Placement, StageSpec, VariantSpec

HOP_MS = 2.0
"""CPU time that a call to another replica costs, whatever is in it (Ray 2.60, throughput mode)."""
TYPICAL_ROWS = 16
"""Requests in a micro-batch of a replica under load: what decides whether a hop is worth its cost."""

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Timing:
    """Median milliseconds of one run with `rows` requests and `items` items each.

    run_j  joules of a run above idle, where a meter was read around many of them
    """

    stage: str
    variant: str
    rows: int
    items: int
    run_ms: float
    run_j: float | None = None

    @property
    def request_ms(self) -> float:
        """Milliseconds per request."""
        return self.run_ms / self.rows


@dataclass(frozen=True, slots=True)
class Meter:
    """Reads the joules that this machine has drawn: a cumulative counter, and what it grows by in a second of idling.

    A variant runs for at least `least_s` between two readings, so that the counter's steps do not matter.
    """

    joules: Callable[[], float]
    idle_w: float
    least_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Advice:
    """Where a variant should be placed and why, and how many requests a run should take together at most."""

    stage: str
    variant: str
    placement: Placement
    max_rows: int
    reason: str


def profile(
    cascade: Cascade,
    rows: Sequence[int],
    repeats: int,
    seed: int,
    clock: Clock = time.perf_counter,
    meters: Mapping[Device, Meter] = MappingProxyType({}),
) -> Iterator[Timing]:
    """Time every variant at each item number of its stage and each number of rows, one after another.

    Users and candidates are drawn from the tables with `seed`. The median of `repeats` runs is taken after a warm-up.
    Joules are measured as well where there is a meter for the variant's device class: everything else on the machine
    should then be still.
    """
    rng = np.random.default_rng(seed)
    for at, stage in enumerate(cascade.spec.stages):
        for spec in stage.variants:
            variant = cascade.variant(stage, spec)
            for count in rows:
                users = _users(cascade, rng, count)
                for items in _item_numbers(cascade, at):
                    candidates = None if at == 0 else _candidates(rng, count, items, len(cascade.items))
                    keep = np.full(count, _handed_on(cascade, at) if at == 0 else cascade.spec.k)
                    run = partial(variant.run, users, candidates, keep)
                    run_ms = _median_ms(run, repeats, clock)
                    run_j = _mean_j(run, meters[spec.device], clock) if spec.device in meters else None
                    yield Timing(stage.name, spec.name, count, items, run_ms, run_j)


def advise(cascade: Cascade, timings: Sequence[Timing], hop_ms: float = HOP_MS) -> list[Advice]:
    """What the timings recommend.

    Inline for a CPU variant whose dearest run with up to TYPICAL_ROWS requests is no dearer than a hop, else own. As
    `max_rows` the measured number with the least time per request at the greatest item number: large runs outgrow the
    processor's caches.
    """
    return [
        _advice(stage, spec, [t for t in timings if (t.stage, t.variant) == (stage.name, spec.name)], hop_ms)
        for stage in cascade.spec.stages
        for spec in stage.variants
    ]


def _advice(stage: StageSpec, spec: VariantSpec, timings: Sequence[Timing], hop_ms: float) -> Advice:
    most_items = max(timing.items for timing in timings)
    best = min((t for t in timings if t.items == most_items), key=lambda timing: timing.request_ms)
    if spec.device is Device.CUDA:
        return Advice(stage.name, spec.name, Placement.OWN, best.rows, "runs on a GPU")
    fewest = min(timing.rows for timing in timings)
    usual = [t for t in timings if t.rows <= max(TYPICAL_ROWS, fewest)]
    dearest = max(usual, key=lambda timing: timing.run_ms)
    cheap = dearest.run_ms <= hop_ms
    work = f"{dearest.rows} requests x {dearest.items} items take {dearest.run_ms:.1f} ms"
    reason = f"{work}, {'no more' if cheap else 'more'} than the {hop_ms:g} ms of a hop"
    return Advice(stage.name, spec.name, Placement.INLINE if cheap else Placement.OWN, best.rows, reason)


def _item_numbers(cascade: Cascade, at: int) -> Sequence[int]:
    return (len(cascade.items),) if at == 0 else cascade.spec.stages[at].items


def _handed_on(cascade: Cascade, at: int) -> int:
    later = cascade.spec.stages[at + 1 :]
    return later[0].items[-1] if later else cascade.spec.k


def _users(cascade: Cascade, rng: np.random.Generator, count: int) -> UserRows:
    rows = rng.integers(0, len(cascade.users.ids), count)
    return cascade.users.rows([UserQuery(user_id) for user_id in cascade.users.ids.ids(rows)])


def _candidates(rng: np.random.Generator, rows: int, items: int, catalogue: int) -> RaggedBatch:
    drawn = [rng.choice(catalogue, items, replace=False) for _ in range(rows)]
    return RaggedBatch(offsets_of(np.full(rows, items)), np.concatenate(drawn))


def _median_ms(run: Callable[[], object], repeats: int, clock: Clock) -> float:
    run()
    spent = []
    for _ in range(repeats):
        start = clock()
        run()
        spent.append(clock() - start)
    return float(np.median(spent)) * 1e3


def _mean_j(run: Callable[[], object], meter: Meter, clock: Clock) -> float:
    runs, start_j, start_s = 0, meter.joules(), clock()
    while (passed_s := clock() - start_s) < meter.least_s:
        run()
        runs += 1
    return max(meter.joules() - start_j - meter.idle_w * passed_s, 0.0) / runs
