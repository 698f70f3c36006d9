"""The StageRunner contract, on the inline runner and on the remote one with a stand-in for Serve's handle."""

import asyncio
import pickle
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import DeploymentUnavailableError, RayServeException
from stage_runner_contract import RunnerOf, StageRunnerContract
from tiny_cascade import TinyCascade

from cluster.cascade import InlineRunner, StageRunner
from cluster.config import Settings
from cluster.stages import RemoteRunner, StageReplica
from models.errors import Late, TryAgain
from models.features import UserQuery
from models.loading import Cascade


class StandInHandle:
    """Calls a replica in this process as Serve's handle would: arguments and answers travel as bytes.

    `fault` happens in place of the replica's answer.
    """

    deployment_name = "stand-in"

    def __init__(self, replica: StageReplica, fault: Callable[[], Awaitable[None]] | None = None) -> None:
        self._replica, self._fault = replica, fault

    def options(self, *, method_name: str, request_serialization: str, response_serialization: str) -> "StandInMethod":
        assert request_serialization == response_serialization == "pickle", "what this stand-in does"
        return StandInMethod(getattr(self._replica, method_name), self._fault)

    @property
    def ping(self) -> "StandInMethod":
        return StandInMethod(self._replica.ping, self._fault)


class StandInMethod:
    def __init__(self, method: Callable[..., Awaitable[Any]], fault: Callable[[], Awaitable[None]] | None) -> None:
        self._method, self._fault = method, fault

    async def remote(self, *args: object) -> object:
        if self._fault is not None:
            await self._fault()
        return pickle.loads(pickle.dumps(await self._method(*pickle.loads(pickle.dumps(args)))))


class TestInlineRunner(StageRunnerContract):
    @pytest.fixture
    def runner(self, tiny: TinyCascade) -> Iterator[RunnerOf]:
        cascade = Cascade.open(tiny.folder)
        stages = {stage.name: stage for stage in cascade.spec.stages}
        with ThreadPoolExecutor(2) as threads:

            def runner_of(stage: str, variant: str) -> StageRunner:
                spec = stages[stage]
                return InlineRunner(cascade.variant(spec, spec.variant(variant)), threads)

            yield runner_of


class TestRemoteRunner(StageRunnerContract):
    @pytest.fixture
    def runner(self, tiny: TinyCascade) -> RunnerOf:
        settings = Settings(cascade=tiny.folder)

        def runner_of(stage: str, variant: str) -> StageRunner:
            return RemoteRunner(StandInHandle(StageReplica(settings, stage, variant)), (stage, variant), timeout_s=10)  # type: ignore[arg-type]

        return runner_of


async def dies() -> None:
    raise ActorDiedError


async def is_unavailable() -> None:
    raise ActorUnavailableError("no answer", None)


async def hangs() -> None:
    await asyncio.sleep(60)


async def breaks() -> None:
    raise ZeroDivisionError("a bug of ours")


NAME = ("recall", "dot")


def remote(tiny: TinyCascade, fault: Callable[[], Awaitable[None]], timeout_s: float = 10) -> RemoteRunner:
    replica = StageReplica(Settings(cascade=tiny.folder), "recall", "dot")
    return RemoteRunner(StandInHandle(replica, fault), NAME, timeout_s)  # type: ignore[arg-type]


def call(tiny: TinyCascade, runner: RemoteRunner) -> None:
    users = Cascade.open(tiny.folder).users.rows([UserQuery(2)])
    asyncio.run(runner.run(users, None, np.array([2])))


async def is_not_deployed() -> None:
    raise DeploymentUnavailableError(DeploymentID(name="stand-in"))


@pytest.mark.parametrize("fault", [dies, is_unavailable, is_not_deployed])
def test_a_replica_that_went_away_means_try_again(tiny: TinyCascade, fault: Callable[[], Awaitable[None]]) -> None:
    with pytest.raises(TryAgain, match="stand-in") as told:
        call(tiny, remote(tiny, fault))
    assert isinstance(told.value.__cause__, RayActorError | RayServeException)


def test_a_replica_that_does_not_answer_in_time_is_late(tiny: TinyCascade) -> None:
    with pytest.raises(Late, match=r"stand-in did not answer in 0\.05 s"):
        call(tiny, remote(tiny, hangs, timeout_s=0.05))


def test_a_fault_inside_the_variant_is_not_retried(tiny: TinyCascade) -> None:
    with pytest.raises(ZeroDivisionError):
        call(tiny, remote(tiny, breaks))


def test_a_probe_passes_when_the_replica_answers_and_raises_when_it_does_not(tiny: TinyCascade) -> None:
    replica = StageReplica(Settings(cascade=tiny.folder), "recall", "dot")
    asyncio.run(RemoteRunner(StandInHandle(replica), NAME, 10).probe())  # type: ignore[arg-type]
    with pytest.raises(RayActorError):
        asyncio.run(remote(tiny, dies).probe())
