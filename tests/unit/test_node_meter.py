"""A node's meter: it reads its sensors whether anybody asks or not, and says what it cannot read."""

import itertools
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from sysfs_tree import SysfsTree, intel_two_sockets

from allocator.joules import Quality
from cluster.meters import LEAST_SLEEP_S, NodeMeter
from cluster.power.base import Counter, PowerSensor
from cluster.power.fake import FakeSensor
from cluster.power.host import HostFiles
from cluster.power.settings import PowerSettings
from models.errors import SensorAbsent

COUNTER = Counter("package-0", "cpu", "package", "rapl", Quality.MEASURED, 100.0, 900.0, 1000.0, 100.0, "boot")
RAPL = PowerSettings(sensors=("rapl",))
PATIENCE_S = 5.0


@contextmanager
def metering(
    openers: Mapping[str, Callable[[], PowerSensor]],
    settings: PowerSettings = RAPL,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[NodeMeter]:
    meter = NodeMeter("node-1", settings, clock, openers)
    try:
        yield meter
    finally:
        meter.close()


def until(happens: Callable[[], bool]) -> bool:
    end_s = time.monotonic() + PATIENCE_S
    while not happens() and time.monotonic() < end_s:
        time.sleep(0.005)
    return happens()


def test_it_reads_by_itself_when_nobody_asks() -> None:
    sensor = FakeSensor(COUNTER, poll_s=0.01)
    with metering({"rapl": lambda: sensor}):
        begun = sensor.reads
        assert until(lambda: sensor.reads >= begun + 3)


def test_a_counter_that_wraps_while_nobody_asks_is_reported_whole() -> None:
    sensor = FakeSensor(COUNTER, poll_s=0.01)
    with metering({"rapl": lambda: sensor}) as meter:
        for turn in range(1, 5):
            sensor.draw({"package-0": 700.0}, 100.0 + 10 * turn)
            reads = sensor.reads
            # The read that is under way may have seen the counter before it moved; the one after it has not.
            assert until(lambda reads=reads: sensor.reads >= reads + 2)  # type: ignore[misc]
        assert meter.report().devices[0].energy_j == pytest.approx(2800.0)


def test_it_does_not_read_again_what_was_just_asked_for() -> None:
    sensor = FakeSensor(COUNTER, poll_s=60.0)
    seconds = itertools.count()
    # On this clock a second passes with every look at it: it is never a minute since the last reading.
    with metering({"rapl": lambda: sensor}, clock=lambda: next(seconds) / 1000):
        begun = sensor.reads
        time.sleep(3 * LEAST_SLEEP_S)
        assert sensor.reads == begun


def test_who_asks_is_told_what_is_true_now() -> None:
    sensor = FakeSensor(COUNTER, poll_s=60.0)
    with metering({"rapl": lambda: sensor}) as meter:
        first = meter.report()
        sensor.draw({"package-0": 50.0}, 101.0)
        second = meter.report()
    assert [first.devices[0].energy_j, second.devices[0].energy_j] == [0.0, 50.0]
    assert (first.node, first.host.boot) == ("node-1", HostFiles().boot_id())
    assert first.session == second.session


def test_joules_of_processors_come_with_how_long_this_machine_has_worked() -> None:
    began_s = HostFiles().busy_cpu_s()
    with metering({"rapl": lambda: FakeSensor(COUNTER)}) as meter:
        told_s = meter.report().devices[0].busy_s
    assert told_s is not None
    assert began_s <= told_s <= HostFiles().busy_cpu_s()


def test_how_busy_the_host_is_stands_where_the_operator_says(tmp_path: Path) -> None:
    tree = SysfsTree.build(tmp_path, intel_two_sockets())
    tree.set_cpu_ticks(user=1234 * os.sysconf("SC_CLK_TCK"))
    settings = PowerSettings(sensors=("rapl",), rapl_root=tree.powercap, proc_root=tree.proc)
    with metering({"rapl": lambda: FakeSensor(COUNTER)}, settings) as meter:
        assert meter.report().devices[0].busy_s == 1234.0


def test_each_life_is_a_session_of_its_own() -> None:
    sessions = set()
    for _ in range(3):
        with metering({"rapl": lambda: FakeSensor(COUNTER)}) as meter:
            sessions.add(meter.report().session)
    assert len(sessions) == 3


class OneAtATime(FakeSensor):
    """Notes whether a read began while another one was under way."""

    inside, overlapped = False, False

    def read(self) -> tuple[Counter, ...]:
        self.overlapped |= self.inside
        self.inside = True
        time.sleep(0.001)
        self.inside = False
        return super().read()


def test_many_may_ask_at_once_while_it_reads_by_itself() -> None:
    sensor = OneAtATime(COUNTER, poll_s=0.0)
    told: list[float] = []
    with metering({"rapl": lambda: sensor}) as meter:

        def ask() -> None:
            told.extend(meter.report().devices[0].energy_j for _ in range(60))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for turn in range(100):
            sensor.draw({"package-0": 1.0}, 101.0 + turn)
        for thread in threads:
            thread.join()
        assert meter.report().devices[0].energy_j == pytest.approx(100.0)
    assert not sensor.overlapped
    assert len(told) == 240
    assert all(0.0 <= energy_j <= 100.0 for energy_j in told)


def test_its_end_ends_its_thread_and_closes_its_sensors() -> None:
    sensor = FakeSensor(COUNTER, poll_s=0.01)
    before = threading.active_count()
    with metering({"rapl": lambda: sensor}):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    assert sensor.closed
    reads = sensor.reads
    time.sleep(2 * LEAST_SLEEP_S)
    assert sensor.reads == reads


def test_its_end_waits_for_no_poll() -> None:
    began_s = time.monotonic()
    with metering({"rapl": lambda: FakeSensor(COUNTER, poll_s=60.0)}):
        pass
    assert time.monotonic() - began_s < PATIENCE_S


def test_a_sensor_that_is_wanted_and_absent_is_reported_and_nothing_ends(caplog: pytest.LogCaptureFixture) -> None:
    def absent() -> PowerSensor:
        raise SensorAbsent("rapl", "no permission to read energy_uj", "chmod a+r it")

    caplog.set_level(logging.ERROR)
    with metering({"rapl": absent}) as meter:
        report = meter.report()
    assert report.devices == ()
    assert [(one.sensor, one.problem, one.remedy) for one in report.refusals] == [
        ("rapl", "no permission to read energy_uj", "chmod a+r it")
    ]
    assert "no power is metered here" in caplog.text


def test_a_sensor_that_is_lost_is_reported_and_comes_back() -> None:
    sensor = FakeSensor(COUNTER, poll_s=60.0)
    with metering({"rapl": lambda: sensor}) as meter:
        sensor.gone = {"package-0": "the driver was unloaded"}
        lost = meter.report()
        sensor.gone = {}
        sensor.draw({"package-0": 30.0}, 102.0)
        back = meter.report()
    assert [one.what for one in lost.refusals] == ["package-0", ""]
    assert back.refusals == ()
    assert back.devices[0].energy_j == pytest.approx(30.0)


class Stumbles(FakeSensor):
    """Raises what nobody foresaw, while it is told to."""

    stumbles = False

    def read(self) -> tuple[Counter, ...]:
        counters = super().read()
        if self.stumbles:
            raise RuntimeError("unheard of")
        return counters


def test_an_error_that_nobody_foresaw_is_told_and_it_reads_on_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    sensor = Stumbles(COUNTER, poll_s=0.01)
    with metering({"rapl": lambda: sensor}) as meter:
        sensor.stumbles = True
        begun = sensor.reads
        assert until(lambda: sensor.reads >= begun + 3)
        sensor.stumbles = False
        sensor.draw({"package-0": 30.0}, 102.0)
        begun = sensor.reads
        assert until(lambda: sensor.reads >= begun + 2)
        assert meter.report().devices[0].energy_j == pytest.approx(30.0)
    assert caplog.text.count("RuntimeError: unheard of") == 1


def test_where_nothing_is_to_be_read_there_is_a_report_without_devices() -> None:
    with metering({}, PowerSettings(sensors="none")) as meter:
        assert meter.report().devices == ()


def test_ray_s_dashboard_is_told_what_is_read_and_what_not() -> None:
    def absent() -> PowerSensor:
        raise SensorAbsent("nvml", "no GPU", "")

    openers = {"nvml": absent, "rapl": lambda: FakeSensor(COUNTER), "estimate": lambda: FakeSensor(COUNTER)}
    with metering(openers, PowerSettings()) as meter:
        assert repr(meter) == f"NodeMeter({socket.gethostname()} reads fake, fake, not nvml)"
