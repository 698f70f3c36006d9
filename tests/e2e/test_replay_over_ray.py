"""`greenflow replay` over the tasks of a Ray cluster writes what it writes without."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper, numpy_helper
from ray_head import ray_head
from tiny_cascade import TinyCascade

from allocator.table import Manifest, Rows, read_table
from cluster.commands.replay import command


def click_model(tiny: TinyCascade, path: Path) -> Path:
    """A ranker, which has a click model's signature, with scores that are small enough to be the logits of chances."""
    model = onnx.load(tiny.folder / "fine.onnx")
    (last,) = [node for node in model.graph.node if "score" in node.output]
    last.output[:] = ["large"]
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.02), "small"))
    model.graph.node.append(helper.make_node("Mul", ["large", "small"], ["score"]))
    onnx.save(model, path)
    return path


def table(tiny: TinyCascade, model: Path, out: Path) -> tuple[Manifest, Rows]:
    options = ["--click-model", str(model), "--cascade", str(tiny.folder), "--out", str(out)]
    result = CliRunner().invoke(command, options)
    assert result.exit_code == 0, (result.output, result.exception)
    return read_table(out)


def test_over_ray_the_table_is_the_same(tiny: TinyCascade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allocator.tabulate.PART_ROWS", 2)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    model = click_model(tiny, tmp_path / "clicks.onnx")
    manifest, alone = table(tiny, model, tmp_path / "alone")
    assert manifest.parts == 3
    with ray_head() as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        same, over_ray = table(tiny, model, tmp_path / "over-ray")
    assert same == manifest
    assert over_ray.user_ids.tolist() == alone.user_ids.tolist()
    assert len(np.unique(alone.rewards)) > 20
    np.testing.assert_allclose(over_ray.rewards, alone.rewards, rtol=1e-6)
    np.testing.assert_array_equal(over_ray.contexts, alone.contexts)
