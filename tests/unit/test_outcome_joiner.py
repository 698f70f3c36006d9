"""Rewards find their decisions: each once, whatever comes first, within bounded time and memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from outcome_rows import BEGAN_S, decisions, numbered

from cluster.outcomes.joiner import Joined, Joiner
from cluster.outcomes.records import Reward
from cluster.outcomes.remembered import Recent


def reward(request_id: str, value: float = 1.0, at_s: float = BEGAN_S) -> Reward:
    return Reward(request_id, value, at_s)


def test_a_decision_matures_at_the_horizon_with_its_reward_or_with_none() -> None:
    joiner, batch = Joiner(horizon_s=100.0), decisions(numbered(3))
    assert joiner.step([batch], [], BEGAN_S).decisions == (batch,)
    assert joiner.step([], [reward("r1", 2.5)], BEGAN_S + 50).rewards == (reward("r1", 2.5),)
    assert len(joiner.step([], [], BEGAN_S + 99.9).matured) == 0
    matured = joiner.step([], [], BEGAN_S + 100).matured
    assert matured.rewards.tolist() == [0.0, 2.5, 0.0]
    for name in ("arms", "groups", "chains", "predicted"):
        assert np.array_equal(getattr(matured, name), getattr(batch, name), equal_nan=name == "predicted")
    assert set(matured.times_s) == {BEGAN_S}
    assert set(matured.policy_versions) == {7}
    assert matured.whole.all()


def test_a_second_feedback_changes_nothing() -> None:
    joiner = Joiner(horizon_s=100.0)
    joiner.step([decisions(numbered(2))], [reward("r0", 0.0)], BEGAN_S)
    assert joiner.step([], [reward("r0", 5.0), reward("r0", 6.0)], BEGAN_S + 1).rewards == ()
    assert joiner.counts.repeated == 2
    assert joiner.step([], [], BEGAN_S + 100).matured.rewards.tolist() == [0.0, 0.0]


def test_feedback_that_comes_first_waits_for_its_decision() -> None:
    joiner = Joiner(horizon_s=100.0, early_s=10.0)
    assert joiner.step([], [reward("r1", 3.0), reward("r1", 4.0)], BEGAN_S).rewards == ()
    assert (joiner.counts.waiting, joiner.counts.repeated) == (1, 1)
    assert joiner.step([decisions(numbered(2))], [], BEGAN_S + 9).rewards == (reward("r1", 3.0),)
    assert joiner.step([], [], BEGAN_S + 109).matured.rewards.tolist() == [0.0, 3.0]


def test_feedback_whose_decision_never_comes_is_unknown() -> None:
    joiner = Joiner(early_s=10.0, most_early=2)
    assert joiner.step([], [reward("a"), reward("b"), reward("c")], BEGAN_S).strays == (reward("a"),), "two may wait"
    assert joiner.step([], [], BEGAN_S + 10).strays == (reward("b"), reward("c"))
    assert (joiner.counts.unknown, joiner.counts.waiting) == (3, 0)


def test_decisions_that_travel_for_longer_than_the_horizon_still_wait_for_their_rewards() -> None:
    joiner = Joiner(horizon_s=60.0, early_s=30.0)
    assert len(joiner.step([decisions(numbered(2))], [], BEGAN_S + 100).matured) == 0
    assert joiner.step([], [reward("r0", at_s=BEGAN_S + 5)], BEGAN_S + 101).rewards != ()
    matured = joiner.step([], [], BEGAN_S + 130).matured
    assert (matured.rewards.tolist(), matured.whole.all()) == ([1.0, 0.0], True)


def test_feedback_after_the_horizon_is_late() -> None:
    joiner = Joiner(horizon_s=100.0)
    joiner.step([decisions(numbered(2))], [], BEGAN_S)
    joiner.step([], [], BEGAN_S + 100)
    found = joiner.step([], [reward("r0")], BEGAN_S + 101)
    assert (found.rewards, found.missed, found.strays) == ((), (), ())
    assert (joiner.counts.late, joiner.counts.missed) == (1, 0)


def test_a_decision_that_is_told_twice_counts_once() -> None:
    joiner, batch = Joiner(horizon_s=100.0), decisions(numbered(3))
    twice = decisions(("r2", "s0", "s0"))
    found = joiner.step([batch, twice], [], BEGAN_S).decisions
    assert [one.request_ids for one in found] == [("r0", "r1", "r2"), ("s0",)]
    assert joiner.step([batch], [reward("r0")], BEGAN_S + 1).decisions == ()
    assert len(joiner.step([], [], BEGAN_S + 101).matured) == 4
    assert joiner.step([batch], [], BEGAN_S + 102).decisions == (), "also after it matured"
    assert joiner.counts.duplicates == 2 + 3 + 3


def test_when_memory_is_full_the_oldest_mature_early_and_say_so() -> None:
    joiner = Joiner(horizon_s=100.0, most=10)
    joiner.step([decisions(numbered(6))], [], BEGAN_S)
    matured = joiner.step([decisions(numbered(5, "s"))], [reward("s0", 2.0)], BEGAN_S + 1).matured
    assert (len(matured), matured.whole.any()) == (6, np.False_)
    assert joiner.counts.hurried == 6
    matured = joiner.step([decisions(numbered(25, "t"))], [], BEGAN_S + 2).matured
    assert matured.rewards.tolist() == [2.0] + [0.0] * 24
    assert joiner.counts.pending == 5


def test_the_first_feedback_on_what_was_hurried_without_any_is_handed_out() -> None:
    joiner = Joiner(horizon_s=100.0, most=10)
    joiner.step([decisions(numbered(6))], [reward("r0", 2.0)], BEGAN_S)
    joiner.step([decisions(numbered(5, "s"))], [], BEGAN_S + 1)
    came = [reward("r0", 3.0), reward("r1", 4.0), reward("r1", 5.0)]
    found = joiner.step([], came, BEGAN_S + 2)
    assert (found.rewards, found.missed, found.strays) == ((), (reward("r1", 4.0),), ())
    assert (joiner.counts.late, joiner.counts.missed) == (3, 1)
    assert joiner.counts.hurries


def test_a_clock_of_another_machine_that_is_ahead_holds_nobody_back() -> None:
    joiner = Joiner(horizon_s=100.0)
    joiner.step([decisions(numbered(1), BEGAN_S + 5000)], [], BEGAN_S)
    joiner.step([decisions(numbered(1, "s"), BEGAN_S - 50)], [], BEGAN_S + 1)
    assert len(joiner.step([], [], BEGAN_S + 100).matured) == 2


@given(st.integers(2, 20), st.lists(st.lists(st.integers(0, 99), max_size=15), max_size=30))
def test_the_last_half_of_what_can_be_remembered_is(most: int, parts: list[list[int]]) -> None:
    recent, told = Recent(most), list[str]()
    for part in parts:
        recent.add([str(one) for one in part])
        told += [str(one) for one in part]
        assert len(recent) <= most
        last = told[-(most // 2) :]
        assert all(one in recent for one in last)
        assert recent.knows_none([f"{one}x" for one in told])


EVENTS = st.lists(
    st.tuples(st.sampled_from("dddrrrr"), st.integers(0, 40), st.integers(1, 12), st.floats(0, 30)), max_size=60
)


@given(EVENTS, st.integers(1, 30), st.integers(1, 5))
def test_no_reward_is_lost_or_joined_twice_and_memory_is_bounded(
    events: list[tuple[str, int, int, float]], most: int, most_early: int
) -> None:
    """Decisions and feedback of ids that overlap, in any order, and a clock that goes on by up to the horizon."""
    joiner, now_s, sent, told = Joiner(60.0, most, 10.0, most_early), BEGAN_S, 0, 0
    steps: list[Joined] = []
    for kind, begin, count, wait_s in events:
        now_s += wait_s
        ids = numbered(count, "r", begin)
        batches = [decisions(ids, now_s)] if kind == "d" else []
        rewards = [reward(one, 1.0 + at) for at, one in enumerate(ids)] if kind == "r" else []
        sent, told = sent + len(rewards), told + sum(map(len, batches))
        steps.append(joiner.step(batches, rewards, now_s))
        counts = joiner.counts
        assert counts.pending <= most
        assert counts.waiting <= most_early
        assert sent == counts.joined + counts.repeated + counts.late + counts.unknown + counts.waiting
        assert told == counts.decisions + counts.duplicates
        assert counts.decisions == counts.matured + counts.pending
    steps.append(joiner.step([], [], now_s + 1000))
    taken = [one for step in steps for batch in step.decisions for one in batch.request_ids]
    joined = [one for step in steps for one in step.rewards]
    matured = np.concatenate([step.matured.rewards for step in steps])
    assert len(matured) == len(taken)
    assert matured.sum() == sum(one.reward for one in joined), "and so each is in exactly one row"
    assert len(joined) == (matured > 0).sum()
    assert len([one for step in steps for one in step.strays]) == joiner.counts.unknown
    assert len([one for step in steps for one in step.missed]) == joiner.counts.missed <= joiner.counts.late
    assert joiner.counts.pending == joiner.counts.waiting == 0


@pytest.mark.parametrize("late_s", [0.0, 5.0])
def test_with_room_and_time_every_reward_is_joined_whichever_way_is_faster(late_s: float) -> None:
    joiner, rng, found = Joiner(60.0, early_s=10.0), np.random.default_rng(1), 0
    for second in range(200):
        ids = numbered(20, f"{second}-")
        batch, rewards = decisions(ids, BEGAN_S + second), [reward(one) for one in ids if rng.random() < 0.5]
        first, then = (([], rewards), ([batch], [])) if late_s else (([batch], []), ([], rewards))
        joiner.step(*first, BEGAN_S + second)  # type: ignore[arg-type]
        joiner.step(*then, BEGAN_S + second + late_s / 10)  # type: ignore[arg-type]
        found += len(rewards)
    assert (joiner.counts.joined, joiner.counts.repeated, joiner.counts.late, joiner.counts.unknown) == (found, 0, 0, 0)
