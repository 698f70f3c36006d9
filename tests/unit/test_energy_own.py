"""Other programs draw in the busy seconds that replicas do not claim: their coming and going teaches nothing of us."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from energy_world import DEMO, World

from allocator.energy.attribution import Debts, attribute
from allocator.energy.figures import marginal_j
from allocator.energy.model import EnergyModel
from allocator.energy.own_seconds import by_own_s
from allocator.energy.state import CORE, Block
from allocator.energy.windows import SERVING, Name, gathered
from allocator.joules import DeviceJoules, Quality, Work

POOL, IDLE_W, CORE_J, REQUEST_S = "host/cpu", 48.0, 70.0, 1.5e-3
BEGINS, COUNTS_FROM, ENDS = 15, 60, 240
MODEL = EnergyModel()
PARTS = {("recall", "tower-l"): (0.2, 8000), ("prerank", "ydnn-l"): (0.2, 400), ("rank", "dien"): (0.3, 160)}
"""Share of a request's seconds, and its items; the rest is serving."""


def work_of(requests: int, claims: bool, of: float = 1.0) -> list[Work]:
    """Replicas' report of a window; they claim the seconds that their work took, or none. Runs last twice as long as
    they keep processors busy: they wait for them."""
    took_s = requests * REQUEST_S * claims * of
    calls = int(np.ceil(requests / 6))
    work = [
        Work(*name, POOL, calls, requests * items, 2 * share * took_s, share * took_s)
        for name, (share, items) in PARTS.items()
    ]
    return [*work, Work(*SERVING, POOL, calls, requests, 0.6 * took_s, 0.3 * took_s)]


def read(busy_s: float, rng: np.random.Generator) -> DeviceJoules:
    """What a meter tells of a second in which processors worked so long."""
    energy_j = (IDLE_W + CORE_J * busy_s) * float(1 + 0.01 * rng.standard_normal())
    return DeviceJoules("host/host", POOL, "node", "host", "host", "estimate", Quality.MODELLED,
                        energy_j, 1.0, 0.0, "boot", True, busy_s)  # fmt: skip


def put_down(others: np.ndarray, claims: bool, seed: int) -> float:
    """What variants are said to have drawn from COUNTS_FROM on, over the truth, beside so many busy processors."""
    rng = np.random.default_rng(seed)
    state, debts = MODEL.init(World(variants=DEMO, core_j=CORE_J).prior(0.3, seed=0)), Debts()
    told_j = true_j = 0.0
    for at, busy in enumerate(others.tolist()):
        requests = int(rng.poisson(75)) if at >= BEGINS else 0
        busy_s = busy + requests * REQUEST_S + 0.05
        window = gathered(state.names, [read(busy_s, rng)], work_of(requests, claims))
        state = MODEL.learned(state, window)
        found, debts = attribute(debts, state, window)
        if at >= COUNTS_FROM:
            told_j += sum(share.energy_j for share in found.shares)
            true_j += requests * REQUEST_S * CORE_J
    return told_j / true_j


def starting(rng: np.random.Generator) -> np.ndarray:
    """A machine that starts, and calms down while requests begin."""
    return np.where(np.arange(ENDS) < 25, 1.4, 0.1) + 0.05 * rng.random(ENDS)


def shared(rng: np.random.Generator) -> np.ndarray:
    """A machine on which others work now and then, for seconds or half a minute."""
    return np.repeat(rng.uniform(0.0, 1.5, ENDS // 8), 8) + 0.05 * rng.random(ENDS)


@pytest.mark.parametrize("others", [starting, shared])
@pytest.mark.parametrize("seed", range(3))
def test_what_others_do_while_requests_begin_and_after_hardly_changes_what_they_are_put_down_to(
    others: Callable[[np.random.Generator], np.ndarray], seed: int
) -> None:
    programs = others(np.random.default_rng(seed))
    assert put_down(programs, claims=True, seed=seed) == pytest.approx(1.0, abs=0.3)


def learned(of: float = 1.0, off: float = 0.3) -> dict[Name, float]:
    """What a request draws in each part of it, said over true, after minutes in which all take the same chain. Replicas
    claim `of` times the seconds that they took; priors are `off` by such a factor, and each by one of its own."""
    rng = np.random.default_rng(0)
    state = MODEL.init(World(variants=DEMO, core_j=CORE_J).prior(off, seed=0, by=1.0))
    for at in range(ENDS):
        requests = int(rng.poisson(400)) if at >= BEGINS else 0
        device = read(requests * REQUEST_S + 0.1, rng)
        state = MODEL.learned(state, gathered(state.names, [device], work_of(requests, claims=True, of=of)))
    shares = {**PARTS, SERVING: (0.3, 1)}
    return {
        name: marginal_j(state, POOL, name, 1 / 6, items).joules / (share * REQUEST_S * CORE_J)
        for name, (share, items) in shares.items()
    }


@pytest.mark.parametrize("off", [0.01, 0.3, 10.0])
def test_parts_of_requests_that_all_run_alike_are_told_apart_by_what_each_took_of_processors(off: float) -> None:
    assert list(learned(off=off).values()) == pytest.approx([1.0] * 4, abs=0.1)


def test_nothing_is_concluded_of_seconds_that_the_processors_never_worked() -> None:
    told = learned(of=2.0).values()
    assert max(told) > 2 * min(told), "the split stays the prior's"


def at_rest(own_s: float) -> tuple[float, float]:
    """Joules of a busy second, and of a request, after a minute with one a second, in which the ingress keeps a
    processor busy for so long, mostly by waiting for more of them."""
    rng = np.random.default_rng(0)
    state = MODEL.init(World(variants=DEMO, core_j=CORE_J).prior(0.3, seed=0))
    for _ in range(60):
        device, work = read(rng.uniform(0.2, 1.0), rng), [Work(*SERVING, POOL, 1, 1, own_s, own_s)]
        state = MODEL.learned(state, gathered(state.names, [device], work))
    pool = state.pools[POOL]
    return float(pool.belief.mean[CORE]) * pool.core_j, marginal_j(state, POOL, SERVING, 1, 1).joules


def test_what_a_replica_takes_while_it_waits_says_nothing_of_requests_nor_of_what_a_busy_second_draws() -> None:
    core_j, request_j = at_rest(0.03)
    assert core_j == pytest.approx(CORE_J, rel=0.1)
    assert request_j < 0.5 * 0.03 * CORE_J


def test_of_seconds_of_a_variant_it_alone_learns_and_not_what_a_busy_second_draws() -> None:
    rng, one = np.random.default_rng(0), ("rank", "dien")
    state = MODEL.init(World(variants=DEMO, core_j=CORE_J).prior(0.3, seed=0))
    state = MODEL.learned(state, gathered(state.names, [read(0.3, rng)], []))
    pool, at, count = state.pools[POOL], state.names.index(one), len(state.names)
    used, own_s = np.zeros(2 * count), np.zeros(count)
    used[at], used[at + count], own_s[at] = 1.0, 160.0, 0.5
    held = Block(IDLE_W + 0.6 * CORE_J, 1.0, used, 0.6, own_s)
    told = by_own_s(replace(pool, held=held), pool.belief, state.names)
    changed = np.flatnonzero(told.mean != pool.belief.mean).tolist()
    assert changed == [1 + at, 1 + at + count]
    assert told.covariance[CORE, CORE] == pool.belief.covariance[CORE, CORE]
