"""A call that was cancelled over there ends nothing here; a task that is cancelled itself does end."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from cluster.accounts import Report, Totals
from cluster.remote_desk import RemoteDesk
from cluster.told_to_end import cancelled_there
from models.errors import TryAgain


async def cancelled(*_: object) -> None:
    """As Serve hands on what happened in a replica that ends."""
    raise asyncio.CancelledError


async def calling(call: Any, most_s: float | None = None) -> None:
    with cancelled_there("the allocator"):
        async with asyncio.timeout(most_s):
            await call()


async def never() -> None:
    await asyncio.Event().wait()


def test_a_call_that_was_cancelled_there_is_to_be_tried_again() -> None:
    with pytest.raises(TryAgain, match="the allocator: the call was cancelled there"):
        asyncio.run(calling(cancelled))


def test_a_time_that_is_over_stays_one() -> None:
    with pytest.raises(TimeoutError):
        asyncio.run(calling(never, 0.01))


def test_a_task_that_is_cancelled_ends() -> None:
    async def ended() -> bool:
        task = asyncio.create_task(calling(never))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(ended())


def test_a_replica_that_reports_hears_of_it_as_of_any_other_failure() -> None:
    handle = cast(Any, SimpleNamespace(options=lambda **_: SimpleNamespace(remote=cancelled)))
    nothing = Totals.none(0.0, 3)
    report = Report("one", nothing, nothing, np.zeros((0, 3), np.float32), 0, np.zeros(0))
    with pytest.raises(TryAgain, match="the controller: the call was cancelled there"):
        asyncio.run(RemoteDesk(handle, timeout_s=1.0).report(report))
