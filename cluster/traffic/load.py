"""Sends recommendation requests to a running server and measures what comes back.

Closed loop: N clients, each sends its next request when the last one is answered. Open loop: requests arrive
as a Poisson process whatever the server does, and each one's latency counts from its scheduled arrival, so that
a server that stalls cannot hide the requests that waited meanwhile.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from math import sin, tau

import numpy as np

from cluster.traffic.clicks import Clicker, Clicks
from cluster.traffic.client import Client
from cluster.traffic.report import Answer, LoadReport, Progress, Recorder

DEFAULT_URL = "http://127.0.0.1:8000"
# A refused connection fails at once: without a pause a closed loop would count millions of them.
PAUSE_AFTER_BROKEN_S = 0.05
# What an interrupted run still waits for the answers that are on their way.
GRACE_S = 1.0
LAST_CLICKS_S = 5.0


@dataclass(frozen=True)
class LoadPlan:
    """What to send where, and for how long: either `clients` (closed loop) or `rate_per_s` (open loop).

    url            of the server, without /v1/recommend
    bodies         encoded JSON bodies, sent in turn, from the start again when they run out
    max_in_flight  open loop: an arrival that finds so many requests unanswered is not sent, and counts as overflow
    timeout_s      a request without a whole answer after so long has failed
    swing          open loop: the rate rises and falls by this share of it, >= 0 and <= 1, once in `swing_s`
    seed           of the arrival times
    clicks         draws what users click on, which the server is told of as feedback
    on_answer      hears of every request that is answered or has failed
    """

    url: str
    bodies: Sequence[bytes]
    clients: int | None = None
    rate_per_s: float | None = None
    seconds: float = 10.0
    warmup_s: float = 0.0
    max_in_flight: int = 1024
    timeout_s: float = 10.0
    swing: float = 0.0
    swing_s: float = 60.0
    seed: int = 0
    clicks: Clicks | None = None
    on_answer: Callable[[bytes, Answer], None] | None = None

    def __post_init__(self) -> None:
        if (self.clients is None) == (self.rate_per_s is None):
            raise ValueError("name either clients or rate_per_s")
        if not self.bodies:
            raise ValueError("bodies must hold at least one request")

    @property
    def connections(self) -> int:
        """The most connections that the run holds open."""
        return self.clients if self.clients is not None else self.max_in_flight


class _Run:
    """One run: its client, its recorder, and the times that bound it on the monotonic clock."""

    def __init__(self, plan: LoadPlan, client: Client, clicker: Clicker | None, stop: asyncio.Event) -> None:
        self.plan, self.stop = plan, stop
        self._hear = [heard for heard in (plan.on_answer, clicker.saw if clicker else None) if heard is not None]
        self.starts_s = time.perf_counter()
        self.ends_s = self.starts_s + plan.warmup_s + plan.seconds
        self.recorder = Recorder(self.starts_s + plan.warmup_s, self.ends_s)
        self._client = client
        self._bodies: Iterator[bytes] = cycle(plan.bodies)

    async def drive(self) -> None:
        """Send until the time is over or `stop` is set, and wait for the answers that are on their way."""
        if self.plan.clients is not None:
            await asyncio.gather(*(self._closed() for _ in range(self.plan.clients)))
        else:
            await self._open(self.plan.rate_per_s or 0.0)

    async def _closed(self) -> None:
        while (now_s := time.perf_counter()) < self.ends_s and not self.stop.is_set():
            if await self._ask(now_s) is None:
                await asyncio.sleep(PAUSE_AFTER_BROKEN_S)

    async def _open(self, rate_per_s: float) -> None:
        in_flight: set[asyncio.Task[int | None]] = set()
        try:
            plan = self.plan
            for due_s in arrivals(self.starts_s, rate_per_s, plan.seed, plan.swing, plan.swing_s):
                if due_s >= self.ends_s or not await self._sleep_until(due_s):
                    break
                if len(in_flight) >= self.plan.max_in_flight:
                    self.recorder.overflowed(due_s)
                    continue
                task = asyncio.create_task(self._ask(due_s))
                in_flight.add(task)
                task.add_done_callback(in_flight.discard)
            await asyncio.gather(*in_flight)
        finally:
            for task in in_flight:
                task.cancel()

    async def _sleep_until(self, due_s: float) -> bool:
        wait_s = due_s - time.perf_counter()
        # Also when it is late: the answers that came in must be read before the next request goes out.
        await asyncio.sleep(max(0.0, wait_s))
        return not self.stop.is_set()

    async def _ask(self, due_s: float) -> int | None:
        sent_s = time.perf_counter()
        body = next(self._bodies)
        answer = await self._client.send(body)
        self.recorder.add(due_s, sent_s, time.perf_counter(), answer)
        for hear in self._hear:
            hear(body, answer)
        return answer.status


def arrivals(
    starts_s: float, rate_per_s: float, seed: int, swing: float = 0.0, swing_s: float = 60.0
) -> Iterator[float]:
    """Times of a Poisson process of `rate_per_s` (> 0) events a second from `starts_s` on, without end.

    Its rate rises and falls as a sine by the share `swing` of it, once in `swing_s`: drawn at the highest rate and
    thinned (Lewis and Shedler, 1979).
    """
    random = np.random.default_rng(seed)
    at_s, most = starts_s, 1.0 + swing
    while True:
        for gap_s in random.exponential(1.0 / (most * rate_per_s), size=1024).tolist():
            at_s += gap_s
            if not swing or most * random.random() < 1.0 + swing * sin(tau * (at_s - starts_s) / swing_s):
                yield at_s


async def _tell(run: _Run, on_second: Callable[[Progress], None]) -> None:
    while True:
        await asyncio.sleep(1.0)
        now_s = time.perf_counter()
        on_second(run.recorder.turn_second(now_s - run.starts_s, now_s))


async def _until_driven(run: _Run) -> None:
    """Drive the run; when it is stopped early, leave the last answers a moment."""
    driving = asyncio.create_task(run.drive())
    stopping = asyncio.create_task(run.stop.wait())
    try:
        await asyncio.wait({driving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if run.stop.is_set():
            run.recorder.cut(time.perf_counter())
            await asyncio.wait({driving}, timeout=GRACE_S)
        if driving.done():
            driving.result()
    finally:
        for task in (driving, stopping):
            task.cancel()
        await asyncio.gather(driving, stopping, return_exceptions=True)


async def run_load(
    plan: LoadPlan,
    on_second: Callable[[Progress], None] | None = None,
    stop: asyncio.Event | None = None,
) -> LoadReport:
    """Run the plan and report. `on_second` hears once a second how it goes; `stop`, once set, ends the run early.

    Requests that an early end leaves unanswered are not counted. Raises FixRequest when the URL is none, FixSetup
    when nothing listens there.
    """
    client = Client(plan.url, plan.connections, plan.timeout_s)
    # On a connection of its own: feedback takes none that a request waits for.
    clicker = Clicker(Client(plan.url, 1, plan.timeout_s), plan.clicks) if plan.clicks else None
    try:
        await client.check_reachable()
        cpu_s = time.process_time()
        run = _Run(plan, client, clicker, stop or asyncio.Event())
        await _with_company(run, clicker, on_second)
        used_s = time.process_time() - cpu_s
        report = run.recorder.report(plan.url, plan.clients, plan.rate_per_s, used_s)
        return report if clicker is None else report.model_copy(update={"clicks": clicker.report})
    finally:
        await client.close()
        if clicker is not None:
            await clicker.client.close()


async def _with_company(run: _Run, clicker: Clicker | None, on_second: Callable[[Progress], None] | None) -> None:
    """Drive the run while progress and clicks are told of, and tell of the last clicks."""
    telling = asyncio.create_task(_tell(run, on_second)) if on_second else None
    ended = asyncio.Event()
    clicking = asyncio.create_task(clicker.run(ended)) if clicker else None
    try:
        await _until_driven(run)
        ended.set()
        if clicker and clicking and not (await asyncio.wait({clicking}, timeout=LAST_CLICKS_S))[0]:
            clicker.give_up()
    finally:
        for task in (telling, clicking):
            if task:
                task.cancel()
    if clicking and clicking.done():
        clicking.result()
