"""Tells a task's own end from that of a call it waits for. No Ray here.

What is cancelled in another replica, as when that one ends, comes back to the caller as the same CancelledError that
ends its own task. Who takes it for that ends a loop that should run for ever, and nobody hears of it.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from models.errors import TryAgain


def told_to_end() -> bool:
    """Whether it is this task that somebody has cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@contextmanager
def cancelled_there(callee: str) -> Iterator[None]:
    """Raises TryAgain where a call that is awaited inside was cancelled by the one who was called."""
    try:
        yield
    except asyncio.CancelledError as error:
        if told_to_end():
            raise
        raise TryAgain(f"{callee}: the call was cancelled there") from error
