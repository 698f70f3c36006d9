"""The control tick holds a FLOPs limit by prices, follows its changes, and depends on nothing but what it is told."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_cascade import TinyCascade

from allocator.chains import ChainSpace
from allocator.constraints import Constraint, Resource, Schedule, flops_per_second
from allocator.price.select import STRATEGIES, strategy
from cluster.control import Control, ControlState, Report
from models.loading import Cascade


@pytest.fixture(scope="module")
def space(tiny: TinyCascade) -> ChainSpace:
    cascade = Cascade.open(tiny.folder)
    return ChainSpace(cascade.spec, len(cascade.items))


def rewards_of(space: ChainSpace, requests: int, rng: np.random.Generator) -> np.ndarray:
    """Dearer chains earn more, with less and less on top, from some requests more than from others."""
    share = space.flops / space.flops.max()
    return (rng.gamma(2.0, size=(requests, 1)) * (1 - np.exp(-3 * share))[None, :]).astype(np.float32)


def run(
    control: Control, space: ChainSpace, windows: int, requests: Callable[[int], int], seed: int = 0
) -> tuple[list[float], list[ControlState]]:
    """Spend of each window over its limit, and the states."""
    rng = np.random.default_rng(seed)
    state, relative, states = control.init(0.0), [], []
    for window in range(windows):
        rewards = rewards_of(space, requests(window), rng)
        decided = state.policy.decide(rewards)
        report = Report(len(rewards), decided.costs.sum(axis=0), rewards[:128], state.policy.version)
        relative.append(float(report.spend[0] / state.terms.limit[0]))
        state = control.step(state, [report], window + 1.0)
        states.append(state)
    return relative, states


def middle_limit(space: ChainSpace, requests: int) -> float:
    """Between what the cheapest and the dearest chain would spend."""
    return requests * float(space.flops.min() + space.flops.max()) / 2


@pytest.mark.parametrize("name", STRATEGIES)
def test_spend_meets_the_limit(space: ChainSpace, name: str) -> None:
    control = Control(space, (flops_per_second(middle_limit(space, 500)),), strategy(name), "reward.onnx")
    relative, _ = run(control, space, 120, lambda _: 500)
    assert np.mean(relative[60:]) == pytest.approx(1.0, abs=0.03)


def test_a_limit_that_halves_is_followed(space: ChainSpace) -> None:
    limit = middle_limit(space, 500)
    schedule = Schedule((0.0, 60.0), (limit, 0.75 * limit))
    control = Control(space, (Constraint("flops", Resource.FLOPS, schedule),), strategy(), "reward.onnx")
    relative, states = run(control, space, 120, lambda _: 500)
    assert np.mean(relative[40:60]) == pytest.approx(1.0, abs=0.05)
    assert np.mean(relative[80:]) == pytest.approx(1.0, abs=0.05)
    assert states[-1].policy.prices[0] > states[50].policy.prices[0] > 0


def test_without_a_limit_the_price_is_zero_and_the_best_chain_is_taken(space: ChainSpace) -> None:
    control = Control(space, (flops_per_second(float("inf")),), strategy(), "reward.onnx")
    relative, states = run(control, space, 10, lambda _: 50)
    assert relative[-1] == 0.0
    assert states[-1].policy.prices[0] == 0.0


def test_a_late_tick_ends_a_longer_window(space: ChainSpace) -> None:
    control = Control(space, (flops_per_second(1e9),), strategy(), "reward.onnx")
    state = control.init(0.0)
    report = Report(300, np.array([3e9]), np.empty((0, len(space)), np.float32), 1)
    later = control.step(state, [report], 3.0)
    assert later.spend[0] == pytest.approx(1e9)
    assert later.limit[0] == pytest.approx(1e9)


def test_reports_of_several_replicas_add_up(space: ChainSpace) -> None:
    control = Control(space, (flops_per_second(1e9),), strategy(), "reward.onnx")
    rewards = rewards_of(space, 64, np.random.default_rng(0))
    halves = [Report(32, np.array([4e8]), rewards[:32], 1), Report(32, np.array([4e8]), rewards[32:], 1)]
    whole = [Report(64, np.array([8e8]), rewards, 1)]
    apart, together = (control.step(control.init(0.0), reports, 1.0) for reports in (halves, whole))
    assert apart.policy.prices.tolist() == together.policy.prices.tolist()


def test_versions_rise_by_one_and_a_published_policy_never_changes(space: ChainSpace) -> None:
    control = Control(space, (flops_per_second(middle_limit(space, 100)),), strategy(), "reward.onnx")
    first = control.init(0.0)
    _, states = run(control, space, 5, lambda _: 100)
    assert [state.policy.version for state in states] == [2, 3, 4, 5, 6]
    assert first.policy.prices.tolist() == [0.0]


@given(traffic=st.lists(st.integers(0, 400), min_size=1, max_size=30), limit=st.floats(0, 1e9), seed=st.integers(0, 9))
def test_whatever_comes_prices_are_finite_and_never_negative(
    space: ChainSpace, traffic: list[int], limit: float, seed: int
) -> None:
    control = Control(space, (flops_per_second(limit),), strategy(), "reward.onnx", seed=seed)
    state, rng = control.init(0.0), np.random.default_rng(seed)
    for window, requests in enumerate(traffic):
        rewards = rewards_of(space, requests, rng)
        spend = state.policy.decide(rewards).costs.sum(axis=0) if requests else np.zeros(1)
        state = control.step(state, [Report(requests, spend, rewards[:32], state.policy.version)], window + 1.0)
        assert np.isfinite(state.policy.prices).all()
        assert (state.policy.prices >= 0).all()


def test_a_resource_without_a_meter_is_refused(space: ChainSpace) -> None:
    power = Constraint("power", Resource.JOULES, Schedule.constant(100.0))
    with pytest.raises(ValueError, match="no meter for joules"):
        Control(space, (power,), strategy(), "reward.onnx")
