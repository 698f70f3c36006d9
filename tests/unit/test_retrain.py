"""`greenflow train-reward --log`: a candidate beside the cascade, judged on later requests, or one clear line."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from candidates import described
from click.testing import CliRunner
from logged_requests import BEGAN_S, HORIZON_S, write_log
from rich.console import Console
from tiny_cascade import TinyCascade
from tiny_reward import another_reward, space_of, with_reward

from allocator.arms import POLICY
from allocator.reward import RewardModel
from cluster.candidate import CANDIDATE_FILE, check_place, read_candidate, write_candidate
from cluster.commands.retrain import retrain
from cluster.commands.retrain_asked import asked_of
from cluster.commands.retrain_current import check_served, current_of
from cluster.commands.retrain_rows import Reading, evidence
from cluster.commands.retrain_show import horizon_said
from cluster.commands.train_reward import command
from cluster.outcomes.log_reader import LoggedPolicies, LoggedRows
from cluster.promotion.model import name_of
from models.checking import check_cascade, sha256_of
from models.errors import FixFile
from models.loading import Cascade
from models.session import Session


@pytest.fixture(scope="module")
def own(tiny: TinyCascade, tmp_path_factory: pytest.TempPathFactory) -> TinyCascade:
    """A cascade whose reward model thinks that dear chains earn more."""
    return with_reward(tiny, tmp_path_factory.mktemp("own") / "cascade")


@pytest.fixture(scope="module")
def log(own: TinyCascade, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Requests in which they earn less."""
    folder = tmp_path_factory.mktemp("log") / "log"
    write_log(own, folder)
    return folder


NOTHING_MORE: dict[str, Any] = dict.fromkeys(("out", "current", "since", "until", "horizon", "clip"))
NOTHING_MORE |= dict.fromkeys(("unripe", "over_ray"), False)


def reading(folder: Path, horizon_s: float = HORIZON_S) -> Reading:
    return Reading(folder, None, None, horizon_s, False)


def test_the_newest_fifth_is_held_out_and_nothing_of_it_is_learned_from(own: TinyCascade, log: Path) -> None:
    cascade = Cascade.open(own.folder)
    found = evidence(reading(log), cascade, space_of(own), Reading.read)
    assert found.trained.to_s < found.held.from_s
    total = found.trained.requests + found.held.requests
    assert 0.1 < found.held.requests / total < 0.25, "a fifth, less the users who are held back"
    assert found.trained.requests == len(found.seen)
    assert found.held.requests == len(found.logged) == len(found.scene)
    assert 0.3 < found.trained.explored / found.trained.requests < 0.6
    assert found.seen.contexts.dtype == np.int64, "as the cascade's own users are"
    assert (found.seen.propensities == 1).any(), "users who are held back tell what the static chain earns"
    assert not (found.logged.propensities == 1).any(), "and nothing of what the policy is worth"
    assert found.missed == 0


def test_requests_that_nobody_could_decide_are_learned_from_and_not_judged_by(own: TinyCascade, log: Path) -> None:
    cascade, space = Cascade.open(own.folder), space_of(own)
    lost = 0

    def read(wanted: Reading) -> tuple[LoggedRows, LoggedPolicies]:
        nonlocal lost
        rows, policies = wanted.read()
        undecided = (rows.arms == POLICY) & (np.arange(len(rows.arms)) % 3 == 0)
        cut_s = np.quantile(rows.times_s, 0.8)
        lost = int((undecided & (rows.times_s >= cut_s)).sum())
        return replace(rows, predicted=np.where(undecided, np.nan, rows.predicted)), policies

    whole, found = evidence(reading(log), cascade, space, Reading.read), evidence(reading(log), cascade, space, read)
    assert lost > 100
    assert found.trained == whole.trained
    assert found.held.requests == whole.held.requests - lost


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"explores": 0.5, "contexts": False}, "context: no contexts were logged"),
        ({"requests": 400}, "decisions: .* are too few"),
    ],
)
def test_a_log_that_tells_too_little_is_refused(
    own: TinyCascade, tmp_path: Path, changed: dict[str, float], says: str
) -> None:
    write_log(own, tmp_path / "log", **changed)  # type: ignore[arg-type]
    with pytest.raises(FixFile, match=says):
        evidence(reading(tmp_path / "log"), Cascade.open(own.folder), space_of(own), Reading.read)


def test_a_reward_counts_for_as_long_as_the_log_says(own: TinyCascade, tmp_path: Path) -> None:
    write_log(own, tmp_path / "log", horizon_s=HORIZON_S)
    asked = asked_of(own.folder, (), 0, None, log=tmp_path / "log", **NOTHING_MORE)
    assert asked is not None
    found = evidence(asked.reading, Cascade.open(own.folder), space_of(own), Reading.read)
    assert (found.horizon_s, found.horizons_s) == (HORIZON_S, (HORIZON_S,))
    assert horizon_said(60.0, (60.0,)) == "a reward counts within 60 s of its request"
    assert "was 60 s and 7200 s" in horizon_said(60.0, (60.0, 7200.0))


def test_requests_of_other_items_are_not_learned_from_and_it_is_said(
    own: TinyCascade, log: Path, tmp_path: Path
) -> None:
    write_log(own, tmp_path / "log", codes="of fewer items", writer="others")
    with pytest.raises(
        FixFile, match=r"decisions: all [\d,]+ are from before the cascade's items, .* changed: left out"
    ):
        evidence(reading(tmp_path / "log"), Cascade.open(own.folder), space_of(own), Reading.read)
    shutil.copytree(log, tmp_path / "log", dirs_exist_ok=True)
    found = evidence(reading(tmp_path / "log"), Cascade.open(own.folder), space_of(own), Reading.read)
    alone = evidence(reading(log), Cascade.open(own.folder), space_of(own), Reading.read)
    assert (found.trained, found.held) == (alone.trained, alone.held)
    assert (found.others, alone.others) == (3000, 0)


def test_a_log_of_other_chains_or_of_another_cascade_is_refused(own: TinyCascade, log: Path, tmp_path: Path) -> None:
    fewer = own.copy_to(tmp_path / "fewer")
    fewer.edit(lambda document: document["stages"][2].update(items=[2, 4]))
    with pytest.raises(FixFile, match="chains: its 36 chains are not the 30 of this cascade"):
        evidence(reading(log), Cascade.open(fewer.folder), space_of(fewer), Reading.read)
    other = own.copy_to(tmp_path / "other")
    other.edit(lambda document: document.update(name="other"))
    with pytest.raises(FixFile, match="cascade: was logged while"):
        evidence(reading(log), Cascade.open(other.folder), space_of(other), Reading.read)


def test_a_log_or_a_table_must_be_named_or_that_there_is_neither_yet(own: TinyCascade, tmp_path: Path) -> None:
    both = ["--log", str(tmp_path), "--table", str(tmp_path)]
    for options in ([], both, ["--first", *both[:2]], ["--first", *both[2:]]):
        result = CliRunner().invoke(command, ["--cascade", str(own.folder), *options])
        assert result.exit_code == 2
        assert "one of --table, --log and --first" in " ".join(result.output.split())


def test_a_candidate_is_judged_against_the_model_that_served_or_not_at_all(own: TinyCascade, tmp_path: Path) -> None:
    promoted = tmp_path / "promoted" / "reward.onnx"
    promoted.parent.mkdir()
    promoted.write_bytes(another_reward(own))
    name = name_of(sha256_of(promoted))
    write_log(own, tmp_path / "log", served=name)
    asked = asked_of(own.folder, (), 0, None, log=tmp_path / "log", **NOTHING_MORE)
    assert asked is not None
    with pytest.raises(FixFile, match=rf"log: reward_model: .* decided by {name}, .* own is .* with --current"):
        retrain(asked, Console())
    with pytest.raises(FixFile, match=rf"decided by {name}, and --current names reward\.onnx@"):
        retrain(replace(asked, current=own.folder / "reward.onnx"), Console())
    with pytest.raises(FixFile, match=r"promoted: holds the model that --current names; name another"):
        retrain(replace(asked, current=promoted, out=promoted.parent), Console())
    cascade, space = Cascade.open(own.folder), space_of(own)
    found = evidence(asked.reading, cascade, space, Reading.read)
    current = current_of(replace(asked, current=promoted), cascade, space)
    check_served(current, found.served, tmp_path)
    assert (current.sha256, current.own) == (sha256_of(promoted), False)
    assert (current.model.predict(found.scene.contexts) > 50).all(), "it predicts so much more than the cascade's own"


@pytest.mark.parametrize("out", ["file", "file/deeper/candidate", "photos"])
def test_where_a_candidate_cannot_go_is_said_before_anything_is_read(
    own: TinyCascade, tmp_path: Path, out: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    asked = asked_of(own.folder, (), 0, None, log=tmp_path / "nowhere", **{**NOTHING_MORE, "out": tmp_path / out})
    assert asked is not None
    with pytest.raises(FixFile, match=rf"{out}: (holds other|cannot be written: Not a directory .*file).* with --out"):
        retrain(asked, Console())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_no_place_for_a_candidate(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    for folder in (tmp_path, tmp_path / "deeper" / "candidate"):
        with pytest.raises(FixFile, match="Permission denied"):
            check_place(folder)


def test_a_place_for_a_candidate_need_not_be_there_and_is_left_alone(own: TinyCascade, tmp_path: Path) -> None:
    check_place(tmp_path / "deeper" / "candidate")
    assert not list(tmp_path.iterdir())
    model = own.folder / "reward.onnx"
    write_candidate(tmp_path / "deeper" / "candidate", model, described(model))
    check_place(tmp_path / "deeper" / "candidate")


@pytest.mark.train
def test_a_candidate_is_trained_judged_and_written_and_the_cascade_is_left_as_it_is(
    own: TinyCascade, log: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    before = {path.name: path.read_bytes() for path in own.folder.iterdir() if path.is_file()}
    out = tmp_path / "candidate"
    options = ["--cascade", str(own.folder), "--log", str(log), "--out", str(out), "--horizon", str(HORIZON_S)]
    result = CliRunner().invoke(command, [*options, "--epochs", "30"])
    assert result.exit_code == 0, (result.output, result.exception)
    assert {path.name: path.read_bytes() for path in own.folder.iterdir() if path.is_file()} == before
    candidate = read_candidate(out)
    assert candidate.evaluation.verdict == "better"
    assert "The candidate is better" in " ".join(result.output.split())
    assert candidate.replaces == sha256_of(own.folder / "reward.onnx")
    assert candidate.cascade == check_cascade(own.folder).spec.name
    assert candidate.held.to_s <= BEGAN_S + 3000
    model, current = RewardModel(Session.open(out / "reward.onnx")), Session.open(own.folder / "reward.onnx")
    contexts = evidence(reading(log), Cascade.open(own.folder), space_of(own), Reading.read).scene.contexts
    now, then = model.predict(contexts), current.run({"context": contexts})
    space = space_of(own)
    cheap, dear = int(space.flops.argmin()), int(space.flops.argmax())
    assert (then[:, dear] - then[:, cheap]).mean() > 0
    assert (now[:, dear] - now[:, cheap]).mean() < 0.3 * (then[:, dear] - then[:, cheap]).mean()


def test_a_candidate_that_is_not_what_it_says_is_refused(log: Path, own: TinyCascade, tmp_path: Path) -> None:
    out, model = tmp_path / "candidate", own.folder / "reward.onnx"
    known = described(model)
    write_candidate(out, model, known)
    write_candidate(out, model, known)
    assert read_candidate(out) == known
    assert sorted(path.name for path in out.iterdir()) == [CANDIDATE_FILE, "reward.onnx"]
    with (out / "reward.onnx").open("ab") as file:
        file.write(b"more")
    with pytest.raises(FixFile, match="sha256"):
        read_candidate(out)
    (out / CANDIDATE_FILE).write_text(json.dumps({"format": 1}))
    with pytest.raises(FixFile, match=r"candidate\.json: sha256"):
        read_candidate(out)
    with pytest.raises(FixFile, match="no such file"):
        read_candidate(tmp_path / "nowhere")
    with pytest.raises(FixFile, match="cannot be written: Not a directory"):
        write_candidate(model / "candidate", model, known)
    (out / "photo.jpg").touch()
    with pytest.raises(FixFile, match=r"photo\.jpg"):
        write_candidate(out, model, known)
