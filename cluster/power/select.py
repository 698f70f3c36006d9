"""Opens the power sensors of this machine, in a stated order, and keeps why others are not read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cluster.power.base import Counter, PowerSensor, Refusal
from cluster.power.estimate import EstimateSensor, HostWatts, stated_watts
from cluster.power.host import HostFiles
from cluster.power.null import NullSensor
from cluster.power.rapl import RaplSensor
from cluster.power.replay import ReplaySensor
from cluster.power.settings import PowerSettings
from models.errors import SensorAbsent, SensorLost

ORDER = ("replay", "nvml", "rapl", "estimate")
"""NVML before RAPL, because its module scope includes the processors; what is measured before what is modelled.

The estimate comes last and is opened beside the others: it stands in for those that read the processors when they are
lost. Billing takes one source at a time (`cluster.power.billing`), so that it is not billed as well.
"""

AUTO = ("nvml", "rapl", "estimate")

Openers = Mapping[str, Callable[[], PowerSensor]]


@dataclass(slots=True)
class Opened:
    """Sensors to read, and everything that is not read and why. The sensors' own `refusals` come with their reads."""

    sensors: list[PowerSensor] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    def close(self) -> None:
        """Lets go of every sensor."""
        for sensor in self.sensors:
            sensor.close()


def open_sensors(settings: PowerSettings, openers: Openers | None = None) -> Opened:
    """The sensors that `settings` ask for.

    With `auto`, one that is absent is a refusal, and the next is tried. One that is named must open: else its
    SensorAbsent is raised. In either case RAPL is left out where a GPU's module scope includes the processors.

    openers  name -> how to open that sensor; by default the real ones
    """
    if settings.sensors == "none":
        return Opened([NullSensor()])
    named = settings.sensors != "auto"
    wanted = AUTO if settings.sensors == "auto" else settings.sensors
    openers = openers or default_openers(settings)
    opened, module = Opened(), ""
    for name in (name for name in ORDER if name in wanted):
        if module and name == "rapl":
            opened.refusals.append(_left_out(name, module))
            continue
        try:
            sensor = openers[name]()
        except SensorAbsent as absent:
            if named:
                opened.close()
                raise
            opened.refusals.append(Refusal(name, "", absent.problem, absent.remedy))
            continue
        opened.sensors.append(sensor)
        module = module or _reads_module(sensor)
    return opened


def default_openers(settings: PowerSettings) -> Openers:
    """The real sensors, as `settings` describe them."""
    return {
        "replay": lambda: _replay(settings),
        "nvml": _nvml,
        "rapl": lambda: RaplSensor.open(
            settings.rapl_root, host=HostFiles(settings.proc_root), memory_w_per_gb=settings.memory_w_per_gb
        ),
        "estimate": lambda: EstimateSensor.open(_watts(settings), host=HostFiles(settings.proc_root)),
    }


def _replay(settings: PowerSettings) -> PowerSensor:
    if settings.replay_file is None:
        raise SensorAbsent("replay", "no recording is named", "set GREENFLOW_POWER_REPLAY_FILE")
    return ReplaySensor.open(settings.replay_file)


def _nvml() -> PowerSensor:
    from cluster.power.nvml import NvmlSensor  # imports a library that machines without GPUs need not load

    return NvmlSensor.open()


def _watts(settings: PowerSettings) -> HostWatts | None:
    if settings.idle_w is None or settings.full_w is None:
        return None
    return stated_watts(settings.idle_w, settings.full_w)


def _reads_module(sensor: PowerSensor) -> str:
    """The sensor's name where it reads whole modules, processors included; else ""."""
    try:
        counters: tuple[Counter, ...] = sensor.read()
    except SensorLost:
        return ""
    return sensor.name if any(counter.kind == "module" for counter in counters) else ""


def _left_out(name: str, module: str) -> Refusal:
    problem = f"the processors are read by {module}, whose module scope includes them; read twice, they would be billed"
    return Refusal(name, "", f"{problem} twice", "")
