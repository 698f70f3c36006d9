"""The energy model on what a real GPU drew: an NVIDIA H200 under `tests/bench/gpu.py --parts served,cap`.

`tests/data/h200_windows.csv` holds the 163 windows of its ledger: the GPU's own counter, and what ran there. 32 clients
ask for the demo with its rankers on the GPU; the meter is killed at 32 s, the controller at 44 s; then the GPU rests,
serves 550 requests a second, is capped so that nothing runs on it, and rests. `ran_s` is runs times the milliseconds
that such runs were measured to take beside it, since ledgers keep no seconds.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from allocator.energy.attribution import Debts, attribute
from allocator.energy.model import EnergyModel
from allocator.energy.prior import from_flops
from allocator.energy.windows import gathered
from allocator.joules import DeviceJoules, Quality, Work
from cluster.config import DEMO
from models.spec import read_spec

FILE = Path(__file__).parents[1] / "data" / "h200_windows.csv"
GPU = "GPU-01c09c09"
RANKERS = ("mlp", "din", "dien")
REST_W, REST_S = 129.9, (71.0, 82.0)


def windows() -> Iterator[tuple[float, float, DeviceJoules, list[Work]]]:
    """When each ended, its length, what the GPU drew, and what ran on it."""
    with FILE.open() as file:
        for row in csv.DictReader(file):
            seconds = float(row["window_s"])
            drew = DeviceJoules(
                GPU, GPU, "node", "vm", "gpu", "nvml", Quality.MEASURED,
                float(row["energy_j"]), seconds, 0.0, "boot", row["fresh"] == "1",
            )  # fmt: skip
            calls = {name: int(row[f"{name}_calls"]) for name in RANKERS}
            share_s = float(row["ran_s"]) / max(sum(calls.values()), 1)
            work = [
                Work("rank", name, GPU, times, int(row[f"{name}_items"]), times * share_s)
                for name, times in calls.items()
                if times
            ]
            yield float(row["end_s"]), seconds, drew, work


def played(until_s: float = np.inf) -> tuple[float, list[float], list[float]]:
    """Idle watts as believed at last; joules put down to variants, and those above rest, window by window."""
    model, debts, found, true = EnergyModel(), Debts(), [], []
    state = model.init(from_flops(read_spec(DEMO)))
    for end_s, seconds, drew, work in windows():
        if end_s > until_s:
            break
        window = gathered(state.names, [drew], work)
        state = model.learned(state, window)
        attributed, debts = attribute(debts, state, window)
        found.append(sum(share.energy_j for share in attributed.shares))
        true.append(drew.energy_j - REST_W * seconds)
    return float(state.pools[GPU].coefficients[0]), found, true


def test_the_gpu_rests_at_what_it_is_said_to() -> None:
    at_rest = [
        drew.energy_j / seconds for end_s, seconds, drew, _ in windows() if REST_S[0] < end_s < REST_S[1] and drew.fresh
    ]
    assert np.mean(at_rest) == pytest.approx(REST_W, abs=0.05)
    assert np.std(at_rest) < 0.0015 * REST_W


def test_once_it_has_rested_its_rest_is_known_to_a_third_of_a_watt() -> None:
    idle_w, _, _ = played(110.0)
    assert idle_w == pytest.approx(REST_W, abs=0.35)


def test_what_is_put_down_to_variants_afterwards_is_what_it_drew_above_rest() -> None:
    _, found, true = played(115.0)
    since = [at for at, (end_s, *_) in enumerate(windows()) if 90.0 < end_s < 115.0]
    assert sum(found[at] for at in since) == pytest.approx(sum(true[at] for at in since), rel=0.25)


def test_all_in_all_runs_are_put_down_joules_though_they_are_a_fortieth_of_what_was_drawn() -> None:
    idle_w, found, true = played()
    assert sum(found) == pytest.approx(sum(true), rel=0.2)
    assert idle_w == pytest.approx(REST_W, abs=0.5)
