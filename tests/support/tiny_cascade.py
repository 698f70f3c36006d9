"""A tiny but whole cascade, made without PyTorch, whose recommendations can be computed by hand.

Every variant of every stage scores `(user @ weights + history_weight * sum(history)) . vector`, where the vector is the
item's row of the variant's index (recall) or of the item table (later stages). All numbers are small integers: float32
holds them exactly, ties are many, and no batching can change a score.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Document = dict[str, Any]
Array = NDArray[Any]

K = 2
HISTORY = 3
INT_USERS = np.array([2, 3, 5, 7, 11, 13])
STR_USERS = np.array(["amy", "bob", "cleo", "dan", "eve", "zoë"])
INT_ITEMS = np.arange(10, 130, 10)
STR_ITEMS = np.array([f"item-{n:02}" for n in range(12)])
STATIC = "seq>light@8>fine@4"


@dataclass(frozen=True)
class Tower:
    """The one formula of all variants; `vectors` (items, d) is the index of a recall variant, None for a scorer."""

    weights: Array
    history_weight: float = 0.0
    vectors: Array | None = None

    def model(self, user_float: bool, item_float: bool, history: int = HISTORY) -> onnx.ModelProto:
        user_type, item_type = (TensorProto.FLOAT if f else TensorProto.INT64 for f in (user_float, item_float))
        inputs = [helper.make_tensor_value_info("user", user_type, ["rows", self.weights.shape[0]])]
        nodes = [
            helper.make_node("Cast", ["user"], ["user_f"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["user_f", "weights"], ["tower"]),
        ]
        constants = {"weights": self.weights.astype(np.float32), "one": np.array([1])}
        state = "tower"
        if self.history_weight:
            inputs.append(helper.make_tensor_value_info("history", TensorProto.INT64, ["rows", history]))
            constants["history_weight"] = np.array(self.history_weight, np.float32)
            nodes += [
                helper.make_node("Cast", ["history"], ["history_f"], to=TensorProto.FLOAT),
                helper.make_node("ReduceSum", ["history_f", "one"], ["history_sum"], keepdims=1),
                helper.make_node("Mul", ["history_sum", "history_weight"], ["history_part"]),
                helper.make_node("Add", ["tower", "history_part"], ["state"]),
            ]
            state = "state"
        width = self.weights.shape[1]
        if self.vectors is not None:
            nodes.append(helper.make_node("Identity", [state], ["query"]))
            output = helper.make_tensor_value_info("query", TensorProto.FLOAT, ["rows", width])
        else:
            inputs.append(helper.make_tensor_value_info("item", item_type, ["pairs", width]))
            inputs.append(helper.make_tensor_value_info("row", TensorProto.INT64, ["pairs"]))
            nodes += [
                helper.make_node("Gather", [state, "row"], ["of_row"], axis=0),
                helper.make_node("Cast", ["item"], ["item_f"], to=TensorProto.FLOAT),
                helper.make_node("Mul", ["of_row", "item_f"], ["terms"]),
                helper.make_node("ReduceSum", ["terms", "one"], ["score"], keepdims=0),
            ]
            output = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["pairs"])
        used = {name for node in nodes for name in node.input}
        tensors = [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used]
        graph = helper.make_graph(nodes, "tower", inputs, [output], tensors)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)

    def score(self, user: Array, history: Array, vector: Array) -> float:
        return float((user @ self.weights + self.history_weight * history.sum()) @ vector)


@dataclass(frozen=True)
class TinyCascade:
    """A cascade's folder, and all that is needed to compute its answers without it."""

    folder: Path
    user_ids: Array
    item_ids: Array
    user_features: Array
    item_features: Array
    history: Array
    cold: tuple[float, ...]
    towers: dict[str, Tower] = field(default_factory=dict)

    def copy_to(self, folder: Path) -> "TinyCascade":
        shutil.copytree(self.folder, folder)
        return replace(self, folder=folder)

    @property
    def document(self) -> Document:
        """cascade.yaml as it stands."""
        return yaml.safe_load((self.folder / "cascade.yaml").read_text(encoding="utf-8"))

    def write(self, document: Document) -> None:
        (self.folder / "cascade.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    def edit(self, change: Callable[[Document], object]) -> None:
        """Change cascade.yaml; hashes are left as they are."""
        document = self.document
        change(document)
        self.write(document)

    def rehash(self) -> None:
        """Make all hashes of cascade.yaml right again."""
        document = self.document
        for ref in file_refs(document):
            path = self.folder / ref["file"]
            if path.is_file():
                ref["sha256"] = sha256(path)
        self.write(document)

    def save(self, name: str, array: Array) -> None:
        """Replace a table and its hash."""
        np.save(self.folder / name, array)
        self.rehash()

    def save_model(self, name: str, model: onnx.ModelProto) -> None:
        """Replace a model and its hash."""
        onnx.save(model, self.folder / name)
        self.rehash()

    def features_of(self, user_id: int | str) -> tuple[Array, Array]:
        """Stored features and history of a user; cold ones for an unknown user."""
        at = np.flatnonzero(self.user_ids == user_id)
        if not len(at):
            return np.array(self.cold), np.zeros(self.history.shape[1], dtype=np.int64)
        return self.user_features[at[0]], self.history[at[0]]

    def expected(self, user: Array, history: Array, chain: str, k: int) -> tuple[list[int], list[float]]:
        """Item rows and scores of one request, by a plain loop: each stage sorts what it may infer."""
        rows = list(range(len(self.item_ids)))
        scores: list[float] = []
        for part in chain.split(">"):
            if part == "skip":
                continue
            variant, _, number = part.partition("@")
            tower = self.towers[variant]
            vectors = self.item_features if tower.vectors is None else tower.vectors
            rows = rows[: int(number)] if number else rows
            scored = [(tower.score(user, history, vectors[row]), row) for row in rows]
            scored.sort(key=lambda pair: -pair[0])
            scores, rows = [score for score, _ in scored], [row for _, row in scored]
        return rows[:k], scores[:k]

    def expected_ids(self, user_id: int | str, chain: str = STATIC, k: int = K) -> list[int | str]:
        """Item ids that a request without overrides gets."""
        rows, _ = self.expected(*self.features_of(user_id), chain, k)
        return self.item_ids[rows].tolist()


def build(folder: Path, *, strings: bool = False, numbers: bool = False, seed: int = 7) -> TinyCascade:
    """Write the cascade; `strings`: its ids are strings; `numbers`: both tables hold a float column."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    users, items = (STR_USERS, STR_ITEMS) if strings else (INT_USERS, INT_ITEMS)
    user_features = np.stack([rng.integers(0, top, len(users)) for top in (4, 4, 4)], axis=1)
    item_features = np.stack([rng.integers(0, top, len(items)) for top in (3, 5)], axis=1)
    if numbers:
        user_features = np.concatenate([user_features, rng.integers(-4, 4, (len(users), 1))], axis=1) / 2
        user_features[:, :3] *= 2
        item_features = np.concatenate([item_features, rng.integers(-4, 4, (len(items), 1)) / 2], axis=1)
    dtype = np.float32 if numbers else np.int16
    history = rng.integers(0, len(items) + 1, (len(users), HISTORY)).astype(np.int32)
    tiny = TinyCascade(
        folder,
        users,
        items,
        user_features.astype(dtype),
        item_features.astype(dtype),
        history,
        (0, 1, 2, 0.5) if numbers else (0, 1, 2),
        _towers(rng, user_features.shape[1], item_features.shape[1], len(items)),
    )
    for name in ("user_ids", "user_features", "history", "item_ids", "item_features"):
        np.save(folder / f"{name}.npy", getattr(tiny, name))
    for name, tower in tiny.towers.items():
        onnx.save(tower.model(numbers, numbers), folder / f"{name}.onnx")
        if tower.vectors is not None:
            np.save(folder / f"{name}.index.npy", tower.vectors)
    tiny.write(_document(tiny, numbers))
    tiny.rehash()
    return tiny


def _towers(rng: np.random.Generator, user: int, item: int, items: int) -> dict[str, Tower]:
    def weights(width: int) -> Array:
        return rng.integers(-2, 3, (user, width)).astype(np.float32)

    def vectors(width: int) -> Array:
        return rng.integers(-3, 4, (items, width)).astype(np.float32)

    return {
        "dot": Tower(weights(3), vectors=vectors(3)),
        "seq": Tower(weights(4), 1.0, vectors(4)),
        "light": Tower(weights(item)),
        "heavy": Tower(weights(item), -1.0),
        "fine": Tower(weights(item), 2.0),
    }


def _document(tiny: TinyCascade, numbers: bool) -> Document:
    number = [{"name": "balance", "number": True}] if numbers else []
    return {
        "format": 1,
        "name": "tiny",
        "k": K,
        "tables": {
            "users": {
                "ids": _ref("user_ids.npy"),
                "features": _ref("user_features.npy"),
                "history": _ref("history.npy"),
                "columns": [
                    {"name": "level", "codes": 4},
                    {"name": "country", "values": ["de", "fr", 7]},
                    {"name": "spend", "edges": [10, 100]},
                    *number,
                ],
                "cold": list(tiny.cold),
            },
            "items": {
                "ids": _ref("item_ids.npy"),
                "features": _ref("item_features.npy"),
                "columns": [{"name": "genre", "codes": 3}, {"name": "price", "codes": 5}, *number],
            },
        },
        "stages": [
            {"name": "recall", "variants": [_recall("dot", 10), _recall("seq", 100)]},
            {
                "name": "prerank",
                "items": [4, 8],
                "skippable": True,
                "variants": [_scorer("light", 3), _scorer("heavy", 7, max_rows=2)],
            },
            {"name": "rank", "items": [2, 4, 8], "skippable": True, "variants": [_scorer("fine", 1000)]},
        ],
        "static_chain": STATIC,
    }


def _recall(name: str, flops: int) -> Document:
    index = _ref(f"{name}.index.npy")
    return {"name": name, "model": _ref(f"{name}.onnx"), "index": index, "flops": {"row": flops, "item": 6}}


def _scorer(name: str, flops: int, max_rows: int = 64) -> Document:
    return {
        "name": name,
        "model": _ref(f"{name}.onnx"),
        "max_rows": max_rows,
        "flops": {"row": 10 * flops, "item": flops},
    }


def _ref(file: str) -> Document:
    return {"file": file, "sha256": "0" * 64}


def file_refs(document: object) -> Iterator[Document]:
    """Every {file, sha256} of a cascade's document, to be changed in place."""
    if isinstance(document, dict):
        if "sha256" in document:
            yield document
        for value in document.values():
            yield from file_refs(value)
    elif isinstance(document, list):
        for value in document:
            yield from file_refs(value)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stage(document: Document, name: str) -> Document:
    """The stage of that name in a cascade's document."""
    return next(s for s in document["stages"] if s["name"] == name)


def variant(document: Document, name: str) -> Document:
    """The variant of that name in a cascade's document."""
    return next(v for s in document["stages"] for v in s["variants"] if v["name"] == name)


def chain_ids(first: Sequence[str] = ("dot", "seq")) -> list[str]:
    """Every valid chain id of the tiny cascade, written out by hand-made rules."""
    pre = ["light@4", "light@8", "heavy@4", "heavy@8", "skip"]
    rank = ["fine@2", "fine@4", "fine@8", "skip"]
    return [
        f"{recall}>{p}>{r}" for recall in first for p in pre for r in rank if not (p.endswith("@4") and r == "fine@8")
    ]
