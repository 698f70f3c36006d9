"""Requests at a steady rate beside a test, with what came of each of them."""

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx


@dataclass(frozen=True)
class Asked:
    """One request: when it was sent, how long it took, and what came. Status 0 for a failure on the wire."""

    at_s: float
    took_s: float
    status: int
    retry_after: str | None = None
    chain: str | None = None
    degraded: bool = False
    request_id: str = ""
    arm: str | None = None
    energy_j: float | None = None
    reward: float | None = None
    version: int | None = None


class Asking:
    """Sends `rate` recommendations a second from a thread of its own for as long as it is entered."""

    def __init__(self, url: str, users: Sequence[int], rate: float) -> None:
        self._url, self._users, self._rate = url, users, rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.asked: list[Asked] = []

    def __enter__(self) -> "Asking":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def since(self, at_s: float) -> list[Asked]:
        """What was sent since then and has been answered, in the order of sending."""
        return sorted((one for one in list(self.asked) if one.at_s >= at_s), key=lambda one: one.at_s)

    def faults(self) -> list[Asked]:
        """All that was not answered with a recommendation."""
        return [one for one in self.asked if one.status != 200]

    async def _run(self) -> None:
        limits = httpx.Limits(max_connections=256)
        async with httpx.AsyncClient(base_url=self._url, timeout=60, limits=limits) as client:
            tasks, number, next_s = set(), 0, time.monotonic()
            while not self._stop.is_set():
                task = asyncio.create_task(self._ask(client, self._users[number % len(self._users)]))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                number, next_s = number + 1, next_s + 1 / self._rate
                await asyncio.sleep(max(0.0, next_s - time.monotonic()))
            await asyncio.gather(*tasks)

    async def _ask(self, client: httpx.AsyncClient, user: int) -> None:
        start_s = time.monotonic()
        try:
            answer = await client.post("/v1/recommend", json={"user_id": user})
        except httpx.HTTPError:
            self.asked.append(Asked(start_s, time.monotonic() - start_s, 0))
            return
        took_s, body = time.monotonic() - start_s, answer.json()
        if answer.status_code != 200:
            self.asked.append(Asked(start_s, took_s, answer.status_code, answer.headers.get("retry-after")))
            return
        said = body["chain"]["id"], body["degraded"], body["request_id"], body["arm"], body["cost"]["energy_j"]
        decided = body["predicted_reward"], body["policy_version"]
        self.asked.append(Asked(start_s, took_s, 200, None, *said, *decided))
