"""A reward model that comes as bytes is loaded for its cascade, or refused in one line that says what is wrong."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from promoting import name
from tiny_cascade import TinyCascade
from tiny_reward import another_reward, looking_up, shifted, space_of, with_reward

from allocator.reward import REWARD_FILE, RewardModel
from cluster.events import Event
from cluster.ledger.store import Ledger
from cluster.promotion.desk import ModelDesk
from cluster.promotion.opening import open_model_desk
from models.errors import FixFile, FixRequest
from models.loading import Cascade

PLUS = 100.0


@pytest.fixture(scope="module", params=["tiny", "tiny_numbers"])
def rewarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TinyCascade:
    return with_reward(request.getfixturevalue(request.param), tmp_path_factory.mktemp("reward") / "cascade")


def load(tiny: TinyCascade, content: bytes) -> RewardModel:
    return RewardModel.of_bytes(content, name(content), Cascade.open(tiny.folder), space_of(tiny))


def changed(content: bytes, **to: float | str) -> bytes:
    """The model with one weight of that value, or with weights in another file."""
    model = onnx.load_model_from_string(content)
    weights = model.graph.initializer[0]
    if "weight" in to:
        array = onnx.numpy_helper.to_array(weights).copy()
        array[-1, -1] = to["weight"]
        weights.CopyFrom(onnx.numpy_helper.from_array(array, weights.name))
    else:
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        weights.external_data.add(key="location", value=to["location"])
    result: bytes = model.SerializeToString()
    return result


def test_it_predicts_what_the_file_does(rewarded: TinyCascade) -> None:
    own = (rewarded.folder / REWARD_FILE).read_bytes()
    cascade, space = Cascade.open(rewarded.folder), space_of(rewarded)
    file, model, more = RewardModel.open(rewarded.folder, cascade.spec, space), load(rewarded, own), shifted(own, PLUS)
    width = rewarded.user_features.shape[1] + rewarded.history.shape[1]
    kind = np.float32 if rewarded.user_features.dtype == np.float32 else np.int64
    contexts = np.arange(3 * width).reshape(3, width).astype(kind)
    assert model.predict(contexts).tolist() == file.predict(contexts).tolist()
    assert load(rewarded, more).predict(contexts) == pytest.approx(model.predict(contexts) + PLUS, rel=1e-5)


@pytest.mark.parametrize("content", [b"", b"garbage", b"<!doctype html>", b"\x08\x09"])
def test_what_is_no_model_is_refused(rewarded: TinyCascade, content: bytes) -> None:
    with pytest.raises(FixFile, match="cannot load it") as caught:
        load(rewarded, content)
    assert caught.value.file == name(content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("location", ["weights.bin", "/etc/passwd", "../../../../etc/passwd"])
def test_a_model_whose_weights_lie_elsewhere_is_told_to_be_saved_as_one(rewarded: TinyCascade, location: str) -> None:
    with pytest.raises(FixFile, match="save the model as one file"):
        load(rewarded, changed(another_reward(rewarded), location=location))


def test_a_model_for_other_chains_is_refused(rewarded: TinyCascade) -> None:
    fewer = _with_a_chain_less(another_reward(rewarded))
    with pytest.raises(FixFile, match=r"expected .* chains"):
        load(rewarded, fewer)


def test_a_model_that_takes_other_inputs_is_refused(tiny: TinyCascade, tiny_numbers: TinyCascade) -> None:
    with pytest.raises(FixFile, match=r"inputs\.context: expected int64, got float32"):
        load(tiny, another_reward(tiny_numbers))


def test_a_prediction_that_is_not_finite_is_found_on_users_on_file_at_the_latest(rewarded: TinyCascade) -> None:
    desk = _desk(rewarded, Ledger.open(None))
    with pytest.raises(FixRequest, match="NaN or infinity"):
        desk.put(changed(another_reward(rewarded), weight=np.nan), "anna", 1.0)
    desk.put(another_reward(rewarded), "anna", 2.0)
    assert (desk.current.model.known > PLUS / 2).all()


def test_a_file_that_is_not_what_the_cascade_says_is_not_taken_for_its_own(
    rewarded: TinyCascade, tmp_path: Path
) -> None:
    copy = rewarded.copy_to(tmp_path / "copy")
    (copy.folder / REWARD_FILE).write_bytes(another_reward(rewarded))
    with pytest.raises(FixFile, match="is another file"):
        _desk(copy, Ledger.open(None))


def test_a_model_for_a_smaller_catalogue_is_refused(rewarded: TinyCascade) -> None:
    own, items = (rewarded.folder / REWARD_FILE).read_bytes(), len(rewarded.item_ids)
    load(rewarded, looking_up(own, items))
    with pytest.raises(FixFile, match="train the model again for these") as caught:
        load(rewarded, looking_up(own, items - 1))
    assert caught.value.file == name(looking_up(own, items - 1))
    assert "\n" not in str(caught.value)


def test_a_model_that_fails_on_users_on_file_is_refused(rewarded: TinyCascade) -> None:
    """This one looks up code * (items - code) in a table of one: it fails but on the empty and on the last code."""
    model = onnx.load_model_from_string(looking_up(another_reward(rewarded), 0))
    last = onnx.numpy_helper.from_array(np.array(len(rewarded.item_ids)), "last")
    model.graph.initializer.append(last)
    model.graph.node[-2].input[1] = "product_of_both"
    model.graph.node.insert(len(model.graph.node) - 2, helper.make_node("Sub", ["last", "code"], ["rest"]))
    model.graph.node.insert(len(model.graph.node) - 2, helper.make_node("Mul", ["code", "rest"], ["product_of_both"]))
    desk = _desk(rewarded, Ledger.open(None))
    with pytest.raises(FixRequest, match="cannot be run on users on file"):
        desk.put(model.SerializeToString(), "anna", 1.0)
    assert desk.is_own(desk.current.model)


def test_a_promoted_model_that_the_catalogue_has_outgrown_gives_way_to_the_cascades_own(
    rewarded: TinyCascade, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    grown, ledger = rewarded.copy_to(tmp_path / "grown"), Ledger.open(None)
    _desk(grown, ledger).put(looking_up(another_reward(grown), len(grown.item_ids)), "anna", 1.0)
    grown.save("item_ids.npy", np.append(grown.item_ids, grown.item_ids[-1] + 10))
    grown.save("item_features.npy", np.concatenate([grown.item_features, grown.item_features[-1:]]))
    grown.save("history.npy", np.full_like(grown.history, len(grown.item_ids) + 1))
    desk = _desk(grown, ledger)
    assert desk.take_up(2.0)
    assert desk.is_own(desk.current.model)
    assert [record.event for record in caplog.records][-1] == Event.MODEL_UNUSABLE.label


def _desk(tiny: TinyCascade, ledger: Ledger) -> ModelDesk:
    space = space_of(tiny)
    return open_model_desk(Cascade.open(tiny.folder), space, np.ones((2, len(space)), np.float32), ledger)


def _with_a_chain_less(content: bytes) -> bytes:
    model = onnx.load_model_from_string(content)
    for weights in model.graph.initializer:
        array = onnx.numpy_helper.to_array(weights)[..., :-1]
        weights.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array), weights.name))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value -= 1
    result: bytes = model.SerializeToString()
    return result
