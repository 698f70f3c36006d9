"""What GPUs tell of their joules, and whether `NvmlSensor` makes the right thing of it."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from gpu_load import busy_run
from gpu_watch import Nvml, Series, Watch

from cluster.power.base import Counter
from cluster.power.host import boottime_s
from cluster.power.nvml import NvmlSensor
from cluster.power.recording import load, record

IDLE_S, LOAD_S, AFTER_S = 10.0, 15.0, 4.0
RECORD_S = 0.1
LOOK_S, LOOKED_S = 0.002, 3.0
READS = 200
FIELDS = ("POWER_AVERAGE", "POWER_INSTANT", "ENERGY", "POWER_MAX_LIMIT")
SCOPES = ("GPU", "MODULE")
Found = dict[str, Any]


def sensor_part(nvml: Nvml, found: Found, folder: Path, recording: Path) -> None:
    """Facts, how counters move, what a read takes, and joules at rest and at work against the watts of the moment."""
    sensor = NvmlSensor.open()
    try:
        found["facts"] = facts(nvml)
        found["sensor"] = {
            "poll_s": sensor.poll_s,
            "counters": [asdict(counter) for counter in sensor.read()],
            "refusals": [asdict(refusal) for refusal in sensor.refusals],
        }
        found["read_ms"] = spread([1e3 * taken_s(sensor.read) for _ in range(READS)])
        found["counter_moves"] = counters_move(nvml)
        found["energy"] = at_rest_and_at_work(nvml, sensor, folder, recording)
    finally:
        sensor.close()


def facts(nvml: Nvml) -> Found:
    """The driver and its GPUs, as they describe themselves."""
    return {
        "driver": _answer(nvml, nvml.nvmlSystemGetDriverVersion),
        "cuda": _answer(nvml, nvml.nvmlSystemGetCudaDriverVersion),
        "gpus": [_gpu(nvml, nvml.nvmlDeviceGetHandleByIndex(at)) for at in range(nvml.nvmlDeviceGetCount())],
    }


def _gpu(nvml: Nvml, handle: object) -> Found:
    asked: dict[str, Callable[[Any], Any]] = {
        "name": nvml.nvmlDeviceGetName,
        "uuid": nvml.nvmlDeviceGetUUID,
        "mig": nvml.nvmlDeviceGetMigMode,
        "persistence": nvml.nvmlDeviceGetPersistenceMode,
        "limit_mw": nvml.nvmlDeviceGetPowerManagementLimit,
        "limits_mw": nvml.nvmlDeviceGetPowerManagementLimitConstraints,
        "energy_mj": nvml.nvmlDeviceGetTotalEnergyConsumption,
        "power_mw": nvml.nvmlDeviceGetPowerUsage,
    }
    told = {name: _answer(nvml, lambda ask=ask: ask(handle)) for name, ask in asked.items()}  # type: ignore[misc]
    memory = _answer(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total)
    fields = {f"{name} {scope}": _field(nvml, handle, name, scope) for name in FIELDS for scope in SCOPES}
    return {**told, "memory_bytes": memory, "fields": fields}


def _field(nvml: Nvml, handle: object, name: str, scope: str) -> Any:
    """A field's number as the widest integer, or why there is none."""

    def ask() -> int:
        wanted = getattr(nvml, f"NVML_FI_DEV_{name}"), getattr(nvml, f"NVML_POWER_SCOPE_{scope}")
        (value,) = nvml.nvmlDeviceGetFieldValues(handle, [wanted])
        if value.nvmlReturn != nvml.NVML_SUCCESS:
            raise nvml.NVMLError(value.nvmlReturn)
        wide = value.valueType == nvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG
        return int(value.value.ullVal if wide else value.value.uiVal)

    return _answer(nvml, ask)


def _answer(nvml: Nvml, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except nvml.NVMLError as error:
        return f"refused: {error}"


def counters_move(nvml: Nvml) -> Found:
    """By GPU: how often its counter moves and by how much, and what asking it takes."""
    moved = {}
    for at in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(at)
        try:
            uuid = nvml.nvmlDeviceGetUUID(handle)
            moved[uuid] = moves(lambda handle=handle: nvml.nvmlDeviceGetTotalEnergyConsumption(handle))  # type: ignore[misc]
        except nvml.NVMLError as error:
            moved[f"GPU {at}"] = {"refused": str(error)}
    return moved


def moves(read_mj: Callable[[], int], seconds: float = LOOKED_S, every_s: float = LOOK_S) -> Found:
    """Seconds between moves of a counter, its smallest unit, and microseconds of a read."""
    moved_s, steps_mj, took_us = [], [], []
    last_mj, end_s = read_mj(), time.perf_counter() + seconds
    while (began_s := time.perf_counter()) < end_s:
        now_mj = read_mj()
        took_us.append(1e6 * (time.perf_counter() - began_s))
        if now_mj != last_mj:
            moved_s.append(began_s)
            steps_mj.append(now_mj - last_mj)
            last_mj = now_mj
        time.sleep(every_s)
    return {
        "moves": len(moved_s),
        "between_s": spread(np.diff(moved_s).tolist()),
        "steps_mj": spread([float(step) for step in steps_mj]),
        "unit_mj": math.gcd(*steps_mj),
        "read_us": spread(took_us),
    }


def at_rest_and_at_work(nvml: Nvml, sensor: NvmlSensor, folder: Path, recording: Path) -> Found:
    """Joules by the sensor over those that the watts of the moment come to. `recording` keeps what the sensor read."""
    work = busy_run(folder)
    if work is not None:
        work[1]()  # loads what it needs
        time.sleep(2.0)
    name, run = work or ("nothing: neither ONNX Runtime nor PyTorch can use a GPU here", lambda: time.sleep(0.1))
    seconds = IDLE_S + LOAD_S + AFTER_S
    keeping = threading.Thread(
        target=record, args=([sensor], recording, seconds, RECORD_S), kwargs={"clock": boottime_s}
    )
    with Watch(nvml) as watch:
        keeping.start()
        time.sleep(0.5)
        idle = _phase(IDLE_S, lambda: time.sleep(0.05))
        busy = _phase(LOAD_S, run)
        keeping.join()
    counters = load(recording)
    return {
        "load": name,
        "runs": busy[2],
        "idle": judged(watch, counters, *idle[:2]),
        "busy": judged(watch, counters, *busy[:2]),
        "reads": len(counters),
        "reads_that_did_not_move": standing(counters),
        "looks_not_answered": watch.failures,
    }


def _phase(seconds: float, run: Callable[[], object]) -> tuple[float, float, int]:
    """When it began and ended, and how many runs there were."""
    began_s, runs = boottime_s(), 0
    while boottime_s() < began_s + seconds:
        run()
        runs += 1
    return began_s, boottime_s(), runs


def judged(watch: Watch, counters: tuple[Counter, ...], from_s: float, to_s: float) -> Found:
    """By GPU, of a stretch of time: joules by the sensor, and by watts; a step of the counter at each end is unsure."""
    return {gpu.uuid: _judged(gpu, counters, from_s, to_s) for gpu in watch.gpus}


def _judged(gpu: Series, counters: tuple[Counter, ...], from_s: float, to_s: float) -> Found:
    own = [counter for counter in counters if counter.device == gpu.uuid]
    if not own:
        return {"left_out": "the sensor does not read it by itself"}
    at_s, joules = [counter.at_s for counter in own], [counter.energy_j for counter in own]
    ours_j = float(np.interp(to_s, at_s, joules) - np.interp(from_s, at_s, joules))
    watts_j = gpu.integral_j(from_s, to_s)
    return {
        "seconds": to_s - from_s,
        "sensor_j": ours_j,
        "watts_j": watts_j,
        "ratio": ours_j / watts_j if watts_j else math.nan,
        "mean_w": ours_j / (to_s - from_s),
        "most_w": max((w for at, w in zip(gpu.looked_s, gpu.watts, strict=False) if from_s <= at <= to_s), default=0.0),
    }


def standing(counters: tuple[Counter, ...]) -> int:
    """Reads that found a device's counter where the read before had left it."""
    last: dict[str, float] = {}
    still = 0
    for counter in counters:
        still += last.get(counter.device) == counter.energy_j
        last[counter.device] = counter.energy_j
    return still


def taken_s(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def spread(values: list[float]) -> Found:
    """Least, median, 99th percentile and greatest; empty of nothing."""
    if not values:
        return {}
    least, median, most_of, most = np.quantile(values, [0.0, 0.5, 0.99, 1.0]).tolist()
    return {"min": least, "median": median, "p99": most_of, "max": most}
