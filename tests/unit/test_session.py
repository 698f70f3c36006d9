"""The one file that talks to ONNX Runtime."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from tiny_cascade import TinyCascade

from models.errors import FixFile, FixSetup
from models.session import Session, available_devices
from models.spec import Device

TYPES = {"user": "int64", "history": "int64", "item": "int64", "row": "int64"}
WIDTHS = {"user": 3, "history": 3, "item": 2, "row": None}


def feeds(rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(rows)
    return {
        "user": rng.integers(0, 4, (rows, 3)),
        "history": rng.integers(0, 13, (rows, 3)),
        "item": rng.integers(0, 3, (2 * rows, 2)),
        "row": np.repeat(np.arange(rows), 2),
    }


def test_a_session_knows_its_inputs_and_output(tiny: TinyCascade) -> None:
    session = Session.open(tiny.folder / "fine.onnx")
    assert session.inputs == TYPES
    assert session.widths == WIDTHS
    assert session.output == "score"


def test_a_run_gives_the_models_output_for_any_batch(tiny: TinyCascade) -> None:
    session, tower = Session.open(tiny.folder / "fine.onnx"), tiny.towers["fine"]
    for rows in (1, 3, 100):
        fed = feeds(rows)
        users = zip(fed["user"][fed["row"]], fed["history"][fed["row"]], fed["item"], strict=True)
        scores = session.run(fed)
        assert scores.dtype == np.float32
        assert scores.tolist() == [tower.score(*each) for each in users]


def test_a_session_may_be_run_from_several_threads(tiny: TinyCascade) -> None:
    session = Session.open(tiny.folder / "fine.onnx")
    alone = {rows: session.run(feeds(rows)).tolist() for rows in range(1, 9)}
    with ThreadPoolExecutor(4) as threads:
        for rows, scores in [(n, threads.submit(session.run, feeds(n))) for n in (*range(1, 9),) * 20]:
            assert scores.result().tolist() == alone[rows]


def test_a_fitting_signature_passes(tiny: TinyCascade) -> None:
    Session.open(tiny.folder / "fine.onnx").check_signature(TYPES, WIDTHS, "score")


def test_a_model_may_leave_the_history_out(tiny: TinyCascade) -> None:
    Session.open(tiny.folder / "light.onnx").check_signature(TYPES, WIDTHS, "score")


@pytest.mark.parametrize(
    ("types", "widths", "output", "field"),
    [
        (TYPES | {"extra": "int64"}, WIDTHS, "score", "inputs"),
        (TYPES | {"item": "float32"}, WIDTHS, "score", "inputs.item"),
        (TYPES, WIDTHS | {"user": 4}, "score", "inputs.user"),
        (TYPES, WIDTHS | {"user": None}, "score", "inputs.user"),
        (TYPES, WIDTHS, "query", "outputs"),
    ],
)
def test_another_signature_is_refused_by_input_or_output(
    tiny: TinyCascade, types: dict[str, str], widths: dict[str, int | None], output: str, field: str
) -> None:
    with pytest.raises(FixFile) as refused:
        Session.open(tiny.folder / "fine.onnx").check_signature(types, widths, output)
    assert (refused.value.file, refused.value.field) == (str(tiny.folder / "fine.onnx"), field)


@pytest.mark.parametrize("content", [None, b"", b"no model"])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FixFile, match="cannot load") as refused:
        Session.open(path)
    assert refused.value.file == str(path)
    assert "\n" not in str(refused.value)


def test_the_cpu_is_always_available() -> None:
    assert Device.CPU in available_devices()


@pytest.mark.skipif(Device.CUDA in available_devices(), reason="this machine has a GPU")
def test_a_cuda_variant_without_a_gpu_is_refused_with_the_remedy(tiny: TinyCascade) -> None:
    with pytest.raises(FixSetup, match=r"onnxruntime-gpu.*or set device: cpu"):
        Session.open(tiny.folder / "fine.onnx", "cuda")


def test_a_session_that_fell_back_to_the_cpu_is_refused(tiny: TinyCascade, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime lists a provider whose libraries are missing, and then runs on the CPU without raising."""
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: providers)
    monkeypatch.setattr(ort, "InferenceSession", _cpu_session)
    with pytest.raises(FixSetup, match="needs a GPU"):
        Session.open(tiny.folder / "fine.onnx", Device.CUDA)


_Real = ort.InferenceSession


def _cpu_session(path: str, options: object, providers: list[str]) -> ort.InferenceSession:
    return _Real(path, options, providers=["CPUExecutionProvider"])


def test_threads_are_stated_and_do_not_spin(tiny: TinyCascade, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[ort.SessionOptions] = []

    def note(path: str, options: ort.SessionOptions, providers: list[str]) -> ort.InferenceSession:
        seen.append(options)
        return _Real(path, options, providers=providers)

    monkeypatch.setattr(ort, "InferenceSession", note)
    Session.open(tiny.folder / "fine.onnx", threads=3)
    assert (seen[0].intra_op_num_threads, seen[0].inter_op_num_threads) == (3, 1)
    assert seen[0].get_session_config_entry("session.intra_op.allow_spinning") == "0"
