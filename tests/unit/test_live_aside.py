"""What a replica adds to the controller's window: its policy as it holds it, and savings that are asked for seldom."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fake_time import FakeTime
from outcome_rows import BEGAN_S, CHAINS, HEAD
from tiny_cascade import TinyCascade
from tiny_reward import MODEL, open_allocation, snapshot_of, space_of, with_reward

from cluster.deciding import Allocation
from cluster.live.aside import SAVINGS_S, Aside
from cluster.live.schemas import PolicyOut, SavingsOut
from cluster.outcomes.account import Experiment, OutcomesAccount
from cluster.outcomes.drift import Drift
from cluster.outcomes.joiner import Joiner
from cluster.outcomes.log_base import NoLog
from cluster.outcomes.shipper import Parcel
from models.errors import Late


class Tells:
    """Whoever keeps the account; counts how often it was asked."""

    def __init__(self) -> None:
        self.account = OutcomesAccount(
            Experiment(0.02, b"k" * 16), HEAD.chains, Joiner(), Drift(CHAINS), NoLog(), lambda: BEGAN_S
        )
        self.asked, self.late = 0, False

    async def take(self, parcel: Parcel) -> None:
        self.account.take(parcel)

    async def savings(self) -> dict[str, Any]:
        self.asked += 1
        if self.late:
            raise Late("no answer")
        return self.account.payload()


@pytest.fixture
def time() -> FakeTime:
    return FakeTime(100.0)


@pytest.fixture(scope="module")
def rewarded(tiny: TinyCascade, tmp_path_factory: pytest.TempPathFactory) -> TinyCascade:
    return with_reward(tiny, tmp_path_factory.mktemp("reward") / "cascade")


@pytest.fixture
def allocation(rewarded: TinyCascade, time: FakeTime) -> Iterator[Allocation]:
    with open_allocation(rewarded, time) as allocation:
        yield allocation


def test_savings_are_asked_for_seldom_and_beside_everything_else(time: FakeTime) -> None:
    async def main() -> None:
        tells = Tells()
        aside = Aside(None, tells, time)
        assert aside.savings() is None, "nobody waits for them"
        await asyncio.sleep(0)
        for _ in range(3 * int(SAVINGS_S)):
            SavingsOut.model_validate(aside.savings(), strict=True)
            await time.advance(1.0)
        assert tells.asked == 3

    asyncio.run(main())


def test_savings_that_cannot_be_had_are_those_of_before(time: FakeTime) -> None:
    async def main() -> None:
        tells = Tells()
        aside = Aside(None, tells, time)
        aside.savings()
        await asyncio.sleep(0)
        known, tells.late = aside.savings(), True
        for _ in range(3):
            await time.advance(SAVINGS_S)
            assert aside.savings() == known is not None
        assert tells.asked > 2

    asyncio.run(main())


def test_the_policy_is_the_one_that_the_replica_decides_by(
    rewarded: TinyCascade, allocation: Allocation, time: FakeTime
) -> None:
    aside = Aside(allocation, None, time)
    assert aside.policy() is None, "none has come"
    space = space_of(rewarded)
    allocation.follower.snapshot = snapshot_of(space, 12)
    policy = PolicyOut.model_validate(aside.policy(), strict=True)
    assert policy == PolicyOut(version=12, reward_model=MODEL, available=len(space), chains=len(space), stale=False)
    assert aside.notes() == []
    time.now_s += 1000.0
    assert [note["code"] for note in aside.notes()] == ["stale"]


def test_where_nobody_decides_there_is_no_policy(time: FakeTime) -> None:
    aside = Aside(None, None, time)
    assert (aside.policy(), aside.savings(), aside.notes()) == (None, None, [])
