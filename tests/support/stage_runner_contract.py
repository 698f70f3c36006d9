"""What every StageRunner promises, wherever its variant is placed.

Subclass StageRunnerContract, give it the fixtures `folder` (a tiny cascade) and `runner` (stage, variant -> the runner
of that variant), and pytest runs the whole suite on it.
"""

import asyncio
from collections.abc import Callable

import numpy as np
import pytest
from tiny_cascade import TinyCascade

from cluster.cascade import StageRunner
from models.batch import RaggedBatch, UserRows
from models.features import UserQuery
from models.loading import Cascade

RunnerOf = Callable[[str, str], StageRunner]
ROWS = 7
SCORERS = [("prerank", "light"), ("prerank", "heavy"), ("rank", "fine")]


def candidates_of(lengths: list[int], seed: int = 1) -> RaggedBatch:
    rng = np.random.default_rng(seed)
    return RaggedBatch.from_rows([rng.permutation(12)[:length] for length in lengths])


def contents(batch: RaggedBatch) -> list[tuple[list[int], list[float]]]:
    return [(batch.row_items(row).tolist(), batch.row_scores(row).tolist()) for row in range(len(batch))]


class StageRunnerContract:
    """The suite. Nothing in it knows where the variant runs."""

    @pytest.fixture
    def users(self, tiny: TinyCascade) -> UserRows:
        """The tiny cascade's six users and an unknown one."""
        ids = [*tiny.user_ids.tolist(), "nobody"]
        return Cascade.open(tiny.folder).users.rows([UserQuery(user_id) for user_id in ids])

    def expected_scores(
        self, tiny: TinyCascade, variant: str, users: UserRows, candidates: RaggedBatch, keep: list[int]
    ) -> list[tuple[list[int], list[float]]]:
        rows = []
        for row, n in enumerate(keep):
            items = candidates.row_items(row).tolist()
            user, history = users.user[row], users.history[row]
            scores = [tiny.towers[variant].score(user, history, tiny.item_features[item]) for item in items]
            order = sorted(range(len(items)), key=lambda at: -scores[at])[:n]
            rows.append(([items[at] for at in order], [scores[at] for at in order]))
        return rows

    @pytest.mark.parametrize("variant", ["dot", "seq"])
    def test_recall_gives_each_row_its_best_items_of_the_whole_index(
        self, tiny: TinyCascade, runner: RunnerOf, users: UserRows, variant: str
    ) -> None:
        keep = [1, 2, 12, 4, 5, 3, 8]
        found = asyncio.run(runner("recall", variant).run(users, None, np.array(keep)))
        assert contents(found) == [
            tiny.expected(users.user[row], users.history[row], variant, n) for row, n in enumerate(keep)
        ]

    @pytest.mark.parametrize(("stage", "variant"), SCORERS)
    def test_a_scorer_keeps_each_rows_best_candidates_and_a_short_row_whole(
        self, tiny: TinyCascade, runner: RunnerOf, users: UserRows, stage: str, variant: str
    ) -> None:
        candidates, keep = candidates_of([1, 12, 5, 8, 2, 4, 7]), [3, 4, 5, 1, 9, 2, 7]
        best = asyncio.run(runner(stage, variant).run(users, candidates, np.array(keep)))
        assert contents(best) == self.expected_scores(tiny, variant, users, candidates, keep)

    def test_answers_have_the_types_that_the_next_stage_takes(self, runner: RunnerOf, users: UserRows) -> None:
        found = asyncio.run(runner("recall", "seq").run(users, None, np.full(ROWS, 4)))
        best = asyncio.run(runner("rank", "fine").run(users, found, np.full(ROWS, 2)))
        for batch in (found, best):
            assert batch.scores is not None
            assert (batch.offsets.dtype, batch.items.dtype, batch.scores.dtype) == (np.int64, np.int64, np.float32)
            assert batch.offsets[0] == 0
            assert batch.offsets[-1] == len(batch.items) == len(batch.scores)

    def test_a_call_may_be_repeated(self, runner: RunnerOf, users: UserRows) -> None:
        candidates = candidates_of([4] * ROWS)

        async def twice() -> list[RaggedBatch]:
            fine = runner("rank", "fine")
            return [await fine.run(users, candidates, np.full(ROWS, 2)) for _ in range(2)]

        first, second = asyncio.run(twice())
        assert contents(first) == contents(second)

    def test_a_row_does_not_depend_on_its_company(self, runner: RunnerOf, users: UserRows) -> None:
        candidates, keep = candidates_of([3, 6, 12, 1, 4, 9, 2]), np.array([2, 3, 4, 1, 2, 9, 2])

        async def alone_and_together() -> tuple[list[RaggedBatch], RaggedBatch]:
            heavy = runner("prerank", "heavy")
            rows = [np.array([row]) for row in range(ROWS)]
            alone = [await heavy.run(users.take(row), candidates.take(row), keep[row]) for row in rows]
            return alone, await heavy.run(users, candidates, keep)

        alone, together = asyncio.run(alone_and_together())
        assert [contents(batch)[0] for batch in alone] == contents(together)

    def test_concurrent_calls_do_not_mix(self, tiny: TinyCascade, runner: RunnerOf, users: UserRows) -> None:
        batches = [candidates_of([n % 12 + 1] * ROWS, seed=n) for n in range(24)]

        async def all_at_once() -> list[RaggedBatch]:
            fine = runner("rank", "fine")
            return await asyncio.gather(*(fine.run(users, batch, np.full(ROWS, 3)) for batch in batches))

        for batch, best in zip(batches, asyncio.run(all_at_once()), strict=True):
            assert contents(best) == self.expected_scores(tiny, "fine", users, batch, [3] * ROWS)

    def test_what_was_handed_over_is_left_alone(self, runner: RunnerOf, users: UserRows) -> None:
        candidates, keep = candidates_of([5] * ROWS), np.full(ROWS, 2)
        given = [users.user, users.history, candidates.offsets, candidates.items, keep]
        before = [array.copy() for array in given]
        asyncio.run(runner("rank", "fine").run(users, candidates, keep))
        assert all((was == now).all() for was, now in zip(before, given, strict=True))
