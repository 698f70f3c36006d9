"""cluster.diagnosis.node, sensors and gpus: what a machine finds out about itself, on trees of files and stand-ins."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from nvml_stand_in import Gpu as ScriptedGpu
from nvml_stand_in import StandIn, bindings, build, compiler
from power_machine import Machine as Host
from sysfs_tree import desktop, intel_two_sockets

from allocator.joules import Quality
from cluster.diagnosis.findings import Finding, NodeFindings, State
from cluster.diagnosis.gpus import Gpu, list_gpus
from cluster.diagnosis.node import Machine, Questions, examine
from cluster.power.base import Counter, PowerSensor, Refusal
from cluster.power.estimate import EstimateSensor, HostWatts
from cluster.power.fake import FakeSensor
from cluster.power.select import Opened, open_sensors
from cluster.power.settings import PowerSettings
from models.errors import SensorAbsent
from models.spec import Device

Openers = dict[str, Callable[[], PowerSensor]]


def no_driver() -> PowerSensor:
    raise SensorAbsent("nvml", "no driver here", "install one")


def openers(host: Host, **more: Callable[[], PowerSensor]) -> Openers:
    return {"nvml": no_driver, "rapl": host.rapl, "estimate": lambda: estimate(host, Quality.ASSUMED), **more}


def estimate(host: Host, quality: Quality) -> EstimateSensor:
    return EstimateSensor.open(HostWatts(10.0, 50.0, quality), host=host.host, clock=host.clock)


def machine(host: Host, found: Openers, gpus: tuple[Gpu, ...] = (), cuda: bool = False) -> Machine:
    def opened(settings: PowerSettings) -> Opened:
        return open_sensors(settings, found)

    devices = (Device.CPU, Device.CUDA) if cuda else (Device.CPU,)
    return Machine(opened, lambda: gpus, lambda: devices, host.pass_s)


def look(host: Host, tmp_path: Path, found: Openers | None = None, **settings: object) -> NodeFindings:
    power = PowerSettings.model_validate(settings)
    return examine(Questions(power, tmp_path), "", machine(host, found or openers(host)))


def by_state(node: NodeFindings, state: State) -> list[Finding]:
    return [one for one in node.findings if one.state is state]


def test_every_device_that_is_read_says_its_watts_and_how_they_are_known(tmp_path: Path) -> None:
    host = Host(tmp_path / "host", intel_two_sockets())
    node = look(host, tmp_path)
    read = {one.facts["device"]: one for one in node.findings if "device" in one.facts}
    assert set(read) == {"package-0", "package-0/dram", "package-1", "package-1/dram", "host"}
    assert {one.state for one in read.values()} == {State.OK}
    assert all(one.facts["power_w"] > 0 for one in read.values())
    assert {name for name, one in read.items() if one.facts["quality"] == "measured"} == read.keys() - {"host"}
    watts = read["package-0"].facts["power_w"]
    assert f"package-0 is read (package, measured, {watts:.1f} W now)" == read["package-0"].says


def test_a_counter_that_stands_still_is_a_note(tmp_path: Path) -> None:
    host = Host(tmp_path / "host", desktop())
    stuck = Machine(lambda settings: open_sensors(settings, openers(host)), tuple, tuple, host.clock.sleep)
    node = examine(Questions(PowerSettings(), tmp_path), "", stuck)
    assert [one.facts["device"] for one in by_state(node, State.NOTE) if "stands still" in one.says] == [
        "package-0",
        "package-0/dram",
    ]


def test_what_is_not_read_says_why_and_what_to_do_and_nothing_is_wrong_with_it(tmp_path: Path) -> None:
    node = look(Host(tmp_path / "host", desktop()), tmp_path)
    off = {one.subject: one for one in by_state(node, State.OFF)}
    assert (off["nvml"].says, off["nvml"].remedy) == ("not read: no driver here", "install one")
    assert not by_state(node, State.WRONG)


def test_an_estimate_beside_meters_is_told_as_what_stands_in_for_them_and_is_worth_no_note(tmp_path: Path) -> None:
    node = look(Host(tmp_path / "host", desktop()), tmp_path)
    (estimate,) = [one for one in node.findings if one.subject == "estimate"]
    assert estimate.says.startswith("host stands in for the meters of the processors, should they be lost (assumed, ")
    assert (estimate.state, estimate.facts["quality"]) == (State.OK, "assumed")
    assert "estimate" not in {one.subject for one in by_state(node, State.NOTE)}


def test_a_sensor_that_is_asked_for_by_name_and_absent_is_wrong(tmp_path: Path) -> None:
    node = look(Host(tmp_path / "host", desktop()), tmp_path, sensors="nvml,rapl")
    (wrong,) = by_state(node, State.WRONG)
    assert (wrong.subject, wrong.says, wrong.remedy) == ("nvml", "is configured, but no driver here", "install one")


@pytest.mark.parametrize(("sensors", "state"), [("auto", State.NOTE), ("nvml", State.WRONG)])
def test_a_device_that_cannot_be_read_any_more_is_a_note_and_wrong_where_it_was_asked_for(
    tmp_path: Path, sensors: str, state: State
) -> None:
    host = Host(tmp_path / "host", desktop())
    counter = Counter("gpu-a", "gpu-a", "gpu", "nvml", Quality.MEASURED, 0.0, 1.0)
    gpu = FakeSensor(counter, Counter("gpu-b", "gpu-b", "gpu", "nvml", Quality.MEASURED, 0.0, 1.0))
    sensor = Refusing(gpu)
    found = {**openers(host), "nvml": lambda: sensor}
    node = look(host, tmp_path, found, sensors=sensors)
    (refused,) = [one for one in node.findings if one.says.startswith("not read: gpu-b")]
    assert (refused.state, refused.remedy) == (state, "reset it")
    assert gpu.closed


class Refusing:
    """Two GPUs, of which one has fallen off the bus."""

    name, poll_s = "nvml", 1.0

    def __init__(self, sensor: FakeSensor) -> None:
        self._sensor = sensor
        self._sensor.gone["gpu-b"] = "has fallen off the bus"

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        return tuple(replace(one, remedy="reset it") for one in self._sensor.refusals)

    def read(self) -> tuple[Counter, ...]:
        return self._sensor.read()

    def close(self) -> None:
        self._sensor.close()


def no_tree() -> PowerSensor:
    raise SensorAbsent("rapl", "no tree", "load the driver")


def test_watts_that_nobody_stated_are_a_note_with_what_to_state(tmp_path: Path) -> None:
    host = Host(tmp_path / "host", desktop())
    assumed = look(host, tmp_path, openers(host, rapl=no_tree))
    notes = by_state(assumed, State.NOTE)
    assert [one.subject for one in notes] == ["estimate", "joules"]
    assert "idle_w and full_w" in notes[1].remedy
    stated = look(host, tmp_path, openers(host, rapl=no_tree, estimate=lambda: estimate(host, Quality.MODELLED)))
    assert not by_state(stated, State.NOTE)


def test_a_machine_that_shall_not_be_metered_says_so_and_one_that_cannot_be_is_wrong(tmp_path: Path) -> None:
    host = Host(tmp_path / "host", desktop())
    assert "sensors are set to none" in by_state(look(host, tmp_path, sensors="none"), State.NOTE)[0].says
    switched_off = examine(Questions(None, tmp_path), "", machine(host, openers(host)))
    assert "metering is switched off" in by_state(switched_off, State.NOTE)[0].says
    nothing = look(host, tmp_path, openers(host, rapl=no_tree, estimate=no_tree))
    assert "no joule of this machine is counted" in by_state(nothing, State.WRONG)[0].says


def test_gpus_are_listed_and_an_onnx_runtime_that_cannot_use_them_is_a_note(tmp_path: Path) -> None:
    host = Host(tmp_path / "host", desktop())
    cut, dead = Gpu("GPU-1", "NVIDIA A100", 7), Gpu("", "GPU 1, which does not answer (lost)", 0)
    without = examine(Questions(None, tmp_path), "", machine(host, {}, (cut, dead)))
    assert [one.says for one in without.findings if one.subject == "gpu"] == [
        "NVIDIA A100 GPU-1, cut into 7 MIG instances",
        "GPU 1, which does not answer (lost)",
    ]
    assert any(one.subject == "onnx" and "onnxruntime-gpu" in one.remedy for one in by_state(without, State.NOTE))
    able = examine(Questions(None, tmp_path), "", machine(host, {}, (cut,), cuda=True))
    assert (able.devices, able.gpus) == (("cpu", "cuda"), 1)
    assert any(one.says == "variants can run on cpu and cuda" for one in by_state(able, State.OK))


def test_the_cascade_of_the_node_is_told_by_its_digest(tmp_path: Path) -> None:
    host = Host(tmp_path / "host", desktop())
    assert examine(Questions(None, tmp_path), "", machine(host, {})).cascade == ""
    (tmp_path / "cascade.yaml").write_text("name: a")
    digest = examine(Questions(None, tmp_path), "", machine(host, {})).cascade
    assert len(digest) == 64
    (tmp_path / "cascade.yaml").write_text("name: b")
    assert examine(Questions(None, tmp_path), "", machine(host, {})).cascade != digest


def test_findings_go_into_json(tmp_path: Path) -> None:
    node = look(Host(tmp_path / "host", intel_two_sockets()), tmp_path)
    document = json.loads(json.dumps(node.as_json()))
    assert {"subject", "state", "says", "remedy"} <= document["findings"][0].keys()
    assert document["findings"][0]["device"] == "package-0"


@pytest.mark.skipif(compiler() is None, reason="no C compiler to build the stand-in of NVIDIA's library with")
def test_gpus_are_seen_through_nvidias_own_bindings(tmp_path: Path) -> None:
    stand_in = StandIn(build(tmp_path), [ScriptedGpu("GPU-aaaa", mig=3), ScriptedGpu("GPU-bbbb", error=15)])
    stand_in.write()
    nvml = bindings(stand_in.library)
    first, second = list_gpus(nvml)
    assert (first.uuid, first.parts) == ("GPU-aaaa", 3)
    assert first.name
    assert second.uuid == ""
    assert "GPU 1, which does not answer" in second.name
    stand_in.init = 9
    stand_in.write()
    assert list_gpus(nvml) == ()
