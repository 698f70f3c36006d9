"""What this machine's NVIDIA GPUs tell of their joules, what CUDA variants take, and whether their ledger is right.

python tests/bench/gpu.py [--parts sensor,cuda] [--json FILE]

sensor   the GPUs and their counters: how often they move, and joules at rest and at work beside the watts of the moment
cuda     the demo's variants on CUDA beside the processors: answers and milliseconds
profile  `greenflow profile` of the demo with its ranking on CUDA
doctor   `greenflow doctor`
served   that cascade on Ray Serve under load while the meter and the controller are killed; then the joules of GPUs in
         the ledger beside their own counters
cap      the same server under a power cap midway between rest and load

One part that fails leaves the others alone; results are written after each. Keep the GPUs free of other work.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import click
from gpu_cuda import cuda_copy, cuda_part
from gpu_sensor import sensor_part
from gpu_served import Served, cap_part, served_part, server_of
from gpu_watch import Watch
from machine import describe
from rich.console import Console
from servers import ROOT, running

from cluster.power.nvml import NvmlSensor
from cluster.power.nvml_library import installed
from models.errors import SensorAbsent
from models.session import available_devices
from models.spec import Device

PARTS = ("sensor", "cuda", "profile", "doctor", "served", "cap")
SHOWN, TOLD = 4, 2500
Found = dict[str, Any]
Part = Callable[[Found], None]


class Skip(Exception):
    """A part that has nothing to look at here."""


class OverTime(BaseException):
    """A part that takes too long; no handler of errors within it is to take it for one of its own."""


@dataclass
class Report:
    """All that is found, written anew after each part."""

    file: Path | None
    console: Console
    found: Found

    def part(self, name: str, work: Part, most_s: float) -> None:
        """Run a part. What it found before it failed is kept."""
        part: Found = {"status": "failed"}
        self.found["parts"][name] = part
        self.console.rule(name)
        began_s = time.monotonic()
        try:
            with within(most_s):
                work(part)
            part["status"] = "ok"
        except Skip as why:
            part.update(status="skipped", why=str(why))
        except (Exception, OverTime) as error:  # whatever it is, the other parts go on
            part.update(error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
        finally:
            part["seconds"] = round(time.monotonic() - began_s, 1)
            self.write()
        told = json.dumps(brief(part), default=str)
        self.console.print(
            told if len(told) <= TOLD else f"{told[:TOLD]} …", highlight=False, markup=False, soft_wrap=True
        )

    def write(self) -> None:
        """Write the file, if there is to be one."""
        if self.file is not None:
            self.file.write_text(json.dumps(self.found, indent=1, default=str) + "\n")


def brief(value: object, depth: int = 3) -> object:
    """The figures of a part, without its longest lists."""
    if isinstance(value, dict):
        return {key: brief(one, depth - 1) for key, one in value.items() if key != "traceback"} if depth else "…"
    if isinstance(value, list):
        return [brief(one, depth - 1) for one in value[:SHOWN]] if depth else f"{len(value)} of them"
    return round(value, 6) if isinstance(value, float) else value


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises OverTime in this thread when it takes longer."""

    def over(_signal: int, _frame: FrameType | None) -> None:
        raise OverTime(f"not done within {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def told_json(*command: str, codes: tuple[int, ...] = (0,)) -> Found:
    """What a command of greenflow prints as JSON."""
    greenflow = str(Path(sys.executable).with_name("greenflow"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([greenflow, *command], capture_output=True, text=True, env=environment, check=False)
    if done.returncode not in codes:
        raise RuntimeError(f"greenflow {command[0]} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    said: Found = json.loads(done.stdout)
    return said


def profile_part(cascade: Path, found: Found) -> None:
    """Milliseconds and joules of all variants, as the energy model may start from."""
    found.update(told_json("profile", "--cascade", str(cascade), "--rows", "8", "--rows", "64", "--json"))


def doctor_part(cascade: Path, found: Found) -> None:
    """Its whole answer; it is 1 where something that is configured does not work."""
    found["says"] = told_json("doctor", "--cascade", str(cascade), "--port", "18080", "--json", codes=(0, 1))


def needs_cuda(device: Device, work: Part) -> Part:
    """The part, where what it needs is there."""

    def skipped(_: Found) -> None:
        raise Skip("this ONNX Runtime has no CUDA: pip install onnxruntime-gpu, or see --device cpu")

    return skipped if device is Device.CUDA and Device.CUDA not in available_devices() else work


def _nothing(_: Found) -> None:
    """No work."""


def serve(report: Report, parts: list[str], asked: dict[str, Any], cascade: Path, folder: Path) -> None:
    """The parts that look at one and the same server."""
    ledger = asked["ledger"] or folder / "ledger.sqlite"
    ledger.unlink(missing_ok=True)
    try:
        with Watch(installed()) as watch, running(server_of(ledger), cascade) as up:
            one = Served(up, ledger, watch, asked["clients"], folder, report.console)
            works = {"served": partial(served_part, one, seconds=asked["seconds"]), "cap": partial(cap_part, one)}
            for name in parts:
                report.part(name, works[name], asked["seconds"] + 150)
    except Exception as error:  # the server did not start, or did not stop
        lost = [name for name in parts if name not in report.found["parts"]] or ["stop"]
        for name in lost:
            report.found["parts"][name] = {"status": "failed", "error": str(error), "traceback": traceback.format_exc()}
        report.console.print(f"[red]{', '.join(lost)}: {error}")
        report.write()


def chosen(_context: click.Context, _option: click.Parameter, value: str) -> list[str]:
    """The parts that are named, in their order."""
    names = value.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(PARTS)}")
    return [name for name in PARTS if name in names]


@click.command()
@click.option("--parts", callback=chosen, default=",".join(PARTS), show_default=True, help="By commas.")
@click.option("--seconds", type=click.FloatRange(10), default=60.0, show_default=True, help="Length of served's load.")
@click.option("--clients", type=click.IntRange(1, 1000), default=32, show_default=True, help="That ask at a time.")
@click.option(
    "--device",
    type=click.Choice([device.value for device in Device]),
    default="cuda",
    show_default=True,
    help="Of the ranking that is served and profiled: with cpu GPUs are metered only, and idle.",
)
@click.option("--recording", type=click.Path(path_type=Path, dir_okay=False), help="Keep the readings of sensor here.")
@click.option("--ledger", type=click.Path(path_type=Path, dir_okay=False), help="Keep the ledger here; begun anew.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures here.")
def main(json_file: Path | None, **asked: Any) -> None:
    """Look at this machine's NVIDIA GPUs, CUDA variants and their joules. About five minutes.

    The exit status is 1 where there is no GPU that NVML reads, and when a part fails.
    """
    console = Console()
    try:
        NvmlSensor.open().close()
    except SensorAbsent as absent:
        console.print(f"no GPU to look at: {absent}", highlight=False)
        sys.exit(1)
    report = Report(json_file, console, {"machine": describe(ROOT), "parts": {}})
    parts, device = asked["parts"], Device(asked["device"])
    nvml = installed()
    nvml.nvmlInit()
    with tempfile.TemporaryDirectory(prefix="gfg-") as name:
        folder = Path(name)
        cascade = cuda_copy(folder / "cascade", device)
        recording = asked["recording"] or folder / "gpu.csv"
        alone: dict[str, tuple[Part, float]] = {
            "sensor": (partial(sensor_part, nvml, folder=folder, recording=recording), 90),
            "cuda": (needs_cuda(Device.CUDA, partial(cuda_part, folder=cascade)), 90),
            "profile": (needs_cuda(device, partial(profile_part, cascade)), 120),
            "doctor": (partial(doctor_part, cascade), 60),
        }
        for part in (part for part in parts if part in alone):
            report.part(part, *alone[part])
        together = [part for part in parts if part not in alone]
        if needs_cuda(device, _nothing) is not _nothing:
            for part in together:
                report.part(part, needs_cuda(device, _nothing), 1)
        elif together:
            serve(report, together, asked, cascade, folder)
    statuses = {part: found["status"] for part, found in report.found["parts"].items()}
    console.print(statuses)
    sys.exit(1 if "failed" in statuses.values() else 0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what is served does not outlive this process
    main()
