"""Why no GPU is read, told apart: through the real pynvml, which finds a library that is compiled here, or none."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import nvml_stand_in
import pytest
from nvml_host import DRIVER_NOT_LOADED, MISMATCH, NO_PERMISSION, UNKNOWN, VOLTA, Host, read, refused
from nvml_stand_in import Gpu, StandIn

from cluster.power.nvml import MOST_RETRY_S, NvmlSensor
from models.errors import SensorAbsent

pytestmark = pytest.mark.skipif(nvml_stand_in.compiler() is None, reason="no C compiler to build the stand-in with")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nvml_stand_in.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def host(library: Path, tmp_path: Path) -> Iterator[Host]:
    host = Host(library, tmp_path)
    yield host
    host.close()


def absent(host: Host, *gpus: Gpu) -> SensorAbsent:
    with pytest.raises(SensorAbsent) as caught:
        host.open(*gpus)
    return caught.value


def test_no_gpu_is_told(host: Host) -> None:
    assert "no GPU" in absent(host).problem


@pytest.mark.parametrize(
    ("init", "problem", "remedy"),
    [
        (DRIVER_NOT_LOADED, "not loaded", "modprobe"),
        (MISMATCH, "different versions", "reboot"),
        (NO_PERMISSION, "no permission", "/dev/nvidiactl"),
        (UNKNOWN, "unknown error", "restart the container"),
        (777, "stand-in error 777", "nvidia-smi"),
    ],
)
def test_a_library_that_cannot_begin_is_told_with_its_remedy(host: Host, init: int, problem: str, remedy: str) -> None:
    host.gpus.init = init
    error = absent(host, VOLTA)
    assert problem in error.problem
    assert remedy in error.remedy


def test_a_gpu_that_tells_nothing_is_refused_and_alone_it_is_an_absent_sensor(host: Host) -> None:
    virtual = Gpu("GPU-virtual", counts=0, tells_mw=0)
    sensor = host.open(VOLTA, virtual)
    assert list(read(sensor)) == ["GPU-volta"]
    assert refused(sensor) == ["GPU-virtual"]
    assert "GPU-virtual" in absent(host, virtual).problem


def test_a_gpu_without_permission_is_refused_and_not_looked_for_again(host: Host) -> None:
    sensor = host.open(VOLTA, Gpu("GPU-foreign", error=NO_PERMISSION))
    host.bindings.nvmlInit = lambda: pytest.fail("initialised again")
    for _ in range(3):
        assert list(read(sensor)) == ["GPU-volta"]
        host.gpus.pass_time(MOST_RETRY_S)
    assert refused(sensor) == ["GPU 1"]
    assert "/dev/nvidia" in sensor.refusals[0].remedy


def test_missing_bindings_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(SensorAbsent, match="pip install nvidia-ml-py"):
        NvmlSensor.open()


def test_the_deprecated_bindings_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    stale = ModuleType("pynvml")
    stale.__file__ = "site-packages/pynvml/__init__.py"
    monkeypatch.setitem(sys.modules, "pynvml", stale)
    with pytest.raises(SensorAbsent, match="pip uninstall pynvml"):
        NvmlSensor.open()


# A process of its own, in which pynvml finds the library by its name

PROGRAM = """
import json
from cluster.power.nvml import NvmlSensor
from models.errors import SensorAbsent
try:
    print(json.dumps([[c.device, c.energy_j] for c in NvmlSensor.open().read()]))
except SensorAbsent as absent:
    print(json.dumps(absent.problem))
"""


def read_elsewhere(**environment: str) -> object:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)


def test_pynvml_finds_the_library_by_its_name_and_no_cuda_variable_hides_gpus(library: Path) -> None:
    StandIn(library, [Gpu("GPU-0", mj=1_000), Gpu("GPU-1", mj=2_000)]).write()
    for visible in ("", "-1", "1"):
        told = read_elsewhere(LD_LIBRARY_PATH=str(library.parent), CUDA_VISIBLE_DEVICES=visible)
        assert told == [["GPU-0", 1], ["GPU-1", 2]]


def test_without_the_library_the_driver_is_missed(tmp_path: Path) -> None:
    told = read_elsewhere(LD_LIBRARY_PATH=str(tmp_path))
    if isinstance(told, list) or "not found" not in told:
        pytest.skip("this machine has an NVIDIA driver")
    assert "libnvidia-ml.so.1" in told
