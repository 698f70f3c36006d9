"""Which sensors are opened, in which order, and what is told of the others."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sysfs_tree
from pydantic import ValidationError
from sysfs_tree import SysfsTree

from allocator.joules import Quality
from cluster.power.base import Counter, PowerSensor
from cluster.power.fake import FakeSensor
from cluster.power.select import Opened, default_openers, open_sensors
from cluster.power.settings import PowerSettings
from models.errors import FixFile, FixSetup, SensorAbsent

GPU = Counter("GPU-1", "GPU-1", "gpu", "nvml", Quality.MEASURED, 0.0, 0.0)
MODULE = Counter("module-0", "cpu", "module", "nvml", Quality.MEASURED, 0.0, 0.0)
PACKAGE = Counter("package-0", "cpu", "package", "rapl", Quality.MEASURED, 0.0, 0.0)
HOST = Counter("host", "cpu", "host", "estimate", Quality.ASSUMED, 0.0, 0.0)


def sensor(name: str, *counters: Counter) -> Callable[[], PowerSensor]:
    def opener() -> PowerSensor:
        made = FakeSensor(*counters)
        made.name = name
        return made

    return opener


def absent(name: str) -> Callable[[], PowerSensor]:
    def opener() -> PowerSensor:
        raise SensorAbsent(name, f"no {name} here", f"install {name}")

    return opener


def names(opened: Opened) -> list[str]:
    return [each.name for each in opened.sensors]


def told(opened: Opened) -> dict[str, str]:
    return {refusal.sensor: refusal.problem for refusal in opened.refusals}


ESTIMATE = {"estimate": sensor("estimate", HOST)}
NO_ESTIMATE = {"estimate": absent("estimate")}


def test_gpus_and_processors_are_read_and_an_estimate_stands_in_for_what_may_be_lost() -> None:
    openers = {"nvml": sensor("nvml", GPU), "rapl": sensor("rapl", PACKAGE), **ESTIMATE}
    opened = open_sensors(PowerSettings(), openers)
    assert names(opened) == ["nvml", "rapl", "estimate"]
    assert opened.refusals == []


def test_where_nothing_can_stand_in_meters_are_read_all_the_same_and_it_is_said() -> None:
    opened = open_sensors(PowerSettings(), {"nvml": absent("nvml"), "rapl": sensor("rapl", PACKAGE)} | NO_ESTIMATE)
    assert names(opened) == ["rapl"]
    assert told(opened)["estimate"] == "no estimate here"


def test_without_a_sensor_of_the_processors_they_are_estimated_and_every_failure_is_kept() -> None:
    opened = open_sensors(PowerSettings(), {"nvml": absent("nvml"), "rapl": absent("rapl"), **ESTIMATE})
    assert names(opened) == ["estimate"]
    assert told(opened) == {"nvml": "no nvml here", "rapl": "no rapl here"}
    assert [refusal.remedy for refusal in opened.refusals] == ["install nvml", "install rapl"]


def test_gpus_alone_leave_the_processors_to_the_estimate() -> None:
    opened = open_sensors(PowerSettings(), {"nvml": sensor("nvml", GPU), "rapl": absent("rapl"), **ESTIMATE})
    assert names(opened) == ["nvml", "estimate"]


@pytest.mark.parametrize("wanted", ["auto", "nvml,rapl,estimate"])
def test_a_module_that_includes_the_processors_leaves_out_rapl_which_would_be_billed_as_well(wanted: str) -> None:
    openers = {"nvml": sensor("nvml", MODULE), "rapl": sensor("rapl", PACKAGE), **ESTIMATE}
    opened = open_sensors(PowerSettings.model_validate({"sensors": wanted}), openers)
    assert names(opened) == ["nvml", "estimate"]
    assert told(opened).keys() == {"rapl"}
    assert "nvml, whose module scope includes them" in told(opened)["rapl"]


def test_a_sensor_that_is_named_must_open() -> None:
    gpus = FakeSensor(GPU)
    openers = {"nvml": lambda: gpus, "rapl": absent("rapl")}
    with pytest.raises(FixSetup, match="rapl: no rapl here; install rapl"):
        open_sensors(PowerSettings(sensors=("nvml", "rapl")), openers)
    assert gpus.closed, "what was opened before it is let go"


def test_only_what_is_named_is_opened() -> None:
    openers = {"nvml": sensor("nvml", GPU), "rapl": sensor("rapl", PACKAGE), **ESTIMATE}
    opened = open_sensors(PowerSettings(sensors=("rapl",)), openers)
    assert (names(opened), opened.refusals) == (["rapl"], [])


def test_none_reads_nothing() -> None:
    opened = open_sensors(PowerSettings(sensors="none"))
    assert [each.read() for each in opened.sensors] == [()]


def test_nothing_at_all_is_refusals_and_no_error() -> None:
    openers = {name: absent(name) for name in ("nvml", "rapl", "estimate")}
    opened = open_sensors(PowerSettings(), openers)
    assert names(opened) == []
    assert told(opened).keys() == openers.keys()


def test_closing_closes_every_sensor() -> None:
    one, other = FakeSensor(GPU), FakeSensor(PACKAGE)
    Opened([one, other]).close()
    assert one.closed
    assert other.closed


def test_this_machine_is_metered_somehow() -> None:
    opened = open_sensors(PowerSettings(idle_w=10.0, full_w=20.0))
    try:
        counters = [counter for each in opened.sensors for counter in each.read()]
        assert any(counter.pool == "cpu" for counter in counters)
    finally:
        opened.close()


def test_rapl_is_read_where_the_settings_say(tmp_path: Path) -> None:
    tree = SysfsTree.build(tmp_path / "machine", sysfs_tree.amd())
    settings = PowerSettings(sensors=("rapl",), rapl_root=tree.powercap, memory_w_per_gb=1.0)
    counters = open_sensors(settings).sensors[0].read()
    assert {counter.device for counter in counters} == {"package-0", "memory"}


def test_the_estimate_takes_the_stated_watts(tmp_path: Path) -> None:
    counter = default_openers(PowerSettings(idle_w=10.0, full_w=20.0))["estimate"]().read()[0]
    assert (counter.quality, counter.most_w) == (Quality.MODELLED, 40.0)


def test_a_replay_names_its_file(tmp_path: Path) -> None:
    with pytest.raises(FixFile, match=r"run\.csv"):
        open_sensors(PowerSettings(sensors=("replay",), replay_file=tmp_path / "run.csv"))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"sensors": "rapl,meter"}, "meter"),
        ({"sensors": ""}, "sensors"),
        ({"sensors": ()}, "name one, or say none"),
        ({"sensors": "replay,rapl", "replay_file": "run.csv"}, "stands alone"),
        ({"sensors": "replay"}, "needs replay_file"),
        ({"idle_w": 10}, "both idle_w and full_w"),
        ({"idle_w": 20, "full_w": 10}, "must not be above"),
        ({"idle_w": float("inf"), "full_w": float("inf")}, "finite"),
        ({"memory_w_per_gb": 0}, "memory_w_per_gb"),
        ({"watts": 3}, "watts"),
    ],
)
def test_settings_that_cannot_work_are_refused(given: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        PowerSettings.model_validate(given)


def test_variables_of_the_environment_give_sensors_as_one_text() -> None:
    assert PowerSettings.model_validate({"sensors": "nvml, rapl"}).sensors == ("nvml", "rapl")
    assert PowerSettings.model_validate({"sensors": "none"}).sensors == "none"
