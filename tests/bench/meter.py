"""What metering a node costs: CPU seconds of a meter that is asked once a window, beside an actor that does nothing.

A Ray of its own, a meter on a stand-in for RAPL (two sockets, each with memory), and an actor with an empty method that
is asked just as often: what that one takes is Ray's. CPU time is that of their processes, by the kernel's
account.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import click
import psutil
from rich.console import Console
from rich.table import Table

from cluster.launching import ray_local, serve_env, teardown

serve_env.prepare()

import ray  # noqa: E402

from cluster.meters import alive_nodes, started  # noqa: E402
from cluster.power.settings import PowerSettings  # noqa: E402

STAND_IN = Path(__file__).parents[1] / "support" / "sysfs_power.py"
WARM_UP = 5


@ray.remote(num_cpus=0)
class Idle:
    """Answers at once."""

    def report(self) -> None:
        """Nothing to tell."""


@contextmanager
def stand_in(seconds: float) -> Iterator[Path]:
    """A driven powercap tree."""
    with tempfile.TemporaryDirectory(prefix="gfm-") as folder:
        root = Path(folder) / "tree"
        command = [sys.executable, str(STAND_IN), str(root), "--seconds", str(seconds + 120)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while not (root / "truth.json").exists():
                time.sleep(0.1)
            yield root / "sys" / "class" / "powercap"
        finally:
            process.terminate()
            process.wait(10)


@contextmanager
def own_ray() -> Iterator[None]:
    """A Ray of one node on loopback, gone afterwards."""
    name, folder = secrets.token_hex(8), ray_local.make_folder()
    try:
        ray_local.start(name, folder, ("127.0.0.1", 0), None, 1, Random())
        yield
    finally:
        ray.shutdown()
        teardown.end_processes(name)
        shutil.rmtree(folder, ignore_errors=True)


def process_of(actor: Any) -> psutil.Process:
    """The process that an actor lives in."""
    return psutil.Process(ray.get(actor.__ray_call__.remote(lambda _: os.getpid())))


def cpu_s(process: psutil.Process) -> float:
    """CPU seconds so far, user and system, of all of its threads."""
    times = process.cpu_times()
    return float(times.user + times.system)


def measured(actors: dict[str, Any], seconds: float, window_s: float) -> dict[str, float]:
    """Cores that each actor keeps busy while all are asked once a window."""
    processes = {name: process_of(actor) for name, actor in actors.items()}
    began_s, before = time.monotonic(), {name: cpu_s(process) for name, process in processes.items()}
    next_s = began_s
    while (next_s := next_s + window_s) < began_s + seconds:
        time.sleep(max(0.0, next_s - time.monotonic()))
        for actor in actors.values():
            ray.get(actor.report.remote())
    passed_s = time.monotonic() - began_s
    return {name: (cpu_s(process) - before[name]) / passed_s for name, process in processes.items()}


@click.command()
@click.option("--seconds", type=click.FloatRange(5), default=120.0, help="Length of the measurement.")
@click.option("--window-s", type=click.FloatRange(0.05), default=1.0, help="How often the controller asks.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures here.")
def main(seconds: float, window_s: float, json_file: Path | None) -> None:
    """Measure the CPU time of a meter, and that of an actor that does nothing."""
    with stand_in(seconds) as powercap, own_ray():
        (node,) = alive_nodes()
        settings = PowerSettings(sensors=("rapl",), rapl_root=powercap)
        actors = {"meter": started(node, settings), "idle actor": Idle.remote()}  # type: ignore[attr-defined]
        for actor in list(actors.values()) * WARM_UP:
            ray.get(actor.report.remote())
        devices = len(ray.get(actors["meter"].report.remote()).devices)
        cores = measured(actors, seconds, window_s)
    table = Table("process", "% of a core", title=f"{devices} devices, asked every {window_s:g} s for {seconds:.0f} s")
    for name, share in cores.items():
        table.add_row(name, f"{100 * share:.2f}")
    table.add_row("metering itself", f"{100 * (cores['meter'] - cores['idle actor']):.2f}")
    Console().print(table)
    if json_file is not None:
        figures = {"seconds": seconds, "window_s": window_s, "devices": devices, "cores": cores}
        json_file.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
