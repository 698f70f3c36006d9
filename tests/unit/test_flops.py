"""FLOPs are counted by hand on small graphs and must come out the same."""

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.errors import FixFile
from models.flops import Flops, count_flops

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
ROWS, PAIRS = "rows", "pairs"


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[str | int]]],
    weights: dict[str, tuple[int, ...]] | None = None,
    constants: dict[str, list[int]] | None = None,
) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, kind, dims) for name, (kind, dims) in inputs.items()]
    tensors = [numpy_helper.from_array(np.ones(s, np.float32), name) for name, s in (weights or {}).items()]
    tensors += [numpy_helper.from_array(np.array(c, np.int64), name) for name, c in (constants or {}).items()]
    out = helper.make_tensor_value_info(nodes[-1].output[0], FLOAT, None)
    graph = helper.make_graph(nodes, "g", values, [out], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def node(op: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), [output], name=output, **attributes)


def test_a_matrix_product_is_two_flops_per_multiplication() -> None:
    nodes = [node("MatMul", "context w", "y"), node("Add", "y b", "z"), node("Relu", "z", "out")]
    counted = count_flops(model(nodes, {"context": (FLOAT, [ROWS, 5])}, {"w": (5, 7), "b": (7,)}))
    assert counted == Flops(row=2 * 5 * 7 + 7 + 7, item=0)


def test_work_per_pair_is_told_from_work_per_row() -> None:
    nodes = [
        node("Gemm", "user wu bu", "u"),
        node("Gather", "u row", "g"),
        node("MatMul", "item wi", "i"),
        node("Add", "g i", "s"),
        node("Tanh", "s", "t"),
        node("ReduceSum", "t axis", "score"),
    ]
    inputs = {"user": (FLOAT, [ROWS, 6]), "item": (FLOAT, [PAIRS, 3]), "row": (INT64, [PAIRS])}
    counted = count_flops(model(nodes, inputs, {"wu": (6, 4), "bu": (4,), "wi": (3, 4)}, {"axis": [1]}))
    assert counted == Flops(row=2 * 6 * 4 + 4, item=2 * 3 * 4 + 4 + 4 + 4)


def test_the_first_dimension_may_have_any_name() -> None:
    counted = count_flops(model([node("Exp", "context", "out")], {"context": (FLOAT, ["batch", 5])}))
    assert counted == Flops(row=5, item=0)


def test_looking_up_and_integers_are_free() -> None:
    nodes = [
        node("Add", "item one", "shifted"),
        node("Gather", "table shifted", "e"),
        node("Identity", "e", "score"),
    ]
    counted = count_flops(model(nodes, {"item": (INT64, [PAIRS, 2])}, {"table": (9, 4)}, {"one": [1]}))
    assert counted == Flops(row=0, item=0)


def test_what_a_run_costs_once_is_added_to_the_row() -> None:
    nodes = [node("Exp", "w", "e"), node("Mul", "context e", "out")]
    assert count_flops(model(nodes, {"context": (FLOAT, [ROWS, 5])}, {"w": (5,)})) == Flops(row=10, item=0)


@pytest.mark.parametrize(
    ("op", "attributes", "per_row"),
    [
        ("Softmax", {}, 5 * 12),
        ("Sigmoid", {}, 12),
        ("ReduceMax", {"keepdims": 0}, 12),
        ("ReduceL2", {"keepdims": 0}, 24),
        ("Transpose", {}, 0),
    ],
)
def test_functions_of_one_value(op: str, attributes: dict[str, object], per_row: int) -> None:
    nodes = [node("Reshape", "context shape", "m"), node(op, "m axis" if "Reduce" in op else "m", "out", **attributes)]
    if op == "Transpose":
        nodes[1].attribute.append(helper.make_attribute("perm", [0, 2, 1]))
    constants = {"shape": [-1, 3, 4], "axis": [2]}
    counted = count_flops(model(nodes, {"context": (FLOAT, [ROWS, 12])}, constants=constants))
    assert counted == Flops(row=per_row, item=0)


def test_a_gru_counts_its_products_biases_and_gates_per_step() -> None:
    steps, width, hidden = 6, 4, 3
    nodes = [
        node("Transpose", "history", "x", perm=[1, 0, 2]),
        node("GRU", "x w r b", "out", hidden_size=hidden, linear_before_reset=1),
    ]
    weights = {"w": (1, 3 * hidden, width), "r": (1, 3 * hidden, hidden), "b": (1, 6 * hidden)}
    counted = count_flops(model(nodes, {"history": (FLOAT, [ROWS, steps, width])}, weights))
    products, sums_and_biases, gates = 2 * 3 * hidden * (width + hidden), (3 + 6) * hidden, 8 * hidden
    assert counted == Flops(row=steps * (products + sums_and_biases + gates), item=0)


def test_an_lstm_has_four_gates() -> None:
    nodes = [node("Transpose", "history", "x", perm=[1, 0, 2]), node("LSTM", "x w r", "out", hidden_size=2)]
    weights = {"w": (1, 8, 5), "r": (1, 8, 2)}
    counted = count_flops(model(nodes, {"history": (FLOAT, [ROWS, 3, 5])}, weights))
    assert counted == Flops(row=3 * (2 * 4 * 2 * (5 + 2) + 4 * 2 + 9 * 2), item=0)


def test_einsum_counts_a_product_and_a_sum_per_cell() -> None:
    nodes = [node("Reshape", "history shape", "h"), node("Einsum", "h w", "out", equation="rld,de->rle")]
    constants = {"shape": [-1, 3, 4]}
    counted = count_flops(model(nodes, {"history": (FLOAT, [ROWS, 12])}, {"w": (4, 5)}, constants))
    assert counted == Flops(row=2 * 3 * 4 * 5, item=0)


def test_a_convolution_counts_its_kernel_per_output() -> None:
    nodes = [node("Conv", "history w b", "out")]
    counted = count_flops(model(nodes, {"history": (FLOAT, [ROWS, 4, 10])}, {"w": (6, 4, 3), "b": (6,)}))
    assert counted == Flops(row=6 * 8 * (2 * 4 * 3 + 1), item=0)


def test_shapes_computed_from_shapes_are_followed() -> None:
    nodes = [
        node("Shape", "history", "shape"),
        node("Slice", "shape zero one", "rows"),
        node("Slice", "shape one two", "length"),
        node("Slice", "shape two three", "width"),
        node("Mul", "length width", "both"),
        node("Concat", "rows both", "flat", axis=0),
        node("Reshape", "history flat", "wide"),
        node("MatMul", "wide w", "out"),
    ]
    constants = {"zero": [0], "one": [1], "two": [2], "three": [3]}
    counted = count_flops(model(nodes, {"history": (FLOAT, [ROWS, 3, 4])}, {"w": (12, 2)}, constants))
    assert counted == Flops(row=2 * 12 * 2, item=0)


def test_functions_of_the_model_are_counted_inside() -> None:
    body = helper.make_function("own", "Twice", ["x"], ["y"], [node("Add", "x x", "y")], [helper.make_opsetid("", 20)])
    call = helper.make_node("Twice", ["context"], ["out"], domain="own")
    proto = model([call], {"context": (FLOAT, [ROWS, 8])})
    proto.functions.append(body)
    proto.opset_import.append(helper.make_opsetid("own", 1))
    assert count_flops(proto) == Flops(row=8, item=0)


def test_an_unknown_operator_is_refused_by_name() -> None:
    nodes = [node("Det", "m", "out")]
    with pytest.raises(FixFile, match="Det"):
        count_flops(model(nodes, {"m": (FLOAT, [ROWS, 3, 3])}))


def test_a_model_that_multiplies_rows_by_pairs_is_refused() -> None:
    nodes = [node("Transpose", "user", "t"), node("MatMul", "item t", "score")]
    inputs = {"user": (FLOAT, [ROWS, 4]), "item": (FLOAT, [PAIRS, 4])}
    with pytest.raises(FixFile, match="linear"):
        count_flops(model(nodes, inputs))


def test_a_file_that_is_no_model_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a model at all")
    with pytest.raises(FixFile, match=r"broken\.onnx"):
        count_flops(path)
