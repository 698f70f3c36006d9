"""A meter adds up what its sensors' counters move, and says what it could not read."""

import pytest
from metered_world import MOST_W, Device, Sensor, World

from cluster.power.base import Refusal
from cluster.power.meter import STALE_S, Meter, Metered
from cluster.power.unwrap import Event


def only(meter: Meter) -> Metered:
    (device,) = meter.report().devices
    return device


def polled(meter: Meter, world: World, seconds: float, watts: float) -> Metered:
    world.run(seconds, watts)
    meter.poll()
    return only(meter)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def meter(world: World) -> Meter:
    meter = world.meter("session")
    meter.poll()
    return meter


def test_joules_since_the_session_began_pass_through_wraps(world: World, meter: Meter) -> None:
    assert (only(meter).energy_j, only(meter).fresh) == (0.0, False)
    for _ in range(20):
        device = polled(meter, world, 2.5, MOST_W)
    assert device.energy_j == pytest.approx(5000.0)
    assert device.power_w == pytest.approx(MOST_W)
    assert device.events == {Event.WRAP: 5}
    assert device.fresh


def test_after_a_reset_it_goes_on_from_there() -> None:
    world = World([Device(true_j=400.0)])
    meter = world.meter("session")
    meter.poll()
    polled(meter, world, 1.0, 50.0)
    world.run(1.0, 50.0)
    world.devices[0].reset()
    assert polled(meter, world, 0.0, 0.0).events == {Event.RESET: 1}
    device = polled(meter, world, 1.0, 30.0)
    assert device.energy_j == pytest.approx(80.0)
    assert (device.first.energy_j, device.before_j) == (0.0, pytest.approx(50.0))


def test_a_lost_sensor_bills_nothing_and_all_of_the_gap_when_it_is_back(world: World) -> None:
    sensor = Sensor(world)
    meter = world.meter("session", sensors=[sensor])
    meter.poll()
    sensor.lost = True
    for _ in range(3):
        device = polled(meter, world, 1.0, 50.0)
    assert (device.energy_j, device.fresh, device.power_w) == (0.0, False, None)
    assert device.events == {Event.LOST: 1}
    (refusal,) = meter.report().refusals
    assert "the driver was unloaded" in refusal.problem
    sensor.lost = False
    device = polled(meter, world, 1.0, 50.0)
    assert (device.energy_j, device.fresh) == (pytest.approx(200.0), True)
    assert meter.report().refusals == ()


def test_a_device_that_vanishes_is_lost_while_the_others_are_read(world: World) -> None:
    world.devices = [Device("package-0"), Device("package-1")]
    meter = world.meter("session")
    meter.poll()
    gone = world.devices.pop()
    world.run(1.0, 10.0)
    meter.poll()
    first, second = meter.report().devices
    assert (first.energy_j, first.fresh) == (pytest.approx(10.0), True)
    assert (second.energy_j, second.fresh, second.events) == (0.0, False, {Event.LOST: 1})
    gone.true_j += 30.0
    world.devices.append(gone)
    world.run(1.0, 10.0)
    meter.poll()
    assert [device.energy_j for device in meter.report().devices] == pytest.approx([20.0, 40.0])


def test_a_device_that_appears_later_is_read_from_then_on(world: World, meter: Meter) -> None:
    polled(meter, world, 1.0, 10.0)
    world.devices.append(Device("package-1"))
    for _ in range(2):
        meter.poll()
        world.run(1.0, 10.0)
    meter.poll()
    assert [device.energy_j for device in meter.report().devices] == pytest.approx([30.0, 20.0])


@pytest.mark.parametrize("live", [True, False])
def test_a_counter_that_stands_still_for_long_is_stale_until_it_moves(live: bool) -> None:
    world = World([Device(live=live)])
    meter = world.meter("session")
    meter.poll()
    assert polled(meter, world, 1.0, 0.0).fresh is live
    for _ in range(int(STALE_S)):
        device = polled(meter, world, 2.0, 0.0)
    assert (device.fresh, device.stale, device.events) == (False, True, {Event.STALE: 1})
    device = polled(meter, world, 1.0, 10.0)
    assert (device.fresh, device.stale, device.energy_j) == (True, False, pytest.approx(10.0))


def test_it_polls_as_often_as_its_most_demanding_sensor_wants(world: World) -> None:
    hasty = Sensor(world)
    hasty.poll_s = 0.25
    assert world.meter("session", sensors=[Sensor(world), hasty]).poll_s == 0.25
    assert Meter("node", world.host, "session", []).poll_s == 60.0


def test_a_report_names_node_host_session_and_all_refusals(world: World) -> None:
    sensor = Sensor(world)
    sensor.refusals = (Refusal("rapl", "package-1", "no permission", "a udev rule"),)
    absent = Refusal("nvml", "", "no library", "")
    report = Meter("node-1", world.host, "session-1", [sensor], (absent,)).report()
    assert (report.node, report.host, report.session) == ("node-1", world.host, "session-1")
    assert report.refusals == (absent, *sensor.refusals)


class Busy:
    """For how long a host's processors have worked, as its kernel tells; or that it does not."""

    def __init__(self, error: Exception | None = None) -> None:
        self.seconds, self.asked, self.error = 40.0, 0, error

    def __call__(self) -> float:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.seconds


def busy_of(world: World, busy: Busy, *sensors: Sensor) -> dict[str, float | None]:
    meter = Meter("node", world.host, "session", sensors, busy_s=busy)
    for _ in range(2):
        meter.poll()
        world.run(1.0, 50.0)
    busy.seconds += 0.7
    meter.poll()
    return {device.counter.device: device.busy_s for device in meter.report().devices}


def test_busy_seconds_go_with_what_the_hosts_processors_draw_and_not_with_gpus() -> None:
    devices = [Device("package-0"), Device("package-0/dram", kind="dram"), Device("GPU-1", "GPU-1", "gpu", live=False)]
    world = World(devices)
    found = busy_of(world, Busy(), Sensor(world))
    assert found == {"package-0": pytest.approx(40.7), "package-0/dram": pytest.approx(40.7), "GPU-1": None}


def test_the_first_reading_has_busy_seconds_to_count_from(world: World) -> None:
    meter = Meter("node", world.host, "session", [Sensor(world)], busy_s=Busy())
    meter.poll()
    assert only(meter).busy_s == 40.0


def test_an_estimate_has_busy_seconds_as_well() -> None:
    world = World([Device("host", kind="host")])
    assert busy_of(world, Busy(), Sensor(world, "estimate")) == {"host": pytest.approx(40.7)}


def test_a_recording_tells_of_another_time_than_the_kernel_does() -> None:
    world, busy = World(), Busy()
    assert busy_of(world, busy, Sensor(world, "replay")) == {"package-0": None}
    assert busy.asked == 0


def test_a_kernel_is_asked_once_a_poll_and_not_about_gpus_alone() -> None:
    world, busy = World([Device("package-0"), Device("package-1")]), Busy()
    busy_of(world, busy, Sensor(world))
    assert busy.asked == 3
    world, busy = World([Device("GPU-1", "GPU-1", "gpu", live=False)]), Busy()
    busy_of(world, busy, Sensor(world, "nvml"))
    assert busy.asked == 0


@pytest.mark.parametrize("error", [OSError("no /proc/stat"), ValueError("no line cpu")])
def test_a_kernel_that_does_not_tell_costs_nothing_but_its_busy_seconds(error: Exception) -> None:
    world = World()
    assert busy_of(world, Busy(error), Sensor(world)) == {"package-0": None}
    meter = Meter("node", world.host, "session", [Sensor(world)], busy_s=Busy(error))
    meter.poll()
    assert polled(meter, world, 1.0, 50.0).energy_j == pytest.approx(50.0)


def test_without_a_kernel_to_ask_nobody_knows_busy_seconds(world: World, meter: Meter) -> None:
    assert polled(meter, world, 1.0, 50.0).busy_s is None
