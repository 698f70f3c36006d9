"""Attribution: every window closes, scatter is not taken for somebody else's joules, idle is never marginal."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from energy_world import DEMO, History, World
from hypothesis import given, settings
from hypothesis import strategies as st

from allocator.energy.attribution import Attributed, Debts, attribute, fully_loaded, run_shares
from allocator.energy.model import EnergyModel
from allocator.energy.prior import GUESSED, PROFILED, Prior, VariantJoules
from allocator.energy.state import EnergyState
from allocator.energy.windows import gathered
from allocator.joules import DeviceJoules, Quality, Work

POOL = "host/cpu"
RECALL = DEMO[0].name


def device(energy_j: float, name: str = "p0", pool: str = POOL, **how: object) -> DeviceJoules:
    fixed = {"quality": Quality.MEASURED, "window_s": 1.0, "epoch": "boot", "fresh": True} | how
    return DeviceJoules(name, pool, "n", "h", "package", "rapl", energy_j=energy_j, counter_j=0.0, **fixed)


def work(calls: int, items: int, name: tuple[str, str] = RECALL, pool: str = POOL) -> Work:
    return Work(*name, pool, calls, items, 0.0)


def known(idle_w: float = 10.0, call_j: float = 1.0, item_j: float = 0.1) -> EnergyState:
    """A state that is sure of these figures for all variants."""
    variants = {v.name: VariantJoules(call_j, item_j) for v in DEMO}
    return sure(Prior(variants, GUESSED, Quality.ASSUMED, "", idle_w))


def sure(prior: Prior) -> EnergyState:
    """A state to which the prior is the truth."""
    model = EnergyModel()
    state = model.step(model.init(prior), [device(1.0)], [])
    pool = state.pools[POOL]
    return replace(state, pools={POOL: replace(pool, point=np.ones_like(pool.point))})


def attributed(state: EnergyState, *windows: tuple[list[DeviceJoules], list[Work]]) -> list[Attributed]:
    debts, found = Debts(), []
    for devices, done in windows:
        one, debts = attribute(debts, state, gathered(state.names, devices, done))
        found.append(one)
    return found


counts = st.integers(0, 10**6)
joules = st.floats(1e-9, 1e7) | st.just(0.0)
window = st.tuples(
    st.lists(
        st.builds(
            device,
            joules,
            st.sampled_from(["p0", "p1", "g0"]),
            st.sampled_from([POOL, "g0"]),
            window_s=st.sampled_from([0.0, 1e-4, 0.5, 1.0, 60.0]),
            epoch=st.sampled_from(["a", "b"]),
            fresh=st.booleans(),
            quality=st.sampled_from(Quality),
        ),
        max_size=4,
    ),
    st.lists(
        st.builds(
            work,
            counts,
            counts,
            st.sampled_from([v.name for v in DEMO] + [("rank", "strange")]),
            st.sampled_from([POOL, "g0", "else"]),
        ),
        max_size=6,
    ),
)


@given(st.lists(window, max_size=8))
@settings(max_examples=150, deadline=None)
def test_every_window_of_every_pool_closes(windows: list[tuple[list[DeviceJoules], list[Work]]]) -> None:
    model = EnergyModel(block_s=0.0)
    state, debts = model.init(World().prior()), Debts()
    for devices, done in windows:
        seen = gathered(state.names, devices, done)
        state = model.learned(state, seen)
        found, debts = attribute(debts, state, seen)
        drawn = {d.pool: math.fsum(o.energy_j for o in devices if o.pool == d.pool) for d in devices}
        assert {p.pool for p in found.pools} == set(drawn)
        for account in found.pools:
            parts = [s.energy_j for s in found.shares if s.pool == account.pool]
            assert min([*parts, account.idle_j, account.unattributed_j]) >= 0
            total = math.fsum([*parts, account.idle_j, account.unattributed_j])
            assert total == pytest.approx(account.energy_j, rel=1e-9, abs=1e-9)
            assert account.energy_j == pytest.approx(drawn[account.pool], rel=1e-12)
        assert sum(s.calls for s in found.shares) == sum(w.calls for w in done)
        assert sum(s.items for s in found.shares) == sum(w.items for w in done)


def test_a_window_by_the_model_is_put_down_as_the_model_has_it() -> None:
    (found,) = attributed(known(), ([device(10 + 5 + 4)], [work(5, 0), work(2, 20, DEMO[4].name)]))
    assert {s.variant: s.energy_j for s in found.shares} == pytest.approx({RECALL[1]: 5.0, DEMO[4].variant: 4.0})
    assert (found.pools[0].idle_j, found.pools[0].unattributed_j) == pytest.approx((10.0, 0.0))


def test_joules_beyond_all_claims_are_unattributed_and_a_pool_without_work_pays_idle_alone() -> None:
    busy, still = attributed(known(), ([device(40.0)], [work(5, 0)]), ([device(12.0)], []))
    assert busy.pools[0].unattributed_j == pytest.approx(25.0)
    assert still.shares == ()
    assert (still.pools[0].idle_j, still.pools[0].unattributed_j) == pytest.approx((10.0, 2.0))


def test_a_low_reading_is_made_good_by_a_high_one() -> None:
    low, high = attributed(known(), ([device(12.0)], [work(5, 0)]), ([device(18.0)], [work(5, 0)]))
    assert [s.energy_j for s in low.shares] == pytest.approx([2.0])
    assert high.shares[0].energy_j == pytest.approx(8.0, rel=1e-3)
    assert high.pools[0].unattributed_j == pytest.approx(0.0, abs=2e-3)


def test_a_counter_that_was_not_updated_is_settled_in_the_next_window() -> None:
    late, whole = attributed(known(), ([device(0.0, fresh=False)], [work(5, 0)]), ([device(25.0)], []))
    assert [s.energy_j for s in late.shares] == [0.0]
    assert late.shares[0].calls == 5
    assert whole.shares[0].energy_j == pytest.approx(5.0, rel=1e-3)
    assert whole.shares[0].calls == 0
    assert whole.pools[0].idle_j == pytest.approx(20.0, rel=1e-3)


def test_a_meter_that_was_away_is_settled_when_it_is_back_but_not_across_a_reboot() -> None:
    away: tuple[list[DeviceJoules], list[Work]] = ([], [work(5, 0)])
    start: tuple[list[DeviceJoules], list[Work]] = ([device(10.0)], [])
    for epoch, paid in (("boot", 10.0), ("another", 0.0)):
        back = ([device(40.0, window_s=3.0, epoch=epoch)], [])
        *_, found = attributed(known(), start, away, away, back)
        assert math.fsum(s.energy_j for s in found.shares) == pytest.approx(paid, rel=1e-2)
        assert found.pools[0].unattributed_j == pytest.approx(10.0 - paid, abs=0.1)


@pytest.mark.parametrize("epoch", ["boot", "another"])
def test_nobody_owes_for_hours_in_which_a_machine_was_off_or_its_counters_told_nothing(epoch: str) -> None:
    off = device(0.0, window_s=36_000.0, epoch=epoch), device(15.0, epoch=epoch)
    *_, found = attributed(known(), ([device(10.0)], []), ([off[0]], []), ([off[1]], [work(5, 0)]))
    assert [s.energy_j for s in found.shares] == pytest.approx([5.0], rel=1e-3)
    assert found.pools[0].idle_j == pytest.approx(10.0, rel=1e-3)


def test_scatter_is_not_taken_for_other_programs() -> None:
    """Each reading is off by a tenth; clipping each window by itself would leave 4% of the joules with nobody."""
    world = World(noise=0.1)
    history = world.windows(4000, seed=3)
    assert nobodys_j(world, history, lambda _: 0.0) < 0.006 * history.read.sum()


def test_what_other_programs_draw_stays_with_nobody_and_requests_pay_what_they_caused() -> None:
    world = World(noise=0.1)
    history = world.windows(4000, seed=4)
    left_j = nobodys_j(world, history, lambda t: 20.0 * (t % 600 >= 300))
    true_j = 20.0 * sum(t % 600 >= 300 for t in range(4000))
    assert left_j == pytest.approx(true_j, rel=0.1)


def nobodys_j(world: World, history: History, others_w: Callable[[int], float]) -> float:
    """What stays unattributed by a model that is right."""
    state = sure(replace(world.prior(), idle_w=world.idle_w))
    debts, left_j = Debts(), 0.0
    for t, ((one,), done) in enumerate(history):
        more = device(one.energy_j + others_w(t), "host/package-0")
        found, debts = attribute(debts, state, gathered(state.names, [more], done))
        left_j += found.pools[0].unattributed_j
    return left_j


def learned_sums(world: World, seed: int) -> tuple[float, float, float]:
    """What two hours' variants, idle and nobody are put down to, each over the truth; by a model that begins wrong."""
    history, model = world.windows(7200, seed), EnergyModel()
    state, debts = model.init(world.prior(1.5, PROFILED, seed, by=0.3)), Debts()
    variants, idle, nobody = 0.0, 0.0, 0.0
    for devices, done in history:
        seen = gathered(state.names, devices, done)
        state = model.learned(state, seen)
        found, debts = attribute(debts, state, seen)
        variants += math.fsum(share.energy_j for share in found.shares)
        idle += found.pools[0].idle_j
        nobody += found.pools[0].unattributed_j
    nothing = history.others.sum() == 0
    of_nobody = nobody / (history.read.sum() if nothing else history.others.sum())
    return variants / history.of_variant.sum(), idle / (world.idle_w * 7200), of_nobody


def test_two_hours_are_put_down_right_though_readings_scatter_and_come_late_and_the_model_began_wrong() -> None:
    variants, idle, nobody = learned_sums(World(noise=0.1, stale=0.4), 5)
    assert (variants, idle) == pytest.approx((1.0, 1.0), abs=0.03)
    assert nobody < 0.005


def test_other_programs_of_a_machine_are_learned_apart_from_ours() -> None:
    variants, idle, nobody = learned_sums(World(noise=0.02, others_w=20.0), 5)
    assert (variants, idle) == pytest.approx((1.0, 1.0), abs=0.1)
    assert 0.75 < nobody < 1.05


def test_fully_loaded_shares_hold_all_idle_joules_and_marginal_ones_none() -> None:
    (found,) = attributed(known(), ([device(10 + 5 + 15)], [work(5, 0), work(15, 0, DEMO[4].name)]))
    loaded = fully_loaded(found)
    assert [s.energy_j for s in found.shares] == pytest.approx([5.0, 15.0])
    assert [s.energy_j for s in loaded] == pytest.approx([7.5, 22.5])


def test_idle_of_a_pool_without_work_is_nobodys() -> None:
    (found,) = attributed(known(), ([device(12.0)], []))
    assert fully_loaded(found) == ()


def test_work_where_no_meter_speaks_is_listed_without_joules() -> None:
    (found,) = attributed(known(), ([], [work(5, 7, pool="else")]))
    assert found.pools == ()
    assert [(s.calls, s.items, s.energy_j) for s in found.shares] == [(5, 7, 0.0)]


@given(st.floats(0, 10), st.floats(0, 1), st.lists(st.integers(0, 500), min_size=1, max_size=64))
def test_a_runs_requests_bear_all_of_it_and_more_items_never_bear_less(
    call_j: float, item_j: float, items: list[int]
) -> None:
    found = run_shares(call_j, item_j, items)
    assert math.fsum(found) == pytest.approx(call_j + item_j * sum(items), rel=1e-9, abs=1e-12)
    order = np.argsort(items, kind="stable")
    assert (np.diff(found[order]) >= -1e-12).all()
