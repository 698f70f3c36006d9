"""Prices of a controller before that come late are gone on from, unless the desk has found its own by then."""

import asyncio

import numpy as np
import pytest
from fake_time import FakeTime
from small_space import SPACE, concave_rewards

from allocator.constraints import Resource, flops_per_second
from allocator.price.select import strategy
from cluster.accounts import Report, Totals
from cluster.control import WARM_UP, Control
from cluster.desk import ControllerDesk
from cluster.means import Aim, Means

REWARDS = concave_rewards(400, seed=3).astype(np.float32)
RATE = 100


class Room:
    """A desk, and a replica that reports RATE requests in every window."""

    def __init__(self) -> None:
        self.time, self.windows = FakeTime(1000.0), 0
        limit = RATE * float(np.median(SPACE.flops))
        control = Control(SPACE, (flops_per_second(limit),), strategy(), "m", SPACE.static.index)
        self.desk = ControllerDesk(control, self.time, self.time, self.time.sleep)

    async def window(self) -> float:
        """A window more; the price after it."""
        self.windows += 1
        executed = np.zeros(len(SPACE), np.int64)
        executed[SPACE.static.index] = RATE * self.windows
        totals = Totals(float(self.windows), executed, RATE * self.windows, 0)
        report = Report("r", totals, Totals.none(0.0, len(SPACE)), REWARDS, self.desk.policy_version, np.zeros(1))
        answer = asyncio.create_task(self.desk.report(report))
        await asyncio.sleep(0)
        await self.time.advance(1.0)
        await answer
        assert self.desk.state is not None
        return float(self.desk.state.policy.prices[0])


@pytest.mark.parametrize(("late", "taken"), [(0, True), (1, True), (2, True), (WARM_UP + 2, False)])
def test_they_are_taken_while_none_were_found(late: int, taken: bool) -> None:
    async def story() -> None:
        room = Room()
        runs = asyncio.create_task(room.desk.run())
        for _ in range(late):
            await room.window()
        version = room.desk.policy_version
        room.desk.remembered = {"flops:flops": 1e-7}
        assert (await room.window() == 1e-7) == taken
        assert room.desk.policy_version >= version
        found = [await room.window() for _ in range(3)]
        assert found[0] != 1e-7, "they are followed from there, and not taken twice"
        runs.cancel()

    asyncio.run(story())


def test_what_came_too_late_is_not_taken_when_limits_change_either() -> None:
    async def story() -> list[float]:
        room = Room()
        runs = asyncio.create_task(room.desk.run())
        for _ in range(WARM_UP + 2):
            await room.window()
        room.desk.remembered = {"flops:cap": 1e-7, "flops:flops": 1e-7}
        limit = float(np.median(SPACE.flops)) * RATE
        aims = tuple(Aim(name, Resource.FLOPS, limit, spent=limit) for name in ("cap", "flops"))
        room.desk.measure = lambda _: means_of(aims)
        prices = [await room.window() for _ in range(4)]
        runs.cancel()
        return prices

    assert 1e-7 not in asyncio.run(story())


async def means_of(aims: tuple[Aim, ...]) -> Means:
    return Means(aims, np.repeat(SPACE.flops[:, None], len(aims), axis=1))


def test_prices_of_other_constraints_change_nothing() -> None:
    async def story() -> list[float]:
        room = Room()
        runs = asyncio.create_task(room.desk.run())
        await room.window()
        room.desk.remembered = {"another": 1e-7}
        prices = [await room.window() for _ in range(3)]
        runs.cancel()
        return prices

    assert 1e-7 not in asyncio.run(story())
