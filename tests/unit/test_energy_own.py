"""Other programs draw in the busy seconds that replicas do not claim: their coming and going teaches nothing of us."""

from collections.abc import Callable

import numpy as np
import pytest
from energy_world import DEMO, World

from allocator.energy.attribution import Debts, attribute
from allocator.energy.model import EnergyModel
from allocator.energy.windows import SERVING, gathered
from allocator.joules import DeviceJoules, Quality, Work

POOL, IDLE_W, CORE_J, REQUEST_S = "host/cpu", 48.0, 70.0, 1.5e-3
BEGINS, COUNTS_FROM, ENDS = 15, 60, 240
MODEL = EnergyModel()
PARTS = {("recall", "tower-l"): (0.2, 8000), ("prerank", "ydnn-l"): (0.2, 400), ("rank", "dien"): (0.3, 160)}
"""Share of a request's seconds, and its items; the rest is serving."""


def work_of(requests: int, claims: bool) -> list[Work]:
    """Replicas' report of a window; they claim the seconds that their work took, or none."""
    took_s = requests * REQUEST_S * claims
    calls = int(np.ceil(requests / 6))
    work = [
        Work(*name, POOL, calls, requests * items, share * took_s) for name, (share, items) in PARTS.items()
    ]  # as each request runs the same chain, only their sum can be known
    return [*work, Work(*SERVING, POOL, calls, requests, 0.3 * took_s)]


def put_down(others: np.ndarray, claims: bool, seed: int) -> float:
    """What variants are said to have drawn from COUNTS_FROM on, over the truth, beside so many busy processors."""
    rng = np.random.default_rng(seed)
    state, debts = MODEL.init(World(variants=DEMO, core_j=CORE_J).prior(0.3, seed=0)), Debts()
    told_j = true_j = 0.0
    for at, busy in enumerate(others.tolist()):
        requests = int(rng.poisson(75)) if at >= BEGINS else 0
        busy_s = busy + requests * REQUEST_S + 0.05
        energy_j = (IDLE_W + CORE_J * busy_s) * float(1 + 0.01 * rng.standard_normal())
        device = DeviceJoules("host/host", POOL, "node", "host", "host", "estimate", Quality.MODELLED,
                              energy_j, 1.0, 0.0, "boot", True, busy_s)  # fmt: skip
        window = gathered(state.names, [device], work_of(requests, claims))
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
