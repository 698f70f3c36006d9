"""The click model: parts that share nobody, planted effects found, nothing found in noise, and honest judging."""

from pathlib import Path

import numpy as np
import pytest
import tiny_kuairand

torch = pytest.importorskip("torch")

import models.training.click_model as click_model  # noqa: E402
from models.errors import FixFile  # noqa: E402
from models.session import Session  # noqa: E402
from models.training.click_judge import judge  # noqa: E402
from models.training.click_model import fit_click_model  # noqa: E402
from models.training.click_net import ClickNet  # noqa: E402
from models.training.click_parts import Part, chances, split  # noqa: E402
from models.training.networks import Shapes  # noqa: E402
from models.worlds.kuairand import KuaiRand, read_kuairand  # noqa: E402

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> KuaiRand:
    return read_kuairand(tiny_kuairand.write(tmp_path_factory.mktemp("kuairand")))


def test_parts_share_no_user_and_hold_all_that_was_unseen(data: KuaiRand) -> None:
    parts = split(data)
    users = [set(part.of_user.tolist()) for part in parts.values()]
    assert sum(map(len, users)) == len(set.union(*users))
    assert sum(len(part.click) for part in parts.values()) == len(data.unseen.click)


def test_no_part_holds_what_a_cascade_was_trained_on(data: KuaiRand) -> None:
    seen = {(int(u), int(d)) for log in (data.world.train, data.world.valid) for u, d in zip(log.user_row, log.day)}  # noqa: B905
    for part in split(data).values():
        assert not seen & set(zip(part.of_user.tolist(), part.day.tolist(), strict=True))


def test_planted_effects_are_found_and_written(data: KuaiRand, tmp_path: Path) -> None:
    report = fit_click_model(data, tmp_path / "click.onnx")
    model, overall, _ = report.judged
    part = split(data)["judge"]
    truth = tiny_kuairand.chance(data.world.users.ids[part.of_user], data.world.items.ids[part.item[:, 0].numpy() - 1])
    best = judge("truth", truth, part.clicked, part.of_user)
    assert overall.auc == pytest.approx(0.5)
    assert model.auc > overall.auc + 0.7 * (best.auc - overall.auc)
    assert model.log_loss < overall.log_loss - 0.5 * (overall.log_loss - best.log_loss)
    assert model.auc_within_users > 0.6
    feeds = {name: getattr(part, name).numpy() for name in ("user", "history", "item", "row")}
    logits = Session.open(tmp_path / "click.onnx").run(feeds).astype(np.float64)
    again = judge("file", 1 / (1 + np.exp(-logits)), part.clicked, part.of_user)
    assert again.log_loss == pytest.approx(model.log_loss, abs=1e-5)


def test_in_noise_it_finds_next_to_nothing(data: KuaiRand, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    noise = rng.permutation(data.unseen.click)
    shuffled = KuaiRand(
        data.world, type(data.unseen)(**{**vars(data.unseen), "click": noise}), data.logged, data.report
    )
    model, overall, _ = fit_click_model(shuffled, tmp_path / "click.onnx").judged
    assert abs(model.log_loss - overall.log_loss) < 0.02


@pytest.mark.skipif(
    not tiny_kuairand.REAL.is_dir(), reason="KuaiRand-Pure is not here: set GREENFLOW_KUAIRAND to its folder"
)
def test_on_the_real_data_it_beats_base_rates_and_is_calibrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(click_model, "EFFECTS", (10.0,))
    monkeypatch.setattr(click_model, "FACTORS", ())
    monkeypatch.setattr(click_model, "STEPS", 15)
    report = fit_click_model(read_kuairand(tiny_kuairand.REAL), tmp_path / "click.onnx")
    model, _, tab = report.test_days
    assert model.auc > tab.auc + 0.1
    assert model.auc_within_users > tab.auc_within_users + 0.03
    assert model.log_loss < tab.log_loss - 0.04
    assert model.calibration_error < 0.04


def test_a_part_without_exposures_is_refused(tmp_path: Path) -> None:
    few = read_kuairand(tiny_kuairand.write(tmp_path, users=3))
    with pytest.raises(FixFile, match="it needs more users"):
        split(few)


def test_shares_are_how_much_of_the_history_has_the_items_codes(data: KuaiRand) -> None:
    shapes = Shapes.of(data.world)
    part: Part = split(data)["tune"]
    found = ClickNet(shapes, 0).shares(part.history, part.item, part.row).numpy()
    for pair in range(0, len(found), 97):
        entries = [int(code) for code in part.history[part.row[pair]] if code]
        item = part.item[pair].tolist()
        same = [sum(code == item[0] for code in entries)]
        for place, column in enumerate(shapes.described):
            same.append(sum(shapes.descriptions[code, place] == item[column] for code in entries))
        np.testing.assert_allclose(found[pair], np.array(same) / (len(entries) + 1), rtol=1e-6)


def test_factors_are_left_out_without_a_number_of_them(data: KuaiRand) -> None:
    part, shapes = split(data)["tune"], Shapes.of(data.world)
    torch.manual_seed(0)
    assert chances(ClickNet(shapes, 0), part) == pytest.approx(0.5)
    assert np.ptp(chances(ClickNet(shapes, 2), part)) > 0


def test_who_tells_users_apart_only_is_not_credited_within_users() -> None:
    users = np.repeat(np.arange(50), 20)
    rate = users / 50
    clicked = np.random.default_rng(0).random(len(users)) < rate
    found = judge("users", rate, clicked, users)
    assert found.auc > 0.8
    assert found.auc_within_users == pytest.approx(0.5)


def test_calibration_error_is_how_far_chances_are_off() -> None:
    rng = np.random.default_rng(0)
    chance = rng.random(20_000)
    clicked = rng.random(20_000) < chance
    users = np.arange(20_000)
    right, wrong = (judge("x", c, clicked, users).calibration_error for c in (chance, chance**2))
    assert right < 0.02
    assert wrong == pytest.approx(np.abs(chance - chance**2).mean(), abs=0.02)


def test_the_log_loss_of_certain_mistakes_is_finite() -> None:
    clicked = np.array([True, False])
    assert 10 < judge("x", np.array([0.0, 1.0]), clicked, np.array([0, 0])).log_loss < 20
