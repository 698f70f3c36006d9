"""The only file that talks to ONNX Runtime: providers, threads, signature, warm-up, one run."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from models.errors import FixFile, FixSetup
from models.spec import Device

Array = NDArray[np.generic]
_DTYPES = {"tensor(int64)": "int64", "tensor(float)": "float32"}
_PROVIDERS = {Device.CPU: "CPUExecutionProvider", Device.CUDA: "CUDAExecutionProvider"}


class Session:
    """A loaded model with one output, for one device class. Safe to run from several threads at once.

    inputs   name -> dtype ("int64" or "float32")
    batches  name -> size of the first dimension, its name where it is dynamic
    widths   name -> size of the second dimension, None for a vector
    output   name of the output
    """

    def __init__(self, session: ort.InferenceSession, path: Path) -> None:
        self._session = session
        self._path = path
        self.inputs = {i.name: _DTYPES.get(i.type, i.type) for i in session.get_inputs()}
        self.batches = {i.name: i.shape[0] if i.shape else None for i in session.get_inputs()}
        self.widths = {i.name: i.shape[1] if len(i.shape) > 1 else None for i in session.get_inputs()}
        self.output = session.get_outputs()[0].name

    @classmethod
    def open(cls, path: Path | str, device: Device | str = Device.CPU, threads: int = 1) -> "Session":
        """Load an ONNX file with `threads` intra-op threads on the device class's provider.

        Raises FixFile when the file is no model that ONNX Runtime can run, FixSetup when the provider is missing.
        """
        path, device = Path(path), Device(device)
        provider = _PROVIDERS[device]
        if provider not in ort.get_available_providers():
            raise FixSetup(_missing(path, device))
        try:
            session = ort.InferenceSession(str(path), _options(threads), providers=[provider])
        except Exception as error:  # ONNX Runtime raises a dozen unrelated classes
            raise FixFile(path, "", f"ONNX Runtime cannot load it: {' '.join(str(error).split())}") from None
        if session.get_providers()[0] != provider:  # ONNX Runtime falls back to the CPU without raising
            raise FixSetup(_missing(path, device))
        return cls(session, path)

    def run(self, feeds: Mapping[str, Array]) -> NDArray[np.float32]:
        """One run; feeds are handed over as they are, the single output comes back."""
        result: NDArray[np.float32] = self._session.run([self.output], dict(feeds))[0]
        return result

    def check_signature(self, inputs: Mapping[str, str], widths: Mapping[str, int | None], output: str) -> None:
        """Refuse a model whose inputs, their dtypes and widths, or output differ from these.

        A model may leave out `history`. Raises FixFile naming the file and the input or output.
        """
        required = {name for name in inputs if name != "history" or "history" in self.inputs}
        if set(self.inputs) != required:
            raise FixFile(self._path, "inputs", f"expected {sorted(inputs)}, got {sorted(self.inputs)}")
        for name, dtype in self.inputs.items():
            if dtype != inputs[name]:
                raise FixFile(self._path, f"inputs.{name}", f"expected {inputs[name]}, got {dtype}")
            if isinstance(self.batches[name], int):
                problem = f"its first dimension must be dynamic, got {self.batches[name]}"
                raise FixFile(self._path, f"inputs.{name}", problem)
            width, expected = self.widths[name], widths[name]
            if expected is None and width is not None:
                raise FixFile(self._path, f"inputs.{name}", f"expected a vector, got width {width}")
            if expected is not None and isinstance(width, int) and width != expected:
                raise FixFile(self._path, f"inputs.{name}", f"expected width {expected}, got {width}")
        outputs = [(o.name, _DTYPES.get(o.type, o.type)) for o in self._session.get_outputs()]
        if outputs != [(output, "float32")]:
            raise FixFile(self._path, "outputs", f"expected {output!r} of float32 alone, got {outputs}")


def available_devices() -> list[Device]:
    """The device classes that this installation of ONNX Runtime has providers for."""
    available = set(ort.get_available_providers())
    return [device for device, provider in _PROVIDERS.items() if provider in available]


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # Spinning workers burn a core (and joules) while they wait for the next request.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def _missing(path: Path, device: Device) -> str:
    if device is Device.CUDA:
        return (
            f"{path}: device: cuda needs a GPU and onnxruntime-gpu, and this machine offers none; "
            "install onnxruntime-gpu on a GPU machine, or set device: cpu for the variant"
        )
    return f"{path}: this installation of ONNX Runtime has no {_PROVIDERS[device]}"
