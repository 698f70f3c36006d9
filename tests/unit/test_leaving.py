"""A request whose client has left is given up; all others are left in peace."""

import asyncio
from typing import Any

import pytest

from cluster.leaving import UNWATCHED, cancelled_when_the_client_leaves

SCOPE: dict[str, Any] = {"type": "http", "headers": [(b"host", b"here"), UNWATCHED]}


class Client:
    """Leaves after a while. Counts how often it was looked after."""

    def __init__(self, leaves_s: float) -> None:
        self.leaves_s, self.looks = leaves_s, 0

    async def receive(self) -> dict[str, Any]:
        self.looks += 1
        await asyncio.sleep(self.leaves_s)
        return {"type": "http.disconnect"}


async def work(client: Client, takes_s: float, scope: dict[str, Any] = SCOPE, after_s: float = 0.01) -> str:
    with cancelled_when_the_client_leaves(scope, client.receive, after_s):
        await asyncio.sleep(takes_s)
    return "done"


def test_work_for_a_client_that_has_left_is_cancelled() -> None:
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(asyncio.wait_for(work(Client(leaves_s=0.01), takes_s=30), 10))


def test_a_client_that_stays_gets_its_answer_and_no_watcher_is_left() -> None:
    async def main() -> set[str]:
        assert await work(Client(leaves_s=60), takes_s=0.05) == "done"
        await asyncio.sleep(0)
        return {task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()}}  # type: ignore[arg-type]

    assert asyncio.run(main()) == set()


def test_a_quick_request_is_not_watched_at_all() -> None:
    client = Client(leaves_s=0)
    assert asyncio.run(work(client, takes_s=0, after_s=5)) == "done"
    assert client.looks == 0


def test_a_request_that_serve_watches_is_left_to_serve() -> None:
    client = Client(leaves_s=0)
    assert asyncio.run(work(client, takes_s=0.05, scope={"type": "http", "headers": []}, after_s=0)) == "done"
    assert client.looks == 0
