"""Whether calls to a deployment can get anywhere, by what Serve's router in this process knows, and how to wake one."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

LOOK_S = 0.05
MEET_S = 2.0
WAKE_S = 60.0


class Handle(Protocol):
    """What is used of a handle of Serve."""

    def running_replicas_populated(self) -> bool:
        """Whether its router has ever heard of a replica."""
        ...


def known_replicas(handle: Handle) -> int | None:
    """How many replicas the handle's router would choose from; None where Ray hides it.

    Serve's controller tells routers within 0.1 s of what it notices, which for a death may take ten seconds; but a
    router also drops a replica as soon as a call to it fails. A call that finds none waits in the router for as long as
    it takes, and so does one whose replica dies before it has taken it: nothing else tells that it waits in vain. Ray
    has no public way to this number, so it must do no harm when this one ends.
    """
    router: Any = getattr(getattr(handle, "_router", None), "_asyncio_router", None)
    if not hasattr(type(router), "request_router"):
        return None
    chosen = router.request_router
    return 0 if chosen is None else len(getattr(chosen, "curr_replicas", (None,)))


class Reach:
    """Of one handle, on the event loop that it belongs to."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._since_s: float | None = None

    @property
    def absent(self) -> bool:
        """Whether there is no replica to be called. A router that has just been made is given MEET_S to hear of one."""
        return self._known_none() and not self._may_hear()

    async def present(self) -> bool:
        """Whether there is a replica, when a new router has had its time."""
        while self._known_none() and self._may_hear():
            await asyncio.sleep(LOOK_S)
        return not self._known_none()

    def watched(self, limit: asyncio.Timeout) -> "Watch":
        """While it is entered, `limit` runs out as soon as there is no replica any more."""
        return Watch(self, limit)

    def _known_none(self) -> bool:
        return known_replicas(self._handle) == 0

    def _may_hear(self) -> bool:
        now_s = asyncio.get_running_loop().time()
        self._since_s = now_s if self._since_s is None else self._since_s
        return not self._handle.running_replicas_populated() and now_s - self._since_s <= MEET_S


class Watch:
    """Looks after a call that waits."""

    def __init__(self, reach: Reach, limit: asyncio.Timeout) -> None:
        self._reach, self._limit, self._loop = reach, limit, asyncio.get_running_loop()

    def __enter__(self) -> None:
        self._due = self._loop.call_later(LOOK_S, self._look)

    def __exit__(self, *_: object) -> None:
        self._due.cancel()

    def _look(self) -> None:
        if self._reach.absent:
            self._limit.reschedule(self._loop.time())
        else:
            self._due = self._loop.call_later(LOOK_S, self._look)


class Waker:
    """Asks a deployment for a replica: a call that waits for one makes Serve's autoscaler start it at once.

    ping  a call that any replica answers
    """

    def __init__(self, ping: Callable[[], Awaitable[object]], most_s: float = WAKE_S) -> None:
        self._ping, self._most_s = ping, most_s
        self._call: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Returns at once, and does nothing while the last call still waits."""
        if self._call is None or self._call.done():
            self._call = asyncio.get_running_loop().create_task(self._called())

    async def _called(self) -> None:
        with contextlib.suppress(Exception):  # whoever still wants it asks again
            async with asyncio.timeout(self._most_s):
                await self._ping()
