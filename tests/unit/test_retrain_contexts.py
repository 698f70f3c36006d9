"""What contexts a network is fitted to beside those of the log."""

from pathlib import Path

import numpy as np
import pytest
from tiny_cascade import TinyCascade

from allocator.reward import context_of
from cluster.commands.retrain import validated_by
from cluster.commands.retrain_contexts import LEAST_TRAINED, MOST_CONTEXTS, SHORTENED, VARIANTS, Contexts, alike, logged
from models.errors import FixFile
from models.features import UserQuery
from models.loading import Cascade


@pytest.fixture(scope="module")
def cascade(tiny: TinyCascade) -> Cascade:
    return Cascade.open(tiny.folder)


def of_users(cascade: Cascade, count: int) -> np.ndarray:
    """Different contexts of the first users on file."""
    ids = cascade.users.ids.ids(np.arange(count))
    return np.unique(context_of(cascade.users.rows([UserQuery(one) for one in ids])), axis=0)


def rows_of(contexts: np.ndarray) -> set[tuple[float, ...]]:
    return {tuple(row) for row in contexts.tolist()}


def test_each_context_of_the_log_is_taken_once_in_any_order(cascade: Cascade) -> None:
    some = of_users(cascade, 3)
    drawn = logged(np.concatenate([some, some[::-1]]), np.random.default_rng(0))
    assert len(drawn) == len(some)
    assert rows_of(drawn) == rows_of(some)


def test_of_too_many_some_are_drawn() -> None:
    many = np.arange(2.0 * (MOST_CONTEXTS + 7)).reshape(-1, 2)
    drawn = logged(many, np.random.default_rng(0))
    assert len(rows_of(drawn)) == len(drawn) == MOST_CONTEXTS
    assert drawn[:, 0].mean() == pytest.approx(many[:, 0].mean(), rel=0.01)


def test_users_on_file_and_shortened_histories_are_added_to_what_was_logged(cascade: Cascade) -> None:
    some = of_users(cascade, 3)
    found = alike(some, cascade, np.random.default_rng(0))
    assert found.rows.dtype == some.dtype
    assert len(some) < len(found.rows) <= VARIANTS * len(some)
    assert len(rows_of(found.rows)) == len(found.rows), "each once"
    assert rows_of(some) <= rows_of(found.rows)
    assert rows_of(found.rows) & (rows_of(of_users(cascade, len(cascade.users.ids))) - rows_of(some))


def test_a_shortened_history_is_that_of_some_clicks_ago(cascade: Cascade) -> None:
    some, length = of_users(cascade, len(cascade.users.ids)), cascade.users.history_length
    found = alike(some, cascade, np.random.default_rng(0))
    made = found.of != np.arange(len(found.rows))
    assert made.any()
    assert (found.rows[made] != found.rows[found.of[made]]).any(axis=1).all()
    for row, of in zip(found.rows[made], found.of[made], strict=True):
        whole, earlier = (one[-length:][one[-length:] > 0].tolist() for one in (found.rows[of], row))
        assert whole[: len(earlier)] == earlier
        assert (1 - SHORTENED) * len(whole) - 1 <= len(earlier) <= len(whole)
        assert row[:-length].tolist() == found.rows[of][:-length].tolist()


def test_what_is_made_from_a_context_is_validated_with_it(cascade: Cascade) -> None:
    found = alike(of_users(cascade, len(cascade.users.ids)), cascade, np.random.default_rng(0))
    validates = found.split(0.3, np.random.default_rng(0))
    assert 0 < validates.mean() < 1
    assert (validates == validates[found.of]).all()


@pytest.mark.parametrize("count", [3, 4, 8])
def test_however_few_contexts_there_are_some_train_and_some_validate(count: int) -> None:
    found = Contexts(np.eye(count), np.arange(count))
    for seed in range(50):
        validates = found.split(0.15, np.random.default_rng(seed))
        assert 1 <= validates.sum() <= count - LEAST_TRAINED


@pytest.mark.parametrize("count", [1, 2])
def test_contexts_too_few_to_validate_by_are_refused_with_the_logs_name(count: int) -> None:
    found = Contexts(np.eye(5), np.arange(5) % count)
    with pytest.raises(FixFile, match=f"out/log: context: .*too few different contexts: {count} .* 3 are needed"):
        validated_by(found, np.random.default_rng(0), Path("out/log"))
