"""Cold variants are asked to start by a wish that lasts, and by nothing else."""

import asyncio

import numpy as np
from small_space import SPACE, concave_rewards

from allocator.energy.windows import Name
from allocator.policy import Policy
from cluster.autoscale import STEADY_WINDOWS
from cluster.warming import Warmer

REWARDS = concave_rewards(200, seed=2).astype(np.float32)
NOBODY = REWARDS[:0]
L2: Name = SPACE.variants[4]
EVERY = np.ones(len(SPACE), dtype=bool)
FREE, DEAR = (Policy(1, 0.0, np.array([price]), SPACE.flops[:, None], EVERY, "m", 0) for price in (0.0, 1.0))


class Room:
    """A warmer, and the variants that it has pinged."""

    def __init__(self) -> None:
        self.pinged: list[Name] = []
        self.warmer = Warmer(SPACE, frozenset(SPACE.variants), self._ping)

    async def _ping(self, name: Name) -> None:
        self.pinged.append(name)

    async def look(self, policy: Policy, rewards: np.ndarray = REWARDS, *away: Name) -> frozenset[Name]:
        due = self.warmer.look(policy, rewards, frozenset(away))
        await asyncio.sleep(0)
        return due


def test_a_wish_that_lasts_starts_a_replica() -> None:
    async def story() -> None:
        room = Room()
        assert [await room.look(FREE, REWARDS, L2) for _ in range(STEADY_WINDOWS)] == [
            *[frozenset()] * (STEADY_WINDOWS - 1),
            {L2},
        ]
        assert room.pinged == [L2]

    asyncio.run(story())


def test_a_passing_price_does_not_start_one_also_after_it_has_been_warm_for_long() -> None:
    async def story() -> None:
        room = Room()
        for _ in range(STEADY_WINDOWS):
            await room.look(FREE, REWARDS, L2)
        room.pinged.clear()
        for _ in range(500):
            assert await room.look(FREE) == frozenset(), "nothing is away"
        for _ in range(3):
            assert await room.look(FREE, REWARDS, L2) == frozenset(), "the first wish since"
            assert await room.look(DEAR, REWARDS, L2) == frozenset()
        assert room.pinged == []

    asyncio.run(story())


def test_windows_without_requests_say_nothing_of_wishes() -> None:
    async def story() -> None:
        room = Room()
        for _ in range(STEADY_WINDOWS - 1):
            await room.look(FREE, REWARDS, L2)
            assert await room.look(FREE, NOBODY, L2) == frozenset()
        assert await room.look(FREE, REWARDS, L2) == {L2}

    asyncio.run(story())
