"""Shapes of every value in an ONNX graph, once its dynamic dimensions have numbers.

onnx.shape_inference alone loses the thread where a shape is computed from other shapes (exporters write
Reshape so). Such integer arithmetic is evaluated here and put back as constants until nothing more becomes
known.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

Shape = tuple[int, ...]
Types = dict[str, tuple[int, Shape | None]]
Constants = dict[str, NDArray[np.generic]]
LARGEST_CONSTANT = 64
"""Shape arithmetic works on a few integers; weights are left alone."""


def value_types(model: onnx.ModelProto, dims: dict[str, int]) -> Types:
    """Element type and shape of every value; the shape is None where it is not known in full.

    `dims` gives the first dimension of the inputs that it names. Raises onnx.shape_inference.InferenceError.
    """
    copy = _with_first_dims(model, dims)
    constants = _small_integers(copy.graph)
    while True:
        inferred = shape_inference.infer_shapes(copy, strict_mode=True, data_prop=True)
        types = _collect(inferred.graph)
        if not _fold(copy.graph, types, constants):
            return types


def _with_first_dims(model: onnx.ModelProto, dims: dict[str, int]) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    for value in copy.graph.input:
        if value.name in dims and value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_value = dims[value.name]
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    return copy


def _small_integers(graph: onnx.GraphProto) -> Constants:
    arrays = {w.name: w for w in graph.initializer if w.data_type == TensorProto.INT64}
    small = {name: w for name, w in arrays.items() if np.prod(w.dims) <= LARGEST_CONSTANT}
    return {name: numpy_helper.to_array(w) for name, w in small.items()}


def _collect(graph: onnx.GraphProto) -> Types:
    types: Types = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        known = tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim)
        types[value.name] = (
            tensor.elem_type,
            tuple(d.dim_value for d in tensor.shape.dim) if known else None,
        )
    for weight in graph.initializer:
        types[weight.name] = (weight.data_type, tuple(weight.dims))
    return types


def _fold(graph: onnx.GraphProto, types: Types, constants: Constants) -> bool:
    """Replace shape arithmetic whose inputs are known by constants; whether there was any."""
    folded = []
    for node in graph.node:
        value = _evaluated(node, types, constants)
        if value is not None:
            constants[node.output[0]] = value
            folded.append(node)
    for node in folded:
        graph.node.remove(node)
        graph.initializer.append(numpy_helper.from_array(np.asarray(constants[node.output[0]]), node.output[0]))
    return bool(folded)


def _evaluated(node: onnx.NodeProto, types: Types, constants: Constants) -> NDArray[np.generic] | None:
    if len(node.output) != 1 or types.get(node.output[0], (0, None))[0] != TensorProto.INT64:
        return None
    if node.op_type == "Shape":
        shape = types.get(node.input[0], (0, None))[1]
        cut = {a.name: int(a.i) for a in node.attribute}
        return None if shape is None else np.array(shape[cut.get("start", 0) : cut.get("end")])
    if not all(name in constants for name in node.input if name):
        return None
    feeds = {name: constants[name] for name in node.input if name}
    outputs = list(ReferenceEvaluator(node).run(None, feeds))
    result = np.asarray(outputs[0])
    return result if result.size <= LARGEST_CONSTANT else None
