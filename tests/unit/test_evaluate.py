"""`greenflow evaluate` on a tiny cascade with a reward model: it writes, refuses what does not fit, can be stopped."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tiny_cascade import TinyCascade
from tiny_reward import space_of, with_reward

import cluster.commands.evaluate as evaluate
from allocator.reward import RewardModel
from allocator.table import Manifest, Rows, begin, cascade_digest, write_part
from cluster.cli import greenflow
from models.errors import FixFile, FixSetup
from models.loading import Cascade

pytest.importorskip("matplotlib")
USERS = 120


@pytest.fixture(scope="module")
def rewarding(tiny: TinyCascade, tmp_path_factory: pytest.TempPathFactory) -> TinyCascade:
    return with_reward(tiny, tmp_path_factory.mktemp("rewarding") / "cascade")


@pytest.fixture(scope="module")
def table(rewarding: TinyCascade, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(rewarding, tmp_path_factory.mktemp("tables") / "table", USERS)


def write_table(tiny: TinyCascade, folder: Path, users: int) -> Path:
    """Users of made-up features whose rewards are what the model predicts, and chance."""
    space, spec = space_of(tiny), Cascade.open(tiny.folder).spec
    rng = np.random.default_rng(4)
    contexts = rng.integers(0, 4, (users, tiny.user_features.shape[1] + tiny.history.shape[1])).astype(np.int64)
    predicted = RewardModel.open(tiny.folder, spec, space).predict(contexts)
    rewards = (predicted + rng.normal(0, 0.05, predicted.shape)).astype(np.float32)
    manifest = Manifest(
        cascade=cascade_digest(spec),
        world="a tiny world",
        reward="clicks",
        seed=0,
        users=users,
        part_rows=users,
        chains=tuple(chain.id for chain in space),
        flops=tuple(chain.flops for chain in space),
    )
    begin(folder, manifest)
    write_part(folder, manifest, 0, Rows(np.arange(users), contexts, rewards, np.arange(users) % 3 == 0))
    return folder


def run(tiny: TinyCascade, table: Path, out: Path, *more: str) -> Result:
    options = ["--cascade", str(tiny.folder), "--table", str(table), "--out", str(out)]
    return CliRunner().invoke(evaluate.command, [*options, "--bootstrap", "20", "--windows", "96", *more])


def test_it_writes_the_report_and_says_what_was_found(rewarding: TinyCascade, table: Path, tmp_path: Path) -> None:
    result = run(rewarding, table, tmp_path / "out", "--budgets", "8", "--pue", "1.2", "--intensity", "100")
    assert result.exit_code == 0, result.output
    assert "static chain" in result.stdout
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert len(report["budgets_flops"]) == 8
    assert report["about"]["held_out_users"] == USERS // 3
    assert report["about"]["reward_model"] == rewarding.document["reward"]["sha256"]
    assert report["assumptions"]["quality"] == "assumed"
    assert report["assumptions"]["carbon"] == {"pue": 1.2, "grams_per_kwh": 100.0}
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


def test_joules_can_come_from_a_profile(rewarding: TinyCascade, table: Path, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    printed = CliRunner().invoke(
        greenflow, ["profile", "--cascade", str(rewarding.folder), "--rows", "1", "--repeats", "1", "--json"]
    )
    profile.write_text(printed.stdout, encoding="utf-8")
    result = run(rewarding, table, tmp_path / "out", "--profile", str(profile), "--watts", "12")
    assert result.exit_code == 0, result.output
    assumptions = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["assumptions"]
    assert assumptions["quality"] == "modelled"
    assert "12 W" in assumptions["energy"]


def test_a_cascade_without_a_reward_model_is_refused_with_the_remedy(
    tiny: TinyCascade, table: Path, tmp_path: Path
) -> None:
    result = run(tiny, table, tmp_path / "out")
    assert isinstance(result.exception, FixFile)
    assert result.exception.field == "reward"
    assert "train-reward" in result.exception.problem
    assert not (tmp_path / "out").exists()


def test_the_table_of_another_cascade_is_refused(rewarding: TinyCascade, table: Path, tmp_path: Path) -> None:
    other = rewarding.copy_to(tmp_path / "other")
    other.edit(lambda document: document["stages"][1].update(items=[8]))
    result = run(other, table, tmp_path / "out")
    assert isinstance(result.exception, FixFile)
    assert "replay" in result.exception.problem


def test_too_few_users_are_refused_with_their_number(rewarding: TinyCascade, tmp_path: Path) -> None:
    few = write_table(rewarding, tmp_path / "few", 30)
    result = run(rewarding, few, tmp_path / "out")
    assert isinstance(result.exception, FixFile)
    assert "10 held-out users are too few" in result.exception.problem


def test_no_table_is_refused_with_the_command_that_makes_one(rewarding: TinyCascade, tmp_path: Path) -> None:
    result = run(rewarding, tmp_path / "none", tmp_path / "out")
    assert isinstance(result.exception, FixFile)
    assert "greenflow replay" in result.exception.problem


def test_without_matplotlib_the_extra_is_named_before_anything_is_done(
    rewarding: TinyCascade, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else found(name))
    result = run(rewarding, table, tmp_path / "out")
    assert isinstance(result.exception, FixSetup)
    assert "EXTRAS=dev,report" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_stopped_half_way_it_leaves_an_earlier_report_as_it_was(
    rewarding: TinyCascade, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.json").write_text("of yesterday", encoding="utf-8")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "evaluate", stopped)
    result = run(rewarding, table, tmp_path / "out", "--seed", "1")
    assert result.exit_code == 1
    assert "nothing was written" in result.output
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_help_says_what_is_assumed_and_shows_examples() -> None:
    text = CliRunner().invoke(greenflow, ["evaluate", "--help"]).output
    assert "No meter is read" in text
    assert "greenflow replay --users 4000" in text
