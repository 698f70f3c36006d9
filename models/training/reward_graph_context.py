"""The encoders of an ensemble's members as ONNX nodes: from contexts to what `Encoder` tells of them.

What members see alike is computed once. Every item has a row that holds what its columns say: 1, all members'
embeddings of its codes, its levels, and its codes one-hot; so a history's numbers are sums of its items' rows.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from models.training.graph_builder import GraphBuilder, floats, ints
from models.training.reward_encoder import COUNTED_CODES, DECAYS, ENTRY_DIM, LARGEST, NORM_EPSILON, USER_DIM
from models.training.reward_shape import ContextShape

Floats = NDArray[np.float64]
Weights = Mapping[str, Floats]
"""A parameter's name to its values in all members, (members, ...)."""
MOST_HELD = 16_000_000
"""Numbers of the items' rows that are held in memory. Of larger catalogues rows are put together for each request."""


def add_encoder(
    graph: GraphBuilder, shape: ContextShape, weights: Weights, *, integers: bool, most: int = MOST_HELD
) -> str:
    """`context` (rows, Fc) -> (rows, members * (size + 1)), not negative; each member's last number is one."""
    users, history = graph.split("Split", 2, "context", ints(len(shape.users), shape.history), axis=1)
    seen = [*_users(graph, shape, weights, users, integers), _history(graph, shape, weights, history, integers, most)]
    hidden = _first_layer(graph, shape, weights, graph.add("Concat", *seen, axis=1))
    linear = np.pad(weights["encoder.out.3.weight"], ((0, 0), (0, 1), (0, 0))).transpose(0, 2, 1)
    bias = np.pad(weights["encoder.out.3.bias"], ((0, 0), (0, 1)), constant_values=1.0)
    members, inputs, outputs = linear.shape
    blocks = graph.add("Mul", floats(linear[:, :, None]), floats(np.eye(members)[:, None, :, None]))
    matrix = graph.add("Reshape", blocks, ints(members * inputs, members * outputs))
    return graph.add("Relu", graph.add("Gemm", hidden, matrix, floats(bias.ravel())))


def _users(graph: GraphBuilder, shape: ContextShape, weights: Weights, users: str, integers: bool) -> list[str]:
    """(rows, Fu) -> the embeddings of coded columns, all members' side by side; and the numbers."""
    parts = []
    if shape.coded:
        tables = [_side_by_side(weights[f"encoder.user.{at}.weight"]) for at in range(len(shape.coded))]
        starts = np.cumsum([0, *map(len, tables)])[:-1]
        everything = len(shape.coded) == len(shape.users)
        columns = users if everything else graph.add("Gather", users, ints(*shape.coded), axis=1)
        codes = graph.add("Add", columns if integers else graph.add("Cast", columns, to=TensorProto.INT64), starts)
        found = graph.add("Gather", floats(np.concatenate(tables)), codes, axis=0)
        parts.append(graph.add("Reshape", found, ints(0, -1)))
    if shape.plain:
        numbers = graph.add("Gather", users, ints(*shape.plain), axis=1)
        parts.append(graph.add("Cast", numbers, to=TensorProto.FLOAT) if integers else numbers)
    return parts


def _history(
    graph: GraphBuilder, shape: ContextShape, weights: Weights, history: str, integers: bool, most: int
) -> str:
    """(rows, L) -> what `Encoder` tells of it by decay: length, means, and by counted column roots and largest."""
    codes = history if integers else graph.add("Cast", history, to=TensorProto.INT64)
    ages = np.arange(shape.history - 1, -1, -1)
    decays = floats(np.array(DECAYS)[:, None] ** ages)
    kinds, rows = _item_rows(shape, weights)
    sums = graph.add("MatMul", decays, _looked_up(graph, kinds, floats(rows), codes, most))
    counted = _counted(shape)
    means = rows.shape[1] - 1 - sum(counted)
    sizes = [1, *([means] if means else []), *counted]
    total, *others = graph.split("Split", len(sizes), sums, ints(*sizes), axis=2)
    parts = [graph.add("Log", graph.add("Add", total, floats(np.array(1.0))))]
    if means:
        parts.append(graph.add("Div", others.pop(0), graph.add("Add", total, floats(np.array(0.5)))))
    for counts, size in zip(others, counted, strict=True):
        largest = graph.split("TopK", 2, counts, ints(min(LARGEST, size)), axis=2)[0]
        parts += [graph.add("Sqrt", counts), largest]
    return graph.add("Reshape", graph.add("Concat", *parts, axis=2), ints(0, -1))


def _looked_up(
    graph: GraphBuilder, kinds: NDArray[np.unsignedinteger], rows: NDArray[np.float32], codes: str, most: int
) -> str:
    """The sum of the `rows` (K, W) that the `kinds` (items + 1, n) of each item code name: codes (...) -> (..., W)."""

    def summed(found: str) -> str:
        by_kind = graph.add("Gather", rows, graph.add("Cast", found, to=TensorProto.INT32), axis=0)
        return graph.add("ReduceSum", by_kind, ints(-2), keepdims=0)

    stored = graph.constant(kinds)
    if len(kinds) * rows.shape[1] <= most:  # of constants alone: ONNX Runtime computes it once, at loading
        return graph.add("Gather", summed(stored), codes, axis=0)
    return summed(graph.add("Gather", stored, codes, axis=0))


def _item_rows(shape: ContextShape, weights: Weights) -> tuple[NDArray[np.unsignedinteger], Floats]:
    """The kinds of item codes (items + 1, n), and what each kind adds, (K, W): 1, embeddings, levels, one-hot codes.

    A kind is a code of a column; the last one, of the item that is none, adds nothing.
    """
    sizes = shape.described or (1,)
    starts = np.cumsum([0, *sizes])
    entries = [_side_by_side(weights[f"encoder.entry.{at}.weight"]) for at in range(len(shape.described))]
    level = 1 + (entries[0].shape[1] if entries else 0)
    count = level + sum(shape.ordered)
    rows = np.zeros((starts[-1] + 1, count + sum(_counted(shape))))
    rows[: sizes[0], 0] = 1.0
    for at, (entry, size) in enumerate(zip(entries, shape.described, strict=True)):
        block = rows[starts[at] : starts[at + 1]]
        block[:, 1 : 1 + entry.shape[1]] = entry
        if shape.ordered[at]:
            block[:, level], level = np.arange(size), level + 1
        elif size <= COUNTED_CODES:
            block[:, count : count + size], count = np.eye(size), count + size
    described = shape.descriptions if shape.described else np.zeros((len(shape.descriptions), 1))
    kinds = described.astype(np.int64) + starts[:-1]
    kinds[0] = starts[-1]
    return kinds.astype(np.min_scalar_type(int(starts[-1]))), rows


def _first_layer(graph: GraphBuilder, shape: ContextShape, weights: Weights, seen: str) -> str:
    """The inputs that members share (rows, n) -> hidden (rows, members * H); normalising is part of the weights.

    The file holds each member's own weights; zeros for inputs that are another member's come in at loading.
    """
    linear, norm = weights["encoder.out.0.weight"], "encoder.norm."
    scale = weights[f"{norm}weight"] / np.sqrt(weights[f"{norm}running_var"] + NORM_EPSILON)
    shift = weights[f"{norm}bias"] - weights[f"{norm}running_mean"] * scale
    bias = weights["encoder.out.0.bias"] + (linear @ shift[:, :, None])[:, :, 0]
    members, hidden, width = linear.shape
    own = np.stack([_own_inputs(shape, member, members) for member in range(members)], axis=1)
    padded = np.pad(linear.transpose(0, 2, 1), ((0, 0), (0, 1), (0, 0)))
    scales = np.take_along_axis(np.pad(scale, ((0, 0), (0, 1))).T, own, axis=0)
    at = (own + np.arange(members) * (width + 1)).astype(np.int32)
    taken = graph.add("Gather", floats(padded.reshape(-1, hidden)), at, axis=0)
    scaled = graph.add("Mul", taken, floats(scales[:, :, None]))
    matrix = graph.add("Reshape", scaled, ints(-1, members * hidden))
    return graph.add("Relu", graph.add("Gemm", seen, matrix, floats(bias.ravel())))


def _own_inputs(shape: ContextShape, member: int, members: int) -> NDArray[np.int64]:
    """Which input of a member's own first layer each of the shared inputs is, (n,); the layer's width where none."""
    width = 0

    def block(count: int, size: int) -> NDArray[np.int64]:
        nonlocal width
        width += count * size
        return np.arange(width - count * size, width).reshape(count, size)

    users, plain = block(len(shape.coded), USER_DIM), block(1, len(shape.plain))
    total, means = block(len(DECAYS), 1), block(len(DECAYS), ENTRY_DIM * (len(shape.described) > 0))
    levels, counts = [], []
    for size, ordered in zip(shape.described, shape.ordered, strict=True):
        if ordered:
            levels.append(block(len(DECAYS), 1))
        elif size <= COUNTED_CODES:
            counts += [block(len(DECAYS), size), block(len(DECAYS), min(LARGEST, size))]

    def among_others(own: NDArray[np.int64]) -> NDArray[np.int64]:
        spread = np.full((len(own), members, own.shape[1]), width)
        spread[:, member] = own
        return spread.reshape(len(own), members * own.shape[1])

    history = np.concatenate([total, among_others(means), *levels, *counts], axis=1)
    return np.concatenate([among_others(users).ravel(), plain.ravel(), history.ravel()])


def _counted(shape: ContextShape) -> list[int]:
    """Codes of the columns whose codes are counted."""
    return [n for n, ordered in zip(shape.described, shape.ordered, strict=True) if not ordered and n <= COUNTED_CODES]


def _side_by_side(tables: Floats) -> Floats:
    """(members, codes, size) -> (codes, members * size)."""
    return tables.transpose(1, 0, 2).reshape(tables.shape[1], -1)
