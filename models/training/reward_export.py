"""A reward network to one small ONNX file."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from models.errors import GreenFlowError
from models.session import Session
from models.training.reward_fit import predict

TOLERANCE = 1e-4
CHECKED_ROWS = (1, 2, 7, 64)
LARGE = 1024
"""Numbers in a tensor that is worth halving. Smaller ones, among them what holds for everybody, stay exact."""


def export_reward(network: nn.Module, contexts: NDArray[Any], path: Path) -> None:
    """Write `context` (rows, Fc) -> `reward` (rows, J) as a single ONNX file, and check it on these contexts.

    Large weights are rounded to half precision, in the network as well, and stored so: the file has half the size and
    gives the network's rewards. They are widened once, when the file is loaded.

    Raises GreenFlowError when ONNX Runtime's rewards differ from PyTorch's by more than `TOLERANCE`.
    """
    network.eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.numel() >= LARGE:
                parameter.copy_(parameter.half().float())
    model = _exported(network, contexts)
    _share(model)
    _halve(model)
    _forget_origins(model)
    onnx.save(model, path)
    _check(network, contexts, path)


def _exported(network: nn.Module, contexts: NDArray[Any]) -> onnx.ModelProto:
    rows = torch.export.Dim("rows")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecated calls
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            network,
            (torch.from_numpy(contexts[:3]),),
            dynamo=True,
            input_names=["context"],
            output_names=["reward"],
            dynamic_shapes=({0: rows},),
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _share(model: onnx.ModelProto) -> None:
    """Store equal tensors once. ONNX Runtime then sees that members of an ensemble count histories alike: once."""
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    renamed, kept = {}, []
    for tensor in model.graph.initializer:
        key = (tensor.data_type, tuple(tensor.dims), numpy_helper.to_array(tensor).tobytes())
        renamed[tensor.name] = first.setdefault(key, tensor.name)
        if renamed[tensor.name] == tensor.name:
            kept.append(tensor)
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    for node in model.graph.node:
        for at, name in enumerate(node.input):
            node.input[at] = renamed.get(name, name)


def _halve(model: onnx.ModelProto) -> None:
    """Store the large float32 weights that half precision holds exactly as such, with a cast behind each."""
    casts, graph = [], model.graph
    for weights in graph.initializer:
        values = numpy_helper.to_array(weights)
        if weights.data_type != TensorProto.FLOAT or values.size < LARGE:
            continue
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if np.array_equal(half.astype(np.float32), values):
            name = weights.name
            weights.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _forget_origins(model: onnx.ModelProto) -> None:
    """Drop the notes on where in which Python file a node came from: they fill a third of the file."""
    del model.graph.value_info[:], model.graph.metadata_props[:], model.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]


def _check(network: nn.Module, contexts: NDArray[Any], path: Path) -> None:
    session = Session.open(path)
    for rows in CHECKED_ROWS:
        part = contexts[np.arange(rows) % len(contexts)]
        expected, actual = predict(network, part), session.run({"context": part})
        worst = float((np.abs(actual - expected) / np.maximum(1.0, np.abs(expected))).max())
        if not worst <= TOLERANCE:
            raise GreenFlowError(f"{path.name}: ONNX and PyTorch differ by {worst:.2g}, allowed is {TOLERANCE:.0e}")
