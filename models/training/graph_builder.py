"""Puts a small ONNX graph together by hand, where an exporter would spend many nodes on what a few can do."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET, IR = 18, 9
LARGE = 1024
"""Numbers in a tensor that is worth halving. Smaller ones stay exact."""

Array = NDArray[Any]
Operand = str | Array


class GraphBuilder:
    """Adds one node after the other. An operand is the name of a tensor, or an array, which becomes a constant.

    Equal constants are stored once; large float32 ones that half precision holds exactly are stored so, and widened
    when the file is loaded.
    """

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: list[onnx.TensorProto] = []
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def add(self, op: str, *operands: Operand, **attributes: Any) -> str:
        """The name of the single tensor that the node computes."""
        return self.split(op, 1, *operands, **attributes)[0]

    def split(self, op: str, count: int, *operands: Operand, **attributes: Any) -> list[str]:
        """The names of the `count` tensors that the node computes."""
        inputs = [name if isinstance(name, str) else self.constant(name) for name in operands]
        names = [f"{op.lower()}_{len(self._nodes)}_{at}" for at in range(count)]
        self._nodes.append(helper.make_node(op, inputs, names, **attributes))
        return names

    def constant(self, values: Array) -> str:
        """The name of a constant tensor."""
        values = np.ascontiguousarray(values) if values.ndim else values
        key = values.dtype.str, values.shape, values.tobytes()
        if key not in self._known:
            self._known[key] = self._stored(values)
        return self._known[key]

    def model(self, inputs: dict[str, tuple[int, int]], output: str, name: str, width: int) -> onnx.ModelProto:
        """The graph, with inputs (rows, width) by name as (ONNX type, width), and `output` (rows, width) as `name`."""
        self._nodes.append(helper.make_node("Identity", [output], [name]))
        given = [helper.make_tensor_value_info(n, kind, ["rows", columns]) for n, (kind, columns) in inputs.items()]
        found = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width])]
        graph = helper.make_graph(self._nodes, name, given, found, self._tensors)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)

    def _stored(self, values: Array) -> str:
        name = f"constant_{len(self._tensors)}"
        with np.errstate(over="ignore"):
            half = values.astype(np.float16) if values.dtype == np.float32 and values.size >= LARGE else None
        exact = half is not None and np.array_equal(half.astype(np.float32), values)
        self._tensors.append(numpy_helper.from_array(half if exact and half is not None else values, name))
        return self.add("Cast", name, to=TensorProto.FLOAT) if exact else name


def floats(values: Array) -> NDArray[np.float32]:
    """Rounded to what a model computes with."""
    return np.asarray(values, dtype=np.float32)


def ints(*values: int) -> NDArray[np.int64]:
    """A shape, axes, or sizes."""
    return np.array(values, dtype=np.int64)
