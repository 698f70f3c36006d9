"""A reward model that predicts the same of every request. Needs no PyTorch."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from models.training.graph_builder import GraphBuilder, ints


def same_reward(rewards: NDArray[np.float32], width: int, integers: bool) -> onnx.ModelProto:
    """`context` (rows, width) -> `reward` (rows, J): these rewards (J,), whatever the context.

    integers  whether contexts are int64, else float32
    """
    graph = GraphBuilder()
    rows = graph.add("Shape", "context", start=0, end=1)
    shape = graph.add("Concat", rows, ints(len(rewards)), axis=0)
    expanded = graph.add("Expand", rewards[None, :], shape)
    kind = TensorProto.INT64 if integers else TensorProto.FLOAT
    return graph.model({"context": (kind, width)}, expanded, "reward", len(rewards))
