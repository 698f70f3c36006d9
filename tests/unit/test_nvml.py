"""GPUs through the real pynvml, which loads a library that is compiled here from tests/support/nvml."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import nvml_stand_in
import pytest
from nvml_host import START_NS, Host
from nvml_stand_in import Gpu, StandIn

from allocator.joules import Quality
from cluster.power import unwrap
from cluster.power.base import Counter
from cluster.power.nvml import COUNTED_POLL_S, MOST_RETRY_S, RETRY_S, SAMPLED_POLL_S, NvmlSensor
from models.errors import SensorAbsent, SensorLost

NOT_SUPPORTED, NO_PERMISSION, DRIVER_NOT_LOADED, LOST, MISMATCH, UNKNOWN = 3, 4, 9, 15, 18, 999

VOLTA = Gpu("GPU-volta", since_ns=START_NS, mj=7_000_000, mw=100_000)
OLD = Gpu("GPU-old", bus="0000:02:00.0", counts=0, since_ns=START_NS, mw=60_000, limit_mw=250_000)
SUPERCHIP = Gpu(
    "GPU-hopper",
    bus="0009:01:00.0",
    since_ns=START_NS,
    mj=1_000,
    mw=200_000,
    module_mj=5_000,
    module_mw=350_000,
    module_limit_mw=900_000,
)

pytestmark = pytest.mark.skipif(nvml_stand_in.compiler() is None, reason="no C compiler to build the stand-in with")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nvml_stand_in.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="session")
def old_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nvml_stand_in.build(tmp_path_factory.mktemp("old_nvml"), "-DOLD_LIBRARY")


@pytest.fixture
def host(library: Path, tmp_path: Path) -> Iterator[Host]:
    host = Host(library, tmp_path)
    yield host
    host.close()


def read(sensor: NvmlSensor) -> dict[str, Counter]:
    return {counter.device: counter for counter in sensor.read()}


def refused(sensor: NvmlSensor) -> list[str]:
    return [refusal.what for refusal in sensor.refusals]


def absent(host: Host, *gpus: Gpu) -> SensorAbsent:
    with pytest.raises(SensorAbsent) as caught:
        host.open(*gpus)
    return caught.value


# Counters, and power where there are none


def test_counters_are_read_in_joules_by_uuid(host: Host) -> None:
    sensor = host.open(VOLTA, OLD)
    before = read(sensor)["GPU-volta"]
    host.gpus.pass_time(2.5)
    after = read(sensor)["GPU-volta"]
    assert (before.energy_j, after.energy_j) == (7_000, 7_250)
    assert (after.pool, after.kind, after.source, after.quality) == ("GPU-volta", "gpu", "nvml", Quality.MEASURED)
    assert after.at_s == host.clock_s()


def test_power_is_integrated_and_marked_where_nothing_is_counted(host: Host) -> None:
    sensor = host.open(OLD)
    read(sensor)
    host.gpus.pass_time(1)
    host.gpus.change(0, mw=120_000)
    counter = read(sensor)["GPU-old"]
    assert counter.energy_j == pytest.approx((60 + 120) / 2)
    assert counter.quality == Quality.MODELLED


def test_power_is_not_integrated_over_a_gap_but_begins_another_epoch(host: Host) -> None:
    sensor = host.open(OLD)
    first = read(sensor)["GPU-old"]
    host.gpus.pass_time(1)
    second = read(sensor)["GPU-old"]
    host.gpus.pass_time(60)
    third = read(sensor)["GPU-old"]
    assert first.epoch == second.epoch
    assert second.epoch != third.epoch
    assert third.energy_j == second.energy_j


def test_integrated_power_of_two_lives_cannot_be_subtracted(host: Host) -> None:
    first = read(host.open(OLD))["GPU-old"]
    host.gpus.pass_time(1)
    assert read(host.open(OLD))["GPU-old"].epoch != first.epoch


def test_a_zero_delta_of_a_counter_means_not_updated_yet(host: Host) -> None:
    sensor = host.open(Gpu("GPU-slow", since_ns=START_NS, mw=100_000, every_ns=100_000_000))
    state = unwrap.init(read(sensor)["GPU-slow"])
    told = []
    for _ in range(4):
        host.gpus.pass_time(0.05)
        state, step = unwrap.step(state, read(sensor)["GPU-slow"])
        told.append((step.fresh, step.energy_j, round(step.span_s, 3)))
    assert told == [(False, 0, 0), (True, 10, 0.1), (False, 0, 0), (True, 10, 0.1)]


def test_most_watts_leave_room_over_the_highest_limit(host: Host) -> None:
    assert read(host.open(VOLTA))["GPU-volta"].most_w == 600


def test_samples_of_power_are_taken_more_often_than_counters_are_read(host: Host) -> None:
    assert host.open(VOLTA).poll_s == COUNTED_POLL_S
    assert host.open(VOLTA, OLD).poll_s == SAMPLED_POLL_S


def test_a_library_that_knows_no_counters_is_asked_for_power(old_library: Path, tmp_path: Path) -> None:
    host = Host(old_library, tmp_path)
    sensor = host.open(VOLTA)
    read(sensor)
    host.gpus.pass_time(1)
    assert read(sensor)["GPU-volta"].energy_j == pytest.approx(100)
    assert read(sensor)["GPU-volta"].quality == Quality.MODELLED
    host.close()


# Each joule once


def test_a_mig_parent_is_counted_once_and_for_all_its_instances(host: Host) -> None:
    nvml = host.bindings
    sensor = host.open(Gpu("GPU-mig", since_ns=START_NS, mw=300_000, mig=3))
    parent = nvml.nvmlDeviceGetHandleByIndex(0)
    instances = [nvml.nvmlDeviceGetMigDeviceHandleByIndex(parent, index) for index in range(3)]
    assert [nvml.nvmlDeviceGetUUID(instance) for instance in instances] == ["MIG-mig"] * 3
    host.gpus.pass_time(1)
    assert [(counter.device, counter.energy_j) for counter in sensor.read()] == [("GPU-mig", 300)]


def test_a_uuid_that_is_listed_twice_is_read_once(host: Host) -> None:
    assert len(host.open(VOLTA, VOLTA).read()) == 1


def test_a_superchip_is_its_module_and_not_its_gpu_as_well(host: Host) -> None:
    host.seat("0009:01:00.0", 0)
    sensor = host.open(SUPERCHIP)
    (before,) = sensor.read()
    host.gpus.pass_time(2)
    (after,) = sensor.read()
    assert (after.device, after.pool, after.kind, after.quality) == ("module-0", "cpu", "module", Quality.MEASURED)
    assert after.energy_j - before.energy_j == 700
    assert after.most_w == 1_800
    assert refused(sensor) == ["GPU-hopper"]
    assert "module-0" in sensor.refusals[0].problem


def test_two_gpus_of_one_module_count_it_once(host: Host) -> None:
    host.seat("0008:01:00.0", 1)
    host.seat("0009:01:00.0", 1)
    other = Gpu(**{**vars(SUPERCHIP), "uuid": "GPU-twin", "bus": "0008:01:00.0"})
    sensor = host.open(SUPERCHIP, other)
    assert [counter.device for counter in sensor.read()] == ["module-1"]
    assert refused(sensor) == ["GPU-hopper", "GPU-twin"]


def test_modules_of_two_sockets_are_two(host: Host) -> None:
    host.seat("0008:01:00.0", 0)
    host.seat("0009:01:00.0", 1)
    other = Gpu(**{**vars(SUPERCHIP), "uuid": "GPU-twin", "bus": "0008:01:00.0"})
    assert [counter.device for counter in host.open(SUPERCHIP, other).read()] == ["module-0", "module-1"]


def test_module_power_is_integrated_where_its_counter_says_the_same_as_the_gpus(host: Host) -> None:
    host.seat("0009:01:00.0", 0)
    sensor = host.open(Gpu(**{**vars(SUPERCHIP), "since_ns": 0, "gpu_field_mj": SUPERCHIP.module_mj}))
    sensor.read()
    host.gpus.pass_time(1)
    (counter,) = sensor.read()
    assert (counter.kind, counter.quality) == ("module", Quality.MODELLED)
    assert counter.energy_j == pytest.approx(350)


def test_a_module_of_unknown_socket_is_left_out_and_its_gpu_read(host: Host) -> None:
    sensor = host.open(SUPERCHIP)
    assert [(counter.device, counter.kind) for counter in sensor.read()] == [("GPU-hopper", "gpu")]
    assert refused(sensor) == ["module of GPU-hopper"]
    assert sensor.refusals[0].remedy


def test_another_gpu_that_counts_for_a_module_begins_another_epoch(host: Host) -> None:
    host.seat("0008:01:00.0", 1)
    host.seat("0009:01:00.0", 1)
    other = Gpu(**{**vars(SUPERCHIP), "uuid": "GPU-twin", "bus": "0008:01:00.0", "module_mj": 900_000})
    sensor = host.open(SUPERCHIP, other)
    (before,) = sensor.read()
    host.gpus.change(0, error=LOST)
    with pytest.raises(SensorLost):
        sensor.read()
    host.gpus.pass_time(RETRY_S)
    (after,) = sensor.read()
    assert after.device == before.device
    assert after.epoch != before.epoch


# What breaks


def test_a_driver_reload_is_seen_at_once_and_begins_another_epoch(host: Host) -> None:
    sensor = host.open(VOLTA)
    before = read(sensor)["GPU-volta"]
    host.gpus.reload_driver()
    (host.root / "sys/module/nvidia").rename(host.root / "sys/module/unloaded")
    (host.root / "sys/module/nvidia").mkdir()
    after = read(sensor)["GPU-volta"]
    assert (before.energy_j, after.energy_j) == (7_000, 0)
    assert before.epoch != after.epoch
    host.gpus.pass_time(1)
    assert read(sensor)["GPU-volta"].energy_j == 100


def test_a_restart_under_the_same_boot_and_driver_goes_on_in_the_same_epoch(host: Host) -> None:
    before = read(host.open(VOLTA))["GPU-volta"]
    assert read(host.open(VOLTA))["GPU-volta"].epoch == before.epoch


@pytest.mark.parametrize("what", ["boot", "driver"])
def test_another_boot_or_driver_is_another_epoch(host: Host, what: str) -> None:
    before = read(host.open(VOLTA))["GPU-volta"]
    if what == "boot":
        (host.root / "proc/sys/kernel/random/boot_id").write_text("another\n")
    else:
        host.gpus.version = "560.28.03"
    assert read(host.open(VOLTA))["GPU-volta"].epoch != before.epoch


def test_a_lost_gpu_is_refused_with_a_remedy_while_others_are_read(host: Host) -> None:
    sensor = host.open(VOLTA, OLD)
    host.gpus.change(0, error=LOST)
    assert list(read(sensor)) == ["GPU-old"]
    assert refused(sensor) == ["GPU-volta"]
    assert "fallen off the bus" in sensor.refusals[0].problem
    assert "reset" in sensor.refusals[0].remedy


def test_a_lost_gpu_that_comes_back_is_read_again_with_all_its_joules(host: Host) -> None:
    sensor = host.open(VOLTA, OLD)
    read(sensor)
    host.gpus.change(0, error=LOST)
    read(sensor)
    host.gpus.change(0, error=0)
    assert list(read(sensor)) == ["GPU-old"], "the library knows it as lost until it is initialised anew"
    host.gpus.pass_time(RETRY_S)
    counters = read(sensor)
    assert counters["GPU-volta"].energy_j == 7_000 + 100 * RETRY_S
    assert sensor.refusals == ()


def test_looking_for_a_lost_gpu_does_not_break_the_stretch_of_another(host: Host) -> None:
    sensor = host.open(VOLTA, OLD)
    read(sensor)
    host.gpus.change(0, error=LOST)
    for _ in range(8):
        host.gpus.pass_time(0.5)
        counters = read(sensor)
    assert counters["GPU-old"].energy_j == pytest.approx(60 * 4)


def test_a_gpu_that_is_not_even_listed_any_more_is_refused_by_its_name(host: Host) -> None:
    sensor = host.open(OLD, VOLTA)
    host.gpus.gpus = [Gpu(**{**vars(OLD), "error": LOST})]
    host.gpus.write()
    with pytest.raises(SensorLost):
        sensor.read()
    host.gpus.pass_time(RETRY_S)
    with pytest.raises(SensorLost, match="GPU-old"):
        sensor.read()
    assert sorted(refused(sensor)) == ["GPU-old", "GPU-volta"]


def test_attempts_to_find_a_lost_gpu_grow_rarer(host: Host) -> None:
    counted = 0
    init = host.bindings.nvmlInit

    def counting() -> None:
        nonlocal counted
        counted += 1
        init()

    host.bindings.nvmlInit = counting
    sensor = host.open(VOLTA, OLD)
    host.gpus.change(0, error=LOST)
    counted = 0
    for _ in range(600):
        read(sensor)
        host.gpus.pass_time(1)
    assert 600 / MOST_RETRY_S <= counted <= 600 / MOST_RETRY_S + 8


def test_when_all_is_lost_the_sensor_says_so_and_reads_on_when_it_is_back(host: Host) -> None:
    sensor = host.open(VOLTA)
    host.gpus.init = DRIVER_NOT_LOADED
    host.gpus.reload_driver()
    with pytest.raises(SensorLost, match="kernel driver is not loaded"):
        sensor.read()
    assert refused(sensor) == ["GPU-volta"]
    host.gpus.init = 0
    host.gpus.pass_time(MOST_RETRY_S)
    assert list(read(sensor)) == ["GPU-volta"]


def test_a_reading_that_fails_once_costs_nothing(host: Host) -> None:
    sensor = host.open(VOLTA)
    host.gpus.change(0, error=UNKNOWN)
    with pytest.raises(SensorLost):
        sensor.read()
    host.gpus.pass_time(0.2)
    host.gpus.change(0, error=0)
    assert read(sensor)["GPU-volta"].energy_j == pytest.approx(7_020)
    assert sensor.refusals == ()


def test_closing_ends_the_session_once(host: Host) -> None:
    sensor = host.open(VOLTA)
    other = host.open(VOLTA)
    sensor.close()
    sensor.close()
    assert host.bindings.nvmlDeviceGetCount() == 1, "a session of somebody else in this process was ended"
    other.close()
    with pytest.raises(host.bindings.NVMLError_Uninitialized):
        host.bindings.nvmlDeviceGetCount()


# What is not there, told apart


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
