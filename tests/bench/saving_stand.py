"""A cascade with many users held back, on a stand-in for RAPL, and users who click by the truth of its world."""

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import uvloop
from servers import ROOT, SERVERS, Running, running

sys.path.insert(0, str(ROOT / "tests" / "support"))
import sysfs_tree
from answered_cpu import AnsweredCpu
from sysfs_power import CpuSeconds, SysfsPower, driven, machine_cpu_s, watts_of
from sysfs_tree import SysfsTree
from truth import Truth

from allocator.chains import ChainSpace
from cluster.config import DEMO
from cluster.power.host import HostFiles
from cluster.traffic.load import LoadPlan, run_load
from cluster.traffic.report import OK, Answer, LoadReport, Progress

REST = 0.0
"""Share of the processors that other programs take, where FLOPs draw. They would get a part of the joules by how long
replicas say that they worked, which is not what draws here."""
STATIC_S = 1.2e-3
"""CPU seconds of a request under the static chain, where FLOPs draw: about what it truly takes, all around the models
included. Were it much more or less, replicas would say that they worked less or more than the processors did."""
CORES = 2


@dataclass
class Heard:
    """Good answers so far: what the stand-in draws for, and the pages by arm."""

    asked: list[Answer] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    begins: int = 0

    @property
    def pages(self) -> list[tuple[bytes, Answer]]:
        """Requests and answers since it was cleared."""
        return list(zip(self.bodies[self.begins :], self.asked[self.begins :], strict=True))

    def __call__(self, body: bytes, answer: Answer) -> None:
        if answer.kind == OK:
            self.bodies.append(body)
            self.asked.append(answer)

    def clear(self) -> None:
        """Pages begin anew; the answers stay, for they have drawn."""
        self.begins = len(self.asked)


@dataclass(frozen=True)
class Meters:
    """What stands in for meters.

    settings    where a sensor finds them, and what tells how busy the processors are that draw
    j_per_flop  what FLOPs truly draw; None where the machine's own work is what draws
    """

    settings: Mapping[str, str]
    truth: Truth
    heard: Heard
    j_per_flop: float | None


@contextmanager
def meters(folder: Path, kind: str, space: ChainSpace) -> Iterator[Meters]:
    """kind: `cpu` draws by this machine's CPU time; `flops` by the FLOPs of what was answered, and by nothing else."""
    heard, per_flop = Heard(), None
    board = sysfs_tree.intel_two_sockets()
    tree = SysfsTree.build(folder / "tree", board)
    settings = {"GREENFLOW_POWER_RAPL_ROOT": str(tree.powercap)}
    source: CpuSeconds = machine_cpu_s
    if kind == "flops":
        s_per_flop = STATIC_S / space.static.flops
        answered = AnsweredCpu(space, s_per_flop, REST, CORES)
        answered.asking = heard
        source, per_flop = answered, s_per_flop / CORES * busy_w(board)
        # Processors that draw for other work than the machine's are busy with other work than the machine's.
        settings["GREENFLOW_POWER_PROC_ROOT"] = str(tree.proc)
        tree.set_boot_id(HostFiles().boot_id())
    with driven(SysfsPower(tree), 0.05, source, CORES if kind == "flops" else None) as power:
        truth = Truth(power)
        try:
            yield Meters(settings, truth, heard, per_flop)
        finally:
            truth.close()


def busy_w(board: sysfs_tree.Board) -> float:
    """Watts of full load above those of rest."""
    return sum(watts_of(meter, board, 1.0) - watts_of(meter, board, 0.0) for meter in board.true_meters)


@contextmanager
def served(drawn: Meters, ledger: Path, settings: Mapping[str, str], cascade: Path = DEMO) -> Iterator[Running]:
    """A cascade, all inside the ingress. A ledger that is there already makes a start from joules it has learned."""
    inline = next(server for server in SERVERS if server.name == "inline")
    environment = {
        **inline.environment,
        **drawn.settings,
        "GREENFLOW_ENERGY_LEDGER": str(ledger),
        "GREENFLOW_ENERGY_ENABLED": "true",
        "GREENFLOW_ALLOCATOR_ENABLED": "true",
        "GREENFLOW_LIMITS_CAPACITY_SHARE": "0",
        **settings,
    }
    with running(replace(inline, environment=environment), cascade) as server:
        yield server


@dataclass(frozen=True)
class Traffic:
    """A load run that the first Ctrl-C ends early: its report says whether it is complete."""

    plan: LoadPlan

    def run(self, tell: Callable[[Progress], None]) -> LoadReport:
        """`tell` hears once a second how it goes."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(self._stoppable(tell))

    async def _stoppable(self, tell: Callable[[Progress], None]) -> LoadReport:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGINT, stop.set)
        try:
            return await run_load(self.plan, tell, stop)
        finally:
            loop.remove_signal_handler(signal.SIGINT)
