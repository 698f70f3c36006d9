"""`greenflow train-reward --first`: a cascade of which nothing was logged gets a model to begin logging with."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from logged_requests import HORIZON_S, write_log
from tiny_cascade import TinyCascade
from tiny_reward import space_of, with_reward

from allocator.first_guess import STATIC_EDGE, first_guess
from allocator.reward import RewardModel, context_of
from cluster.candidate import read_candidate
from cluster.cli import greenflow
from models.features import UserQuery
from models.loading import Cascade
from models.session import Session


@pytest.fixture
def first(tiny: TinyCascade, tmp_path: Path) -> TinyCascade:
    """A cascade with such a model."""
    own = tiny.copy_to(tmp_path / "own")
    result = CliRunner().invoke(greenflow, ["train-reward", "--cascade", str(own.folder), "--first"])
    assert result.exit_code == 0, (result.output, result.exception)
    return own


def predicted(tiny: TinyCascade, model: RewardModel | None = None) -> np.ndarray:
    cascade, space = Cascade.open(tiny.folder), space_of(tiny)
    users = cascade.users.rows([UserQuery(user_id) for user_id in tiny.user_ids.tolist()])
    return (model or RewardModel.open(tiny.folder, cascade.spec, space)).predict(context_of(users))


def test_it_predicts_the_same_of_everybody_and_most_of_the_static_chain(first: TinyCascade) -> None:
    rewards, space = predicted(first), space_of(first)
    assert (rewards == rewards[0]).all()
    assert rewards[0].argmax() == space.static.index
    np.testing.assert_allclose(rewards[0], first_guess(space))


def test_more_computation_is_taken_to_earn_more_and_ever_less_more(first: TinyCascade) -> None:
    space = space_of(first)
    order = np.argsort(space.flops)
    guess, flops = first_guess(space)[order].astype(np.float64), space.flops[order]
    guess[order == space.static.index] -= STATIC_EDGE
    below = flops <= space.flops[space.static.index]
    slopes = np.diff(guess[below]) / np.maximum(np.diff(flops[below]), 1e-9)
    assert (slopes >= -1e-6).all()
    assert (np.diff(slopes[np.diff(flops[below]) > 0]) <= 1e-6).all()
    assert guess.min() == 0.0
    assert guess.max() == pytest.approx(1.0)


def test_a_cascade_that_has_one_keeps_it(tiny: TinyCascade, tmp_path: Path) -> None:
    own = with_reward(tiny, tmp_path / "own")
    before = {path.name: path.read_bytes() for path in own.folder.iterdir() if path.is_file()}
    result = CliRunner().invoke(greenflow, ["train-reward", "--cascade", str(own.folder), "--first"])
    assert "names a reward model already" in str(result.exception)
    assert {path.name: path.read_bytes() for path in own.folder.iterdir() if path.is_file()} == before


@pytest.mark.train
def test_what_was_explored_under_it_makes_one_that_knows(first: TinyCascade, tmp_path: Path) -> None:
    """In the log the dear chains earn least, which nobody had told it."""
    pytest.importorskip("torch")
    log, out = tmp_path / "log", tmp_path / "candidate"
    write_log(first, log)
    options = ["--cascade", str(first.folder), "--log", str(log), "--out", str(out), "--horizon", str(HORIZON_S)]
    result = CliRunner().invoke(greenflow, ["train-reward", *options, "--epochs", "30"])
    assert result.exit_code == 0, (result.output, result.exception)
    assert read_candidate(out).evaluation.verdict == "better"
    space, now = space_of(first), predicted(first, RewardModel(Session.open(out / "reward.onnx"))).mean(axis=0)
    assert now[space.flops.argmin()] > now[space.static.index]
