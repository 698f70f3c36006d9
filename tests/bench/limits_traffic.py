"""Traffic whose rate changes while it runs, without a gap: requests arrive by a Poisson process."""

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import cycle
from math import inf

import numpy as np
import uvloop

from cluster.traffic.client import Client
from cluster.traffic.report import LoadReport, Recorder

MOST_IN_FLIGHT = 1024
TIMEOUT_S, LAST_ANSWERS_S = 10.0, 15.0


class _Leg:
    """The requests that are due between two cuts."""

    def __init__(self) -> None:
        self.began_s = time.perf_counter()
        self.recorder = Recorder(self.began_s, inf)
        self.on_their_way: set[asyncio.Task[None]] = set()


class Traffic:
    """Open loop, in a thread of its own: what the server does changes nothing of what it is asked.

    A request belongs to the leg in which it was due, however late its answer comes.
    """

    def __init__(self, url: str, bodies: Sequence[bytes], rate_per_s: float, seed: int = 0) -> None:
        self._url, self._bodies = url, cycle(bodies)
        self._rate_per_s, self._ended = rate_per_s, False
        self._rng = np.random.default_rng(seed)
        self._leg = _Leg()
        self._loop = uvloop.new_event_loop()
        self._done: Future[None] = Future()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def rate(self, per_s: float) -> None:
        """From the next arrival on."""
        self._rate_per_s = per_s

    def cut(self) -> LoadReport:
        """What was due since the last cut, once it is all answered; traffic goes on meanwhile.

        Raises whatever ended the traffic, should it have ended.
        """
        if self._done.done():
            self._done.result()
        return asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(2 * LAST_ANSWERS_S)

    def close(self) -> None:
        """No more requests."""
        self._ended = True
        self._thread.join(2 * LAST_ANSWERS_S)

    def _work(self) -> None:
        try:
            self._loop.run_until_complete(self._arrivals())
            self._done.set_result(None)
        except Exception as error:
            self._done.set_exception(error)

    async def _arrivals(self) -> None:
        client = Client(self._url, MOST_IN_FLIGHT, TIMEOUT_S)
        try:
            due_s = time.perf_counter()
            while not self._ended:
                due_s += float(self._rng.exponential(1 / self._rate_per_s))
                await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
                self._send(client, due_s)
        finally:
            if self._leg.on_their_way:
                await asyncio.wait(self._leg.on_their_way, timeout=LAST_ANSWERS_S)
            await client.close()

    def _send(self, client: Client, due_s: float) -> None:
        leg = self._leg
        if len(leg.on_their_way) >= MOST_IN_FLIGHT:
            leg.recorder.overflowed(due_s)
            return
        task = asyncio.create_task(self._ask(client, leg.recorder, max(due_s, leg.began_s)))
        leg.on_their_way.add(task)
        task.add_done_callback(leg.on_their_way.discard)

    async def _ask(self, client: Client, recorder: Recorder, due_s: float) -> None:
        sent_s = time.perf_counter()
        answer = await client.send(next(self._bodies))
        recorder.add(due_s, sent_s, time.perf_counter(), answer)

    async def _cut(self) -> LoadReport:
        leg, self._leg = self._leg, _Leg()
        leg.recorder.ends_s = time.perf_counter()
        if leg.on_their_way:
            await asyncio.wait(leg.on_their_way, timeout=LAST_ANSWERS_S)
        return leg.recorder.report(self._url, None, self._rate_per_s, 0.0)
