"""`greenflow replay` on the tiny world of a tiny cascade: it refuses foreign worlds, writes, stops, and goes on."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tiny_cascade import TinyCascade

import cluster.commands.replay as replay
import cluster.commands.replay_reward as replay_reward
from allocator.rewards import ExpectedClicks
from allocator.table import read_table
from allocator.tabulate import Worker
from models.checking import sha256_of
from models.errors import FixFile


class Chance:
    """Everybody clicks on the first items."""

    def click_probability(self, user_rows: np.ndarray, item_rows: np.ndarray, /) -> np.ndarray:
        return 1.0 / (1.0 + item_rows + 0.0 * user_rows[:, None])


@pytest.fixture
def own_world(monkeypatch: pytest.MonkeyPatch) -> None:
    earns = replay_reward.Earns("tiny world", ExpectedClicks(Chance()))
    monkeypatch.setattr(replay_reward, "_synthetic", lambda *_: earns)
    monkeypatch.setattr("allocator.tabulate.PART_ROWS", 2)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def run(tiny: TinyCascade, out: Path, *more: str) -> Result:
    return CliRunner().invoke(replay.command, ["--cascade", str(tiny.folder), "--out", str(out), *more])


@pytest.mark.usefixtures("own_world")
def test_it_writes_a_whole_table(tiny: TinyCascade, tmp_path: Path) -> None:
    result = run(tiny, tmp_path / "table")
    assert result.exit_code == 0, result.output
    manifest, rows = read_table(tmp_path / "table")
    assert sorted(rows.user_ids.tolist()) == tiny.user_ids.tolist()
    assert rows.rewards.shape == (6, len(manifest.chains))
    assert manifest.reward == "expected clicks (truth)"


@pytest.mark.usefixtures("own_world")
def test_a_run_that_was_interrupted_does_only_what_is_missing(
    tiny: TinyCascade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []
    whole = Worker.part

    def interrupted(worker: Worker, number: int) -> object:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(number)
        return whole(worker, number)

    monkeypatch.setattr(Worker, "part", interrupted)
    assert run(tiny, tmp_path / "table").exit_code == 1
    monkeypatch.setattr(Worker, "part", lambda worker, number: done.append(number) or whole(worker, number))
    assert run(tiny, tmp_path / "table").exit_code == 0
    assert sorted(done) == [0, 1, 2]
    assert run(tiny, tmp_path / "table").exit_code == 0
    assert sorted(done) == [0, 1, 2]
    assert len(read_table(tmp_path / "table")[1]) == 6


@pytest.mark.usefixtures("own_world")
def test_another_seed_is_refused_in_the_same_folder(tiny: TinyCascade, tmp_path: Path) -> None:
    run(tiny, tmp_path / "table")
    result = run(tiny, tmp_path / "table", "--seed", "1")
    assert isinstance(result.exception, FixFile)
    assert result.exception.field == "seed"


def test_a_world_that_the_cascade_was_not_trained_on_is_refused(
    tiny: TinyCascade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    result = run(tiny, tmp_path / "table")
    assert isinstance(result.exception, FixFile)
    assert "world-seed" in result.exception.problem


def test_a_click_model_can_judge(tiny: TinyCascade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    model, table = tiny.folder / "fine.onnx", tmp_path / "table"
    result = run(tiny, table, "--click-model", str(model))
    assert result.exit_code == 0, result.output
    manifest, rows = read_table(table)
    assert manifest.reward.startswith("expected clicks (model ")
    assert manifest.click_model == sha256_of(table / "click-model.onnx") == sha256_of(model)
    assert 0 < rows.rewards.max() <= 2.0
    assert run(tiny, table, "--click-model", str(model)).exit_code == 0
    other = run(tiny, table, "--click-model", str(tiny.folder / "heavy.onnx"))
    assert isinstance(other.exception, FixFile)


def test_a_click_model_of_another_signature_is_refused(
    tiny: TinyCascade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    result = run(tiny, tmp_path / "table", "--click-model", str(tiny.folder / "dot.onnx"))
    assert isinstance(result.exception, FixFile)
    assert result.exception.field == "inputs"


def test_a_click_model_that_is_not_there_is_named(tiny: TinyCascade, tmp_path: Path) -> None:
    result = run(tiny, tmp_path / "table", "--click-model", str(tmp_path / "none.onnx"))
    assert isinstance(result.exception, FixFile)
    assert "none.onnx" in result.exception.file
    assert not (tmp_path / "table").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--world", "kuairand"],
        ["--world", "kuairand", "--reward", "clicks"],
        ["--reward", "clicks"],
        ["--reward", "truth"],
    ],
)
def test_options_that_do_not_go_together_are_refused(tiny: TinyCascade, tmp_path: Path, wrong: list[str]) -> None:
    result = run(tiny, tmp_path / "table", *wrong)
    assert result.exit_code == 2
    assert not (tmp_path / "table").exists()
