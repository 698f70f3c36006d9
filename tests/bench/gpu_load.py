"""Something that keeps a GPU busy: matrix products by ONNX Runtime or PyTorch, whichever can use it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

SIZE, PRODUCTS = 4096, 16
Run = Callable[[], object]


def busy_run(folder: Path) -> tuple[str, Run] | None:
    """What does it, and a function that does some milliseconds of it; None where nothing can. `folder` is for files."""
    for name, made in (("ONNX Runtime", lambda: _by_onnx_runtime(folder)), ("PyTorch", _by_torch)):
        try:
            run = made()
        except ImportError:
            continue
        if run is not None:
            return name, run
    return None


def _by_onnx_runtime(folder: Path) -> Run | None:
    import onnxruntime as ort

    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return None
    session = ort.InferenceSession(str(_products(folder)), providers=["CUDAExecutionProvider"])
    if session.get_providers()[0] != "CUDAExecutionProvider":
        return None
    feeds = {"x": np.ones(1, dtype=np.float16)}
    return lambda: session.run(None, feeds)


def _products(folder: Path) -> Path:
    """A model that multiplies a matrix with itself again and again; one number goes in, one comes out."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    matrix = (rng.standard_normal((SIZE, SIZE)) / np.sqrt(SIZE)).astype(np.float16)  # so that products stay as large
    nodes = [helper.make_node("Mul", ["w", "x"], ["y0"])]
    nodes += [helper.make_node("MatMul", [f"y{at}", "w"], [f"y{at + 1}"]) for at in range(PRODUCTS)]
    nodes.append(helper.make_node("Slice", [f"y{PRODUCTS}", "zeros", "ones"], ["y"]))
    constants = [numpy_helper.from_array(matrix, "w")]
    constants += [numpy_helper.from_array(np.full(2, value, np.int64), n) for n, value in (("zeros", 0), ("ones", 1))]
    number = helper.make_tensor_value_info("x", TensorProto.FLOAT16, [1])
    corner = helper.make_tensor_value_info("y", TensorProto.FLOAT16, [1, 1])
    graph = helper.make_graph(nodes, "products", [number], [corner], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "products.onnx")
    return folder / "products.onnx"


def _by_torch() -> Run | None:
    import torch

    if not torch.cuda.is_available():
        return None
    matrix = torch.randn(SIZE, SIZE, device="cuda", dtype=torch.float16) / SIZE**0.5

    def run() -> None:
        product = matrix
        for _ in range(PRODUCTS):
            product = product @ matrix
        torch.cuda.synchronize()

    return run
