"""Sums of savings: what counts where, whatever order it comes in, and what survives a restart."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from allocator.arms import GROUPS, HOLDBACK, NAMED, POLICY
from allocator.energy.belief import Belief, observed, relaxed
from allocator.savings import GroupSums
from allocator.savings.model_error import ModelError
from allocator.savings.saved import dumped, restored
from allocator.savings.sums import QUANTITIES

ENERGY, FLOPS, GRAMS, REWARD = range(len(QUANTITIES))
NAN = float("nan")
ARMS = [POLICY, HOLDBACK, NAMED, POLICY]
IN_GROUPS = [3, 3, 3, 255]


def decided(sums: GroupSums | None = None, **other: object) -> GroupSums:
    """One micro-batch of four requests, or another by these arguments."""
    usual = {
        "arms": ARMS,
        "groups": IN_GROUPS,
        "flops": [1.0, 2.0, 4.0, 8.0],
        "energy_j": [0.1, 0.9, 0.4, 0.2],
        "static_j": 0.5,
        "error_j": 0.01,
        "grams_per_j": 2.0,
    }
    return (sums or GroupSums()).decided(**usual | other)  # type: ignore[arg-type]


def test_requests_count_in_their_arm_and_group_and_named_ones_nowhere() -> None:
    sums = decided()
    assert sums.requests.sum() == 3
    assert (sums.requests[POLICY, 3], sums.requests[POLICY, 255], sums.requests[HOLDBACK, 3]) == (1, 1, 1)
    assert sums.totals[FLOPS].sum(axis=1).tolist() == [9.0, 2.0]
    np.testing.assert_array_equal(sums.counts[FLOPS], sums.requests)
    assert not sums.counts[REWARD].any()


def test_a_request_that_is_held_back_counts_as_one_of_a_micro_batch_that_is_all_static() -> None:
    sums = decided()
    assert sums.totals[ENERGY, HOLDBACK, 3] == 0.5, "not the 0.9 J of its own runs, which few others shared"
    assert sums.totals[ENERGY, POLICY].sum() == pytest.approx(0.3)
    assert sums.totals[GRAMS, HOLDBACK, 3] == 1.0


def test_joules_that_are_not_known_are_left_out_of_joules_and_grams_alone() -> None:
    sums = decided(energy_j=[0.1, NAN, 0.4, NAN])
    assert sums.counts[ENERGY].sum(axis=1).tolist() == [1, 0]
    assert sums.counts[GRAMS].sum(axis=1).tolist() == [1, 0]
    assert sums.counts[FLOPS].sum(axis=1).tolist() == [2, 1]
    assert sums.totals[ENERGY].sum() == 0.1
    assert sums.joules_error.error == pytest.approx(0.01), "one request's"


@pytest.mark.parametrize("unknown", ["static_j", "error_j"])
def test_without_the_static_chains_joules_or_their_error_neither_arm_counts(unknown: str) -> None:
    sums = decided(**{unknown: NAN})
    assert not sums.counts[[ENERGY, GRAMS]].any()
    assert sums.counts[FLOPS].sum() == 3
    assert (sums.joules_error, sums.grams_error) == (ModelError(), ModelError())


def test_joules_count_though_nobody_knows_the_grid() -> None:
    sums = decided(grams_per_j=NAN)
    assert sums.counts[ENERGY].sum() == 3
    assert not sums.counts[GRAMS].any()
    assert (sums.joules_error.error, sums.grams_error.error) == (pytest.approx(0.03), 0.0)


def test_rewards_come_later_and_count_by_themselves() -> None:
    sums = decided().matured(ARMS, IN_GROUPS, [1.0, 0.0, 7.0, NAN])
    assert sums.counts[REWARD].sum(axis=1).tolist() == [1, 1]
    assert sums.totals[REWARD].sum() == 1.0
    assert sums.requests.sum() == 3


def test_nothing_that_was_handed_out_is_ever_changed() -> None:
    before = decided()
    kept = before.requests.copy(), before.counts.copy(), before.totals.copy()
    decided(before).matured(ARMS, IN_GROUPS, [1.0] * 4)
    for was, array in zip(kept, (before.requests, before.counts, before.totals), strict=True):
        np.testing.assert_array_equal(was, array)


def test_an_empty_micro_batch_changes_nothing() -> None:
    same(decided(decided(), arms=[], groups=[], flops=[], energy_j=[]), decided())


@pytest.mark.parametrize(
    ("arms", "groups"), [([3], [0]), ([-1], [0]), ([0], [GROUPS]), ([0], [-1]), ([0, 1], [0]), ([[0]], [[0]])]
)
def test_arms_and_groups_that_there_are_not_are_refused(arms: list[int], groups: list[int]) -> None:
    with pytest.raises(ValueError, match="arms"):
        decided(arms=arms, groups=groups)


rows = st.lists(
    st.tuples(st.sampled_from([POLICY, HOLDBACK, NAMED]), st.integers(0, GROUPS - 1), st.integers(0, 10)), max_size=30
)


@settings(max_examples=40)
@given(rows, st.integers(0, 30))
def test_micro_batches_may_be_cut_merged_and_restored_anywhere(of: list[tuple[int, int, int]], cut: int) -> None:
    def summed(part: list[tuple[int, int, int]]) -> GroupSums:
        columns = [list(column) for column in zip(*part, strict=True)] or [[], [], []]
        arms, groups, values = columns
        sums = decided(arms=arms, groups=groups, flops=values, energy_j=values, static_j=3.0, error_j=1.0)
        return sums.matured(arms, groups, values)

    whole = summed(of)
    same(restored(dumped(summed(of[:cut]))).merged(restored(dumped(summed(of[cut:])))), whole)


def test_what_is_restored_goes_on_alike() -> None:
    sums = decided().matured(ARMS, IN_GROUPS, [-1.5, 0.0, 7.0, 1e-300])
    same(decided(restored(dumped(sums))), decided(sums))


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_bytes_that_are_damaged_anywhere_are_refused(at: int, by: int) -> None:
    data = bytearray(dumped(decided()))
    data[at % len(data)] ^= by
    with pytest.raises(ValueError, match="saved sums of savings: "):
        restored(bytes(data))


@pytest.mark.parametrize("data", [b"", b"savings\n", b"something else that is long enough"])
def test_bytes_that_are_no_sums_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        restored(data)


def test_bytes_that_end_early_are_refused() -> None:
    data = dumped(decided())
    for end in range(0, len(data), 7):
        with pytest.raises(ValueError, match="damaged"):
            restored(data[:end])


def test_another_format_is_refused() -> None:
    data = dumped(decided())
    with pytest.raises(ValueError, match="of format 2, not 1"):
        restored(data[:8] + b"\x02" + data[9:])


def test_what_the_energy_model_does_not_know_is_in_all_errors_alike() -> None:
    """Two that are alike are twice as large together, not 1.4 times."""
    sums = decided(decided())
    assert (sums.joules_error.error, sums.grams_error.error) == (pytest.approx(0.06), pytest.approx(0.12))


def test_what_it_has_learned_since_is_not_in_later_errors() -> None:
    """One hundred requests at an error of 1 J each, then as many at 0.1 J: covariances are those of the latter."""
    error = ModelError().after(100, 1.0).after(100, 0.1)
    assert error.variance == pytest.approx(100**2 + 2 * 100 * 100 * 0.1**2 + (100 * 0.1) ** 2)
    assert error.error < error.most == 110.0


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e3)), max_size=20))
@example([(1.0, 0.0), (1e-100, 1.0)])
@example([(4.0, 4.4e-163)])
def test_standard_errors_add_up_at_most(parts: list[tuple[float, float]]) -> None:
    error = ModelError()
    for weight, error_j in parts:
        error = error.after(weight, error_j)
    most = sum(weight * error_j for weight, error_j in parts)
    assert error.error <= most * (1 + 1e-9)
    squares = sum((weight * error_j) ** 2 for weight, error_j in parts)
    assert error.error**2 >= squares * (1 - 1e-9) - 1e-300  # where squares are no normal numbers any more
    assert error.merged(error).error == pytest.approx(2 * error.error)


def test_the_error_is_that_of_the_energy_model_s_filter() -> None:
    """What truly is off in 400 runs of it, in which coefficients wander as they are believed to."""
    rng = np.random.default_rng(0)
    count, steps, forgets = 400, 40, 0.001
    limit = np.diag(rng.uniform(0.05, 0.5, 6)) + 0.2
    used, saves = rng.gamma(2.0, 1.0, (steps, 6)), rng.normal([3, 1, 2, -1, -1, -2], 0.2, (steps, 6))
    requests = rng.integers(1, 100, steps)
    off, error = np.zeros(count), ModelError()
    true = 1 + rng.multivariate_normal(np.zeros(6), limit, count)
    beliefs = [Belief(np.ones(6), limit)] * count
    for x, saved, asked in zip(used, saves, requests.tolist(), strict=True):
        off += asked * (np.array([belief.mean for belief in beliefs]) - true) @ saved
        error = error.after(asked, float(saved @ beliefs[0].covariance @ saved) ** 0.5)
        true += rng.multivariate_normal(np.zeros(6), forgets * (limit - beliefs[0].covariance), count)
        read = true @ x + rng.standard_normal(count)
        relaxed_to = [relaxed(belief, limit, forgets) for belief in beliefs]
        beliefs = [observed(belief, x, float(y), 1.0)[0] for belief, y in zip(relaxed_to, read, strict=True)]
    assert 0.85 < off.std() / error.error < 1.05
    assert error.error < 0.9 * error.most


def same(one: GroupSums, other: GroupSums) -> None:
    for name in ("requests", "counts", "totals"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("joules_error", "grams_error"):
        assert getattr(one, name).weight == getattr(other, name).weight
        assert getattr(one, name).error == pytest.approx(getattr(other, name).error)
