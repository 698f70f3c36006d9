"""`greenflow replay --world kuairand`: what chains earn by a click model, and by the log, on a small stand-in."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_kuairand
from click.testing import CliRunner, Result

pytest.importorskip("torch")

import cluster.commands.replay as replay
import models.training.click_model as click_model
from allocator.chains import ChainSpace
from allocator.replay import Replay
from allocator.table import Manifest, Rows, read_table
from models.checking import check_cascade, sha256_of
from models.errors import FixFile
from models.features import UserQuery
from models.training.cascade import TrainConfig, train_cascade
from models.training.recipe import RECIPE
from models.worlds.kuairand import kuairand_world, read_kuairand

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The data, and a cascade that was trained on them."""
    base = tmp_path_factory.mktemp("kuairand")
    data = tiny_kuairand.write(base / "data", users=240)
    few = [variant for variant in RECIPE if variant.name in ("tower-s", "mlp")]
    train_cascade(kuairand_world(data)[0], base / "cascade", TrainConfig(epochs=1), recipe=few)
    return data, base / "cascade"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def run(made: tuple[Path, Path], out: Path, *more: str) -> Result:
    options = ["--world", "kuairand", "--data", str(made[0]), "--cascade", str(made[1]), "--out", str(out)]
    return CliRunner().invoke(replay.command, [*options, *more])


def table(made: tuple[Path, Path], out: Path, *more: str) -> tuple[Manifest, Rows]:
    result = run(made, out, *more)
    assert result.exit_code == 0, (result.output, result.exception)
    return read_table(out)


def test_a_click_model_is_fitted_saved_beside_the_table_and_used_again(
    made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, rows = table(made, tmp_path / "table")
    assert manifest.click_model == sha256_of(tmp_path / "table" / "click-model.onnx")
    assert manifest.reward == f"expected clicks (model {manifest.click_model[:12]})"
    assert 0 < rows.rewards.min() < rows.rewards.max() < 10
    report = json.loads((tmp_path / "table" / "click-model.json").read_text())
    assert report["judged"][0]["name"] == "click model"

    monkeypatch.setattr(click_model, "fit_click_model", None)
    (tmp_path / "table" / "part-00000.parquet").unlink()
    again, same = table(made, tmp_path / "table")
    assert again == manifest
    np.testing.assert_array_equal(same.rewards, rows.rewards)


@pytest.mark.parametrize(("reward", "column"), [("clicks", "click"), ("long-views", "long_view"), ("shown", None)])
def test_what_the_log_holds_is_counted(
    made: tuple[Path, Path], tmp_path: Path, reward: str, column: str | None
) -> None:
    manifest, rows = table(made, tmp_path / "table", "--reward", reward)
    assert manifest.reward.endswith("on the test days")
    logged, cascade = read_kuairand(made[0]).logged, check_cascade(made[1])
    values = np.ones(len(logged.user)) if column is None else getattr(logged, column)
    earned: dict[tuple[int, int], float] = {}
    for user, item, value in zip(logged.user.tolist(), logged.item.tolist(), values.tolist(), strict=True):
        earned[user, item] = max(earned.get((user, item), 0.0), float(value))
    users = cascade.users.rows([UserQuery(user_id) for user_id in rows.user_ids.tolist()])
    lists = Replay(cascade, ChainSpace(cascade.spec, len(cascade.items))).run(users)
    at = cascade.users.ids.find(rows.user_ids.tolist())
    at_lists = zip(at.tolist(), lists.tolist(), strict=True)
    expected = [[sum(earned.get((u, i), 0.0) for i in chain) for chain in row] for u, row in at_lists]
    np.testing.assert_allclose(rows.rewards, expected)
    assert rows.rewards.max() > 0


def test_a_cascade_that_was_trained_on_other_rows_is_refused(made: tuple[Path, Path], tmp_path: Path) -> None:
    other = tiny_kuairand.write(tmp_path / "data", users=240, seed=1)
    result = run((other, made[1]), tmp_path / "table")
    assert isinstance(result.exception, FixFile)
    assert "train the cascade again" in result.exception.problem
    assert not (tmp_path / "table").exists()
