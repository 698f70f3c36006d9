"""A replica takes up another reward model and its policy in one step, or goes on with the one of before."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from fake_time import FakeTime
from numpy.typing import NDArray
from promoting import A, B, name
from tiny_cascade import TinyCascade
from tiny_reward import snapshot_of, space_of

from allocator.chains import ChainSpace
from cluster.accounts import Report
from cluster.deciding import LocalDecider
from cluster.follower import Follower, Tie
from cluster.promotion.adopting import Loaded, Models
from cluster.snapshot import Answer, Snapshot
from cluster.tally import Tally
from cluster.work import Workbook
from models.batch import UserRows
from models.errors import FixFile, TryAgain

OWN = "reward.onnx@own"
USERS = UserRows(np.zeros((4, 3), np.int64), np.zeros((4, 3), np.int64))


class Constant:
    """Predicts the same for all; its run may be held up."""

    def __init__(self, chains: int, reward: float) -> None:
        self.chains, self.reward = chains, reward
        self.runs, self.may_run = threading.Event(), threading.Event()
        self.may_run.set()

    def predict(self, contexts: NDArray[Any]) -> NDArray[np.float32]:
        self.runs.set()
        assert self.may_run.wait(10)
        return np.full((len(contexts), self.chains), self.reward, np.float32)


class Controller:
    """Answers with the snapshot that it is given, and gives the models that it has."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self.contents: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.reports: list[Report] = []
        self.may_give = asyncio.Event()
        self.may_give.set()

    async def report(self, report: Report) -> Answer:
        self.reports.append(report)
        return Answer(self.snapshot, 1.0)

    async def content(self, called: str) -> bytes:
        self.asked.append(called)
        await self.may_give.wait()
        if called not in self.contents:
            raise TryAgain(f"nobody has {called}")
        return self.contents[called]


class Replica:
    """A follower that predicts, and a decider by it. `rewards` are what models of these contents predict."""

    def __init__(self, space: ChainSpace, threads: ThreadPoolExecutor) -> None:
        self.space, self.controller, self.time = space, Controller(), FakeTime(100.0)
        self.rewards = {A: 1.0, B: 2.0}
        self.own = Constant(len(space), 0.5)
        self.models = Models(Loaded(OWN, self.own), self.controller.content, self.load)  # type: ignore[arg-type]
        self.tally = Tally(len(space), 64, np.random.default_rng(0), Workbook("here/cpu"))
        tie = Tie("r", len(space), OWN, 1.0, 10.0)
        self.follower = Follower(tie, self.tally, self.controller, self.time, self.time.sleep, self.models)
        self.decider = LocalDecider(self.models, self.follower, self.tally, threads)

    def load(self, content: bytes, called: str) -> Constant:
        if content not in self.rewards:
            raise FixFile(called, "reward", "is broken")
        return Constant(len(self.space), self.rewards[content])

    async def hears(self, version: int, model: str) -> None:
        """A report that is answered with that snapshot; what it began has come to its end."""
        self.controller.snapshot = snapshot_of(self.space, version, model=model)
        await self.follower.once()
        await self.settled()

    async def settled(self) -> None:
        if self.controller.may_give.is_set() and (task := self.follower._adopting) is not None:
            await task

    async def decides(self) -> tuple[int, float]:
        """Version and reward of a micro-batch, all of it by one model."""
        decided = await self.decider.decide(USERS)
        (reward,) = set(decided.rewards.tolist())
        return decided.policy_version, reward


@pytest.fixture(scope="module")
def space(tiny: TinyCascade) -> ChainSpace:
    return space_of(tiny)


def play(space: ChainSpace, story: Callable[[Replica], Awaitable[None]]) -> None:
    async def main() -> None:
        with ThreadPoolExecutor(1) as threads:
            await story(Replica(space, threads))

    asyncio.run(main())


def test_a_snapshot_for_another_model_is_held_once_that_model_predicts(space: ChainSpace) -> None:
    async def story(replica: Replica) -> None:
        await replica.hears(1, OWN)
        assert await replica.decides() == (1, 0.5)
        replica.controller.contents[name(A)] = A
        replica.controller.may_give.clear()
        for version in (2, 3):
            await replica.hears(version, name(A))
            assert await replica.decides() == (1, 0.5), "until then it is decided as before"
        replica.controller.may_give.set()
        await replica.settled()
        assert await replica.decides() == (3, 1.0), "by the newest"
        assert replica.controller.asked == [name(A)], "once"
        await replica.hears(4, name(A))
        assert await replica.decides() == (4, 1.0)
        assert replica.controller.asked == [name(A)]

    play(space, story)


def test_a_replica_that_starts_late_takes_no_requests_before_it_has_what_was_promoted(space: ChainSpace) -> None:
    async def story(replica: Replica) -> None:
        replica.controller.contents[name(A)] = A
        replica.controller.may_give.clear()
        await replica.hears(7, name(A))
        assert not replica.follower.first.is_set()
        with pytest.raises(TryAgain, match="no policy"):
            await replica.decides()
        replica.controller.may_give.set()
        await replica.follower.first.wait()
        assert await replica.decides() == (7, 1.0)

    play(space, story)


def test_a_model_that_fails_is_told_once_and_tried_again_while_the_one_before_decides(
    space: ChainSpace, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(replica: Replica) -> None:
        await replica.hears(1, OWN)
        replica.controller.contents[name(A)] = A
        del replica.rewards[A]
        for version in (2, 3, 4):
            await replica.time.advance(4.0)
            await replica.hears(version, name(A))
            assert await replica.decides() == (1, 0.5)
        assert replica.follower.stale, "nobody confirms what it decides by"
        assert replica.controller.asked == [name(A)] * 3
        assert caplog.text.count("is broken") == 1
        replica.rewards[A] = 1.0
        await replica.hears(5, name(A))
        assert await replica.decides() == (5, 1.0)
        assert not replica.follower.stale

    play(space, story)


def test_what_comes_in_the_place_of_a_model_is_not_taken(space: ChainSpace) -> None:
    async def story(replica: Replica) -> None:
        await replica.hears(1, OWN)
        replica.controller.contents[name(A)] = B
        await replica.hears(2, name(A))
        assert await replica.decides() == (1, 0.5)

    play(space, story)


def test_a_model_that_is_taken_back_while_it_loads_never_predicts(space: ChainSpace) -> None:
    async def story(replica: Replica) -> None:
        await replica.hears(1, OWN)
        replica.controller.contents |= {name(A): A, name(B): B}
        replica.controller.may_give.clear()
        await replica.hears(2, name(A))
        await replica.hears(3, OWN)
        assert await replica.decides() == (3, 0.5)
        replica.controller.may_give.set()
        await replica.settled()
        assert await replica.decides() == (3, 0.5)
        replica.controller.may_give.clear()
        await replica.hears(4, name(A))
        await replica.hears(5, name(B))
        replica.controller.may_give.set()
        await replica.settled()
        assert await replica.decides() == (3, 0.5), "the first of two is not wanted any more"
        await replica.hears(6, name(B))
        assert await replica.decides() == (6, 2.0)

    play(space, story)


def test_a_micro_batch_that_runs_meanwhile_is_decided_by_the_policy_of_its_own_model(space: ChainSpace) -> None:
    async def story(replica: Replica) -> None:
        await replica.hears(1, OWN)
        replica.controller.contents[name(A)] = A
        replica.own.may_run.clear()
        under_way = asyncio.create_task(replica.decides())
        await asyncio.to_thread(replica.own.runs.wait, 10)
        await replica.hears(2, name(A))
        assert replica.models.now.name == name(A)
        replica.own.may_run.set()
        assert await under_way == (1, 0.5)
        assert len(replica.tally.take_sample()) == 0, "its rewards are of the other model than those to be sampled"
        assert replica.tally.totals(0.0).decided == len(USERS)
        assert await replica.decides() == (2, 1.0)

    play(space, story)


def test_a_newer_policy_of_the_same_model_may_decide_what_runs_meanwhile(space: ChainSpace) -> None:
    async def story(replica: Replica) -> None:
        await replica.hears(1, OWN)
        replica.own.may_run.clear()
        under_way = asyncio.create_task(replica.decides())
        await asyncio.to_thread(replica.own.runs.wait, 10)
        await replica.hears(2, OWN)
        replica.own.may_run.set()
        assert await under_way == (2, 0.5)

    play(space, story)


def test_reports_say_what_predicted_their_rewards_and_none_carries_those_of_two(space: ChainSpace) -> None:
    async def story(replica: Replica) -> None:
        await replica.hears(1, OWN)
        await replica.decides()
        replica.controller.contents[name(A)] = A
        await replica.hears(2, name(A))
        first = replica.controller.reports[-1]
        await replica.decides()
        await replica.hears(3, name(A))
        second = replica.controller.reports[-1]
        assert [(one.reward_model, set(one.rewards.flat)) for one in (first, second)] == [
            (OWN, {0.5}),
            (name(A), {1.0}),
        ]

    play(space, story)


def test_rewards_of_before_that_were_not_reported_are_dropped(space: ChainSpace) -> None:
    async def story(replica: Replica) -> None:
        await replica.hears(1, OWN)
        replica.controller.contents[name(A)] = A
        replica.controller.may_give.clear()
        await replica.hears(2, name(A))
        await replica.decides()
        replica.controller.may_give.set()
        await replica.settled()
        assert len(replica.tally.take_sample()) == 0

    play(space, story)


def test_a_replica_that_does_not_predict_takes_any_snapshot_of_its_chains(space: ChainSpace) -> None:
    async def story(replica: Replica) -> None:
        time = FakeTime()
        tie = Tie("r", len(space), OWN, 1.0, 10.0)
        follower = Follower(tie, replica.tally, replica.controller, time, time.sleep)
        replica.controller.snapshot = snapshot_of(space, 5, model=name(A))
        await follower.once()
        assert follower.policy.version == 5
        assert replica.controller.asked == []

    play(space, story)


def test_a_follower_that_ends_leaves_nothing_behind(space: ChainSpace) -> None:
    async def story(replica: Replica) -> None:
        replica.controller.may_give.clear()
        replica.controller.snapshot = snapshot_of(space, 1, model=name(A))
        run = asyncio.create_task(replica.follower.run())
        while not replica.controller.asked:
            await asyncio.sleep(0)
        run.cancel()
        await asyncio.wait({run})
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    play(space, story)
