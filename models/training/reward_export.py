"""Reward networks to one small ONNX file."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from models.errors import GreenFlowError
from models.session import Session
from models.training.graph_builder import LARGE
from models.training.reward_fit import predict
from models.training.reward_graph import reward_graph
from models.training.reward_net import Ensemble, RewardNet

TOLERANCE = 1e-4
CHECKED_ROWS = (1, 2, 7, 64)


def export_reward(network: Ensemble, contexts: NDArray[Any], path: Path) -> None:
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
    integers = bool(np.issubdtype(contexts.dtype, np.integer))
    members = [member for member in network.members if isinstance(member, RewardNet)]
    if len(members) < len(network.members):
        raise TypeError("a file holds networks with structure only")
    onnx.save(reward_graph(members, integers=integers), path)
    _check(network, contexts, path)


def _check(network: Ensemble, contexts: NDArray[Any], path: Path) -> None:
    session = Session.open(path)
    for rows in CHECKED_ROWS:
        part = contexts[np.arange(rows) % len(contexts)]
        expected, actual = predict(network, part), session.run({"context": part})
        worst = float((np.abs(actual - expected) / np.maximum(1.0, np.abs(expected))).max())
        if not worst <= TOLERANCE:
            raise GreenFlowError(f"{path.name}: ONNX and PyTorch differ by {worst:.2g}, allowed is {TOLERANCE:.0e}")
