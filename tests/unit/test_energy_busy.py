"""Busy seconds tell idle watts from work, from the first windows on and under a load that never varies."""

import math
from dataclasses import replace

import numpy as np
import pytest
from energy_world import DEMO, History, World

from allocator.energy.attribution import Debts, attribute
from allocator.energy.figures import coefficients
from allocator.energy.model import SILENT_WINDOWS, EnergyModel
from allocator.energy.state import CORE, SETTLES_S, EnergyState, PoolState
from allocator.energy.windows import gathered
from allocator.joules import DeviceJoules, Quality, Work

POOL = "host/cpu"
LARGE = tuple(replace(variant, call_j=4 * variant.call_j, item_j=4 * variant.item_j) for variant in DEMO)
STEADY = World(
    variants=LARGE, idle_w=48.0, requests_per_s=250.0, noise=0.005, wander=0.02, load_wander=0.02, core_j=70.0
)
MODEL = EnergyModel()
OFF = [1 / 30, 1 / 7, 1.0, 5.0]
"""Priors that are off altogether, beside an error of a factor of two in each coefficient."""


def followed(history: History, off: float, count_from: int = 0) -> tuple[EnergyState, float]:
    """The state after all of it, and what was put down to variants from then on, over what they drew."""
    state, debts = MODEL.init(history.world.prior(off, seed=0, by=0.7)), Debts()
    attributed_j = 0.0
    for at, (devices, work) in enumerate(history):
        window = gathered(state.names, devices, work)
        state = MODEL.learned(state, window)
        found, debts = attribute(debts, state, window)
        attributed_j += sum(share.energy_j for share in found.shares) if at >= count_from else 0.0
    return state, attributed_j / float(history.of_variant[count_from:].sum())


@pytest.mark.parametrize("off", OFF)
def test_under_a_steady_load_idle_and_work_are_found_within_two_minutes(off: float) -> None:
    state, share = followed(STEADY.windows(120, 0), off, count_from=60)
    assert coefficients(state, POOL).idle_w == pytest.approx(48.0, rel=0.15)
    assert share == pytest.approx(1.0, abs=0.1)


def test_without_busy_seconds_a_steady_load_leaves_the_split_to_the_prior() -> None:
    """What busy seconds are there for."""
    state, share = followed(replace(STEADY, core_j=None).windows(120, 0), 1 / 7, count_from=60)
    assert coefficients(state, POOL).idle_w > 1.4 * 48
    assert share < 0.8


@pytest.mark.parametrize("off", OFF)
def test_a_prior_that_is_far_off_is_mended_within_ten_minutes_of_load_that_varies(off: float) -> None:
    history = replace(STEADY, wander=0.15, load_wander=0.1).windows(900, 1)
    state, share = followed(history, off, count_from=300)
    assert share == pytest.approx(1.0, abs=0.1)
    assert coefficients(state, POOL).idle_w == pytest.approx(48.0, rel=0.25)


def test_what_a_processor_draws_is_found_although_the_first_window_says_something_else() -> None:
    state, _ = followed(replace(STEADY, load_wander=0.3).windows(600, 2), 1 / 7)
    pool = state.pools[POOL]
    assert pool.core_j < 0.8 * 70
    assert pool.core_j * pool.belief.mean[CORE] == pytest.approx(70.0, rel=0.1)


def started(history: History, seconds: int, watts: float) -> History:
    """The same, but for the first seconds, in which nobody asks anything and programs start up: up to so many watts."""
    calls, items, of_variant, others, read = (
        np.array(part) for part in (history.calls, history.items, history.of_variant, history.others, history.read)
    )
    for part in (calls, items, of_variant):
        part[:seconds] = 0.0
    others[:seconds] = watts * np.random.default_rng(0).random(seconds)
    read[:seconds] = history.world.idle_w + others[:seconds]
    assert history.busy_s is not None
    assert history.world.core_j is not None
    busy_s = np.array(history.busy_s)
    busy_s[:seconds] = others[:seconds] / history.world.core_j + history.world.resting_cores
    return replace(history, calls=calls, items=items, of_variant=of_variant, others=others, read=read, busy_s=busy_s)


@pytest.mark.parametrize(("off", "least"), [(1 / 30, 0.3), (1 / 7, 0.85), (1.0, 0.85), (5.0, 0.85)])
def test_a_start_up_that_keeps_processors_busy_before_the_first_request_is_not_taken_for_idle(
    off: float, least: float
) -> None:
    """Nor is it put down to variants. Work of which far too little was believed hides behind it for some minutes."""
    state, share = followed(started(STEADY.windows(180, 3), 30, 120.0), off, count_from=90)
    assert coefficients(state, POOL).idle_w == pytest.approx(48.0, rel=0.25)
    assert least < share < 1.15


def test_what_start_up_drew_is_put_down_to_nobody() -> None:
    history = started(STEADY.windows(60, 3), 30, 120.0)
    state, debts, unattributed_j = MODEL.init(STEADY.prior(1.0)), Debts(), 0.0
    for devices, work in list(history)[:30]:
        window = gathered(state.names, devices, work)
        state = MODEL.learned(state, window)
        found, debts = attribute(debts, state, window)
        assert found.shares == ()
        unattributed_j += found.pools[0].unattributed_j
    assert unattributed_j == pytest.approx(history.others[:30].sum(), rel=0.25)


@pytest.mark.parametrize("off", [1 / 7, 5.0])
def test_what_is_drawn_while_other_programs_pause_tells_what_the_work_draws(off: float) -> None:
    """They draw a little more than the variants do; 200 seconds on, 200 seconds off."""
    history = replace(STEADY, wander=0.15, load_wander=0.1, others_w=200.0, others_s=200).windows(1200, 0)
    _, share = followed(history, off, count_from=600)
    assert 0.9 < share < 1.15


def device(busy_s: float | None, energy_j: float = 50.0, source: str = "rapl", name: str = "p0") -> DeviceJoules:
    kind = "host" if source == "estimate" else "package"
    return DeviceJoules(
        name, POOL, "n", "h", kind, source, Quality.MEASURED, energy_j, 1.0, 0.0, "boot", True, busy_s
    )  # fmt: skip


WORK = [Work(*variant.name, POOL, 3, 300, 0.0) for variant in DEMO]


def told(windows: int, busy_s: float | None = 1.0, state: EnergyState | None = None) -> EnergyState:
    state = state or MODEL.init(STEADY.prior())
    for _ in range(windows):
        state = MODEL.step(state, [device(busy_s)], WORK)
    return state


def held_s(state: EnergyState) -> float:
    return state.pools[POOL].held.window_s


def test_busy_seconds_that_are_told_no_more_drop_what_is_held_until_reports_have_settled() -> None:
    state = told(125)
    assert held_s(state) > 1
    seen = []
    for _ in range(int(SETTLES_S) + 4):
        state = told(1, None, state)
        seen.append(held_s(state))
    assert seen == [0.0] * int(SETTLES_S) + [1.0, 2.0, 3.0, 4.0]


def test_where_busy_seconds_were_never_told_nothing_has_to_settle() -> None:
    state = told(125, None)
    before = held_s(state)
    assert held_s(told(1, None, state)) == before + 1


def test_busy_seconds_that_are_told_again_are_learned_from_at_once() -> None:
    state = told(10, None, told(125))
    state = replace(state, pools={POOL: replace(state.pools[POOL], held=told(1).pools[POOL].held)})
    state = told(1, 1.0, state)
    assert math.isfinite(state.pools[POOL].held.busy_s)
    assert held_s(state) == 1.0


def figures(pool: PoolState) -> list[float]:
    return [*pool.belief.mean.tolist(), *np.diagonal(pool.belief.covariance).tolist(), pool.noise, pool.blocks]


def stood_in(state: EnergyState, windows: int, energy_j: float = 5000.0) -> EnergyState:
    for _ in range(windows):
        state = MODEL.step(state, [device(1.0, energy_j, "estimate", "host")], WORK)
    return state


def test_an_estimate_that_stands_in_for_meters_teaches_nothing_and_they_are_believed_as_before_when_they_are_back() -> (
    None
):
    before = told(125)
    after = stood_in(before, 100)
    assert figures(after.pools[POOL]) == figures(before.pools[POOL])
    assert held_s(after) == 0
    again = told(16, 1.0, after)
    assert again.pools[POOL].blocks == before.pools[POOL].blocks + 1
    assert coefficients(again, POOL).idle_error_w <= coefficients(before, POOL).idle_error_w * 1.01


def test_meters_that_are_gone_for_an_hour_leave_it_to_the_estimate() -> None:
    state = stood_in(told(125), 1)
    number = state.windows + SILENT_WINDOWS
    state = replace(state, windows=number, pools={POOL: replace(state.pools[POOL], last=number)})
    assert stood_in(state, 20, 60.0).pools[POOL].blocks > state.pools[POOL].blocks


def test_a_pool_that_no_meter_ever_told_of_is_learned_from_its_estimate() -> None:
    assert stood_in(MODEL.init(STEADY.prior()), 20).pools[POOL].blocks > 3


@pytest.mark.parametrize("busy_s", [None, 9000.0])
def test_hours_in_which_nobody_counted_teach_nothing(busy_s: float | None) -> None:
    state, _ = followed(replace(STEADY, core_j=None if busy_s is None else STEADY.core_j).windows(120, 0), 1.0)
    pause = replace(device(busy_s, energy_j=3 * 48.0 * 7200.0, name="host/package-0"), window_s=7200.0)
    for work in ([], WORK):
        after = MODEL.step(state, [pause], work)
        assert coefficients(after, POOL).idle_w == coefficients(state, POOL).idle_w
        assert after.pools[POOL].held.window_s == 0.0
