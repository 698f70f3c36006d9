"""Requests whose chain no price chooses: they spend of what a limit leaves, and teach nothing of what a price does."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tiny_cascade import TinyCascade

from allocator.chains import ChainSpace
from allocator.constraints import Constraint, Resource, Schedule, flops_per_second
from allocator.price.select import STRATEGIES, strategy
from cluster.accounts import Window
from cluster.control import Control, ControlState
from models.loading import Cascade

DECIDED, HELD = 700, 300
Ran = Callable[[int], np.ndarray]
"""The chains (N,) of requests that no policy decided, by window."""


@pytest.fixture(scope="module")
def space(tiny: TinyCascade) -> ChainSpace:
    cascade = Cascade.open(tiny.folder)
    return ChainSpace(cascade.spec, len(cascade.items))


def rewards_of(space: ChainSpace, rng: np.random.Generator) -> np.ndarray:
    """Dearer chains earn more, with less and less on top, from some requests more than from others."""
    share = space.flops / space.flops.max()
    return (rng.gamma(2.0, size=(DECIDED, 1)) * (1 - np.exp(-3 * share))[None, :]).astype(np.float32)


def control_of(space: ChainSpace, limit: Schedule, name: str = "predictive") -> Control:
    constraint = Constraint("flops", Resource.FLOPS, limit)
    return Control(space, (constraint,), strategy(name), "reward.onnx", space.static.index, safe_follows=True)


def played(control: Control, windows: int, beside: Ran, costs_off: float = 1.0) -> tuple[list[float], ControlState]:
    """Spend of each window, and the last state. costs_off: what chains truly spend of what they are said to."""
    rng, space = np.random.default_rng(0), control.space
    state, spends = control.init(0.0), []
    for window in range(windows):
        rewards, others = rewards_of(space, rng), beside(window)
        decided = state.policy.decide(rewards).chains
        executed, unpriced = (np.bincount(c, minlength=len(space)) for c in (np.concatenate([decided, others]), others))
        spends.append(costs_off * float(executed @ space.flops))
        means = control.means(window + 1.0)
        means = replace(means, aims=tuple(replace(aim, spent=spends[-1]) for aim in means.aims))
        seen = Window(executed.astype(float), float(DECIDED), rewards[:128], unpriced.astype(float))
        state = control.step(state, seen, window + 1.0, means)
    return spends, state


def held_back(space: ChainSpace) -> Ran:
    return lambda _: np.full(HELD, space.static.index)


def between(space: ChainSpace, share: float) -> float:
    """What such a window spends, from all that is decided on the cheapest chain (0) to the dearest (1)."""
    least, most = float(space.flops.min()), float(space.flops.max())
    return DECIDED * (least + share * (most - least)) + HELD * float(space.flops[space.static.index])


@pytest.mark.parametrize("costs_off", [0.7, 1.0, 1.5])
@pytest.mark.parametrize(("before", "after"), [(0.8, 0.2), (0.2, 0.8)])
def test_a_limit_that_changes_is_met_at_once_whatever_share_of_the_spend_no_price_moves(
    space: ChainSpace, before: float, after: float, costs_off: float
) -> None:
    limits = costs_off * between(space, before), costs_off * between(space, after)
    control = control_of(space, Schedule((0.0, 40.0), limits))
    spends, _ = played(control, 44, held_back(space), costs_off)
    assert np.mean(spends[20:40]) == pytest.approx(limits[0], rel=0.02)
    assert np.mean(spends[40:]) == pytest.approx(limits[1], rel=0.03)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_limit_is_met_beside_requests_that_nobody_decides(space: ChainSpace, name: str) -> None:
    limit = between(space, 0.5)
    spends, _ = played(control_of(space, Schedule.constant(limit), name), 120, held_back(space))
    assert np.mean(spends[60:]) == pytest.approx(limit, rel=0.03)


def test_requests_that_begin_to_name_their_chain_leave_less_for_the_others(space: ChainSpace) -> None:
    limit = between(space, 0.4)

    def beside(window: int) -> np.ndarray:
        return np.full(HELD if window >= 30 else 0, space.static.index)

    spends, _ = played(control_of(space, Schedule.constant(limit)), 60, beside)
    assert np.mean(spends[20:30]) == pytest.approx(limit, rel=0.03)
    assert np.mean(spends[32:]) == pytest.approx(limit, rel=0.03)


def test_a_burst_of_named_chains_leaves_no_trace_in_what_is_spent_afterwards(space: ChainSpace) -> None:
    limit = between(space, 0.4) - HELD * float(space.flops[space.static.index])

    def beside(window: int) -> np.ndarray:
        return np.full(5 * HELD if window < 2 else 0, space.static.index)

    spends, _ = played(control_of(space, Schedule.constant(limit)), 30, beside)
    assert max(spends[4:]) < 1.1 * limit
    assert np.mean(spends[12:]) == pytest.approx(limit, rel=0.03)


@pytest.mark.parametrize(("share", "reachable"), [(0.05, True), (-0.05, False)])
def test_a_limit_that_they_alone_exceed_with_the_cheapest_chains_is_out_of_reach(
    space: ChainSpace, share: float, reachable: bool
) -> None:
    _, state = played(control_of(space, Schedule.constant(between(space, share))), 40, held_back(space))
    assert state.reachable.tolist() == [reachable]


def test_the_chain_for_when_nobody_decides_leaves_room_for_them(space: ChainSpace) -> None:
    limit = Schedule.constant(between(space, 0.5))
    _, state = played(control_of(space, limit), 40, held_back(space))
    safe = float(space.flops[state.policy.safe_chain])
    assert DECIDED * safe + HELD * float(space.flops[space.static.index]) <= between(space, 0.5)
    dearer = space.flops[space.flops > safe]
    assert DECIDED * float(dearer.min()) + HELD * float(space.flops[space.static.index]) > between(space, 0.5)


def test_after_hours_of_nothing_but_named_chains_prices_are_finite(space: ChainSpace) -> None:
    control = control_of(space, Schedule.constant(between(space, 0.5)))
    _, state = played(control, 20, held_back(space))
    executed = np.bincount([space.static.index], [HELD], minlength=len(space))
    named = Window(executed, 0.0, np.empty((0, len(space)), np.float32), executed)
    for window in range(5000):
        state = control.step(state, named, 20.0 + window)
    assert np.isfinite(state.policy.prices).all()
    rewards = rewards_of(space, np.random.default_rng(1))
    chains = state.policy.decide(rewards).chains
    executed = np.bincount(chains, minlength=len(space)).astype(float)
    state = control.step(state, Window(executed, float(DECIDED), rewards[:128]), 5021.0)
    assert np.isfinite(state.policy.prices).all()


def test_without_any_the_same_prices_are_found_as_ever(space: ChainSpace) -> None:
    limit = flops_per_second(between(space, 0.3) - between(space, 0.0) + DECIDED * float(space.flops.min()))
    control = Control(space, (limit,), strategy("predictive"), "reward.onnx", space.static.index)
    spends, state = played(control, 60, lambda _: np.empty(0, np.int64))
    assert not state.asked.unpriced.any()
    assert np.mean(spends[20:]) == pytest.approx(float(state.terms.limit[0]), rel=0.02)
