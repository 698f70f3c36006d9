"""FLOPs of a model per request and per item, counted from its ONNX graph."""

from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, inliner, shape_inference

from models.errors import FixFile
from models.graph_shapes import Types, value_types
from models.opcost import OP_COSTS, Op

PAIR_INPUTS = frozenset({"item", "row"})
"""The inputs whose first dimension counts pairs; that of every other input counts rows."""
# None of them is 1, which broadcasts, and no two products agree by chance.
_POINTS = ((2, 3), (4, 3), (2, 6), (5, 7))
REMEDY = "state flops of the variant in cascade.yaml"
_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}


@dataclass(frozen=True)
class Flops:
    """FLOPs of a model: `row` once per request, `item` once per item that it infers."""

    row: int
    item: int


def count_flops(model: Path | onnx.ModelProto) -> Flops:
    """Count the FLOPs of a model that is linear in its rows and pairs.

    The graph's shapes are inferred for four (rows, pairs) points and the cost of every node is summed
    (conventions in `models.opcost`). Three points give total = once + row * rows + item * pairs, the fourth
    checks it. What a run costs once, whatever its batch, is added to `row`. A model without pair inputs
    (recall, reward) has `item` 0.

    Raises FixFile naming the operator when it is unknown or its shapes are, or when the cost is not linear.
    """
    name = "model" if isinstance(model, onnx.ModelProto) else str(model)
    proto = inliner.inline_local_functions(_read(model))
    base, more_rows, more_pairs, check = (_total(proto, rows, pairs, name) for rows, pairs in _POINTS)
    row, row_rest = divmod(more_rows - base, _POINTS[1][0] - _POINTS[0][0])
    item, item_rest = divmod(more_pairs - base, _POINTS[2][1] - _POINTS[0][1])
    once = base - row * _POINTS[0][0] - item * _POINTS[0][1]
    if row_rest or item_rest or check != once + row * _POINTS[3][0] + item * _POINTS[3][1]:
        raise FixFile(name, "flops", f"its cost is not linear in rows and pairs; {REMEDY}")
    return Flops(row=row + once, item=item)


def _read(model: Path | onnx.ModelProto) -> onnx.ModelProto:
    if isinstance(model, onnx.ModelProto):
        return model
    try:
        return onnx.load(model)
    except Exception as error:  # protobuf raises its own classes for a file that is no model
        raise FixFile(model, "", f"not an ONNX model: {' '.join(str(error).split())}") from None


def _total(model: onnx.ModelProto, rows: int, pairs: int, name: str) -> int:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value.name for value in model.graph.input if value.name not in weights]
    try:
        types = value_types(model, {i: pairs if i in PAIR_INPUTS else rows for i in inputs})
    except shape_inference.InferenceError as error:
        raise FixFile(name, "graph", f"shapes cannot be inferred: {' '.join(str(error).split())}") from None
    return sum(_cost(node, types, name) for node in model.graph.node)


def _cost(node: onnx.NodeProto, types: Types, name: str) -> int:
    where = f"operator {node.op_type} ({node.name or node.output[0]})"
    if node.domain not in ("", "ai.onnx") or node.op_type not in OP_COSTS:
        kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        raise FixFile(name, where, f"no FLOPs are known for {kind}; {REMEDY}")
    if not any(types.get(value, (0, None))[0] in _FLOATS for value in (*node.input, *node.output)):
        return 0
    inputs = [types.get(value, (0, None))[1] for value in node.input]
    outputs = [types.get(value, (0, None))[1] for value in node.output]
    op = Op(node, inputs, outputs)
    if OP_COSTS[node.op_type] is OP_COSTS["Identity"]:
        return 0
    given = [*zip(node.input, inputs, strict=True), *zip(node.output, outputs, strict=True)]
    if unknown := [value for value, shape in given if value and shape is None]:
        raise FixFile(name, where, f"the shape of {unknown[0]!r} cannot be inferred; {REMEDY}")
    return OP_COSTS[node.op_type](op)
