"""What one machine finds out about itself. Runs here, or as a task on each node of a cluster. No Ray here."""

import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cluster.diagnosis.findings import Finding, NodeFindings, State
from cluster.diagnosis.gpus import Gpu, installed_gpus
from cluster.diagnosis.sensors import Open, sensor_findings
from cluster.power.select import open_sensors
from cluster.power.settings import PowerSettings
from models.checking import sha256_of
from models.session import available_devices
from models.spec import FILE_NAME, Device


@dataclass(frozen=True, slots=True)
class Questions:
    """What every node is asked.

    power     how it is to be metered; None where nothing is
    cascade   the folder that must be there
    sample_s  how long counters are watched
    """

    power: PowerSettings | None
    cascade: Path
    sample_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Machine:
    """The ways in which a machine is asked. Tests give their own."""

    open_sensors: Open = open_sensors
    gpus: Callable[[], tuple[Gpu, ...]] = installed_gpus
    devices: Callable[[], Iterable[Device]] = available_devices
    sleep: Callable[[float], None] = time.sleep


def examine(questions: Questions, node: str = "", machine: Machine | None = None) -> NodeFindings:
    """Everything that a node knows of itself: sensors, GPUs, ONNX Runtime, and its copy of the cascade."""
    machine = machine or Machine()
    gpus, devices = machine.gpus(), tuple(device.value for device in machine.devices())
    return NodeFindings(
        node=node,
        host=platform.node(),
        findings=(*_sensors(questions, machine), *_gpus(gpus), _providers(devices, len(gpus))),
        cascade=_digest(questions.cascade / FILE_NAME),
        devices=devices,
        gpus=len(gpus),
    )


def _sensors(questions: Questions, machine: Machine) -> tuple[Finding, ...]:
    if questions.power is None:
        return (Finding("joules", State.NOTE, "are not counted: metering is switched off"),)
    return sensor_findings(questions.power, machine.open_sensors, machine.sleep, questions.sample_s)


def _gpus(gpus: tuple[Gpu, ...]) -> Iterable[Finding]:
    for gpu in gpus:
        cut = f", cut into {gpu.parts} MIG instances" if gpu.parts else ""
        facts = {"uuid": gpu.uuid, "name": gpu.name, "mig_instances": gpu.parts}
        yield Finding("gpu", State.OK if gpu.uuid else State.NOTE, f"{gpu.name} {gpu.uuid}".rstrip() + cut, "", facts)
    if not gpus:
        yield Finding("gpu", State.OFF, "none that an NVIDIA driver shows")


def _providers(devices: tuple[str, ...], gpus: int) -> Finding:
    says = f"variants can run on {' and '.join(devices)}"
    facts = {"devices": list(devices)}
    if gpus and Device.CUDA.value not in devices:
        says += "; there are GPUs, but this ONNX Runtime cannot use them"
        return Finding("onnx", State.NOTE, says, "pip install onnxruntime-gpu in place of onnxruntime", facts)
    return Finding("onnx", State.OK, says, "", facts)


def _digest(file: Path) -> str:
    try:
        return sha256_of(file)
    except OSError:
        return ""
