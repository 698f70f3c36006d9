"""An ensemble of reward networks as one ONNX graph of few nodes.

A run for a few requests takes about as long as its nodes take to start. So all members are computed side by side,
each step in one node, and what constants do to constants is done here:

- a skipped stage is one more variant, whose weights are one and whose context says nothing: states are not negative,
  so that `relu(state)` is the state,
- spread, shrinking, and the ensemble's mean are part of the weights behind which they stand,
- a weight of any sign is the difference of two positive ones, positive(x) - positive(-x) = x, so that all weights go
  the same way; those of functions that must rise stay positive by construction,
- chains whose item numbers agree share their functions, whatever their variants.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from models.training.graph_builder import GraphBuilder, floats, ints
from models.training.reward_graph_context import MOST_HELD, Floats, Weights, add_encoder
from models.training.reward_net import BEND, STATE, RewardNet
from models.training.reward_shape import ChainShape

Ints = NDArray[np.int64]


def reward_graph(members: Sequence[RewardNet], *, integers: bool, most: int = MOST_HELD) -> onnx.ModelProto:
    """`context` (rows, Fc), int64 or float32 -> `reward` (rows, J): the mean of what the members predict.

    Rewards differ from PyTorch's by rounding alone.

    integers  the context's columns are whole numbers
    most      numbers that may be kept in memory to spare work of each run
    """
    shape, chains, graph = members[0].encoder.shape, members[0].chains, GraphBuilder()
    weights = _stacked(members)
    encoded = add_encoder(graph, shape, weights, integers=integers, most=most)
    states = _states(graph, chains, weights, _contexts(graph, chains, weights, encoded))
    by_chain = _rewards(graph, chains, weights, states)
    reward = graph.add("Add", by_chain, _of_user(graph, weights, encoded))
    kind = TensorProto.INT64 if integers else TensorProto.FLOAT
    width = len(shape.users) + shape.history
    return graph.model({"context": (kind, width)}, reward, "reward", len(chains.leaf))


def _stacked(members: Sequence[RewardNet]) -> Weights:
    states = [member.state_dict() for member in members]
    return {name: np.stack([s[name].double().numpy() for s in states]) for name in states[0]}


def _shares(weights: Weights) -> Floats:
    """What a member's unit of reward adds to the ensemble's, (members,)."""
    return weights["spread"] / len(weights["spread"])


def _contexts(graph: GraphBuilder, chains: ChainShape, weights: Weights, encoded: str) -> list[str]:
    """(rows, members * (size + 1)) -> what each stage adds to states, (members, rows, 1, ways * STATE)."""
    linears, biases, members = [], [], len(weights["spread"])
    for at, stage in enumerate(chains.stages):
        none = (0, STATE * stage.skippable)
        linears.append(np.pad(weights[f"of_context.{at}.weight"].transpose(0, 2, 1), ((0, 0), (0, 0), none)))
        biases.append(np.pad(weights[f"of_context.{at}.bias"], ((0, 0), none)))
    linear, bias = np.concatenate(linears, axis=2), np.concatenate(biases, axis=1)[:, None]
    matrix = graph.add("Concat", floats(linear), floats(bias), axis=1)
    apart = graph.add("Reshape", encoded, ints(0, members, linear.shape[1] + 1))
    found = graph.add("MatMul", graph.add("Transpose", apart, perm=[1, 0, 2]), matrix)
    widths = [stage.ways * STATE for stage in chains.stages]
    by_member = graph.add("Reshape", found, ints(members, -1, 1, sum(widths)))
    return graph.split("Split", len(widths), by_member, ints(*widths), axis=3)


def _of_user(graph: GraphBuilder, weights: Weights, encoded: str) -> str:
    """(rows, members * (size + 1)) -> what all chains have in common, (rows, 1)."""
    both = np.concatenate([weights["of_user.weight"][:, 0], weights["of_user.bias"]], axis=1)
    return graph.add("MatMul", encoded, floats((both * _shares(weights)[:, None]).reshape(-1, 1)))


def _states(graph: GraphBuilder, chains: ChainShape, weights: Weights, of_context: list[str]) -> str:
    """What each stage's context adds -> the state of every leaf, (members, rows * leaves, STATE)."""
    members, leaves, states = len(weights["spread"]), 1, ""
    for at, (stage, told) in enumerate(zip(chains.stages, of_context, strict=True)):
        after = told
        if at > 0:  # the state before the first stage is zero
            hands_on = np.tile(np.eye(STATE)[:, : STATE * stage.skippable], (members, 1, 1))
            go_on = np.concatenate([weights[f"go_on.{at}"], hands_on], axis=2)
            product = graph.add("MatMul", states, floats(go_on))
            by_leaf = graph.add("Reshape", product, ints(members, -1, leaves, stage.ways * STATE))
            after = graph.add("Add", by_leaf, told)
        states = graph.add("Reshape", graph.add("Relu", after), ints(members, -1, STATE))
        leaves *= stage.ways
    return states


def _rewards(graph: GraphBuilder, chains: ChainShape, weights: Weights, states: str) -> str:
    """The state of every leaf -> (rows, J): personal weights of functions of the item numbers, times the functions."""
    half = 0.5 * _shares(weights)[:, None, None]
    free = np.flatnonzero(~chains.positive)
    both = np.concatenate([np.arange(len(chains.positive)), free])
    signs = np.repeat([1.0, -1.0], [len(chains.positive), len(free)])
    shrink = weights["shrink"][:, None, None]
    bias = weights["bias"] - shrink * weights["centre"]
    bias[:, :, 0] += (weights["level"] / weights["spread"])[:, None]
    members, leaves, count = len(half), chains.leaves, len(both)
    product = graph.add("MatMul", states, floats((half * shrink * weights["weigh"])[:, :, both] * signs))
    by_row = graph.add("Reshape", product, ints(members, -1, leaves * count))
    raw = graph.add("Add", by_row, floats(((half * bias)[:, :, both] * signs).reshape(members, 1, -1)))
    root = graph.add("Sqrt", graph.add("Add", graph.add("Mul", raw, raw), floats(half**2 * BEND)))
    positive = graph.add("Reshape", graph.add("Add", raw, root), ints(members, -1))
    weighed = graph.add("MatMul", np.ones((1, members), np.float32), positive)
    return _by_chain(graph, chains, weighed, both, signs)


def _by_chain(graph: GraphBuilder, chains: ChainShape, weights: str, both: Ints, signs: Floats) -> str:
    """The weights of every leaf's functions, rows * leaves * len(both) numbers, -> (rows, J)."""
    numbers, which = np.unique(chains.features, axis=0, return_inverse=True)
    functions = floats(numbers[:, both] * signs).T
    by_leaf = graph.add("MatMul", graph.add("Reshape", weights, ints(-1, len(both))), functions)
    everything = graph.add("Reshape", by_leaf, ints(-1, chains.leaves * len(numbers)))
    return graph.add("Gather", everything, chains.leaf * len(numbers) + which.ravel(), axis=1)
