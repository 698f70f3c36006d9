"""A controller and its replicas in one process, on a clock of the test's own; calls between them can be lost."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
from fake_time import FakeTime
from tiny_reward import MODEL

from allocator.chains import ChainSpace
from allocator.constraints import flops_per_second
from allocator.price.select import strategy
from cluster.accounts import Report
from cluster.control import Control
from cluster.desk import ControllerDesk
from cluster.follower import Follower, Tie
from cluster.metrics import RecordedMetrics
from cluster.snapshot import Answer
from cluster.tally import Tally
from cluster.work import Workbook
from models.errors import TryAgain

RATE = 100


@dataclass
class Wire:
    """What lies between a replica and the controller: it can be cut, and it can lose what it carries."""

    desk: ControllerDesk | None = None
    lose_reports: bool = False
    lose_answers: bool = False
    reports: list[Report] = field(default_factory=list)
    calls: set["asyncio.Future[Answer]"] = field(default_factory=set)

    def cut(self) -> None:
        """The controller dies, and with it what it is about to answer."""
        self.desk = None
        for call in self.calls:
            call.cancel()

    async def report(self, report: Report) -> Answer:
        if self.desk is None or self.lose_reports:
            raise TryAgain("nobody there")
        self.reports.append(report)
        call = asyncio.ensure_future(self.desk.report(report))
        self.calls.add(call)
        await asyncio.wait({call})
        self.calls.discard(call)
        if call.cancelled():
            raise TryAgain("it died")
        answer = call.result()
        if self.lose_answers:
            raise TryAgain("the answer was lost")
        return answer


class Replica:
    """Decides RATE requests a second by what its follower holds, and keeps what it saw."""

    def __init__(self, name: str, space: ChainSpace, wire: Wire, time: FakeTime, stale_s: float = 10.0) -> None:
        self.space, self.time = space, time
        self.tally = Tally(len(space), 64, np.random.default_rng(0), Workbook("here/cpu"))
        self.metrics = RecordedMetrics()
        tie = Tie(name, len(space), MODEL, 1.0, stale_s)
        self.follower = Follower(tie, self.tally, wire, time, time.sleep, metrics=self.metrics)
        self.versions: list[int] = []
        self.decided_by: dict[int, tuple[float, ...]] = {}
        self._rng = np.random.default_rng(1)

    def serve(self, requests: int) -> None:
        if self.follower.snapshot is None:
            return
        policy = self.follower.policy
        share = self.space.flops / self.space.flops.max()
        rewards = self._rng.gamma(2.0, size=(requests, 1)) * (1 - np.exp(-3 * share))[None, :]
        self.tally.decided(rewards.astype(np.float32))
        self.tally.executed(policy.decide(rewards).chains, handed=0)
        self.versions.append(policy.version)
        self.decided_by[policy.version] = tuple(policy.prices.tolist())


class World:
    """A controller and some replicas."""

    def __init__(self, space: ChainSpace, limit_per_s: float, replicas: int = 2, stale_s: float = 10.0) -> None:
        self.space, self.time, self.limit_per_s = space, FakeTime(1000.0), limit_per_s
        self.wires = [Wire() for _ in range(replicas)]
        self.replicas = [Replica(f"r{n}", space, wire, self.time, stale_s) for n, wire in enumerate(self.wires)]
        self.desk: ControllerDesk | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._controller: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.restart_controller()
        self._tasks = [asyncio.create_task(replica.follower.run()) for replica in self.replicas]

    def stop_controller(self) -> None:
        if self._controller is not None:
            self._controller.cancel()
        self.desk = None
        for wire in self.wires:
            wire.cut()

    def restart_controller(self) -> None:
        self.stop_controller()
        control = Control(self.space, (flops_per_second(self.limit_per_s),), strategy(), MODEL, self.space.static.index)
        self.desk = ControllerDesk(control, self.time, self.time, self.time.sleep)
        self._controller = asyncio.create_task(self.desk.run())
        for wire in self.wires:
            wire.desk = self.desk

    async def pass_by(self, seconds: float) -> None:
        """Time with traffic in every tenth of a second."""
        for _ in range(round(seconds * 10)):
            for replica in self.replicas:
                replica.serve(RATE // 10)
            await self.time.advance(0.1)

    def end(self) -> None:
        self.stop_controller()
        for task in self._tasks:
            task.cancel()

    @property
    def versions(self) -> list[int]:
        return [0 if r.follower.snapshot is None else r.follower.policy.version for r in self.replicas]


def play(world: World, story: Callable[[World], Awaitable[None]]) -> World:
    async def main() -> None:
        world.start()
        try:
            await story(world)
        finally:
            world.end()

    asyncio.run(main())
    return world
