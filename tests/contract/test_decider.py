"""The Decider contract, on the local decider and on the remote one with a stand-in for Serve's handle."""

import asyncio
import pickle
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from decider_contract import DeciderBench, DeciderContract
from fake_time import FakeTime
from ray.exceptions import ActorDiedError
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import DeploymentUnavailableError
from tiny_cascade import TinyCascade
from tiny_reward import open_allocation, snapshot_of, space_of, with_reward

from allocator.reward import RewardModel
from cluster.allocation import FAILURES, PAUSE_S, RemoteDecider
from cluster.deciding import Allocation, Decider
from cluster.remote_desk import RemoteDesk
from cluster.snapshot import Snapshot
from models.errors import Late, TryAgain
from models.features import UserQuery
from models.loading import Cascade

Fault = Callable[[], Awaitable[None]]


class StandInHandle:
    """Calls in this process as Serve's handle would: arguments and answers travel as bytes."""

    def __init__(
        self,
        method: Callable[..., Awaitable[Any]],
        fault: Fault | None = None,
        explain: Callable[..., Awaitable[Any]] | None = None,
    ) -> None:
        self._method, self.fault = method, fault
        self.look = self
        self.explain = self if explain is None else StandInHandle(explain, fault)
        self.calls = 0

    def options(self, *, method_name: str, request_serialization: str, response_serialization: str) -> "StandInHandle":
        assert method_name in ("decide", "report")
        assert request_serialization == response_serialization == "pickle", "what this stand-in does"
        return self

    async def remote(self, *args: object) -> object:
        self.calls += 1
        if self.fault is not None:
            await self.fault()
        return pickle.loads(pickle.dumps(await self._method(*pickle.loads(pickle.dumps(args)))))


@pytest.fixture(scope="module", params=["tiny", "tiny_numbers"])
def tiny_with_reward(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TinyCascade:
    return with_reward(request.getfixturevalue(request.param), tmp_path_factory.mktemp("reward") / "cascade")


def bench_of(tiny: TinyCascade, allocation: Allocation, decider: Decider) -> DeciderBench:
    cascade, space = Cascade.open(tiny.folder), space_of(tiny)
    model = RewardModel.open(tiny.folder, cascade.spec, space)

    def publish(snapshot: Snapshot) -> None:
        allocation.follower.snapshot = snapshot

    return DeciderBench(
        decider, publish, allocation.tally, cascade, model, lambda version, price: snapshot_of(space, version, price)
    )


class TestLocalDecider(DeciderContract):
    @pytest.fixture
    def bench(self, tiny_with_reward: TinyCascade) -> Iterator[DeciderBench]:
        with open_allocation(tiny_with_reward) as allocation:
            yield bench_of(tiny_with_reward, allocation, allocation.decider)


class TestRemoteDecider(DeciderContract):
    @pytest.fixture
    def bench(self, tiny_with_reward: TinyCascade) -> Iterator[DeciderBench]:
        with open_allocation(tiny_with_reward) as allocation:
            handle = StandInHandle(allocation.decider.decide, explain=allocation.decider.explain)
            decider = RemoteDecider(handle, 10.0)  # type: ignore[arg-type]
            yield bench_of(tiny_with_reward, allocation, decider)


async def dies() -> None:
    raise ActorDiedError


async def is_not_deployed() -> None:
    raise DeploymentUnavailableError(DeploymentID(name="stand-in"))


async def hangs() -> None:
    await asyncio.sleep(60)


async def breaks() -> None:
    raise ZeroDivisionError("a bug of ours")


async def nothing(*_: object) -> None:
    return None


@pytest.mark.parametrize(
    ("fault", "error"), [(dies, TryAgain), (is_not_deployed, TryAgain), (hangs, Late), (breaks, ZeroDivisionError)]
)
def test_a_lost_allocator_means_try_again_and_a_slow_one_late(
    tiny: TinyCascade, fault: Fault, error: type[Exception]
) -> None:
    users = Cascade.open(tiny.folder).users.rows([UserQuery(2)])
    decider = RemoteDecider(StandInHandle(nothing, fault), 0.05)  # type: ignore[arg-type]
    with pytest.raises(error):
        asyncio.run(decider.decide(users))


@pytest.mark.parametrize("fault", [dies, hangs])
def test_after_failures_in_a_row_nobody_waits_for_the_allocator_until_it_has_answered_beside_the_requests(
    tiny: TinyCascade, fault: Fault
) -> None:
    users = Cascade.open(tiny.folder).users.rows([UserQuery(2), UserQuery(3)])
    time = FakeTime()
    handle = StandInHandle(nothing, fault)
    decider = RemoteDecider(handle, 0.01, time.sleep)  # type: ignore[arg-type]

    async def tried() -> None:
        await time.advance(PAUSE_S)
        await asyncio.sleep(0.05)  # a call that hangs takes its timeout, on the true clock
        await time.advance(0.0)

    async def story() -> None:
        for _ in range(5 * FAILURES):
            with pytest.raises(TryAgain):
                await decider.decide(users)
        assert handle.calls == FAILURES
        await tried()
        assert handle.calls == FAILURES + 1, "one call tries whether it is back"
        with pytest.raises(TryAgain):
            await decider.decide(users)
        assert handle.calls == FAILURES + 1, "for which no request waits"
        handle.fault = None
        await tried()
        await decider.decide(users)
        handle.fault = fault
        for _ in range(FAILURES):
            with pytest.raises(TryAgain):
                await decider.decide(users)
        assert handle.calls == 2 * FAILURES + 3, "a success wipes out what was before"

    asyncio.run(story())


@pytest.mark.parametrize(("fault", "error"), [(dies, TryAgain), (hangs, Late)])
def test_a_lost_controller_means_try_again_and_a_slow_one_late(fault: Fault, error: type[Exception]) -> None:
    desk = RemoteDesk(StandInHandle(nothing, fault), 0.05)  # type: ignore[arg-type]
    with pytest.raises(error, match="controller"):
        asyncio.run(desk.report(None))  # type: ignore[arg-type]
    with pytest.raises(error, match="controller"):
        asyncio.run(desk.look(1.0))
