"""Power caps hold on a machine that the loop has to learn: through changes, blindness, restarts, and out of reach."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from power_loop import Loop, Machine, averaged, watts
from small_space import SPACE

from allocator.joules import WindowAccount
from allocator.limits import CAPACITY, UNITS, Kind, Limit
from allocator.price.select import STRATEGIES
from cluster.carbon.fixed import FixedCarbon
from cluster.pacer import QuotaPacer

CAP_W = 115.0
FREE_W, LEAST_W = 144.0, 90.0
"""What Machine draws without a cap, and with the cheapest chains alone."""


def test_the_machine_is_as_it_is_said_to_be() -> None:
    machine = Machine()
    assert machine.idle_w + 300 * machine.chain_joules().min() == pytest.approx(LEAST_W, abs=0.5)
    free = np.mean(Loop(machine, []).run(60).watts[10:])
    assert free == pytest.approx(FREE_W, abs=2)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_cap_is_held_whatever_was_believed_of_joules_before(name: str) -> None:
    for off in (0.1, 3.0):
        played = Loop(Machine(off=off), [watts("power", CAP_W)], name=name).run(320)
        assert np.mean(played.watts[20:]) == pytest.approx(CAP_W, rel=0.01 if name == "predictive" else 0.03)
        assert averaged(played.watts[20:]).max() < 1.06 * CAP_W


def test_after_a_change_of_the_cap_or_of_the_traffic_ten_seconds_are_enough() -> None:
    loop = Loop(Machine(), [watts("power", 130.0)])
    loop.run(60)
    for cap_w, rate in ((105.0, 300.0), (130.0, 300.0), (105.0, 300.0), (130.0, 150.0), (200.0, 150.0), (200.0, 450.0)):
        loop.limits = [watts("power", cap_w)]
        loop.machine.rate = lambda _, rate=rate: rate  # type: ignore[misc]
        before = loop.at
        played = loop.run(60)
        goal = np.clip(cap_w, played.least_w[before + 10 :], 48 + rate * (FREE_W - 48) / 300)
        relative = averaged(played.watts[before + 10 :]) / averaged(goal)
        assert np.abs(relative - 1).max() < 0.06, (cap_w, rate)


def test_of_two_caps_the_tighter_one_holds_and_the_other_has_no_price() -> None:
    loop = Loop(Machine(), [watts("loose", 140.0), watts("tight", CAP_W)])
    played = loop.run(100)
    assert np.mean(played.watts[30:]) == pytest.approx(CAP_W, rel=0.02)
    prices = played.states[-1].prices_by_key
    assert prices["joules:tight"] > 0
    assert prices["joules:loose"] < 0.02 * prices["joules:tight"]


def test_a_cap_of_watts_and_one_of_flops_hold_side_by_side() -> None:
    flops = Limit("flops", Kind.FLOPS, 300 * float(np.median(SPACE.flops)) * 0.9, "FLOP/s")
    loop = Loop(Machine(), [flops, watts("power", 140.0)])
    played = loop.run(80)
    spend = np.mean([state.spend[0] for state in played.states[30:]])
    assert spend == pytest.approx(flops.limit, rel=0.02)
    assert np.mean(played.watts[30:]) < 140


def test_a_cap_that_cannot_be_reached_is_told_and_its_price_stays_finite_and_comes_back() -> None:
    loop = Loop(Machine(), [watts("power", CAP_W)])
    loop.run(60)
    loop.limits = [watts("power", 60.0)]
    played = loop.run(300)
    assert not any(state.reachable[0] for state in played.states[70:360])
    assert np.mean(played.watts[70:]) == pytest.approx(np.mean(played.least_w[70:]), rel=0.01)
    assert max(float(state.policy.prices[0]) for state in played.states) < 1e5
    loop.limits = [watts("power", CAP_W)]
    played = loop.run(40)
    assert played.states[-1].reachable[0]
    assert np.mean(played.watts[-30:]) == pytest.approx(CAP_W, rel=0.03), "ten seconds later it is held again"


def test_a_limit_that_is_set_or_cleared_holds_within_two_windows() -> None:
    loop = Loop(Machine(noise=0.0), [])
    loop.run(60)
    loop.limits = [watts("power", CAP_W)]
    played = loop.run(30)
    assert np.mean(played.watts[62:]) == pytest.approx(CAP_W, rel=0.03)
    loop.limits = []
    played = loop.run(30)
    assert np.mean(played.watts[92:]) == pytest.approx(FREE_W, rel=0.03)


def test_while_meters_are_blind_the_cap_is_held_by_what_is_modelled() -> None:
    loop = Loop(Machine(blind=lambda at: 120 <= at < 720), [watts("power", CAP_W)])
    played = loop.run(800)
    assert np.mean(played.watts[120:720]) == pytest.approx(CAP_W, rel=0.05)
    assert np.mean(played.watts[720:]) == pytest.approx(CAP_W, rel=0.03)


@pytest.mark.parametrize("off", [0.1, 1.0, 10.0])
def test_meters_that_are_lost_in_the_first_minute_have_told_enough(off: float) -> None:
    for seed in range(3):
        loop = Loop(Machine(off=off, seed=seed, blind=lambda at: 40 <= at < 70), [watts("power", CAP_W)])
        played = loop.run(90)
        assert np.mean(played.watts[42:70]) == pytest.approx(CAP_W, rel=0.03)
        assert np.mean(played.watts[72:]) == pytest.approx(CAP_W, rel=0.05)


def test_meters_that_are_lost_in_the_first_seconds_leave_a_limit_that_is_missed_rather_than_exceeded() -> None:
    for off in (0.1, 1.0):
        loop = Loop(Machine(off=off, blind=lambda at: 8 <= at < 38), [watts("power", CAP_W)])
        played = loop.run(60)
        assert LEAST_W - 1 < np.mean(played.watts[10:38]) < 1.02 * CAP_W
        assert np.mean(played.watts[45:]) == pytest.approx(CAP_W, rel=0.05)


@pytest.mark.parametrize("late", [lambda _: True, lambda at: at % 3 > 0], ids=["always", "often"])
def test_a_cap_is_held_by_books_that_are_closed_late(late: Callable[[int], bool]) -> None:
    machine = Machine(late=late, others_w=lambda at: 12.0 if 100 <= at < 160 else 0.0)
    played = Loop(machine, [watts("power", CAP_W)]).run(240)
    for stretch in (slice(30, 100), slice(115, 160), slice(175, 240)):
        assert np.mean(played.watts[stretch]) == pytest.approx(CAP_W, rel=0.02)


def test_other_programs_take_from_what_chains_may_spend() -> None:
    loop = Loop(Machine(others_w=lambda at: 15.0 if at >= 100 else 0.0), [watts("power", CAP_W)])
    played = loop.run(200)
    assert np.mean(played.watts[60:100]) == pytest.approx(CAP_W, rel=0.02)
    assert np.mean(played.watts[110:]) == pytest.approx(CAP_W, rel=0.02)


def test_a_restart_goes_on_from_what_was_kept() -> None:
    whole, broken = (Loop(Machine(), [watts("power", CAP_W)]) for _ in range(2))
    for loop in (whole, broken):
        loop.run(100)
    broken.boot()
    for loop in (whole, broken):
        loop.run(60)
    first, second = (loop.played.states[100:] for loop in (whole, broken))
    assert second[0].prices_by_key == broken.played.states[99].prices_by_key
    for one, other in zip(first, second, strict=True):
        assert other.policy.prices[0] == pytest.approx(one.policy.prices[0], rel=0.15)
    assert averaged(broken.played.watts[100:]).max() < 1.03 * CAP_W
    assert averaged(broken.played.watts[100:]).min() > 0.97 * CAP_W


def test_a_restart_knows_what_joules_and_seconds_chains_cost() -> None:
    machine = Machine()
    loop = Loop(machine, [watts("power", CAP_W), Limit("compute", Kind.COMPUTE, 10.0, "busy_s/s")])
    loop.run(100)
    before, true_j = loop.played.states[-1].means.costs, machine.chain_joules()
    loop.boot()
    after = loop.run(1).states[-1].means.costs
    np.testing.assert_allclose(after, before, rtol=0.05)
    spread = [float(np.ptp(costs[:, 0]) / np.ptp(true_j)) for costs in (before, after)]
    assert spread == pytest.approx([1.0, 1.0], abs=0.2), "far from what was believed at first, 0.3 of it"
    true_s = machine.busy_s_per_flop * float(np.ptp(SPACE.flops))
    assert float(np.ptp(after[:, 1])) == pytest.approx(true_s, rel=0.1)


def test_the_chain_for_when_nobody_decides_keeps_the_cap() -> None:
    loop = Loop(Machine(), [watts("power", CAP_W)])
    loop.control = replace(loop.control, safe_follows=True)
    costs = loop.machine.chain_joules()
    safe = [48 + 300 * costs[state.policy.safe_chain] for state in loop.run(100).states[20:]]
    assert max(safe) < 1.06 * CAP_W
    assert np.mean(safe) > 0.9 * CAP_W, "it is not just the cheapest"


SIZES = {Kind.POWER: 1e4, Kind.ENERGY: 100.0, Kind.CARBON: 1e4, Kind.COMPUTE: 20.0, Kind.FLOPS: 1e8}
LIMITS = st.tuples(st.sampled_from("abcd"), st.sampled_from(sorted(SIZES)), st.floats(0, 1), st.booleans())


def limit_of(name: str, kind: Kind, size: float, last: bool) -> Limit:
    """Of up to so much of what may matter, in the first or last of the kind's units."""
    return Limit(name, kind, size * SIZES[kind], list(UNITS[kind])[-1 if last else 0])


# A price that is found while joules are thought to be next to none, which then come back.
@example(
    changes=[
        (3, [], 50.0, False, False, False),
        (6, [], 395.0, False, False, False),
        (9, [], 1.177203131828286e-67, False, False, False),
        (1, [], 0.0, False, False, False),
        (1, [], 0.0, False, False, False),
        (10, [("a", Kind.CARBON, 0.0, False)], 57.25, False, False, True),
    ],
    noise=0.4375,
    seed=92,
)
@examples(max_examples=25, deadline=None)
@given(
    changes=st.lists(
        st.tuples(
            st.integers(1, 12),
            st.lists(LIMITS, max_size=4, unique_by=lambda one: one[0]),
            st.floats(0, 600),
            st.booleans(),
            st.booleans(),
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
    ),
    noise=st.floats(0, 0.5),
    seed=st.integers(0, 99),
)
def test_whatever_comes_prices_are_finite_accounts_close_and_no_limit_is_lost(
    changes: list[tuple[int, list[tuple[str, Kind, float, bool]], float, bool, bool, bool]], noise: float, seed: int
) -> None:
    blind, late = [False], [False]
    machine = Machine(noise=noise, seed=seed, g_per_kwh=lambda _: 300.0)
    machine.blind, machine.late = lambda _: blind[0], lambda _: late[0]  # type: ignore[assignment]
    loop = Loop(machine, [], QuotaPacer(FixedCarbon(300.0)))
    for windows, drawn, rate, blinded, delayed, restarts in changes:
        loop.limits, blind[0], late[0] = [limit_of(*one) for one in drawn], blinded, delayed
        loop.machine.rate = lambda _, rate=rate: rate  # type: ignore[misc]
        if restarts:
            loop.boot()
        for state in loop.run(windows).states[-windows:]:
            assert np.isfinite(state.policy.prices).all()
            assert (state.policy.prices >= 0).all()
            assert (state.policy.prices * state.policy.costs.max(axis=0) < 1e9).all()
            assert np.isfinite(state.policy.costs).all()
            told = {aim.name: aim.shown.limit for aim in state.means.aims if aim.name != "flops"}
            assert told == {limit.name: limit.limit for limit in loop.limits}
            assert len(state.policy.prices) == len(state.means.aims) == state.policy.costs.shape[1]
    assert len(loop.played.accounts) == loop.at
    for account in loop.played.accounts:
        assert_closes(account)


def assert_closes(account: WindowAccount) -> None:
    """Shares + idle + unattributed are what devices drew, in each pool."""
    for pool in account.pools:
        drawn_j = sum(device.energy_j for device in account.devices if device.pool == pool.pool)
        parts_j = sum(share.energy_j for share in account.shares if share.pool == pool.pool)
        assert parts_j + pool.idle_j + pool.unattributed_j == pytest.approx(drawn_j, rel=1e-9, abs=1e-9)
    assert {device.pool for device in account.devices} == {pool.pool for pool in account.pools}


def test_busy_seconds_are_held_within_a_compute_limit_that_is_learned() -> None:
    machine = Machine()
    seconds = 300 * machine.busy_s_per_flop * SPACE.flops
    limit = Limit("compute", Kind.COMPUTE, float(seconds.min() + 0.4 * np.ptp(seconds)), "busy_s/s")
    played = Loop(machine, [limit]).run(120)
    assert np.mean([state.spend[0] for state in played.states[20:]]) == pytest.approx(limit.limit, rel=0.02)


@pytest.mark.parametrize(("off", "most"), [(0.1, 1.1), (0.3, 1.06), (1.0, 1.06), (3.0, 1.06)])
def test_a_start_whose_idle_watts_nobody_knows_overspends_for_seconds_at_most(off: float, most: float) -> None:
    for seed in range(3):
        played = Loop(Machine(off=off, seed=seed), [watts("power", CAP_W)]).run(40)
        assert max(played.watts[1:4]) < 1.15 * CAP_W, "the first whole window runs the cheapest chains"
        assert averaged(played.watts[1:]).max() < most * CAP_W


def test_a_limit_that_is_new_at_a_restart_begins_as_at_a_start_and_the_others_go_on() -> None:
    loop = Loop(Machine(), [watts("loose", 140.0)])
    loop.run(60)
    known = loop.played.states[-1].prices_by_key
    loop.boot()
    loop.limits = [watts("loose", 140.0), watts("tight", CAP_W)]
    played = loop.run(20)
    assert played.states[60].prices_by_key["joules:loose"] == known["joules:loose"]
    assert played.states[60].prices_by_key["joules:tight"] > 0
    assert max(played.watts[61:64]) < 1.15 * CAP_W
    assert averaged(played.watts[61:]).max() < 1.05 * CAP_W


def test_a_limit_that_is_set_while_nobody_asks_has_a_price_when_somebody_does() -> None:
    loop = Loop(Machine(rate=lambda at: 0.0 if at < 20 else 300.0), [])
    loop.run(10)
    loop.limits = [watts("power", CAP_W)]
    played = loop.run(30)
    assert played.states[12].prices_by_key["joules:power"] > 0
    assert max(played.watts[20:23]) < 1.15 * CAP_W


def test_a_limit_that_was_never_priced_is_not_taken_for_one_without_a_price() -> None:
    loop = Loop(Machine(), [Limit(CAPACITY, Kind.COMPUTE, 10.0, "busy_s/s")])
    assert loop.run(30).states[-1].prices_by_key == {"compute:capacity": 0.0}
    loop.boot()
    loop.limits = [*loop.limits, watts("power", CAP_W)]
    assert loop.run(1).states[30].prices_by_key["joules:power"] > 0


def test_a_limit_of_another_resource_takes_no_price_from_one_that_had_its_name() -> None:
    loop = Loop(Machine(), [watts("cap", CAP_W)])
    price = loop.run(40).states[-1].prices_by_key["joules:cap"]
    flops = Limit("cap", Kind.FLOPS, 300 * float(np.median(SPACE.flops)), "FLOP/s")
    for restart in (False, True):
        if restart:
            loop.boot()
        loop.limits = [flops]
        assert 0 < loop.run(1).states[-1].prices_by_key["flops:cap"] < 0.1 * price
        loop.limits = [watts("cap", CAP_W)]
        loop.run(40)


def test_right_after_a_restart_requests_that_nobody_decides_take_a_chain_that_costs_little() -> None:
    loop = Loop(Machine(), [watts("power", CAP_W)])
    loop.control = replace(loop.control, safe_follows=True)
    loop.run(30)
    loop.boot()
    policy = loop.run(1).states[-1].policy
    assert policy.costs[policy.safe_chain, 0] == policy.costs[:, 0].min()
