"""What holds for every price strategy: bounds, finiteness, determinism, and that spend meets the limit."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from price_loop import run
from reward_rows import draw

from allocator.choice import chains_under
from allocator.optimum import bisect_price
from allocator.price.base import Observation, PriceState, Terms, moved, start_bounds
from allocator.price.select import STRATEGIES, strategy
from models.errors import FixSetup

USERS = draw(2000, seed=5)
COSTS = USERS.cost[:, None]
REQUESTS = 2000
CHEAPEST, DEAREST = float(USERS.cost.min()), float(USERS.cost.max())

all_strategies = pytest.mark.parametrize("name", sorted(STRATEGIES))


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    """Any window at all: no requests, failed sensors, limits of zero and infinity, chains of equal cost."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    chains, resources = 5, 2
    costs = rng.choice([0.0, 1.0, 3.0, 1e9], (chains, resources))
    rewards = rng.normal(0, 1, (draw(st.sampled_from([0, 1, 7])), chains)).astype(np.float32)
    if len(rewards) and draw(st.booleans()):
        rewards[0, 0] = draw(st.sampled_from([np.nan, np.inf, 1e30, 0.0]))
    limit = st.sampled_from([0.0, 1e-9, 10.0, 1e12, np.inf])
    limits = [np.array([draw(limit), draw(limit)]) for _ in range(2)]
    spend = st.sampled_from([0.0, 5.0, 1e13, np.nan, np.inf, -1.0])
    available = rng.random((2, chains)) < draw(st.sampled_from([0.0, 0.5, 1.0]))
    prices = rng.choice([0.0, 1e-9, 1.0], resources)
    return Observation(
        draw(st.sampled_from([0, 1, 10_000])),
        np.array([draw(spend), draw(spend)]),
        Terms(prices, limits[0], available[0]),
        rewards,
        costs,
        limits[1],
        available[1],
        draw(st.integers(1, 5)),
    )


def within_bounds(strategy: Any, before: PriceState, after: PriceState) -> bool:
    """Whether the step is no larger than stated: by the factor, to zero from below the floor, or up from the floor."""
    most = np.maximum(before.prices, after.bounds.floor) * strategy.factor
    least = np.where(before.prices > after.bounds.floor, before.prices / strategy.factor, 0.0)
    return bool((after.prices <= most * (1 + 1e-12)).all() and (after.prices >= least * (1 - 1e-12)).all())


@all_strategies
@settings(max_examples=60)
@given(windows=st.lists(observations(), min_size=1, max_size=12), start=st.sampled_from([0.0, 1e-6, 1.0]))
def test_whatever_happens_prices_are_finite_not_negative_and_move_by_bounded_steps(
    name: str, windows: list[Observation], start: float
) -> None:
    made = strategy(name)
    state = made.init(np.full(2, start))
    for seen in windows:
        after = made.step(state, seen)
        assert np.isfinite(after.prices).all()
        assert (after.prices >= 0).all()
        assert within_bounds(made, state, after)
        state = after


@all_strategies
@given(windows=st.lists(observations(), min_size=1, max_size=4))
def test_a_step_changes_neither_its_state_nor_its_observation_and_repeats_exactly(
    name: str, windows: list[Observation]
) -> None:
    made = strategy(name)
    first = second = made.init(np.full(2, 0.1), seed=3)
    for seen in windows:
        kept = first.prices.copy()
        once, again = made.step(first, seen), made.step(second, seen)
        assert (first.prices == kept).all()
        assert (once.prices == again.prices).all()
        first, second = once, again


def small_steps(name: str, share: float) -> tuple[float, float]:
    """Mean spend over limit of the last 30 of 120 windows, and the price, for a limit at `share` of the cost range."""
    limit = np.array([REQUESTS * (CHEAPEST + share * (DEAREST - CHEAPEST))])
    trace = run(strategy(name), USERS.rewards, COSTS, lambda _: limit, windows=120)
    return float(trace.relative[-30:].mean()), float(trace.prices[-1, 0])


@all_strategies
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_on_a_steady_stream_spend_meets_the_limit_at_the_offline_optimums_price(name: str, share: float) -> None:
    relative, price = small_steps(name, share)
    offline = bisect_price(USERS.rewards, USERS.cost, len(USERS.rewards) * (CHEAPEST + share * (DEAREST - CHEAPEST)))
    assert relative == pytest.approx(1.0, abs=0.02)
    assert price == pytest.approx(offline.prices[0], rel=0.15)


@all_strategies
def test_a_limit_that_is_never_reached_costs_nothing(name: str) -> None:
    generous = np.array([REQUESTS * DEAREST * 2])
    trace = run(strategy(name), USERS.rewards, COSTS, lambda _: generous, windows=80, start=np.array([1e-3]))
    assert trace.prices[-1, 0] == 0.0
    assert not trace.states[-1].saturated.any()


@all_strategies
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_below_the_cheapest_chain_the_price_saturates_and_says_so(name: str, share: float) -> None:
    hopeless = np.array([REQUESTS * CHEAPEST * share])
    with np.errstate(divide="ignore"):
        trace = run(strategy(name), USERS.rewards, COSTS, lambda _: hopeless, windows=120)
    last = trace.states[-1]
    assert last.saturated.all()
    assert last.prices == pytest.approx(last.bounds.ceiling)
    chosen = chains_under(USERS.rewards, COSTS, last.prices)
    assert (USERS.cost[chosen] == CHEAPEST).mean() > 0.99


@all_strategies
def test_a_price_leaves_saturation_when_the_limit_returns(name: str) -> None:
    fine, hopeless = np.array([REQUESTS * 500.0]), np.array([REQUESTS * CHEAPEST / 2])
    trace = run(strategy(name), USERS.rewards, COSTS, lambda t: hopeless if t < 60 else fine, windows=200)
    assert trace.states[55].saturated.all()
    assert not trace.states[-1].saturated.any()
    assert trace.relative[-40:].mean() == pytest.approx(1.0, abs=0.02)


def test_a_price_comes_back_at_once_where_a_chain_costs_next_to_nothing_more_than_the_cheapest() -> None:
    rewards = np.hstack([USERS.rewards, USERS.rewards[:, USERS.cost.argmin()][:, None] + np.float32(0.01)])
    costs = np.append(USERS.cost, CHEAPEST * (1 + 1e-6))[:, None]
    fine, hopeless = np.array([REQUESTS * 500.0]), np.array([REQUESTS * CHEAPEST / 2])
    trace = run(strategy("predictive"), rewards, costs, lambda t: hopeless if t < 30 else fine, windows=40)
    assert trace.relative[:30].min() > 1.5, "all that chains can do"
    assert trace.states[28].saturated.all()
    assert trace.relative[33:].mean() == pytest.approx(1.0, abs=0.05)


@all_strategies
def test_a_failed_sensor_holds_or_keeps_the_price_near(name: str) -> None:
    made = strategy(name)
    limit = np.array([REQUESTS * 500.0])
    state = run(made, USERS.rewards, COSTS, lambda _: limit, windows=100).states[-1]
    everything = np.ones(len(COSTS), bool)
    terms = Terms(state.prices, limit, everything)
    blind = Observation(REQUESTS, np.array([np.nan]), terms, USERS.rewards[:64], COSTS, limit, everything)
    assert made.step(state, blind).prices == pytest.approx(state.prices, rel=0.05)


def test_an_unknown_strategy_is_refused_with_the_choices() -> None:
    with pytest.raises(FixSetup, match="predictive, dual, pid"):
        strategy("best")


def test_before_any_request_was_seen_a_price_cannot_rise() -> None:
    prices = np.array([0.0, 2.0])
    assert moved(prices, np.array([9.0, 9.0]), start_bounds(prices), 8.0).tolist() == [0.0, 2.0]
