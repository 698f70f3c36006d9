"""Notices that a request's client has left, at a cost only where it matters.

Serve watches every request for its client's leaving, with two tasks a request: a good part of what an ingress replica
spends on HTTP. It leaves alone a request that says so in a header, and our HAProxy adds that header
(`launching/haproxy_guard.py`). Most requests are over in milliseconds and nobody leaves. It is those that queue whose
clients give up, and whose work would be for nobody: they are watched here once they have taken a while.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Receive, Scope

UNWATCHED = (b"x-request-disconnect-disabled", b"?1")
WATCH_AFTER_S = 0.25


@contextmanager
def cancelled_when_the_client_leaves(scope: Scope, receive: Receive, after_s: float = WATCH_AFTER_S) -> Iterator[None]:
    """Cancels the task that is inside, once the client of a request that Serve does not watch has left.

    The request's body must have been read. Looks from `after_s` on.
    """
    if UNWATCHED not in scope["headers"]:
        yield
        return
    task = asyncio.current_task()
    assert task is not None
    watchers: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()
    timer = loop.call_later(after_s, lambda: watchers.append(loop.create_task(_cancel_at_leaving(receive, task))))
    try:
        yield
    finally:
        timer.cancel()
        for watcher in watchers:
            watcher.cancel()


async def _cancel_at_leaving(receive: Receive, task: "asyncio.Task[object]") -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    task.cancel("the client has left")
