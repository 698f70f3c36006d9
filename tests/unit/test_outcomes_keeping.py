"""The account's sums are kept by the controller: taken up first, and later where that one is away or ends meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from outcome_rows import BEGAN_S, CHAINS, HEAD, decisions, numbered

from cluster.outcomes.account import Experiment, OutcomesAccount
from cluster.outcomes.drift import Drift
from cluster.outcomes.joiner import Joiner
from cluster.outcomes.log_base import NoLog
from cluster.outcomes.recorder import Shipment
from cluster.outcomes.shipper import Parcel
from cluster.outcomes_replica import Keeping
from models.errors import TryAgain

Fault = Callable[[], Awaitable[None]]


class Controller:
    """Keeps sums as the controller does; what it is asked first fails as it is told.

    asked  what it was asked for, in order
    """

    def __init__(self, kept: bytes | None = None, fault: Fault | None = None, fails_at: str = "") -> None:
        self.kept, self.fault, self.fails_at = kept, fault, fails_at
        self.asked: list[str] = []
        self.kept_savings = SimpleNamespace(remote=self._kept_savings)
        self.keep_savings = SimpleNamespace(remote=self._keep_savings)

    async def _kept_savings(self) -> bytes | None:
        await self._hear("kept_savings")
        return self.kept

    async def _keep_savings(self, kept: bytes) -> None:
        await self._hear("keep_savings")
        self.kept = kept

    async def _hear(self, name: str) -> None:
        self.asked.append(name)
        if self.fault is not None and name == self.fails_at:
            await self.fault()


def account_of(requests: int) -> OutcomesAccount:
    experiment = Experiment(0.1, b"0123456789abcdef")
    account = OutcomesAccount(experiment, HEAD.chains, Joiner(), Drift(CHAINS), NoLog(), lambda: BEGAN_S)
    account.take(Parcel("a", 1, Shipment((decisions(numbered(requests)),))))
    return account


def keeping(account: OutcomesAccount, controller: Controller) -> Keeping:
    return Keeping(account, cast(Any, controller))


async def cancelled() -> None:
    """As Serve hands on what happened in a replica that ends."""
    raise asyncio.CancelledError


async def away() -> None:
    raise TryAgain("nobody there")


async def never() -> None:
    await asyncio.Event().wait()


def test_what_was_kept_is_taken_up_once_before_anything_is_kept_instead() -> None:
    async def main() -> None:
        one = keeping(account, controller)
        await one.keep()
        await one.keep()

    controller, account = Controller(kept=account_of(30).dumped()), account_of(7)
    expected = account_of(7)
    assert controller.kept is not None
    expected.resume(controller.kept)
    asyncio.run(main())
    assert controller.asked == ["kept_savings", "keep_savings", "keep_savings"]
    assert controller.kept == expected.dumped()


@pytest.mark.parametrize("fault", [cancelled, away])
@pytest.mark.parametrize("fails_at", ["kept_savings", "keep_savings"])
def test_a_controller_that_is_away_or_ends_meanwhile_is_asked_again_later(fault: Fault, fails_at: str) -> None:
    async def main() -> None:
        one = keeping(account, controller)
        await one.keep()
        assert one.known == (fails_at == "keep_savings")
        controller.fault = None
        await one.keep()
        assert one.known

    controller, account = Controller(fault=fault, fails_at=fails_at), account_of(7)
    asyncio.run(main())
    assert controller.kept == account.dumped()


def test_whoever_cancels_the_keeping_ends_it() -> None:
    async def main() -> bool:
        one = keeping(account_of(7), Controller(fault=never, fails_at="kept_savings"))
        task = asyncio.create_task(one.keep())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(main())
