"""What a log says that the current model gets wrong: found where it speaks, and left alone where it does not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_cascade import TinyCascade
from tiny_reward import space_of

from allocator.choice import Floats, Rewards
from allocator.relearn.columns import OfContext, of_chains, ways_of
from allocator.relearn.correction import LIGHT, Correction, Design, Seen, drawn, learned
from allocator.relearn.evidence import Sums, fit
from models.loading import Cascade
from models.training.reward_shape import ContextShape


class Case:
    """The tiny cascade's chains, users with a number and a code, a current model that is a line."""

    def __init__(self, tiny: TinyCascade, seed: int = 0) -> None:
        self.space = space_of(tiny)
        self.rng = np.random.default_rng(seed)
        users = np.stack([self.rng.uniform(0, 1, 60), self.rng.integers(0, 3, 60)], axis=1)
        self.contexts = np.concatenate([users, self.rng.integers(0, 4, (60, 2))], axis=1).astype(np.float32)
        described = np.array([[0], [0], [1], [1]], np.uint8)
        shape = ContextShape((None, 3), (True, False), 2, (2,), (False,), described)
        share = self.space.flops / self.space.flops.max()
        self.slope = (1 - np.exp(-3 * share)).astype(np.float32)
        predicted = self.current(self.contexts)
        context = OfContext.of(shape, self.contexts, predicted)
        self.design = Design(context, of_chains(Cascade.open(tiny.folder).spec, self.space), ways_of(predicted))

    def current(self, contexts: Floats) -> Rewards:
        first = contexts[:, :1].astype(np.float32)
        rewards: Rewards = 1.0 + (0.5 + 0.1 * first) * self.slope
        return rewards

    def seen(self, count: int, truth: Floats, noise: float, explores: float = 0.2) -> Seen:
        """Requests whose chain the current model chose, but for those that explored; truth (users, J)."""
        rows = self.rng.integers(0, len(self.contexts), count)
        best = self.current(self.contexts).argmax(axis=1)[rows]
        explored = self.rng.random(count) < explores
        chains = np.where(explored, self.rng.integers(0, len(self.space), count), best)
        share = explores / len(self.space)
        propensities = np.where(chains == best, 1 - explores + share, share)
        rewards = truth[rows, chains] + self.rng.normal(0, noise, count)
        return Seen(self.contexts[rows], chains, rewards, propensities)

    def learned(self, seen: Seen) -> Correction:
        return learned(seen, self.design, self.current)


def within(rewards: Rewards) -> Rewards:
    return rewards - rewards.mean(axis=1, keepdims=True)


def test_a_shift_of_the_chains_worth_is_found_from_the_executed_ones_alone(tiny: TinyCascade) -> None:
    case = Case(tiny)
    current = case.current(case.contexts)
    truth = current - 1.5 * case.slope  # what was dear is worth less than nothing now
    corrected = case.learned(case.seen(8000, truth, 0.5)).corrected(case.contexts, current)
    missed = np.sqrt(((within(corrected) - within(truth)) ** 2).mean())
    assert missed < 0.15 * np.sqrt(((within(current) - within(truth)) ** 2).mean())
    assert np.abs(corrected.mean() - truth.mean()) < 0.1


def test_a_shift_of_one_kind_of_users_alone_is_theirs_alone(tiny: TinyCascade) -> None:
    case = Case(tiny)
    current = case.current(case.contexts)
    changed = case.contexts[:, 1] == 1
    truth = current - 1.5 * changed[:, None] * case.slope
    corrected = case.learned(case.seen(8000, truth, 0.5)).corrected(case.contexts, current)
    for which, change in ((changed, 1.5), (~changed, 0.0)):
        missed = np.sqrt(((within(corrected) - within(truth))[which] ** 2).mean())
        assert missed < 0.06 + 0.1 * change


def test_a_change_along_what_the_model_knows_of_chains_is_found_though_their_variants_and_numbers_do_not_tell(
    tiny: TinyCascade,
) -> None:
    case = Case(tiny)
    case.slope = case.rng.permutation(case.slope)
    current = case.current(case.contexts)
    case.design = replace(case.design, ways=ways_of(current))
    changed = case.contexts[:, 1] == 1
    truth = current - 1.5 * changed[:, None] * case.slope
    corrected = case.learned(case.seen(8000, truth, 0.5)).corrected(case.contexts, current)
    missed = np.sqrt(((within(corrected) - within(truth)) ** 2).mean())
    assert missed < 0.15 * np.sqrt(((within(current) - within(truth)) ** 2).mean())


@given(
    weights=st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=50).map(np.array),
    seed=st.integers(0, 1000),
)
def test_rows_of_little_weight_are_drawn_and_stand_for_all_of_them(weights: Floats, seed: int) -> None:
    heavy = np.flatnonzero(weights >= LIGHT)
    rows, weigh = drawn(weights, np.random.default_rng(seed))
    assert (np.diff(rows) > 0).all()
    assert np.isin(heavy, rows).all()
    np.testing.assert_array_equal(weigh, np.maximum(weights[rows], LIGHT))
    many = np.tile(weights, 4000)
    rows, weigh = drawn(many, np.random.default_rng(seed))
    spread = LIGHT * np.sqrt(4000 * (np.minimum(weights / LIGHT, 1) * (1 - np.minimum(weights / LIGHT, 1))).sum())
    assert abs(weigh.sum() - many.sum()) <= 5 * spread + 1e-9 * len(many)


def test_a_log_in_which_few_explored_tells_the_same_by_the_rows_that_are_drawn_of_it(tiny: TinyCascade) -> None:
    case = Case(tiny)
    current = case.current(case.contexts)
    seen = case.seen(60_000, current - 1.5 * case.slope, 0.5, explores=0.02)
    some, every = (learned(seen, case.design, case.current, light=light) for light in (LIGHT, 0.0))
    assert some.told == pytest.approx(every.told, rel=0.05)
    told = [within(found.corrected(case.contexts, current)) - within(current) for found in (some, every)]
    assert np.sqrt(((told[0] - told[1]) ** 2).mean()) < 0.1 * np.sqrt((told[1] ** 2).mean())


def test_the_ways_in_which_chains_differ_are_apart_the_widest_first_and_none_where_they_do_not() -> None:
    rng = np.random.default_rng(0)
    predicted = (rng.normal(size=(500, 3)) * [3.0, 1.0, 0.2]) @ np.linalg.qr(rng.normal(size=(40, 3)))[0].T
    ways = ways_of(predicted.astype(np.float32))
    assert ways.shape == (40, 16)
    sizes = np.linalg.norm(ways, axis=0)
    np.testing.assert_allclose(sizes[0], np.sqrt(40), rtol=1e-3)
    assert (np.diff(sizes) < 1e-3).all()
    assert sizes[3] < 0.01 * sizes[2]
    products = ways[:, :3].T @ ways[:, :3]
    np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-3)
    assert not ways_of(np.ones((7, 5), np.float32)).any()


def test_a_model_that_is_right_is_left_alone(tiny: TinyCascade) -> None:
    missed = []
    for seed in range(4):
        case = Case(tiny, seed)
        current = case.current(case.contexts)
        corrected = case.learned(case.seen(5000, current, 0.5)).corrected(case.contexts, current)
        missed.append(np.sqrt(((within(corrected) - within(current)) ** 2).mean()))
    assert np.mean(missed) < 0.02
    assert np.median(missed) < 0.001, "not a bit, as a rule"


def test_few_noisy_requests_change_little(tiny: TinyCascade) -> None:
    case = Case(tiny)
    current = case.current(case.contexts)
    corrected = case.learned(case.seen(60, current, 3.0)).corrected(case.contexts, current)
    assert np.isfinite(corrected).all()
    assert np.abs(within(corrected) - within(current)).max() < 1.5


def test_all_chains_at_once_are_what_each_chain_is_alone(tiny: TinyCascade) -> None:
    case = Case(tiny)
    current = case.current(case.contexts)
    c = case.design.context(case.contexts, current)
    beta = case.rng.normal(size=len(case.design.groups))
    everywhere = case.design.everywhere(c, current, beta)
    for chain in range(len(case.space)):
        alone = case.design.rows(c, current, np.full(len(c), chain)) @ beta
        np.testing.assert_allclose(everywhere[:, chain], alone, rtol=1e-3, atol=1e-3)


def test_requests_that_explored_weigh_most_and_all_weigh_the_same_where_none_did(tiny: TinyCascade) -> None:
    case = Case(tiny)
    seen = case.seen(500, case.current(case.contexts), 0.1)
    assert seen.weights.max() == 1.0
    assert seen.weights[seen.propensities > 0.5].max() < 0.3
    assert set(case.seen(50, case.current(case.contexts), 0.1, explores=0.0).weights) == {1.0}


def test_a_group_that_explains_nothing_vanishes_and_one_that_does_stays() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 12))
    y = x[:, :4] @ np.array([1.0, -1.0, 0.5, 2.0]) + rng.normal(size=4000)
    groups = np.repeat([0, 1], [4, 8])
    found = fit(Sums.none(12).plus(x[:1000], y[:1000], np.ones(1000)).plus(x[1000:], y[1000:], np.ones(3000)), groups)
    np.testing.assert_allclose(found.beta[:4], [1.0, -1.0, 0.5, 2.0], atol=0.1)
    assert np.abs(found.beta[4:]).max() < 0.03
    assert found.determined[0] > 3.9
    assert found.determined[1] < 3.0
    assert found.variance == pytest.approx(1.0, abs=0.1)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(0, 30), st.integers(1, 8))
def test_it_is_finite_for_any_data_and_its_parameters_can_be_counted(seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, columns)) * rng.choice([0.0, 1.0, 100.0], columns)
    groups = rng.integers(0, 3, columns)
    groups[0] = 2
    found = fit(Sums.none(columns).plus(x, rng.normal(size=rows), rng.uniform(0.1, 1, rows)), groups)
    assert np.isfinite(found.beta).all()
    assert (found.determined >= 0).all()
    assert found.determined.sum() <= columns + 1e-6
