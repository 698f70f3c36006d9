"""GPUs through the real pynvml, which loads a library that is compiled here from tests/support/nvml: joules, once."""

from collections.abc import Iterator
from pathlib import Path

import nvml_stand_in
import pytest
from nvml_host import LOST, OLD, START_NS, SUPERCHIP, VOLTA, Host, read, refused
from nvml_stand_in import Gpu

from allocator.joules import Quality
from cluster.power import unwrap
from cluster.power.nvml import COUNTED_POLL_S, RETRY_S, SAMPLED_POLL_S
from models.errors import SensorLost

pytestmark = pytest.mark.skipif(nvml_stand_in.compiler() is None, reason="no C compiler to build the stand-in with")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nvml_stand_in.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="module")
def old_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nvml_stand_in.build(tmp_path_factory.mktemp("old_nvml"), "-DOLD_LIBRARY")


@pytest.fixture
def host(library: Path, tmp_path: Path) -> Iterator[Host]:
    host = Host(library, tmp_path)
    yield host
    host.close()


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
