"""Reward sources: each equals a plain loop over the lists."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_cascade import TinyCascade

from allocator.rewards import ExpectedClicks, Logged, ModelChance

CATALOGUE = 12


class Table:
    """A click chance that stands in a table."""

    def __init__(self, chances: np.ndarray) -> None:
        self.chances, self.asked = chances, 0

    def click_probability(self, user_rows: np.ndarray, item_rows: np.ndarray, /) -> np.ndarray:
        self.asked += item_rows.size
        return self.chances[user_rows[:, None], item_rows]


def lists(seed: int) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    users = rng.integers(0, 5, 4)
    items = np.stack([[rng.permutation(CATALOGUE)[:3] for _ in range(6)] for _ in users])
    return rng, users, items


@given(st.integers(0, 1000))
def test_expected_clicks_are_the_sum_of_the_chances(seed: int) -> None:
    rng, users, items = lists(seed)
    chances = rng.random((5, CATALOGUE))
    found = ExpectedClicks(Table(chances))(users, items)
    expected = [[sum(chances[u, i] for i in chain) for chain in row] for u, row in zip(users, items, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_each_chance_is_asked_for_once() -> None:
    table = Table(np.full((5, CATALOGUE), 0.5))
    items = np.tile(np.array([3, 1, 2]), (4, 50, 1))
    assert ExpectedClicks(table)(np.arange(4), items) == pytest.approx(1.5)
    assert table.asked == 4 * 3


@given(st.integers(0, 1000))
def test_logged_values_count_where_the_log_has_the_pair(seed: int) -> None:
    rng, users, items = lists(seed)
    log_users, log_items = rng.integers(0, 5, 20), rng.integers(0, CATALOGUE, 20)
    clicks = rng.integers(0, 2, 20)
    clicked = {(int(u), int(i)) for u, i, c in zip(log_users, log_items, clicks, strict=True) if c}
    found = Logged.of("clicks", CATALOGUE, log_users, log_items, clicks)(users, items)
    expected = [
        [sum((int(u), int(i)) in clicked for i in chain) for chain in row] for u, row in zip(users, items, strict=True)
    ]
    assert found.tolist() == expected


def test_an_empty_log_earns_nothing() -> None:
    empty = np.empty(0, dtype=np.int64)
    source = Logged.of("clicks", CATALOGUE, empty, empty, empty)
    assert not source(np.arange(2), np.zeros((2, 3, 2), dtype=np.int32)).any()


def test_a_click_models_chance_is_the_logistic_of_its_score_in_any_process(tiny: TinyCascade) -> None:
    chance = pickle.loads(pickle.dumps(ModelChance(tiny.folder, tiny.folder / "fine.onnx")))
    users, items = np.array([4, 0]), np.array([[3, 3, 7], [1, 0, 11]])
    found = chance.click_probability(users, items)
    tower = tiny.towers["fine"]
    scores = [
        [tower.score(tiny.user_features[u], tiny.history[u], tiny.item_features[i]) for i in row]
        for u, row in zip(users, items, strict=True)
    ]
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-np.array(scores))), rtol=1e-5)
