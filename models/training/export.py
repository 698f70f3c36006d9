"""From a trained network to one ONNX file that gives the same scores."""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from models.errors import GreenFlowError
from models.session import Session
from models.training.networks import Shapes, Tower

TOLERANCE = 1e-4
"""Largest difference between PyTorch and ONNX Runtime, relative to the logit where it is larger than 1."""
_CHECKED = ((1,), (7,), (1, 2, 4), (0, 9, 1, 0, 30), (3,) * 16)
"""Batches that are compared: how many pairs each row has."""


def export(network: nn.Module, shapes: Shapes, path: Path, rng: np.random.Generator) -> None:
    """Write the network as a single ONNX file with dynamic dimensions named rows and pairs, and check it.

    Raises GreenFlowError when ONNX Runtime's scores differ from PyTorch's by more than `TOLERANCE`.
    """
    network.eval()
    names = ["user", "history"] if isinstance(network, Tower) else ["user", "history", "item", "row"]
    example = _feeds(shapes, (2, 1, 2), rng)
    rows, pairs = torch.export.Dim("rows"), torch.export.Dim("pairs")
    dims = {"user": rows, "history": rows, "item": pairs, "row": pairs}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecated calls
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            network,
            tuple(example[name] for name in names),
            dynamo=True,
            input_names=names,
            output_names=["query" if isinstance(network, Tower) else "score"],
            dynamic_shapes=tuple({0: dims[name]} for name in names),
            verbose=False,
        )
    assert program is not None
    program.save(path, external_data=False)
    strip(path)
    check_agreement(network, shapes, path, names, rng)


def strip(path: Path) -> None:
    """Take out of an ONNX file what its exporter noted of the machine: stack traces, paths. It computes the same."""
    model = onnx.load(path)
    graphs = [model.graph]
    for part in (model, *model.functions):
        del part.metadata_props[:]
        part.doc_string = ""
    while graphs:
        graph = graphs.pop()
        inner = [attribute for node in graph.node for attribute in node.attribute]
        graphs += [g for attribute in inner for g in (attribute.g, *attribute.graphs) if g.node]
        parts = (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output)
        for part in parts:
            part.doc_string = ""
            del part.metadata_props[:]
    onnx.save(model, path)


@torch.no_grad()
def check_agreement(
    network: nn.Module, shapes: Shapes, path: Path, names: list[str], rng: np.random.Generator
) -> float:
    """Compare both on random batches, uneven ones and single pairs included; the largest difference."""
    session = Session.open(path)
    worst = 0.0
    for counts in _CHECKED:
        feeds = _feeds(shapes, counts, rng)
        expected = network(*(feeds[name] for name in names)).numpy()
        actual = session.run({name: feeds[name].numpy() for name in names})
        scale = np.maximum(1.0, np.abs(expected))
        worst = max(worst, float((np.abs(actual - expected) / scale).max(initial=0.0)))
    if not worst <= TOLERANCE:
        raise GreenFlowError(f"{path.name}: ONNX and PyTorch differ by {worst:.2g}, allowed is {TOLERANCE:.0e}")
    return worst


def _feeds(shapes: Shapes, counts: tuple[int, ...], rng: np.random.Generator) -> Mapping[str, Tensor]:
    """A random batch whose row r has counts[r] pairs; histories of all lengths."""
    rows, pairs = len(counts), sum(counts)
    history = rng.integers(1, shapes.items[0], size=(rows, shapes.history))
    history[np.arange(shapes.history) < rng.integers(0, shapes.history + 1, size=(rows, 1))] = 0
    arrays = {
        "user": np.stack([rng.integers(0, n, size=rows) for n in shapes.users], axis=1),
        "history": history,
        "item": np.stack([rng.integers(0, n, size=pairs) for n in shapes.items], axis=1),
        "row": np.repeat(np.arange(rows), counts),
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
