"""Whether a power cap holds: the served demo on a stand-in for RAPL while the cap and the traffic change.

The stand-in's counters advance with the CPU time that this machine really spends, load generator included, so watts
follow the chains. First the watts without any cap are looked at, and those with the cheapest chains alone: what any cap
can reach lies between. Then caps follow each other; after each change moving averages over ten seconds are held against
the cap, or against the least that is reachable.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.request import Request, urlopen

import click
import numpy as np
from joules import Truth, kill, stand_in, told
from rich.console import Console
from rich.table import Table
from servers import SERVERS, Running, running

from cluster.config import DEMO

TOKEN = "bench-0123456789abcdef"
OVER_S = 10.0
NEAR = 0.05
LEAST_W, NO_W = 1.0, 1e6


@dataclass(frozen=True)
class Phase:
    """A stretch of time under one cap and one rate. `kills` a part of the server at its begin."""

    about: str
    seconds: float
    cap_w: float
    rate: float
    kills: str = ""


@dataclass(frozen=True)
class Found:
    """Watts of a phase: its mean without the first seconds, moving averages over OVER_S, and when these came near."""

    phase: Phase
    goal_w: float
    mean_w: float
    averages: tuple[float, ...]
    near_s: float | None
    later_s: float

    @property
    def off(self) -> float:
        """Relative difference of the mean and the goal."""
        return self.mean_w / self.goal_w - 1


def put(server: Running, cap_w: float) -> None:
    """Set the cap."""
    body = json.dumps({"kind": "power", "limit": cap_w, "unit": "W"}).encode()
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    with urlopen(Request(f"{server.url}/v1/constraints/cap", body, headers, method="PUT"), timeout=30) as answer:
        answer.read()


def load(server: Running, phase: Phase, file: Path) -> "subprocess.Popen[bytes]":
    """Requests at the phase's rate, for as long as it lasts."""
    command = [str(Path(sys.executable).with_name("greenflow")), "load", server.url, "--allow-errors", "--json"]
    command += ["--rate", str(phase.rate), "--seconds", str(phase.seconds)]
    with file.open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)


def played(
    server: Running, truth: Truth, phase: Phase, folder: Path, number: int
) -> tuple[list[float], dict[str, object]]:
    """True watts of each second of the phase, and what the load generator says."""
    file = folder / f"load-{number}.json"
    client = load(server, phase, file)
    put(server, phase.cap_w)
    began_s = time.time()
    if phase.kills:
        kill(server.group, phase.kills)
    time.sleep(phase.seconds + 0.2)
    client.wait(120)
    joules = [truth.at(began_s + second) for second in range(int(phase.seconds) + 1)]
    return [float(w) for w in np.diff(joules)], json.loads(file.read_text())


def found(phase: Phase, watts: Sequence[float], least_w: float, most_w: float) -> Found:
    """How near the watts came to what can be reached under the cap."""
    goal_w = min(max(phase.cap_w, least_w), most_w)
    averages = np.convolve(watts, np.ones(int(OVER_S)) / OVER_S, mode="valid")  # of the seconds from each on
    near = np.abs(averages / goal_w - 1) <= NEAR
    first = int(near.argmax()) if near.any() else None
    far, longest = 0, 0
    for one in near[first or 0 :]:
        far = 0 if one else far + 1
        longest = max(longest, far)
    settled = watts[int(OVER_S) :]
    return Found(phase, goal_w, float(np.mean(settled)), tuple(averages.tolist()), first, float(longest))


@click.command()
@click.option("--rate", type=click.FloatRange(1), default=210.0, help="Requests a second.")
@click.option("--seconds", type=click.FloatRange(30), default=60.0, help="Length of each phase.")
@click.option("--placement", type=click.Choice(["inline", "own", "file"]), default="file")
@click.option("--faults", is_flag=True, help="Kill the controller and a meter under a cap, too.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures here.")
def main(rate: float, seconds: float, placement: str, faults: bool, json_file: Path | None) -> None:
    """Serve the demo under load on a stand-in for RAPL, change its cap and its traffic, and look at the true watts."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="gfc-") as name, stand_in(Path(name) / "tree", 20 * seconds) as root:
        truth = Truth(root)
        chosen = next(server for server in SERVERS if server.name == placement)
        settings = {
            "GREENFLOW_POWER_RAPL_ROOT": str(root / "sys" / "class" / "powercap"),
            "GREENFLOW_ENERGY_LEDGER": str(Path(name) / "ledger.sqlite"),
            "GREENFLOW_ENERGY_ENABLED": "true",
            "GREENFLOW_ALLOCATOR_ENABLED": "true",
            "GREENFLOW_ADMIN_TOKEN": TOKEN,
        }
        os.environ["GREENFLOW_ADMIN_TOKEN"] = TOKEN
        with running(replace(chosen, environment={**chosen.environment, **settings}), DEMO) as server:
            told(server)
            figures = _all(server, truth, Path(name), rate, seconds, faults, console)
        truth.close()
    _show(figures, console)
    if json_file is not None:
        json_file.write_text(json.dumps([_plain(one) for one in figures], indent=1) + "\n")


def _all(
    server: Running, truth: Truth, folder: Path, rate: float, seconds: float, faults: bool, console: Console
) -> list[Found]:
    watts = {}
    played(server, truth, Phase("", seconds / 2, NO_W, rate), folder, 9)  # replicas warm up
    for number, (cap_w, at) in enumerate(((NO_W, rate), (LEAST_W, rate), (NO_W, rate / 3))):
        phase = Phase("", seconds, cap_w, at)
        seen, _ = played(server, truth, phase, folder, number)
        watts[cap_w, at] = float(np.mean(seen[int(OVER_S) :]))
        console.print(f"{at:.0f} requests/s, cap {cap_w:,.0f} W: {watts[cap_w, at]:.1f} W", highlight=False)
    free_w, least_w = watts[NO_W, rate], watts[LEAST_W, rate]
    third_w = watts[NO_W, rate / 3]
    high_w, low_w = least_w + 0.7 * (free_w - least_w), least_w + 0.35 * (free_w - least_w)
    phases = [
        Phase("begin", seconds, high_w, rate),
        Phase("what chains may spend halves", seconds, low_w, rate),
        Phase("and doubles", seconds, high_w, rate),
        Phase("traffic falls to a third", seconds, low_w, rate / 3),
        Phase("traffic triples", seconds, low_w, rate),
        Phase("a cap out of reach", seconds, LEAST_W, rate),
        Phase("and back", seconds, low_w, rate),
    ]
    if faults:
        phases += [
            Phase("the controller is killed", seconds, low_w, rate, "controller"),
            Phase("the meter is killed", seconds, low_w, rate, "NodeMeter"),
        ]
    figures = []
    for number, phase in enumerate(phases):
        seen, answers = played(server, truth, phase, folder, 10 + number)
        most_w = third_w if phase.rate < rate else free_w
        figures.append(found(phase, seen, least_w if phase.rate == rate else 0.0, most_w))
        console.print(_line(figures[-1]) + f", failed {answers.get('failed', '?')}", highlight=False)
    return figures


def _line(one: Found) -> str:
    return f"{one.phase.about}: {one.mean_w:.1f} W for {one.goal_w:.1f} W, near after {one.near_s} s"


def _show(figures: Sequence[Found], console: Console) -> None:
    table = Table("phase", "requests/s", "cap W", "to reach W", "mean W", "off", "near after s", "then off for s")
    for one in figures:
        near = "never" if one.near_s is None else f"{one.near_s:.0f}"
        row = (one.phase.about, f"{one.phase.rate:.0f}", f"{one.phase.cap_w:.1f}", f"{one.goal_w:.1f}")
        table.add_row(*row, f"{one.mean_w:.1f}", f"{100 * one.off:+.1f} %", near, f"{one.later_s:.0f}")
    console.print(table)
    console.print(f"near: the mean of the {OVER_S:.0f} s from then on is within {100 * NEAR:.0f} % of what is to reach")


def _plain(one: Found) -> dict[str, object]:
    return {**one.phase.__dict__, "goal_w": one.goal_w, "mean_w": one.mean_w, "averages_w": list(one.averages),
            "near_s": one.near_s, "later_s": one.later_s}  # fmt: skip


if __name__ == "__main__":
    main()
