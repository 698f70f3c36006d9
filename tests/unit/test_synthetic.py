"""The synthetic world: the same config gives the same world, and its logs tell what its truth says."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.worlds.base import Log, World
from models.worlds.noise import pair_noise
from models.worlds.shifted import PHONE, ShiftedTruth
from models.worlds.simulate import synthetic_world
from models.worlds.synthetic import SyntheticConfig, SyntheticTruth

SMALL = SyntheticConfig(users=300, items=400, days=6, warmup_days=3, history=8)


@pytest.fixture(scope="module")
def small() -> tuple[World, SyntheticTruth]:
    return synthetic_world(SMALL)


def logs(world: World) -> list[Log]:
    return [world.train, world.valid, world.test]


def test_the_same_config_gives_the_same_world(small: tuple[World, SyntheticTruth]) -> None:
    again, truth = synthetic_world(SMALL)
    for mine, other in zip(logs(small[0]), logs(again), strict=True):
        for name in ("day", "user_row", "user", "history", "offsets", "item_row", "click", "catalogue"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(other, name))
    everyone = np.arange(SMALL.users)
    items = np.tile(np.arange(50), (SMALL.users, 1))
    np.testing.assert_array_equal(small[1].click_probability(everyone, items), truth.click_probability(everyone, items))


def test_another_seed_gives_another_world(small: tuple[World, SyntheticTruth]) -> None:
    other, _ = synthetic_world(replace(SMALL, seed=1))
    assert not np.array_equal(small[0].users.features, other.users.features)


def test_codes_fit_their_columns(small: tuple[World, SyntheticTruth]) -> None:
    world, _ = small
    for table, parts in (
        (world.users, [world.users.features, world.cold[None], *(log.user for log in logs(world))]),
        (world.items, [world.items.features]),
    ):
        limits = np.array([column.cardinality for column in table.columns])
        for codes in parts:
            assert (codes >= 0).all()
            assert (codes < limits).all()
    assert world.history.max() <= SMALL.items


def test_days_split_without_overlap(small: tuple[World, SyntheticTruth]) -> None:
    world, _ = small
    assert world.train.day.max() < world.valid.day.min() <= world.valid.day.max() < world.test.day.min()


def test_a_page_shows_no_item_twice(small: tuple[World, SyntheticTruth]) -> None:
    for log in logs(small[0]):
        page = np.sort(log.item_row.reshape(-1, SMALL.page), axis=1)
        assert (page[:, 1:] > page[:, :-1]).all()


def test_histories_hold_only_what_was_clicked_before(small: tuple[World, SyntheticTruth]) -> None:
    world, _ = small
    log = world.train
    first_day = log.day.min()
    before = {user: log.history[at] for at, user in enumerate(log.user_row) if log.day[at] == first_day}
    for request in np.flatnonzero(log.day == first_day + 1):
        user = int(log.user_row[request])
        if user not in before:
            continue
        yesterday = np.flatnonzero((log.user_row == user) & (log.day == first_day))[0]
        shown = slice(log.offsets[yesterday], log.offsets[yesterday + 1])
        clicked = log.item_row[shown][log.click[shown] > 0] + 1
        expected = np.concatenate([before[user], clicked])[-SMALL.history :]
        np.testing.assert_array_equal(log.history[request], expected)


def test_the_served_state_ends_before_the_test_day(small: tuple[World, SyntheticTruth]) -> None:
    world, _ = small
    np.testing.assert_array_equal(world.history[world.test.user_row], world.test.history)
    static = [c.name for c in world.users.columns].index("device") + 1  # the request's device is its own
    np.testing.assert_array_equal(world.users.features[world.test.user_row, static:], world.test.user[:, static:])


def test_clicks_come_as_often_as_the_truth_says(small: tuple[World, SyntheticTruth]) -> None:
    world, truth = small
    log = world.test
    page = log.item_row.reshape(-1, SMALL.page)
    chance = truth.probability(log.user_row, log.history, page, log.user[:, 0] - 1)
    spread = np.sqrt((chance * (1 - chance)).sum())
    assert abs(chance.sum() - log.click.sum()) < 4 * spread


def test_probabilities_of_one_item_and_of_many_agree(small: tuple[World, SyntheticTruth]) -> None:
    truth = small[1]
    users, items = np.array([3, 5, 8]), np.array([7, 1, 7])
    one = truth.click_probability(users, items)
    many = truth.click_probability(users, np.stack([items, items[::-1]], axis=1))
    np.testing.assert_allclose(one, many[:, 0])
    assert ((many > 0) & (many < 1)).all()


def test_the_order_of_the_history_counts(small: tuple[World, SyntheticTruth]) -> None:
    truth = small[1]
    history = small[0].history
    full = np.flatnonzero((history > 0).all(axis=1))
    items = np.tile(np.arange(SMALL.items), (len(full), 1))
    turned = np.ascontiguousarray(history[full][:, ::-1])
    assert not np.allclose(truth.probability(full, history[full], items), truth.probability(full, turned, items))


def test_users_differ_in_what_the_best_list_earns_over_a_common_one(
    small: tuple[World, SyntheticTruth],
) -> None:
    chance = small[1].click_probability(np.arange(300), np.tile(np.arange(400), (300, 1)))
    own = np.sort(chance, axis=1)[:, -10:].sum(axis=1)
    common = chance[:, np.argsort(-chance.mean(axis=0))[:10]].sum(axis=1)
    low, high = np.percentile(own - common, [10, 90])
    assert high > low + 1.0


def test_in_the_homogeneous_world_nobody_can_be_told_from_anybody() -> None:
    world, truth = synthetic_world(replace(SMALL, homogeneous=True))
    assert (world.users.features == world.users.features[0]).all()
    assert (world.history == world.history[0]).all()
    assert (world.history[0] > 0).any()
    chance = truth.click_probability(np.arange(300), np.tile(np.arange(400), (300, 1)))
    np.testing.assert_array_equal(chance, np.tile(chance[0], (300, 1)))


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_pair_noise_looks_standard_normal_and_stays_the_same(seed: int) -> None:
    noise = pair_noise(np.arange(200)[:, None], np.arange(200)[None, :], seed)
    assert abs(noise.mean()) < 0.03
    assert abs(noise.std() - 1) < 0.03
    assert pair_noise(np.array([17]), np.array([4]), seed)[0] == noise[17, 4]


def test_after_the_shift_phones_turn_from_what_they_clicked_and_others_to_it(
    small: tuple[World, SyntheticTruth],
) -> None:
    truth = small[1]
    users = np.flatnonzero((truth.history[:, -1] > 0) & (truth.users.picky > 0))
    newest = truth.history[users, -1] - 1
    alike = np.array([np.flatnonzero(truth.items.topic == truth.items.topic[item])[:5] for item in newest])
    before, after = (one.click_probability(users, alike).mean(axis=1) for one in (truth, ShiftedTruth(truth)))
    phones = truth.users.device[users] == PHONE
    assert (after[phones] < before[phones]).all()
    assert (after[~phones] >= before[~phones]).all()
    strange = np.arange(SMALL.items)[None].repeat(3, axis=0)
    same = ShiftedTruth(truth, 1.0, 1.0).click_probability(np.arange(3), strange)
    np.testing.assert_allclose(same, truth.click_probability(np.arange(3), strange))
