"""One who looks: the newest event that it has not been sent yet. No Ray here."""

import asyncio


class Listener:
    """Used from one event loop. Of events that come faster than they can be sent, only the newest waits.

    Nothing is sent before it has begun.
    """

    def __init__(self) -> None:
        self._first: bytes | None = None
        self._newest: bytes | None = None
        self._begun = self._closed = False
        self._wake = asyncio.Event()

    def begin(self, event: bytes) -> None:
        """Send this before all others: nothing replaces it."""
        self._first, self._begun = event, True
        self._wake.set()

    def put(self, event: bytes) -> None:
        """Send it next, instead of one that could not be sent yet."""
        self._newest = event
        self._wake.set()

    def idle(self, comment: bytes) -> None:
        """Send a comment, unless there is something to say."""
        if self._newest is None:
            self.put(comment)

    def close(self) -> None:
        """Nothing more is sent to it."""
        self._closed = True
        self._wake.set()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    async def next(self) -> bytes | None:
        """What to send next; None once it is closed."""
        while not self._closed:
            if self._begun and (event := self._taken()) is not None:
                return event
            self._wake.clear()
            await self._wake.wait()
        return None

    def _taken(self) -> bytes | None:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        newest, self._newest = self._newest, None
        return newest
