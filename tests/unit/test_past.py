"""Requests of the past are replayed as they were, and none of a held-out user; a truth remembers its time."""

from pathlib import Path

import numpy as np
from click.testing import CliRunner
from tiny_cascade import TinyCascade

import cluster.commands.replay_past as replay_past
from allocator.chains import ChainSpace
from allocator.past import PastWorker, Requests, joined, plan_past
from allocator.replay import Replay
from allocator.reward import context_of
from allocator.rewards import ExpectedClicks
from allocator.table import held_out, read_table
from models.batch import UserRows
from models.loading import Cascade
from models.worlds.simulate import synthetic_world
from models.worlds.synthetic import SyntheticConfig
from models.worlds.then import TruthThen

REQUESTS = 40


class Chance:
    """Each request clicks by a formula of its own number and the item."""

    def click_probability(self, requests: np.ndarray, item_rows: np.ndarray, /) -> np.ndarray:
        return 1.0 / (1.0 + requests[:, None] + item_rows)


def past_of(tiny: TinyCascade) -> Requests:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(tiny.user_features), REQUESTS)
    history = rng.permuted(tiny.history[rows], axis=1)
    users = UserRows(tiny.user_features[rows].astype(np.int64), history.astype(np.int64))
    return Requests(np.arange(REQUESTS) // 2, users, ExpectedClicks(Chance()))


def test_each_row_is_what_the_request_would_have_earned(tiny: TinyCascade) -> None:
    cascade, past = Cascade.open(tiny.folder), past_of(tiny)
    manifest = plan_past(cascade, past, "tiny world", 1000, seed=3).model_copy(update={"part_rows": 9})
    worker = PastWorker(cascade, past, manifest)
    rows = joined([worker.part(number) for number in range(manifest.parts)])
    replay = Replay(cascade, ChainSpace(cascade.spec, len(cascade.items)))
    alone = past.source(np.arange(REQUESTS), replay.run(past.users))
    learned = np.flatnonzero(~held_out(past.user_ids.tolist()))
    assert manifest.users == len(rows) == len(learned)
    assert not rows.held_out.any()
    key = lambda ids, rewards: sorted(zip(ids.tolist(), rewards.round(4).tolist(), strict=True))  # noqa: E731
    assert key(rows.user_ids, rows.rewards) == key(past.user_ids[learned], alone[learned])
    contexts = context_of(past.users)[learned]
    assert sorted(map(tuple, rows.contexts.tolist())) == sorted(map(tuple, contexts.tolist()))


def test_fewer_requests_are_a_sample_without_repeats(tiny: TinyCascade) -> None:
    cascade, past = Cascade.open(tiny.folder), past_of(tiny)
    manifest = plan_past(cascade, past, "tiny world", 10, seed=3)
    assert (manifest.users, manifest.parts) == (10, 1)
    assert "past requests" in manifest.world
    found = PastWorker(cascade, past, manifest).part(0)
    assert np.unique(found.user_ids, return_counts=True)[1].max() <= 2


def test_the_truth_then_is_that_of_the_log() -> None:
    world, truth = synthetic_world(SyntheticConfig(users=60, items=200, days=5, warmup_days=2, history=8))
    log = world.train
    then = TruthThen(truth, log)
    at = np.array([3, 0, len(log) - 1])
    items = np.arange(30).reshape(3, 10)
    expected = [
        truth.probability(
            log.user_row[r : r + 1].astype(np.int64),
            log.history[r : r + 1],
            items[n : n + 1],
            log.user[r : r + 1, 0] - 1,
        )[0]
        for n, r in enumerate(at)
    ]
    np.testing.assert_allclose(then.click_probability(at, items), expected)
    shown = log.item_row.reshape(len(log), -1)
    chance = then.click_probability(np.arange(len(log)), shown)
    assert abs(chance.mean() - log.click.mean()) < 0.03


def test_the_command_refuses_another_world(tiny: TinyCascade, tmp_path: Path) -> None:
    options = ["--cascade", str(tiny.folder), "--world-days", "3", "--out", str(tmp_path / "past")]
    result = CliRunner().invoke(replay_past.command, options)
    assert "not the histories of this synthetic world" in str(result.exception)


def test_the_command_writes_a_table_and_goes_on(tiny: TinyCascade, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    class World:
        about = "tiny world"

    monkeypatch.setattr(replay_past, "_world", lambda *_: (World(), None))
    monkeypatch.setattr(replay_past, "_requests", lambda *_: past_of(tiny))
    options = ["--cascade", str(tiny.folder), "--requests", "12", "--out", str(tmp_path / "past")]
    for _ in range(2):
        result = CliRunner().invoke(replay_past.command, options)
        assert result.exit_code == 0, result.output
        manifest, rows = read_table(tmp_path / "past")
        assert manifest.users == len(rows) == 12
        (tmp_path / "past" / "part-00000.parquet").unlink()
