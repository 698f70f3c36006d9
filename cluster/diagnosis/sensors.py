"""Which power sensors a machine reads and how much it draws, and which it does not read and why."""

from collections.abc import Callable
from dataclasses import asdict

from allocator.joules import Quality
from cluster.diagnosis.findings import Finding, State
from cluster.power.base import Refusal
from cluster.power.meter import HostId, Meter, Metered, MeterReport
from cluster.power.select import Opened
from cluster.power.settings import PowerSettings
from cluster.power.stand_in import STAND_IN
from models.errors import GreenFlowError, SensorAbsent

Open = Callable[[PowerSettings], Opened]

_STATE_WATTS = (
    "let a meter be read as said above, or state what such a machine draws idle and under full load (idle_w and full_w)"
)


def sensor_findings(
    settings: PowerSettings, open_sensors: Open, sleep: Callable[[float], None], sample_s: float
) -> tuple[Finding, ...]:
    """A finding for each device that is read, for each one that is not, and for how well joules are known.

    sample_s  how long to watch the counters for the watts; some are updated ten times a second only
    """
    try:
        opened = open_sensors(settings)
    except SensorAbsent as error:
        return (Finding(error.sensor, State.WRONG, f"is configured, but {error.problem}", error.remedy),)
    except GreenFlowError as error:
        return (Finding("sensors", State.WRONG, str(error)),)
    report = _watched(opened, sleep, sample_s)
    named = settings.sensors not in ("auto", "none")
    absent = set(opened.refusals)
    refused = [_refusal(one, one in absent, named) for one in report.refusals]
    metered = any(one.counter.pool == "cpu" and one.counter.source != STAND_IN for one in report.devices)
    devices = [_device(one, metered and one.counter.source == STAND_IN) for one in report.devices]
    return (*devices, *refused, *_quality(settings, report))


def _watched(opened: Opened, sleep: Callable[[float], None], sample_s: float) -> MeterReport:
    meter = Meter("", HostId("", ""), "doctor", opened.sensors, tuple(opened.refusals))
    try:
        meter.poll()
        sleep(sample_s)
        meter.poll()
        return meter.report()
    finally:
        meter.close()


def _device(metered: Metered, stands_in: bool) -> Finding:
    counter = metered.counter
    watts = "" if metered.power_w is None else f", {metered.power_w:.1f} W now"
    facts = {
        "sensor": counter.source,
        "device": counter.device,
        "kind": counter.kind,
        "quality": counter.quality.value,
        "power_w": metered.power_w,
    }
    if counter.live and not metered.power_w:
        says = f"{counter.device} is read, but its counter stands still, as no real one does"
        return Finding(counter.source, State.NOTE, says, "see whether it moves under load; if not, leave it out", facts)
    if stands_in:
        says = f"{counter.device} stands in for the meters of the processors, should they be lost"
        return Finding(counter.source, State.OK, f"{says} ({counter.quality.value}{watts})", "", facts)
    known = {Quality.MEASURED: State.OK, Quality.MODELLED: State.OK, Quality.ASSUMED: State.NOTE}
    kind = "" if counter.kind == counter.device else f"{counter.kind}, "
    says = f"{counter.device} is read ({kind}{counter.quality.value}{watts})"
    return Finding(counter.source, known[counter.quality], says, "", facts)


def _refusal(refusal: Refusal, is_absent: bool, named: bool) -> Finding:
    """A sensor that is not there is off. A device that is there, and could be read with a remedy, is worth a note; of
    a sensor that was asked for by name it is wrong."""
    says = f"{refusal.what}: {refusal.problem}" if refusal.what else refusal.problem
    if is_absent or not refusal.remedy:
        state = State.OFF
    else:
        state = State.WRONG if named else State.NOTE
    facts = {f"refused_{name}": value for name, value in asdict(refusal).items() if name in ("sensor", "what")}
    return Finding(refusal.sensor, state, f"not read: {says}", refusal.remedy, facts)


def _quality(settings: PowerSettings, report: MeterReport) -> tuple[Finding, ...]:
    if settings.sensors == "none":
        return (Finding("joules", State.NOTE, "nothing is metered here: sensors are set to none"),)
    if not report.devices:
        return (Finding("joules", State.WRONG, "nothing can be read, so no joule of this machine is counted"),)
    processors = {one.counter.quality for one in report.devices if one.counter.kind in ("package", "module", "host")}
    if processors == {Quality.ASSUMED}:
        says = "those of the processors are assumed: published averages, which nobody measured here"
        return (Finding("joules", State.NOTE, says, _STATE_WATTS),)
    if not processors:
        return (Finding("joules", State.NOTE, "those of the processors are not counted: no sensor reads them"),)
    return ()
