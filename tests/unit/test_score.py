"""Pre-rank and rank: ragged batches and chunks give the scores of requests run alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_cascade import TinyCascade

from models.batch import RaggedBatch
from models.features import UserQuery
from models.loading import Cascade
from models.score import Scorer
from models.session import Session

ITEMS = st.permutations(range(12)).flatmap(lambda p: st.integers(0, 12).map(lambda n: p[:n]))
REQUESTS = st.lists(st.tuples(st.integers(0, 6), ITEMS, st.integers(1, 13)), min_size=1, max_size=9)


@pytest.fixture(scope="module", params=["light", "heavy", "fine"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module", params=["tiny", "tiny_numbers"])
def cascade(request: pytest.FixtureRequest) -> tuple[TinyCascade, Cascade]:
    tiny = request.getfixturevalue(request.param)
    return tiny, Cascade.open(tiny.folder)


@settings(deadline=None, max_examples=40)
@given(requests=REQUESTS, max_rows=st.integers(1, 10))
def test_every_row_of_a_ragged_batch_is_scored_as_if_it_were_alone(
    cascade: tuple[TinyCascade, Cascade], name: str, requests: list[tuple[int, list[int], int]], max_rows: int
) -> None:
    tiny, opened = cascade
    scorer = Scorer(Session.open(tiny.folder / f"{name}.onnx"), opened.items, max_rows)
    ids = [*tiny.user_ids.tolist(), "nobody"]
    users = opened.users.rows([UserQuery(ids[user]) for user, _, _ in requests])
    candidates = RaggedBatch.from_rows([np.array(items, dtype=np.int64) for _, items, _ in requests])
    keep = np.array([n for _, _, n in requests])

    best = scorer.run(users, candidates, keep)

    assert len(best) == len(requests)
    for row, (_, items, n) in enumerate(requests):
        of = [tiny.towers[name].score(users.user[row], users.history[row], tiny.item_features[i]) for i in items]
        order = sorted(range(len(items)), key=lambda at: -of[at])[:n]
        assert best.row_items(row).tolist() == [items[at] for at in order]
        assert best.row_scores(row).tolist() == [of[at] for at in order]


def test_no_candidates_at_all_need_no_model_run(tiny: TinyCascade) -> None:
    opened = Cascade.open(tiny.folder)
    scorer = Scorer(Session.open(tiny.folder / "fine.onnx"), opened.items, 8)
    users = opened.users.rows([UserQuery(2), UserQuery(3)])
    empty = RaggedBatch(np.zeros(3, np.int64), np.empty(0, np.int64))
    assert scorer.run(users, empty, np.array([2, 2])).lengths.tolist() == [0, 0]


def test_a_scorer_without_candidates_is_a_programming_error(tiny: TinyCascade) -> None:
    opened = Cascade.open(tiny.folder)
    scorer = Scorer(Session.open(tiny.folder / "fine.onnx"), opened.items, 8)
    with pytest.raises(ValueError, match="candidates"):
        scorer.run(opened.users.rows([UserQuery(2)]), None, np.array([2]))


def test_a_row_that_overflows_the_model_sorts_by_position_and_spoils_nobody_elses(tiny_numbers: TinyCascade) -> None:
    opened = Cascade.open(tiny_numbers.folder)
    scorer = Scorer(Session.open(tiny_numbers.folder / "fine.onnx"), opened.items, 8)
    users = opened.users.rows([UserQuery(user) for user in tiny_numbers.user_ids[:2].tolist()])
    candidates = RaggedBatch.from_rows([np.arange(5), np.arange(5)])
    alone = scorer.run(users, candidates, np.array([3, 3]))
    users.user[0] = np.finfo(np.float32).max
    best = scorer.run(users, candidates, np.array([3, 3]))
    assert np.isfinite(best.scores).all()
    assert best.row_items(1).tolist() == alone.row_items(1).tolist()
