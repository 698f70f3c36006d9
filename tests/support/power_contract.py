"""What every power sensor promises. Subclass it and give the fixture `bench`."""

import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass

import pytest

from allocator.joules import Quality
from cluster.power.base import Counter, PowerSensor, Refusal
from models.errors import SensorLost

KINDS = {"package", "dram", "gpu", "module", "host"}
ON_THE_HOST = KINDS - {"gpu"}


@dataclass
class PowerBench:
    """A sensor, and what stands behind it.

    sensor   not read yet
    pass_s   so many seconds pass on its clock, in which every device draws power
    reopen   another sensor of the same host
    vanish   all devices go, where they can; None where there are none to go
    restore  they are back
    """

    sensor: PowerSensor
    pass_s: Callable[[float], None]
    reopen: Callable[[], PowerSensor]
    vanish: Callable[[], None] | None = None
    restore: Callable[[], None] | None = None
    empty: bool = False


def by_device(counters: tuple[Counter, ...]) -> dict[str, Counter]:
    found = {counter.device: counter for counter in counters}
    assert len(found) == len(counters), "a device stands in a read once"
    return found


class PowerSensorContract:
    def test_its_name_and_pace_are_known_before_the_first_read(self, bench: PowerBench) -> None:
        assert bench.sensor.name
        assert 0 < bench.sensor.poll_s <= 60
        assert isinstance(bench.sensor.refusals, tuple)

    def test_every_counter_is_whole(self, bench: PowerBench) -> None:
        counters = by_device(bench.sensor.read())
        assert bool(counters) != bench.empty
        for counter in counters.values():
            assert counter.device
            assert counter.kind in KINDS
            assert counter.pool == ("cpu" if counter.kind in ON_THE_HOST else counter.device)
            assert counter.source.partition("-")[0] in ("rapl", "nvml", "estimate", "replay")
            assert counter.quality in Quality
            assert math.isfinite(counter.at_s)
            assert 0 <= counter.energy_j <= counter.range_j
            assert counter.most_w > 0
            with pytest.raises(FrozenInstanceError):
                counter.energy_j = 0.0  # type: ignore[misc]

    def test_it_is_read_four_times_in_the_shortest_wrap(self, bench: PowerBench) -> None:
        for counter in bench.sensor.read():
            assert bench.sensor.poll_s <= counter.range_j / counter.most_w / 4 * (1 + 1e-9)

    def test_counters_advance_by_what_their_devices_can_draw(self, bench: PowerBench) -> None:
        before = by_device(bench.sensor.read())
        bench.pass_s(1.0)
        bench.sensor.read()
        bench.pass_s(1.0)
        after = by_device(bench.sensor.read())
        assert after.keys() == before.keys()
        for device, counter in after.items():
            was = before[device]
            assert (counter.epoch, counter.pool, counter.kind) == (was.epoch, was.pool, was.kind)
            assert counter.at_s > was.at_s
            drawn_j = (counter.energy_j - was.energy_j) % counter.range_j
            assert 0 < drawn_j <= counter.most_w * (counter.at_s - was.at_s)

    def test_another_sensor_of_the_host_knows_the_same_devices(self, bench: PowerBench) -> None:
        one, other = by_device(bench.sensor.read()), by_device(bench.reopen().read())
        assert one.keys() == other.keys()
        for device, counter in one.items():
            assert (other[device].pool, other[device].kind) == (counter.pool, counter.kind)
            assert (other[device].range_j, other[device].source) == (counter.range_j, counter.source)

    def test_refusals_say_which_sensor_and_what_is_wrong(self, bench: PowerBench) -> None:
        bench.sensor.read()
        for refusal in bench.sensor.refusals:
            assert isinstance(refusal, Refusal)
            assert refusal.sensor
            assert refusal.problem

    def test_devices_that_go_are_lost_and_told_and_found_again(self, bench: PowerBench) -> None:
        if bench.vanish is None or bench.restore is None:
            pytest.skip("nothing of it can go")
        before = by_device(bench.sensor.read())
        bench.vanish()
        bench.pass_s(1.0)
        with pytest.raises(SensorLost):
            bench.sensor.read()
        told = {refusal.what for refusal in bench.sensor.refusals}
        bench.restore()
        bench.pass_s(1.0)
        after = by_device(bench.sensor.read())
        assert after.keys() == before.keys()
        measured = {device for device, counter in before.items() if counter.quality is Quality.MEASURED}
        assert measured <= told
        assert not measured & {refusal.what for refusal in bench.sensor.refusals}

    def test_it_can_be_closed_before_and_after_reads(self, bench: PowerBench) -> None:
        bench.reopen().close()
        bench.sensor.read()
        bench.sensor.close()
