"""Asks the controller once a window while somebody looks, and sends all who look the same bytes. No Ray here."""

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from cluster.events import Event, Seldom, happened
from cluster.live.aside import Aside
from cluster.live.desk import LiveDesk, Look
from cluster.live.events import HEARTBEAT, event, gone, history
from cluster.live.listener import Listener
from cluster.live.notes import worst_first
from cluster.live.ring import SPAN_S, STEP_S, Point, encoded
from models.errors import Overloaded, TryAgain

LEAST_S, MOST_S, AGAIN_S = 0.25, 10.0, 1.0
"""Between two times that the controller is asked: at least, at most, and when it did not answer."""
HEARTBEAT_S = 8.0
ENDING_S = 0.25
Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]
logger = logging.getLogger(__name__)


class Hub:
    """All who look by one ingress replica. Used from one event loop; nobody is asked while nobody looks.

    most    listeners at a time
    clock   monotonic
    ending  whether this replica is about to end, which open streams would hold up
    """

    def __init__(
        self,
        desk: LiveDesk,
        aside: Aside,
        most: int,
        clock: Clock,
        ending: Callable[[], bool] = lambda: False,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._desk, self._aside, self._most = desk, aside, most
        self._clock, self._ending, self._sleep = clock, ending, sleep
        self._failed = Seldom(clock)
        self._listeners: set[Listener] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._points: dict[int, Point] = {}  # by step: an unfinished one is replaced
        self._newest: bytes | None = None  # event of the last window, or that nobody can tell
        self._gone, self._whole = True, False
        self._time_s: float | None = None
        self._sent_s = self._asked_s = -float("inf")
        self._told = asyncio.Event()  # whether the controller was asked since somebody looks
        self._context = contextvars.copy_context()  # Serve cancels what was called in that of a listener who leaves

    @property
    def listeners(self) -> int:
        """How many look now."""
        return len(self._listeners)

    @contextmanager
    def listening(self, known_s: float | None) -> Iterator[Listener]:
        """A listener for as long as it is entered. Raises Overloaded when too many look, TryAgain when this ends.

        known_s  Unix time up to which it knows the history; None for nothing
        """
        if self._ending():
            raise TryAgain("this replica is ending; another one answers")
        if len(self._listeners) >= self._most:
            raise Overloaded(f"{self._most} look by this replica already (setting page.most_listeners)")
        listener = Listener()
        self._listeners.add(listener)
        if len(self._listeners) == 1:
            self._begin()
        opening = asyncio.create_task(self._open(listener, known_s))
        try:
            yield listener
        finally:
            opening.cancel()
            self._listeners.discard(listener)
            if not self._listeners:
                self._end()

    def _begin(self) -> None:
        if self._clock() - self._asked_s > AGAIN_S:  # else what was told is still the newest
            self._told.clear()
        runs = self._follow(), self._look_out()
        self._tasks = [asyncio.create_task(run, context=self._context.copy()) for run in runs]

    def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks = []

    async def _open(self, listener: Listener, known_s: float | None) -> None:
        """The history, then how things stand, as soon as that is known."""
        await self._told.wait()
        points = [point for _, point in sorted(self._points.items()) if known_s is None or point[0] > known_s]
        listener.begin(history(points, self._time_s, known_s is not None))
        if self._newest is not None:
            listener.put(self._newest)

    async def _follow(self) -> None:
        """Ask again and again."""
        if self._told.is_set():
            await self._sleep(AGAIN_S)
        while True:
            pause_s = await self._once()
            self._told.set()
            await self._sleep(pause_s)

    def _tell_failed(self) -> None:
        if (more := self._failed.passed()) is not None:
            text = "the live page's data cannot be had (%d times more untold)"
            happened(logger, Event.PAGE_FAILED, text, more, trace=True)

    async def _once(self) -> float:
        """Ask, and hand on what is new; in how many seconds to ask again. Never raises, whatever happens there."""
        try:
            look = await self._desk.look(self._points[max(self._points)][0] if self._whole and self._points else 0.0)
            self._keep(look)
            self._whole = self._whole or look.whole
            if look.time_s != self._time_s or self._gone:
                self._tell(event("window", self._window(look), look.time_s))
                self._gone, self._time_s = False, look.time_s
            return min(max(look.next_in_s, LEAST_S), MOST_S)
        except TryAgain as error:
            self._tell(gone(str(error), self._time_s))
        except Exception:
            self._tell_failed()
            self._tell(gone("nobody can tell; the server's log says why", self._time_s))
        finally:
            self._asked_s = self._clock()
        self._gone = True
        return AGAIN_S

    def _window(self, look: Look) -> bytes:
        """The window's JSON: what the controller tells of it, and what this replica knows besides."""
        beside = {
            "savings": self._aside.savings(),
            "policy": self._aside.policy(),
            "notes": worst_first([*self._aside.notes(), *look.notes]),
        }
        return look.window[:-1] + b"," + encoded(beside)[1:]

    def _keep(self, look: Look) -> None:
        """Take in what is new, and let go of what is too old, or later than now: a clock was set back."""
        self._points.update({int(point[0] // STEP_S): point for point in look.points})
        oldest, newest = (int(time_s // STEP_S) for time_s in (look.time_s - SPAN_S, look.time_s))
        self._points = {step: point for step, point in self._points.items() if oldest < step <= newest}

    def _tell(self, content: bytes) -> None:
        """Tell all who look, and those who come before there is news."""
        self._newest = content
        for listener in self._listeners:
            listener.put(content)
        self._sent_s = self._clock()

    async def _look_out(self) -> None:
        """Keep streams alive while there is nothing to say, and end them when the replica does."""
        while True:
            if self._ending():
                for listener in self._listeners:
                    listener.close()
            if self._clock() - self._sent_s >= HEARTBEAT_S:
                for listener in self._listeners:
                    listener.idle(HEARTBEAT)
                self._sent_s = self._clock()
            await self._sleep(ENDING_S)
