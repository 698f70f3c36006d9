"""Training: the same seed gives the same cascade, ONNX agrees with PyTorch, and nothing half-written stays behind."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from models.checking import check_cascade  # noqa: E402
from models.errors import FixFile, GreenFlowError  # noqa: E402
from models.spec import CascadeSpec, read_spec  # noqa: E402
from models.training.batches import click_batches, exposure_batches  # noqa: E402
from models.training.cascade import TrainConfig, train_cascade  # noqa: E402
from models.training.export import check_agreement, export  # noqa: E402
from models.training.folder import new_folder  # noqa: E402
from models.training.interest import Dien  # noqa: E402
from models.training.measure import auc, recall_at  # noqa: E402
from models.training.networks import Mlp, Shapes, Tower  # noqa: E402
from models.training.recipe import RECIPE  # noqa: E402
from models.worlds.base import World  # noqa: E402
from models.worlds.simulate import synthetic_world  # noqa: E402
from models.worlds.synthetic import SyntheticConfig  # noqa: E402

pytestmark = pytest.mark.train
TINY = SyntheticConfig(users=150, items=120, days=5, warmup_days=2, history=6)
NAMES = ["user", "history", "item", "row"]


@pytest.fixture(scope="module")
def world() -> World:
    return synthetic_world(TINY)[0]


@pytest.fixture(scope="module")
def trained(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[CascadeSpec, Path]:
    out = tmp_path_factory.mktemp("trained") / "cascade"
    return train_cascade(world, out, TrainConfig(seed=3, epochs=1)), out


def metrics(spec: CascadeSpec) -> dict[str, float]:
    variants = [variant for stage in spec.stages for variant in stage.variants]
    return {f"{v.name}.{name}": value for v in variants for name, value in v.metrics.items()}


def test_a_trained_folder_is_a_whole_cascade(trained: tuple[CascadeSpec, Path]) -> None:
    spec, out = trained
    assert check_cascade(out).spec == spec == read_spec(out)
    assert [stage.name for stage in spec.stages] == ["recall", "prerank", "rank"]
    assert spec.static_chain == "tower-l>ydnn-l@100>dien@80"
    assert [path.name for path in out.parent.iterdir()] == ["cascade"]


def test_bigger_variants_cost_more_flops(trained: tuple[CascadeSpec, Path]) -> None:
    for stage in trained[0].stages:
        costs = [v.flops.row + 100 * v.flops.item for v in stage.variants if v.flops is not None]
        assert len(costs) == len(stage.variants)
        assert costs == sorted(costs)


def test_the_same_seed_gives_the_same_metrics(world: World, trained: tuple[CascadeSpec, Path], tmp_path: Path) -> None:
    def trained_by(seed: int, *names: str) -> dict[str, float]:
        few = [variant for variant in RECIPE if variant.name in names]
        return metrics(train_cascade(world, tmp_path / str(seed), TrainConfig(seed, epochs=1), recipe=few))

    first = metrics(trained[0])
    again, other = trained_by(3, "tower-l", "ydnn-s", "dien"), trained_by(4, "tower-l")
    assert again == pytest.approx({name: first[name] for name in again}, abs=1e-3)
    assert other != pytest.approx({name: first[name] for name in other}, abs=1e-3)


def test_an_interrupt_leaves_nothing_behind(world: World, tmp_path: Path) -> None:
    def interrupt(name: str, share: float, note: str) -> None:
        if name == "ydnn-s":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_cascade(world, tmp_path / "out", TrainConfig(epochs=1), interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_cascade_is_kept_unless_forced(tmp_path: Path) -> None:
    out = tmp_path / "photos"
    out.mkdir()
    (out / "cat.jpg").write_text("miaow")
    with pytest.raises(FixFile, match="photos"), new_folder(out, force=False):
        pass
    assert (out / "cat.jpg").exists()
    with new_folder(out, force=True) as build:
        (build / "new").touch()
    assert [path.name for path in out.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_an_older_cascade_is_replaced_whole(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with new_folder(tmp_path / "out", force=False) as build:
            (build / "cascade.yaml").write_text(content)
    assert (tmp_path / "out" / "cascade.yaml").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_scores_that_disagree_with_the_file_are_refused(world: World, tmp_path: Path) -> None:
    shapes, rng = Shapes.of(world), np.random.default_rng(0)
    network = Mlp(shapes, dim=4, hidden=8)
    path = tmp_path / "mlp.onnx"
    export(network, shapes, path, rng)
    assert check_agreement(network, shapes, path, NAMES, rng) < 1e-4
    with torch.no_grad():
        network.head.out[-1].bias += 0.01
    with pytest.raises(GreenFlowError, match=r"mlp\.onnx"):
        check_agreement(network, shapes, path, NAMES, rng)


def test_diens_closed_form_is_the_recurrence(world: World) -> None:
    torch.manual_seed(0)
    network = Dien(Shapes.of(world), dim=4, hidden=8).eval()
    width = network.inputs.entry_dim
    both, attention = torch.randn(2, 6, 2 * width), torch.rand(3, 6)
    row = torch.tensor([0, 1, 1])
    gate = 0.98 * torch.sigmoid(network.gate(both))[row] * attention[:, :, None]
    candidate = torch.tanh(network.candidate(both))[row]
    state = torch.zeros(3, width)
    for step in range(6):
        state = (1 - gate[:, step]) * state + gate[:, step] * candidate[:, step]
    torch.testing.assert_close(network._evolve(both, attention, row), state, atol=1e-5, rtol=1e-4)


def test_a_pairs_score_does_not_depend_on_its_batch(world: World) -> None:
    log, network = world.test, Dien(Shapes.of(world), dim=4, hidden=8).eval()
    (batch,) = list(exposure_batches(log, len(log), rng=None))
    with torch.no_grad():
        together = network(batch.user, batch.history, batch.item, batch.row)
        for pair in (0, 17, len(together) - 1):
            one = batch.row[pair : pair + 1]
            alone = network(batch.user[one], batch.history[one], batch.item[pair : pair + 1], torch.zeros(1).long())
            torch.testing.assert_close(alone[0], together[pair], atol=1e-5, rtol=1e-4)


def test_batches_hold_every_exposure_once(world: World) -> None:
    log = world.train
    batches = list(exposure_batches(log, 16, np.random.default_rng(0)))
    assert sum(float(batch.click.sum()) for batch in batches) == log.click.sum()
    shown = torch.cat([batch.item[:, 0] for batch in batches]).numpy() - 1
    np.testing.assert_array_equal(np.bincount(shown), np.bincount(log.item_row))
    (one,) = list(exposure_batches(log, len(log), rng=None))
    np.testing.assert_array_equal(one.row.numpy(), log.request)
    np.testing.assert_array_equal(one.item[:, 0].numpy() - 1, log.item_row)


def test_click_batches_hold_clicked_items_alone(world: World) -> None:
    log = world.train
    clicked = np.bincount(log.item_row[log.click > 0], minlength=TINY.items)
    drawn = np.zeros_like(clicked)
    for batch in click_batches(log, 8, np.random.default_rng(0)):
        drawn += np.bincount(batch.item_row.numpy(), minlength=TINY.items)
    assert (drawn <= clicked).all()
    assert clicked.sum() - drawn.sum() < 8


def test_recall_at_all_items_is_one(world: World) -> None:
    tower = Tower(Shapes.of(world), dim=4, hidden=8, size=4, by_position=True)
    found = recall_at(tower, world.test, [10, TINY.items])
    assert 0 <= found["recall_at_10"] < found[f"recall_at_{TINY.items}"] == 1.0


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_share_of_pairs_in_the_right_order(pairs: list[tuple[int, bool]]) -> None:
    scores = np.array([score for score, _ in pairs], dtype=np.float32)
    clicked = np.array([click for _, click in pairs])
    wins = [(a > b) + (a == b) / 2 for a in scores[clicked] for b in scores[~clicked]]
    if wins:
        assert auc(scores, clicked) == pytest.approx(np.mean(wins))
    else:
        assert np.isnan(auc(scores, clicked))
