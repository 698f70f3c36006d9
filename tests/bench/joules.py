"""Whether the ledger holds the joules that were drawn: the served demo on stand-ins for meters, which know the truth.

RAPL is a tree of files, NVML a library that is compiled here; their counters advance with the CPU time that this
machine really spends. Under a steady load counters wrap, one is reset, a meter and the controller are killed, a zone
vanishes for a while, and with GPUs one is lost for a while. What a reset hides no reader of counters can know.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import click
import numpy as np
from numpy.typing import NDArray
from process_group import ProcessGroup, spent_between
from rich.console import Console
from rich.table import Table
from servers import ROOT, SERVERS, Running, running

from cluster.config import DEMO

PARTS = ("attributed_j", "idle_j", "unattributed_j")
FIRST_S = 5.0
"""In the first windows a reading may be a second older than the window's end."""
NOT_VARIANTS = ("controller", "outcomes")
"""Deployments whose work is no variant's, nor around them."""
STAND_IN = ROOT / "tests" / "support" / "sysfs_power.py"
GPU_STAND_IN = ROOT / "tests" / "support" / "nvml_power.py"
EVENTS = (
    (0.2, "a counter is reset", "reset intel-rapl:1:2"),
    (0.4, "the meter is killed", "NodeMeter"),
    (0.6, "the controller is killed", "controller"),
    (0.8, "a zone vanishes", "vanish intel-rapl:0:2"),
    (0.85, "and returns", "return intel-rapl:0:2"),
)


class Truth:
    """What the stand-in says it has drawn, over Unix time."""

    def __init__(self, root: Path) -> None:
        self._file = root / "truth.json"
        self._at_s: list[float] = []
        self._joules: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def at(self, unix_s: float) -> float:
        """Joules at a time, between two looks in proportion."""
        return float(self._over([unix_s])[0])

    def now(self) -> tuple[float, float]:
        """Joules at the newest look, and when that was, Unix time."""
        looks = len(self._joules)
        return self._joules[looks - 1], self._at_s[looks - 1]

    def watts(self, from_s: float, to_s: float) -> list[float]:
        """Mean of each whole second between two times."""
        edges = from_s + np.arange(int(to_s - from_s) + 1)
        return [float(w) for w in np.diff(self._over(edges.tolist()))]

    def mean_w(self, from_s: float, to_s: float) -> float:
        """Of all the time between."""
        before_j, after_j = self._over([from_s, to_s])
        return float(after_j - before_j) / (to_s - from_s)

    def _over(self, at_s: list[float]) -> NDArray[np.float64]:
        looks = len(self._joules)  # the thread adds the time first
        return np.asarray(np.interp(at_s, self._at_s[:looks], self._joules[:looks]))

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            told = json.loads(self._file.read_text())
            boot_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
            if not self._at_s or told["at_s"] + boot_s > self._at_s[-1]:
                self._at_s.append(told["at_s"] + boot_s)
                self._joules.append(told["total_j"])


@contextmanager
def stand_in(root: Path, seconds: float) -> Iterator[Path]:
    """A driven tree whose counters soon wrap."""
    command = [sys.executable, str(STAND_IN), str(root), "--below-wrap-j", "2000", "--tick-s", "0.02"]
    command += ["--seconds", str(seconds + 600)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not (root / "truth.json").exists():
            time.sleep(0.1)
        yield root
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def gpus(folder: Path, kinds: str, seconds: float) -> Iterator[Path | None]:
    """A driven NVML of these kinds of GPU, of which the first is lost for a while; None without any."""
    if not kinds:
        yield None
        return
    lost = ["--lose-at", str(0.7 * seconds), "--lose-for", "5"]
    command = [sys.executable, str(GPU_STAND_IN), str(folder), "--gpus", kinds, *lost]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield folder
    finally:
        process.terminate()
        process.wait(10)


def drawn_by_gpus(folder: Path | None, from_s: float, to_s: float) -> float:
    """Joules between two Unix times, by what their stand-in wrote each second."""
    if folder is None:
        return 0.0
    lines = [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines()]
    at_s, joules = [line["unix_s"] for line in lines], [sum(line["drawn_j"].values()) for line in lines]
    return float(np.interp(to_s, at_s, joules) - np.interp(from_s, at_s, joules))


def told(server: Running, after_s: float = 0.0) -> dict[str, float]:
    """The ledger's joules and the end of its newest window, once there is one that ended after `after_s`."""
    while True:
        try:
            with urlopen(f"{server.url}/v1/energy?windows=1", timeout=30) as response:
                answer = json.load(response)
            if answer["windows"] and answer["windows"][0]["end_s"] > after_s:
                return {
                    "energy_j": answer["total"]["energy_j"],
                    "end_s": answer["windows"][0]["end_s"],
                    **answer["total"],
                }
        except OSError:
            pass
        time.sleep(0.3)


def working(group: ProcessGroup) -> dict[int, float]:
    """CPU seconds so far of replicas that run variants, or serve requests, by process id."""
    replicas = {one.pid for one in group.titled("ServeReplica")}
    others = {one.pid for part in NOT_VARIANTS for one in group.titled(part)}
    return {pid: cpu_s for pid, cpu_s in group.cpu_s().items() if pid in replicas - others}


def kill(group: ProcessGroup, part: str) -> int:
    """Kill the processes of the server that are called after this actor or deployment; how many."""
    found = group.titled(part)
    for process in found:
        process.kill()
    return len(found)


def disturb(server: Running, root: Path, seconds: float, console: Console) -> None:
    """Let happen what happens, each thing at its share of the time."""
    began_s = time.monotonic()
    for share, about, what in EVENTS:
        time.sleep(max(0.0, began_s + share * seconds - time.monotonic()))
        if " " in what:
            with (root / "commands").open("a") as commands:
                commands.write(what + "\n")
            console.print(f"{share * seconds:5.0f} s: {about}")
        else:
            console.print(f"{share * seconds:5.0f} s: {about}: {kill(server.group, what)} process(es)")
    time.sleep(max(0.0, began_s + seconds - time.monotonic()))


@click.command()
@click.option("--seconds", type=click.FloatRange(20), default=600.0, help="Length of the load.")
@click.option("--rate", type=click.FloatRange(1), default=200.0, help="Requests a second.")
@click.option("--placement", type=click.Choice(["inline", "own", "file"]), default="file")
@click.option("--gpus", "kinds", default="", help="With stand-in GPUs too: counted, sampled, or both by a comma.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures here.")
def main(seconds: float, rate: float, placement: str, kinds: str, json_file: Path | None) -> None:
    """Serve the demo under load on a stand-in for RAPL, break things, and compare the ledger with the truth."""
    console = Console()
    with (
        tempfile.TemporaryDirectory(prefix="gfj-") as folder,
        stand_in(Path(folder) / "tree", seconds) as root,
        gpus(Path(folder), kinds, seconds) as library,
    ):
        truth = Truth(root)
        chosen = next(server for server in SERVERS if server.name == placement)
        settings = {
            "GREENFLOW_POWER_RAPL_ROOT": str(root / "sys" / "class" / "powercap"),
            "GREENFLOW_ENERGY_LEDGER": str(Path(folder) / "ledger.sqlite"),
            "GREENFLOW_ENERGY_ENABLED": "true",
            "GREENFLOW_ALLOCATOR_ENABLED": "true",
            **({} if library is None else {"LD_LIBRARY_PATH": str(library)}),
        }
        with running(replace(chosen, environment={**chosen.environment, **settings}), DEMO) as server:
            time.sleep(FIRST_S)
            first, worked = told(server, time.time()), working(server.group)
            load = _load(server, seconds, rate, Path(folder) / "load.json")
            disturb(server, root, seconds, console)
            load.wait(120)
            last, worked_s = told(server, time.time()), spent_between(worked, working(server.group))
            time.sleep(1.5)  # the stand-in of GPUs writes once a second
            requests = json.loads((Path(folder) / "load.json").read_text())
        truth_told = json.loads((root / "truth.json").read_text())
        truth.close()
        gpu_j = drawn_by_gpus(library, first["end_s"], last["end_s"])
        figures = {
            "true_j": truth.at(last["end_s"]) - truth.at(first["end_s"]) + gpu_j,
            "true_gpu_j": gpu_j,
            "ledger_j": last["energy_j"] - first["energy_j"],
            "seconds": last["end_s"] - first["end_s"],
            "ledger": last,
            "over_s": {name: last[name] - first[name] for name in PARTS},
            "events": truth_told["events"],
            "true_idle_w": truth_told["idle_w"],
            "replicas_cpu_s": worked_s,
            "true_replicas_j": worked_s * (truth_told["full_w"] - truth_told["idle_w"]) / (os.cpu_count() or 1),
            "load": requests,
        }
    _show(figures, console)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=1) + "\n")


def _load(server: Running, seconds: float, rate: float, file: Path) -> "subprocess.Popen[bytes]":
    command = [str(Path(sys.executable).with_name("greenflow")), "load", server.url, "--allow-errors", "--json"]
    with file.open("wb") as output:
        return subprocess.Popen(
            [*command, "--rate", str(rate), "--seconds", str(seconds)], stdout=output, stderr=subprocess.DEVNULL
        )


def _show(figures: dict[str, object], console: Console) -> None:
    true_j, ledger_j, ledger = figures["true_j"], figures["ledger_j"], figures["ledger"]
    assert isinstance(true_j, float)
    assert isinstance(ledger_j, float)
    assert isinstance(ledger, dict)
    table = Table("figure", "value", title=f"{figures['seconds']:.0f} s of the served demo on a stand-in")
    table.add_row("true joules", f"{true_j:,.1f}")
    table.add_row("ledger's joules", f"{ledger_j:,.1f}")
    table.add_row("difference", f"{100 * (ledger_j / true_j - 1):+.3f} %")
    parts, true_idle_j = figures["over_s"], figures["true_idle_w"] * figures["seconds"]  # type: ignore[operator]
    assert isinstance(parts, dict)
    if not figures["true_gpu_j"]:
        table.add_row("truly idle joules", f"{true_idle_j:,.1f}")
        table.add_row("truly drawn by all that works here", f"{true_j - true_idle_j:,.1f}")
        table.add_row("of that by replicas", f"{figures['true_replicas_j']:,.1f}")
    for name in PARTS:
        table.add_row(name, f"{parts[name]:,.1f}")
    for name in ("requests", "joules_per_request", "closing_error_j"):
        table.add_row(name, f"{ledger[name]:,.4g}")
    console.print(table)
    console.print(f"what the stand-in noted: {figures['events']}", highlight=False)


if __name__ == "__main__":
    main()
