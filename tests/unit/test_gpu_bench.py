"""The arithmetic of the benchmark of GPUs; its measurements are run by hand where there is one."""

import os
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from types import ModuleType

import nvml_stand_in
import pytest
from nvml_stand_in import SECOND_NS, Gpu, StandIn

from allocator.joules import Quality
from cluster.config import DEMO
from cluster.power.base import Counter
from cluster.power.host import boottime_s
from models.checking import check_cascade
from models.spec import Device, Placement, read_spec

BENCH = Path(__file__).parents[1] / "bench"
WITH_COMPILER = pytest.mark.skipif(nvml_stand_in.compiler() is None, reason="no C compiler to build the stand-in with")


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))


@pytest.fixture
def nvml(tmp_path: Path) -> ModuleType:
    """Bindings of a GPU that draws 100 W and one that counts nothing and draws 50 W."""
    library = nvml_stand_in.build(tmp_path)
    now_ns = int(boottime_s() * SECOND_NS)
    counted = Gpu("GPU-counted", since_ns=now_ns, every_ns=SECOND_NS // 50, mj=5_000, mw=100_000)
    StandIn(library, [counted, Gpu("GPU-sampled", bus="0000:02:00.0", counts=0, mw=50_000)]).write()
    return nvml_stand_in.bindings(library)


@WITH_COMPILER
def test_watching_tells_joules_and_watts_whether_a_gpu_counts_or_not(nvml: ModuleType) -> None:
    import gpu_watch

    with gpu_watch.Watch(nvml, every_s=0.005) as watch:
        began_s = boottime_s()
        time.sleep(0.4)
        ended_s = boottime_s()
        time.sleep(0.05)
    counted, sampled = watch.gpus
    passed_s = ended_s - began_s
    assert (counted.counts, sampled.counts) == (True, False)
    assert counted.at(ended_s) - counted.at(began_s) == pytest.approx(100 * passed_s, abs=4.0)
    assert sampled.at(ended_s) - sampled.at(began_s) == pytest.approx(50 * passed_s, rel=1e-3)
    assert counted.integral_j(began_s, ended_s) == pytest.approx(100 * passed_s, rel=1e-6)
    unix_s = gpu_watch.unix_minus_boot()
    assert watch.unix_w(began_s + unix_s, ended_s + unix_s) == pytest.approx(150, rel=0.1)
    assert counted.reached_s(counted.at(ended_s)) == pytest.approx(ended_s, abs=0.05)
    assert watch.failures == 0


def test_a_counters_moves_are_told_by_time_step_and_unit() -> None:
    import gpu_sensor

    reads = count()
    told = gpu_sensor.moves(lambda: 1000 + 150 * (next(reads) // 5), seconds=0.1, every_s=0.001)
    assert told["moves"] > 3
    assert told["unit_mj"] == 150
    assert told["steps_mj"]["median"] == 150
    assert 0.004 < told["between_s"]["median"] < 0.1
    assert gpu_sensor.moves(lambda: 7, seconds=0.01, every_s=0.001)["between_s"] == {}


def test_reads_that_find_a_counter_where_it_was_are_counted_by_device() -> None:
    import gpu_sensor

    def counter(device: str, energy_j: float) -> Counter:
        return Counter(device, device, "gpu", "nvml", Quality.MEASURED, 0.0, energy_j)

    assert gpu_sensor.standing((counter("a", 1), counter("b", 1), counter("a", 1), counter("b", 2))) == 1


def test_the_copy_runs_its_last_stage_on_cuda_and_is_sound(tmp_path: Path) -> None:
    import gpu_cuda

    spec = check_cascade(gpu_cuda.cuda_copy(tmp_path / "cascade")).spec
    *before, last = spec.stages
    assert {v.device for stage in before for v in stage.variants} == {Device.CPU}
    assert {(v.device, v.placement, v.gpus) for v in last.variants} == {(Device.CUDA, Placement.OWN, gpu_cuda.SHARE)}
    assert sum(v.gpus for v in last.variants) <= 1, "they fit one GPU"
    assert [v.model for v in last.variants] == [v.model for v in read_spec(DEMO).stages[-1].variants]


def test_a_machine_without_a_gpu_is_told_so_and_nothing_is_measured(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(BENCH.parents[1]), "LD_LIBRARY_PATH": str(tmp_path)}
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"no library")
    done = subprocess.run(
        [sys.executable, str(BENCH / "gpu.py"), "--json", str(tmp_path / "found.json")],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("no GPU to look at: nvml: ")
    assert not (tmp_path / "found.json").exists()
