"""GPUs that are lost, drivers that are loaded anew, machines that boot: through the real pynvml and a stand-in."""

from collections.abc import Iterator
from pathlib import Path

import nvml_stand_in
import pytest
from nvml_host import DRIVER_NOT_LOADED, LOST, OLD, UNKNOWN, VOLTA, Host, read, refused
from nvml_stand_in import Gpu

from cluster.power.nvml import MOST_RETRY_S, RETRY_S
from models.errors import SensorLost

pytestmark = pytest.mark.skipif(nvml_stand_in.compiler() is None, reason="no C compiler to build the stand-in with")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nvml_stand_in.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def host(library: Path, tmp_path: Path) -> Iterator[Host]:
    host = Host(library, tmp_path)
    yield host
    host.close()


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


def test_a_gpu_that_vanishes_from_before_another_is_refused_for_as_long_as_it_is_gone(host: Host) -> None:
    sensor = host.open(OLD, VOLTA)
    read(sensor)
    host.gpus.gpus = [VOLTA]
    host.gpus.reload_driver()
    for _ in range(4):
        host.gpus.pass_time(MOST_RETRY_S)
        assert list(read(sensor)) == ["GPU-volta"]
        assert refused(sensor) == ["GPU-old"]
    host.gpus.gpus = [OLD, *host.gpus.gpus]
    host.gpus.pass_time(MOST_RETRY_S)
    assert sorted(read(sensor)) == ["GPU-old", "GPU-volta"]
    assert refused(sensor) == []


def test_a_session_that_cannot_be_ended_is_followed_by_another(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    shutdown = host.bindings.nvmlShutdown

    def fails() -> None:
        shutdown()  # the library is one for all tests
        raise host.bindings.NVMLError(UNKNOWN)

    sensor = host.open(VOLTA, OLD)
    host.gpus.change(0, error=LOST)
    monkeypatch.setattr(host.bindings, "nvmlShutdown", fails)
    assert list(read(sensor)) == ["GPU-old"]
    sensor.close()


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
