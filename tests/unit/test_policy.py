"""Decisions against brute force, request by request; and a snapshot that nobody can change."""

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from allocator.policy import Policy
from models.errors import FixFile, TryAgain


def policy(costs: NDArray[np.float64], prices: list[float], /, **changes: object) -> Policy:
    fields = {
        "version": 1,
        "time_s": 0.0,
        "prices": np.array(prices),
        "costs": costs,
        "available": np.ones(len(costs), bool),
        "reward_model": "reward.onnx",
        "safe_chain": 0,
    }
    return Policy(**{**fields, **changes})


def brute_force(made: Policy, row: NDArray[np.float64]) -> int:
    """The best available chain; of equals the cheaper by each resource in turn, then the first."""
    open_chains = [j for j in range(len(row)) if made.available[j]]
    return min(open_chains, key=lambda j: (-(row[j] - made.costs[j] @ made.prices), *made.costs[j], j))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Policy, NDArray[np.float64]]:
    """Small integers and quarters: exact in any float, and full of ties."""
    chains, resources, rows = draw(st.integers(1, 8)), draw(st.integers(1, 3)), draw(st.integers(0, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    available = rng.random(chains) < 0.7
    available[rng.integers(chains)] = True
    costs = rng.integers(0, 4, (chains, resources)).astype(np.float64)
    prices = (rng.integers(0, 4, resources) / 4).tolist()
    rewards = rng.integers(0, 6, (rows, chains)).astype(np.float32)
    return policy(costs, prices, available=available), rewards


@given(cases())
def test_the_decision_equals_brute_force_ties_included(case: tuple[Policy, NDArray[np.float64]]) -> None:
    made, rewards = case
    decisions = made.decide(rewards)
    assert decisions.chains.tolist() == [brute_force(made, row.astype(np.float64)) for row in rewards]
    assert decisions.rewards.tolist() == [row[j] for row, j in zip(rewards, decisions.chains, strict=True)]
    assert (decisions.costs == made.costs[decisions.chains]).all()
    assert (decisions.propensities == 1.0).all()


@given(st.integers(0, 2**32 - 1))
def test_float_rewards_of_many_chains_decide_like_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = policy(rng.uniform(1e6, 1e10, (200, 2)), [1e-10, 3e-11], available=rng.random(200) < 0.9)
    rewards = rng.random((16, 200))
    assert made.decide(rewards).chains.tolist() == [brute_force(made, row) for row in rewards]


@pytest.mark.parametrize("field", ["version", "prices", "costs", "available", "reward_model", "safe_chain"])
def test_a_policys_fields_cannot_be_set(field: str) -> None:
    made = policy(np.ones((2, 1)), [0.0])
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, field, getattr(made, field))


@pytest.mark.parametrize("field", ["prices", "costs", "available"])
def test_a_policys_arrays_cannot_be_written_to_nor_changed_from_outside(field: str) -> None:
    given_arrays = {"prices": np.array([0.5]), "costs": np.ones((2, 1)), "available": np.ones(2, bool)}
    made = policy(given_arrays["costs"], [], prices=given_arrays["prices"], available=given_arrays["available"])
    before = getattr(made, field).copy()
    given_arrays[field][:] = 0
    assert (getattr(made, field) == before).all()
    with pytest.raises(ValueError, match="read-only"):
        getattr(made, field)[0] = 0


def test_a_policy_that_has_travelled_decides_alike_and_still_cannot_be_written_to() -> None:
    sent = policy(np.array([[1.0], [2.0], [2.0]]), [0.5], available=np.array([True, True, False]))
    came = pickle.loads(pickle.dumps(sent))
    rewards = np.array([[1.0, 1.5, 9.0], [1.0, 1.6, 9.0]])
    assert came.decide(rewards).chains.tolist() == sent.decide(rewards).chains.tolist() == [0, 1]
    assert (came.version, came.time_s, came.safe_chain) == (sent.version, sent.time_s, sent.safe_chain)
    with pytest.raises(ValueError, match="read-only"):
        came.prices[0] = 0


def test_the_next_snapshot_counts_on_and_leaves_the_first_as_it_was() -> None:
    first = policy(np.array([[1.0], [2.0]]), [0.0])
    second = first.next(5.0, prices=np.array([1.0]))
    assert (second.version, second.time_s, second.prices.tolist()) == (2, 5.0, [1.0])
    rewards = np.array([[1.0, 1.5]])
    assert first.decide(rewards).chains.tolist() == [1]
    assert second.decide(rewards).chains.tolist() == [0]


def test_without_any_available_chain_it_says_so() -> None:
    made = policy(np.ones((2, 1)), [0.0], available=np.zeros(2, bool))
    with pytest.raises(TryAgain, match="no chain is available"):
        made.decide(np.ones((3, 2)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_reward_that_is_no_number_is_refused_by_the_models_name(bad: float) -> None:
    rewards = np.ones((3, 2))
    rewards[1, 1] = bad
    with pytest.raises(FixFile, match=r"reward\.onnx: reward: .*NaN or infinite"):
        policy(np.ones((2, 1)), [0.0]).decide(rewards)


def test_rewards_of_another_chain_space_are_refused() -> None:
    with pytest.raises(FixFile, match=r"expected rewards \(requests, 2\), got \(3, 4\)"):
        policy(np.ones((2, 1)), [0.0]).decide(np.ones((3, 4)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prices": np.array([-1.0])}, "prices"),
        ({"prices": np.array([np.nan])}, "prices"),
        ({"prices": np.array([np.inf])}, "prices"),
        ({"prices": np.array([1.0, 1.0])}, "fit together"),
        ({"available": np.ones(3, bool)}, "fit together"),
        ({"costs": np.array([[1.0], [np.nan]])}, "costs"),
        ({"safe_chain": 2}, "safe chain"),
        ({"exploration": 1.5}, "exploration"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        policy(np.ones((2, 1)), [0.0], **changes)


def test_exploration_takes_each_chain_as_often_as_its_propensity_says() -> None:
    available = np.array([True, True, False, True])
    made = policy(np.ones((4, 1)), [0.0], available=available, exploration=0.3)
    rewards = np.tile([0.0, 1.0, 2.0, 0.5], (30_000, 1))
    decisions = made.decide(rewards, np.random.default_rng(1))
    shares = np.bincount(decisions.chains, minlength=4) / len(rewards)
    assert shares == pytest.approx([0.1, 0.8, 0.0, 0.1], abs=0.01)
    expected = np.array([0.1, 0.8, 0.0, 0.1])[decisions.chains]
    assert decisions.propensities == pytest.approx(expected)


def test_exploration_repeats_with_its_seed_and_needs_a_generator() -> None:
    made = policy(np.ones((4, 1)), [0.0], exploration=0.5)
    rewards = np.random.default_rng(0).random((50, 4))
    once, again = (made.decide(rewards, np.random.default_rng(7)).chains for _ in range(2))
    assert (once == again).all()
    with pytest.raises(ValueError, match="random generator"):
        made.decide(rewards)


@st.composite
def exploring(draw: st.DrawFn) -> tuple[Policy, NDArray[np.float32], NDArray[np.bool_]]:
    """A policy that explores, one row of rewards, and which chains are open to it: at least one that is available."""
    made, _ = draw(cases())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    chains = len(made.costs)
    allowed = rng.random(chains) < 0.6
    allowed[rng.choice(np.flatnonzero(made.available))] = True
    share = draw(st.sampled_from([0.01, 0.3, 0.5, 1.0]))
    return dataclasses.replace(made, exploration=share), rng.random(chains).astype(np.float32), allowed


@given(exploring(), st.booleans())
def test_propensities_of_the_chains_that_a_request_may_get_sum_to_one(
    case: tuple[Policy, NDArray[np.float32], NDArray[np.bool_]], limited: bool
) -> None:
    made, row, allowed = case
    times, mask = 200, allowed if limited else np.ones_like(allowed)
    decided = made.decide(
        np.tile(row, (times, 1)), np.random.default_rng(5), np.tile(mask, (times, 1)) if limited else None
    )
    open_chains = np.flatnonzero(made.available & mask)
    assert set(decided.chains.tolist()) <= set(open_chains.tolist()), "never a chain that is not allowed"
    found = dict(zip(decided.chains.tolist(), decided.propensities.tolist(), strict=True))
    assert all(found[chain] == at for chain, at in zip(decided.chains.tolist(), decided.propensities, strict=True))
    best = brute_force(dataclasses.replace(made, available=made.available & mask), row)
    share = made.exploration / len(open_chains)
    expected = {int(chain): share + (1 - made.exploration) * (chain == best) for chain in open_chains}
    assert found == pytest.approx({chain: expected[chain] for chain in found})
    assert sum(expected.values()) == pytest.approx(1.0)
    assert decided.rewards == pytest.approx(row[decided.chains])


def test_each_request_explores_among_its_own_chains() -> None:
    made = policy(np.ones((4, 1)), [0.0], available=np.array([True, True, True, False]), exploration=0.5)
    allowed = np.array([[True, True, True, True], [False, True, True, True], [True, False, False, True]])
    rewards = np.array([[0.0, 1.0, 2.0, 9.0]] * 3)
    decided = made.decide(np.tile(rewards, (8_000, 1)), np.random.default_rng(3), np.tile(allowed, (8_000, 1)))
    chains = decided.chains.reshape(-1, 3)
    for row, shares in enumerate([[1 / 6, 1 / 6, 2 / 3, 0], [0, 1 / 4, 3 / 4, 0], [1, 0, 0, 0]]):
        assert np.bincount(chains[:, row], minlength=4) / len(chains) == pytest.approx(shares, abs=0.025)
        expected = np.array(shares)[chains[:, row]]
        assert decided.propensities.reshape(-1, 3)[:, row] == pytest.approx(expected)


def test_a_policy_that_does_not_explore_is_certain_of_what_is_allowed() -> None:
    made = policy(np.ones((3, 1)), [0.0])
    allowed = np.array([[True, True, False], [True, False, False]])
    decided = made.decide(np.array([[0.0, 1.0, 2.0]] * 2), allowed=allowed)
    assert decided.chains.tolist() == [1, 0]
    assert decided.propensities.tolist() == [1.0, 1.0]


def test_a_reward_that_is_no_number_is_found_out_though_its_chain_is_not_allowed() -> None:
    rewards, allowed = np.array([[1.0, np.nan]]), np.array([[True, False]])
    with pytest.raises(FixFile, match="NaN or infinite"):
        policy(np.ones((2, 1)), [0.0]).decide(rewards, allowed=allowed)
