"""The control tick holds a FLOPs limit by prices, follows its changes, and depends on nothing but what it is told."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_cascade import TinyCascade

from allocator.chains import ChainSpace
from allocator.constraints import Constraint, Resource, Schedule, flops_per_second
from allocator.price.select import STRATEGIES, strategy
from cluster.accounts import Window
from cluster.control import VERSIONS_PER_S, Control, ControlState
from cluster.means import Aim, Means
from models.loading import Cascade


@pytest.fixture(scope="module")
def space(tiny: TinyCascade) -> ChainSpace:
    cascade = Cascade.open(tiny.folder)
    return ChainSpace(cascade.spec, len(cascade.items))


def rewards_of(space: ChainSpace, requests: int, rng: np.random.Generator) -> np.ndarray:
    """Dearer chains earn more, with less and less on top, from some requests more than from others."""
    share = space.flops / space.flops.max()
    return (rng.gamma(2.0, size=(requests, 1)) * (1 - np.exp(-3 * share))[None, :]).astype(np.float32)


def control_of(space: ChainSpace, *constraints: Constraint, name: str = "predictive", seed: int = 0) -> Control:
    return Control(space, constraints, strategy(name), "reward.onnx", space.static.index, seed=seed)


def window_of(space: ChainSpace, chains: np.ndarray, rewards: np.ndarray) -> Window:
    """A window of one second in which these chains ran."""
    executed = np.bincount(chains, minlength=len(space)).astype(float)
    return Window(executed, float(len(chains)), rewards)


def run(
    control: Control, space: ChainSpace, windows: int, requests: Callable[[int], int], seed: int = 0
) -> tuple[list[float], list[ControlState]]:
    """Spend of each window over its limit, and the states."""
    rng = np.random.default_rng(seed)
    state, relative, states = control.init(0.0), [], []
    for window in range(windows):
        rewards = rewards_of(space, requests(window), rng)
        decided = state.policy.decide(rewards)
        relative.append(float(decided.costs[:, 0].sum() / state.terms.limit[0]))
        state = control.step(state, window_of(space, decided.chains, rewards[:128]), window + 1.0)
        states.append(state)
    return relative, states


def middle_limit(space: ChainSpace, requests: int) -> float:
    """Between what the cheapest and the dearest chain would spend."""
    return requests * float(space.flops.min() + space.flops.max()) / 2


@pytest.mark.parametrize("name", STRATEGIES)
def test_spend_meets_the_limit(space: ChainSpace, name: str) -> None:
    control = control_of(space, flops_per_second(middle_limit(space, 500)), name=name)
    relative, _ = run(control, space, 120, lambda _: 500)
    assert np.mean(relative[60:]) == pytest.approx(1.0, abs=0.03)


def test_a_limit_that_halves_is_followed(space: ChainSpace) -> None:
    limit = middle_limit(space, 500)
    schedule = Schedule((0.0, 60.0), (limit, 0.75 * limit))
    control = control_of(space, Constraint("flops", Resource.FLOPS, schedule))
    relative, states = run(control, space, 120, lambda _: 500)
    assert np.mean(relative[40:60]) == pytest.approx(1.0, abs=0.05)
    assert np.mean(relative[80:]) == pytest.approx(1.0, abs=0.05)
    assert states[-1].policy.prices[0] > states[50].policy.prices[0] > 0


def test_without_a_limit_the_price_is_zero_and_the_best_chain_is_taken(space: ChainSpace) -> None:
    control = control_of(space, flops_per_second(float("inf")))
    relative, states = run(control, space, 10, lambda _: 50)
    assert relative[-1] == 0.0
    assert states[-1].policy.prices[0] == 0.0


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_first_window_with_requests_prices_the_second(space: ChainSpace, name: str) -> None:
    control = control_of(space, flops_per_second(0.6 * middle_limit(space, 2000)), name=name)
    relative, _ = run(control, space, 6, lambda _: 2000)
    assert relative[0] > 1.3, "nothing is known of prices before"
    assert max(relative[1:]) < 1.15


def test_a_window_without_requests_changes_no_price(space: ChainSpace) -> None:
    control = control_of(space, flops_per_second(middle_limit(space, 500)))
    _, states = run(control, space, 20, lambda _: 500)
    nothing = Window(np.zeros(len(space)), 0.0, np.empty((0, len(space)), np.float32))
    idle = states[-1]
    for tick in range(100):
        idle = control.step(idle, nothing, 21.0 + tick)
    assert idle.policy is states[-1].policy
    assert idle.spend.tolist() == [0.0]


@pytest.mark.parametrize("requests", [0, 400])
@pytest.mark.parametrize("factor", [1e-15, 0.05, 20.0, 1e15])
def test_a_price_follows_the_size_of_what_it_prices(space: ChainSpace, factor: float, requests: int) -> None:
    limit, rng = middle_limit(space, 400), np.random.default_rng(3)
    control = control_of(space, flops_per_second(limit))
    _, states = run(control, space, 30, lambda _: 400)
    before, rewards = states[-1], rewards_of(space, 400, rng)
    decided = before.policy.decide(rewards)
    window = window_of(space, decided.chains[:requests], rewards[:requests])
    means = before.means
    scaled = Means((replace(means.aims[0], limit=factor * limit),), factor * means.costs)
    after = control.step(before, window, 31.0, scaled)
    assert (after.policy.prices * factor).tolist() == pytest.approx(before.policy.prices.tolist(), rel=0.2)
    spent = [float(space.flops[policy.decide(rewards).chains].sum()) for policy in (before.policy, after.policy)]
    assert spent[1] == pytest.approx(spent[0], rel=0.1)


def test_the_price_of_what_cost_nothing_is_no_price(space: ChainSpace) -> None:
    control = control_of(space, flops_per_second(middle_limit(space, 400)))
    _, states = run(control, space, 30, lambda _: 400)
    nothing = Window(np.zeros(len(space)), 0.0, np.empty((0, len(space)), np.float32))
    free = control.step(states[-1], nothing, 31.0, replace(states[-1].means, costs=0 * states[-1].means.costs))
    back = control.step(free, nothing, 32.0, states[-1].means)
    assert back.policy.prices.tolist() == [0.0]


def test_spend_under_chains_of_the_callers_own_choice_counts(space: ChainSpace) -> None:
    limit = middle_limit(space, 500)
    control, rng = control_of(space, flops_per_second(limit)), np.random.default_rng(0)
    state, spend = control.init(0.0), []
    for window in range(80):
        rewards = rewards_of(space, 400, rng)
        chains = np.concatenate([state.policy.decide(rewards).chains, np.full(100, space.static.index)])
        spend.append(space.flops[chains].sum())
        seen = Window(np.bincount(chains, minlength=len(space)).astype(float), 400.0, rewards[:128])
        state = control.step(state, seen, window + 1.0)
    assert np.mean(spend[40:]) == pytest.approx(limit, rel=0.05)


def test_a_controller_takes_up_held_prices_under_a_version_nobody_has_seen(space: ChainSpace) -> None:
    control = control_of(space, flops_per_second(middle_limit(space, 500)))
    _, before = run(control, space, 20, lambda _: 500)
    held = before[-1].policy
    state = control.init(100.0, held.version, held.prices)
    assert state.policy.version == 100 * VERSIONS_PER_S > held.version + 80
    assert control.init(100.0, 5000, held.prices).policy.version == 5001, "a clock that was put back"
    assert state.policy.prices.tolist() == held.prices.tolist()
    rewards = rewards_of(space, 500, np.random.default_rng(1))
    state = control.step(state, window_of(space, state.policy.decide(rewards).chains, rewards[:128]), 101.0)
    assert 0.5 < state.policy.prices[0] / held.prices[0] < 2


def test_prices_of_other_constraints_are_not_taken_up(space: ChainSpace) -> None:
    control = control_of(space, flops_per_second(1e9))
    assert control.init(0.0, 7, np.array([1.0, 2.0])).policy.prices.tolist() == [0.0]


def test_versions_rise_by_one_and_a_published_policy_never_changes(space: ChainSpace) -> None:
    control = control_of(space, flops_per_second(middle_limit(space, 100)))
    first = control.init(0.0)
    _, states = run(control, space, 5, lambda _: 100)
    assert [state.policy.version for state in states] == [2, 3, 4, 5, 6]
    assert first.policy.prices.tolist() == [0.0]


@pytest.mark.parametrize("requests", [0, 400])
def test_a_limit_that_is_cleared_leaves_nothing_behind_and_is_known_by_a_version_of_its_own(
    space: ChainSpace, requests: int
) -> None:
    def of(*limits: float) -> Means:
        aims = tuple(Aim(f"limit-{at}", Resource.FLOPS, limit) for at, limit in enumerate(limits))
        return Means(aims, np.repeat(space.flops[:, None], len(aims), axis=1))

    rng, both = np.random.default_rng(0), of(np.inf, middle_limit(space, 400))
    control = replace(control_of(space, flops_per_second(np.inf)), safe_follows=True)
    state = control.init(0.0, means=both)
    for tick in range(1, 20):
        rewards = rewards_of(space, 400, rng)
        window = window_of(space, state.policy.decide(rewards).chains, rewards[:128])
        state = control.step(state, window, float(tick), both)
    held = state.policy
    assert held.prices[1] > 0
    assert held.safe_chain != control.safe_chain
    rewards = rewards_of(space, requests, rng)
    window = window_of(space, held.decide(rewards).chains if requests else np.empty(0, int), rewards[:128])
    state = control.step(state, window, 20.0, of(np.inf))
    assert state.policy.prices.tolist() == [0.0]
    assert state.policy.version > held.version
    assert state.policy.safe_chain == control.safe_chain
    assert control.step(state, window, 21.0, of(np.inf)).policy is state.policy


@given(traffic=st.lists(st.integers(0, 400), min_size=1, max_size=30), limit=st.floats(0, 1e9), seed=st.integers(0, 9))
def test_whatever_comes_prices_are_finite_and_never_negative(
    space: ChainSpace, traffic: list[int], limit: float, seed: int
) -> None:
    control = control_of(space, flops_per_second(limit), seed=seed)
    state, rng = control.init(0.0), np.random.default_rng(seed)
    for window, requests in enumerate(traffic):
        rewards = rewards_of(space, requests, rng)
        chains = state.policy.decide(rewards).chains
        state = control.step(state, window_of(space, chains, rewards[:32]), window + 1.0)
        assert np.isfinite(state.policy.prices).all()
        assert (state.policy.prices >= 0).all()


def test_a_resource_without_a_meter_is_refused(space: ChainSpace) -> None:
    power = Constraint("power", Resource.JOULES, Schedule.constant(100.0))
    with pytest.raises(ValueError, match="joules need meters"):
        control_of(space, power)


def test_a_control_without_constraints_is_refused(space: ChainSpace) -> None:
    with pytest.raises(ValueError, match="infinity"):
        control_of(space)
