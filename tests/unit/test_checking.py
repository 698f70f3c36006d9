"""check_cascade: a whole cascade passes; each kind of broken one is refused by file and field."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tiny_cascade import Document, TinyCascade, Tower, sha256, variant
from tiny_reward import REWARD_FILE, looking_up, with_reward

from allocator.chains import ChainSpace
from models.checking import check_cascade, sha256_of
from models.errors import FixFile

Break = Callable[[TinyCascade], object]


def refusal(cascade: TinyCascade) -> FixFile:
    with pytest.raises(FixFile) as refused:
        check_cascade(cascade.folder)
    assert refused.value.file.startswith(str(cascade.folder))
    assert "\n" not in str(refused.value)
    return refused.value


def test_a_whole_cascade_passes(any_tiny: TinyCascade) -> None:
    cascade = check_cascade(any_tiny.folder)
    assert cascade.spec.name == "tiny"
    assert len(cascade.items) == len(any_tiny.item_ids)


def test_the_hash_is_that_of_the_bytes(tiny: TinyCascade) -> None:
    assert sha256_of(tiny.folder / "fine.onnx") == sha256(tiny.folder / "fine.onnx")


FILES = [
    ("user_ids.npy", "tables.users.ids"),
    ("user_features.npy", "tables.users.features"),
    ("history.npy", "tables.users.history"),
    ("item_ids.npy", "tables.items.ids"),
    ("item_features.npy", "tables.items.features"),
    ("dot.onnx", "stages.recall.variants.dot.model"),
    ("dot.index.npy", "stages.recall.variants.dot.index"),
    ("fine.onnx", "stages.rank.variants.fine.model"),
]


@pytest.mark.parametrize(("file", "field"), FILES)
def test_a_missing_file_is_refused(broken: TinyCascade, file: str, field: str) -> None:
    (broken.folder / file).unlink()
    refused = refusal(broken)
    assert refused.field == field
    assert file in refused.problem


@pytest.mark.parametrize(("file", "field"), FILES)
def test_a_changed_file_is_refused(broken: TinyCascade, file: str, field: str) -> None:
    with (broken.folder / file).open("ab") as stream:
        stream.write(b"!")
    refused = refusal(broken)
    assert refused.file == str(broken.folder / file)
    assert refused.field == f"{field}.sha256"


def with_value(array: np.ndarray, at: tuple[int, ...], value: float) -> np.ndarray:
    changed = array.copy()
    changed[at] = value
    return changed


TABLES: list[tuple[str, Break, str, str]] = [
    (
        "ids out of order",
        lambda t: t.save("user_ids.npy", t.user_ids[::-1]),
        "user_ids.npy: tables.users.ids",
        "ascend strictly",
    ),
    (
        "repeated ids",
        lambda t: t.save("item_ids.npy", np.ones(12, np.int64)),
        "item_ids.npy: tables.items.ids",
        "ascend",
    ),
    ("float ids", lambda t: t.save("user_ids.npy", t.user_ids / 2), "user_ids.npy: tables.users.ids", "float64"),
    ("no ids", lambda t: t.save("user_ids.npy", t.user_ids[:0]), "user_ids.npy: tables.users.ids", "not be empty"),
    (
        "square ids",
        lambda t: t.save("user_ids.npy", t.user_ids.reshape(2, 3)),
        "user_ids.npy: tables.users.ids",
        "1 dimensions",
    ),
    (
        "a row too few",
        lambda t: t.save("user_features.npy", t.user_features[1:]),
        "user_features.npy: tables.users.features",
        r"expected shape \(6, 3\)",
    ),
    (
        "a column too many",
        lambda t: t.save("item_features.npy", np.zeros((12, 3), np.int16)),
        "item_features.npy: tables.items.features",
        r"expected shape \(12, 2\)",
    ),
    (
        "a code out of range",
        lambda t: t.save("user_features.npy", with_value(t.user_features, (3, 0), 4)),
        "user_features.npy: tables.users.columns.level|user_features.npy: tables.users.features.columns.level",
        r"0\.\.3",
    ),
    (
        "a negative code",
        lambda t: t.save("item_features.npy", with_value(t.item_features, (3, 1), -1)),
        "item_features.npy: tables.items.columns.price|item_features.npy: tables.items.features.columns.price",
        r"0\.\.4",
    ),
    (
        "words for features",
        lambda t: t.save("item_features.npy", np.full((12, 2), "x")),
        "item_features.npy: tables.items",
        "numbers",
    ),
    (
        "fractions for codes",
        lambda t: t.save("user_features.npy", t.user_features + np.float32(0.5)),
        "user_features.npy: tables.users",
        "integer",
    ),
    (
        "a history of an unknown item",
        lambda t: t.save("history.npy", with_value(t.history, (0, 0), 13)),
        "history.npy: tables.users.history",
        r"0\.\.12",
    ),
    (
        "a history too few",
        lambda t: t.save("history.npy", t.history[1:]),
        "history.npy: tables.users.history",
        "expected shape",
    ),
    ("no table at all", lambda t: spoil(t, "history.npy"), "history.npy: tables.users.history", "not a readable"),
    (
        "a cold code out of range",
        lambda t: t.edit(lambda d: d["tables"]["users"].update(cold=[9, 0, 0])),
        "cascade.yaml: tables.users.cold.level",
        r"0\.\.3",
    ),
    (
        "a cold NaN",
        lambda t: t.edit(lambda d: d["tables"]["users"].update(cold=[float("nan"), 0, 0])),
        "cascade.yaml: tables.users.cold.level",
        "NaN",
    ),
    (
        "an index with a row too few",
        lambda t: t.save("dot.index.npy", np.zeros((11, 3), np.float32)),
        "dot.index.npy: stages.recall.variants.dot.index",
        r"\(12, d\)",
    ),
    (
        "an index of float64",
        lambda t: t.save("dot.index.npy", np.zeros((12, 3))),
        "dot.index.npy: stages.recall.variants.dot.index",
        "float32",
    ),
    (
        "an index of another width",
        lambda t: t.save("dot.index.npy", np.zeros((12, 5), np.float32)),
        "dot.onnx: trial run|dot.index.npy: stages.recall.variants.dot.index",
        "matmul",
    ),
    (
        "an index with NaN",
        lambda t: t.save("dot.index.npy", with_value(t.towers["dot"].vectors, (11, 0), np.nan)),
        "dot.index.npy: stages.recall.variants.dot.index",
        "NaN",
    ),
]


def spoil(cascade: TinyCascade, file: str) -> None:
    (cascade.folder / file).write_bytes(b"no table, no model")
    cascade.rehash()


@pytest.mark.parametrize(("change", "where", "problem"), [t[1:] for t in TABLES], ids=[t[0] for t in TABLES])
def test_a_wrong_table_is_refused(broken: TinyCascade, change: Break, where: str, problem: str) -> None:
    change(broken)
    refused = refusal(broken)
    named = f"{Path(refused.file).name}: {refused.field}"
    assert any(named.startswith(option) for option in where.split("|")), named
    assert refused.problem
    with pytest.raises(FixFile, match=problem):
        raise refused


def test_a_catalogue_smaller_than_a_stage_is_refused(broken: TinyCascade) -> None:
    broken.edit(lambda d: d["stages"][1].update(items=[4, 13]))
    refused = refusal(broken)
    assert refused.field == "tables.items.ids"
    assert "only 12 items" in refused.problem


FINE = Tower(np.ones((3, 2), np.float32), 2.0)


def renamed(model: onnx.ModelProto, old: str, new: str) -> onnx.ModelProto:
    for value in (*model.graph.input, *model.graph.output):
        value.name = new if value.name == old else value.name
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    return model


def with_dim(model: onnx.ModelProto, name: str, at: int, size: int) -> onnx.ModelProto:
    for value in (*model.graph.input, *model.graph.output):
        if value.name == name:
            value.type.tensor_type.shape.dim[at].dim_value = size
    return model


def column_scores() -> onnx.ModelProto:
    """Scores (pairs, 1) in place of (pairs,)."""
    model = FINE.model(False, False)
    model.graph.node[-1].attribute[0].i = 1
    model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 1
    return model


def double_scores() -> onnx.ModelProto:
    model = renamed(FINE.model(False, False), "score", "score_f")
    del model.graph.output[:]
    model.graph.node.append(helper.make_node("Cast", ["score_f"], ["score"], to=TensorProto.DOUBLE))
    model.graph.output.append(helper.make_tensor_value_info("score", TensorProto.DOUBLE, ["pairs"]))
    return model


def nan_from_finite_weights() -> onnx.ModelProto:
    model = renamed(FINE.model(False, False), "score", "score_f")
    del model.graph.output[:]
    model.graph.node.append(helper.make_node("Sub", ["score_f", "score_f"], ["zero"]))
    model.graph.node.append(helper.make_node("Div", ["zero", "zero"], ["score"]))
    model.graph.output.append(helper.make_tensor_value_info("score", TensorProto.FLOAT, ["pairs"]))
    return model


MODELS: list[tuple[str, Callable[[], onnx.ModelProto], str, str]] = [
    ("an input of another name", lambda: renamed(FINE.model(False, False), "user", "person"), "inputs", "person"),
    ("an input of another type", lambda: FINE.model(True, False), "inputs.user", "int64"),
    ("another user width", lambda: Tower(np.ones((5, 2), np.float32)).model(False, False), "inputs.user", "width 3"),
    ("another item width", lambda: Tower(np.ones((3, 4), np.float32)).model(False, False), "inputs.item", "width 2"),
    ("another history length", lambda: FINE.model(False, False, history=9), "inputs.history", "width 3"),
    ("an output of another name", lambda: renamed(FINE.model(False, False), "score", "points"), "outputs", "score"),
    ("a recall model", lambda: replace(FINE, vectors=np.ones((12, 2))).model(False, False), "inputs", "item"),
    ("a fixed batch", lambda: with_dim(FINE.model(False, False), "user", 0, 2), "inputs.user", "dynamic"),
    ("scores of another shape", column_scores, "", ""),
    ("scores of another type", double_scores, "outputs", "float32"),
    ("NaN weights", lambda: replace(FINE, weights=FINE.weights * np.nan).model(False, False), "initializer", "NaN"),
    ("infinite weights", lambda: replace(FINE, weights=FINE.weights / 0).model(False, False), "initializer", "NaN"),
    ("NaN scores", nan_from_finite_weights, "trial run", "NaN"),
]


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize(("model", "field", "problem"), [m[1:] for m in MODELS], ids=[m[0] for m in MODELS])
def test_a_wrong_model_is_refused(
    broken: TinyCascade, model: Callable[[], onnx.ModelProto], field: str, problem: str
) -> None:
    broken.save_model("fine.onnx", model())
    refused = refusal(broken)
    assert refused.file == str(broken.folder / "fine.onnx")
    assert refused.field.startswith(field)
    assert problem in refused.problem


@pytest.mark.parametrize("flops_stated", [True, False])
def test_a_file_that_is_no_model_is_refused(broken: TinyCascade, flops_stated: bool) -> None:
    if not flops_stated:
        broken.edit(lambda d: variant(d, "fine").pop("flops"))
    spoil(broken, "fine.onnx")
    assert refusal(broken).file == str(broken.folder / "fine.onnx")


def test_an_embedding_smaller_than_its_column_is_refused(broken: TinyCascade) -> None:
    broken.save_model("fine.onnx", embedding_of_genres(rows=2))
    assert refusal(broken).file == str(broken.folder / "fine.onnx")
    broken.save_model("fine.onnx", embedding_of_genres(rows=3))
    check_cascade(broken.folder)


def test_a_reward_model_for_a_smaller_catalogue_is_refused(any_tiny: TinyCascade, tmp_path: Path) -> None:
    rewarded = with_reward(any_tiny, tmp_path / "cascade")
    model = rewarded.folder / REWARD_FILE
    content = model.read_bytes()
    model.write_bytes(looking_up(content, len(any_tiny.item_ids)))
    rewarded.rehash()
    check_cascade(rewarded.folder)
    model.write_bytes(looking_up(content, len(any_tiny.item_ids) - 1))
    rewarded.rehash()
    refused = refusal(rewarded)
    assert refused.file == str(model)
    assert "train the model again for these" in refused.problem


def embedding_of_genres(rows: int) -> onnx.ModelProto:
    """A scorer that looks the item's genre, 0 to 2, up in a table of `rows` rows."""
    model = FINE.model(False, False)
    graph = model.graph
    graph.initializer.append(onnx.numpy_helper.from_array(np.ones(rows, np.float32), "table"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(0), "first"))
    graph.node[-1].output[0] = "plain"
    graph.node.append(helper.make_node("Gather", ["item", "first"], ["genre"], axis=1))
    graph.node.append(helper.make_node("Gather", ["table", "genre"], ["of_genre"]))
    graph.node.append(helper.make_node("Add", ["plain", "of_genre"], ["score"]))
    return model


STATIC: list[tuple[str, str]] = [
    ("seq>light@4>fine@8", "grow"),
    ("seq>light@4", "3: recall>prerank>rank"),
    ("seq>light@5>fine@4", "item numbers [4, 8]"),
    ("big>light@4>fine@4", "no variant 'big'"),
]


@pytest.mark.parametrize(("chain", "problem"), STATIC)
def test_a_static_chain_that_is_not_valid_is_refused(broken: TinyCascade, chain: str, problem: str) -> None:
    broken.edit(lambda d: d.update(static_chain=chain))
    cascade = check_cascade(broken.folder)
    with pytest.raises(FixFile) as refused:
        ChainSpace(cascade.spec, len(cascade.items))
    assert (refused.value.file, refused.value.field) == ("cascade.yaml", "static_chain")
    assert problem in refused.value.problem


def approximate(document: Document, graph: str) -> None:
    variant(document, "dot")["approximate"] = {
        "graph": {"file": graph, "sha256": "0" * 64},
        "expansion": 16,
        "recall_at_n": {4: 0.99},
        "distances": 4,
    }


def test_a_file_that_is_no_graph_is_refused(broken: TinyCascade) -> None:
    pytest.importorskip("usearch")
    broken.edit(lambda d: approximate(d, "dot.graph"))
    spoil(broken, "dot.graph")
    refusal(broken)


@pytest.mark.parametrize("shape", [(11, 3), (13, 3), (12, 4)])
def test_a_graph_over_other_vectors_is_refused(broken: TinyCascade, shape: tuple[int, int]) -> None:
    pytest.importorskip("usearch")
    from models.retrieve import build_graph

    build_graph(np.ones(shape, np.float32), broken.folder / "dot.graph")
    broken.edit(lambda d: approximate(d, "dot.graph"))
    broken.rehash()
    assert "dot" in str(refusal(broken))
