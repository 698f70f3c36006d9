"""Waiting for what a running application comes to."""

import time
from collections.abc import Callable


def until(holds: Callable[[], bool], seconds: float = 30.0) -> float:
    """Seconds until it held; an assertion when it did not in time."""
    start_s = time.monotonic()
    while not holds():
        assert time.monotonic() < start_s + seconds, "it did not come to hold in time"
        time.sleep(0.05)
    return time.monotonic() - start_s
