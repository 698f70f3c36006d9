"""The standing experiment in the Recommender: who runs the static chain, what answers say of it, what is remembered."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from tiny_cascade import STATIC, TinyCascade
from tiny_reward import open_allocation, snapshot_of, space_of, with_reward
from tiny_serving import Name, inline_runners

from allocator.arms import HOLDBACK, NAMED, POLICY, Assignment
from allocator.energy.windows import SERVING
from allocator.joules import Quality
from allocator.request_joules import Rates
from allocator.reward import context_of
from cluster.cascade import CascadeExecutor, StageRunner
from cluster.config import BatchSettings
from cluster.deciding import Allocation, Decided
from cluster.latency import FEWEST, TimeLeft
from cluster.outcomes.recorder import Shipment
from cluster.outcomes.records import Decisions
from cluster.schemas import RecommendRequest
from cluster.service import Recommender
from models.batch import IntArray, RaggedBatch, UserRows
from models.errors import Lost, TryAgain
from models.features import UserQuery
from models.loading import Cascade

SHARE, VERSION = 0.3, 3
EXPERIMENT = Assignment(SHARE, "salt")
TOGETHER = BatchSettings(max_rows=64, wait_ms=100, in_flight=1)
ELSEWHERE = "dot>light@4>fine@2"
SLOW_S, HURRY_MS = 0.3, 200


def held_back(user: int) -> bool:
    return EXPERIMENT.of(user).arm == HOLDBACK


USERS = range(60)
HELD = [user for user in USERS if held_back(user)]
DECIDED = [user for user in USERS if not held_back(user)]


@pytest.fixture(scope="module")
def rewarded(tiny: TinyCascade, tmp_path_factory: pytest.TempPathFactory) -> TinyCascade:
    return with_reward(tiny, tmp_path_factory.mktemp("reward") / "cascade")


@dataclass
class NoReplica:
    """A runner of a variant of which no replica is there."""

    name: Name

    async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        raise Lost(*self.name)


@dataclass
class Slow:
    """A variant in another process, which takes its time."""

    inner: StageRunner
    takes_s: float = 0.0

    async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        await asyncio.sleep(self.takes_s)
        return await self.inner.run(users, candidates, keep)


class Fails:
    """A decider that nobody can rely on."""

    async def decide(self, users: UserRows, time: TimeLeft | None = None) -> Decided:
        raise TryAgain("gone")


@dataclass
class World:
    """A recommender with an experiment, its variants, and what it counts and remembers."""

    tiny: TinyCascade
    recommender: Recommender
    runners: dict[Name, StageRunner]
    allocation: Allocation

    def ask(self, users: Sequence[int], chain: str | None = None, **rest: Any) -> list[dict[str, Any]]:
        """Answers to requests that are all under way at once."""

        async def main() -> list[dict[str, Any]]:
            requests = [RecommendRequest(user_id=user, chain=chain, **rest) for user in users]
            return await asyncio.gather(*map(self.recommender.recommend, requests))

        return asyncio.run(main())

    def shipped(self) -> Shipment:
        assert self.allocation.recorder is not None
        return self.allocation.recorder.take()

    def remembered(self) -> Decisions:
        (one,) = self.shipped().decisions
        return one

    @property
    def decided(self) -> int:
        return self.allocation.tally.totals(0.0).decided

    @property
    def unpriced(self) -> dict[str, int]:
        """Requests that no policy decided, by the chain that they ran."""
        counted = self.allocation.tally.totals(0.0).unpriced
        assert counted is not None
        return {chain.id: int(n) for chain, n in zip(space_of(self.tiny), counted, strict=True) if n}

    @property
    def degraded(self) -> dict[str, int]:
        return dict(self.allocation.tally.totals(0.0).degraded)


@contextmanager
def world(
    tiny: TinyCascade, batch: BatchSettings = TOGETHER, share: float | None = SHARE, fails: bool = False
) -> Iterator[World]:
    cascade = Cascade.open(tiny.folder)
    with ThreadPoolExecutor(2) as threads, open_allocation(tiny, share=share, recorded=True) as whole:
        allocation = replace(whole, decider=Fails()) if fails else whole
        allocation.follower.snapshot = snapshot_of(space_of(tiny), VERSION)  # free: all take the dearest chain
        runners: dict[Name, StageRunner] = dict(inline_runners(cascade, threads))
        executor = CascadeExecutor(runners)
        yield World(tiny, Recommender(cascade, executor, batch, {}, allocation=allocation), runners, allocation)


@pytest.fixture
def here(rewarded: TinyCascade) -> Iterator[World]:
    with world(rewarded) as here:
        yield here


def rates_of(tiny: TinyCascade) -> Rates:
    """Runs cost more than what is done for one request in them, so that joules depend on company."""
    joules = {name: (1.0 + at, 0.01 * (1 + at)) for at, name in enumerate(space_of(tiny).variants)}
    return Rates({**joules, SERVING: (0.5, 0.1)}, 1e-4, Quality.MODELLED, Quality.ASSUMED, 0.125)


def test_users_who_are_held_back_run_the_static_chain_and_nobody_decides_for_them(here: World) -> None:
    answers = here.ask(USERS)
    assert here.decided == len(DECIDED)
    assert here.unpriced == {STATIC: len(HELD)}
    for user, answer in zip(USERS, answers, strict=True):
        assert answer["degraded"] is False
        assert [item["item_id"] for item in answer["items"]] == here.tiny.expected_ids(user, answer["chain"]["id"])
        if held_back(user):
            assert (answer["arm"], answer["chain"]["id"]) == ("holdback", STATIC)
            assert (answer["predicted_reward"], answer["policy_version"]) == (None, None)
        else:
            assert (answer["arm"], answer["policy_version"]) == ("policy", VERSION)
            assert answer["chain"]["id"] != STATIC
            assert answer["predicted_reward"] > 0


def test_a_micro_batch_of_users_who_are_all_held_back_asks_nobody(rewarded: TinyCascade) -> None:
    with world(rewarded, fails=True) as here:
        answers = here.ask(HELD)
        assert here.degraded == {}
    assert {(answer["arm"], answer["chain"]["id"], answer["degraded"]) for answer in answers} == {
        ("holdback", STATIC, False)
    }


def test_while_nobody_decides_those_held_back_are_served_as_ever(rewarded: TinyCascade) -> None:
    with world(rewarded, fails=True) as here:
        answers = here.ask(USERS)
        assert here.degraded == {"undecided": len(DECIDED)}
        assert sum(here.unpriced.values()) == len(USERS)
    for user, answer in zip(USERS, answers, strict=True):
        assert answer["degraded"] is not held_back(user)
        assert answer["arm"] == ("holdback" if held_back(user) else "policy")


def test_a_request_that_names_its_chain_is_in_neither_arm(here: World) -> None:
    answers = here.ask(USERS, chain=ELSEWHERE)
    assert {(answer["arm"], answer["chain"]["id"]) for answer in answers} == {("named", ELSEWHERE)}
    assert here.decided == 0
    assert here.unpriced == {ELSEWHERE: len(USERS)}
    remembered = here.remembered()
    assert set(remembered.arms.tolist()) == {NAMED}
    assert remembered.users.tolist() == [EXPERIMENT.of(user).mark for user in USERS]
    assert set(remembered.propensities.tolist()) == {1.0}
    assert remembered.policy_version == 0


def test_who_names_the_static_chain_is_not_taken_for_held_back(here: World) -> None:
    (answer,) = here.ask(DECIDED[:1], chain=STATIC)
    assert answer["arm"] == "named"


def test_without_an_experiment_no_arm_is_told(rewarded: TinyCascade) -> None:
    with world(rewarded, share=None) as here:
        answers = here.ask(USERS)
        assert here.decided == len(USERS)
        assert set(here.remembered().arms.tolist()) == {NAMED}, "outside of any comparison"
    assert {answer["arm"] for answer in answers} == {None}


def test_the_share_holds_and_a_user_is_always_in_the_same_arm(rewarded: TinyCascade) -> None:
    users = 1500
    with world(rewarded, BatchSettings(max_rows=256, most_waiting=2 * users)) as here:
        arms = [answer["arm"] for answer in here.ask([*range(users), *range(users)])]
    assert arms[:users] == arms[users:]
    held = arms[:users].count("holdback")
    assert abs(held - SHARE * users) < 4.5 * np.sqrt(SHARE * (1 - SHARE) * users)
    assert held + arms[:users].count("policy") == users


def test_nobody_is_held_back_by_a_share_of_zero(rewarded: TinyCascade) -> None:
    with world(rewarded, share=0.0) as here:
        assert {answer["arm"] for answer in here.ask(USERS)} == {"policy"}
        assert here.decided == len(USERS)


def taught(here: World) -> None:
    """Knows how long every variant takes, and that the static chain's recall is slow."""
    here.runners.update({name: Slow(runner) for name, runner in here.runners.items()})
    here.runners["recall", "seq"] = Slow(here.runners["recall", "seq"], SLOW_S)
    for _ in range(FEWEST):
        for chain in ("seq>heavy@8>fine@4", "dot>light@4>fine@2"):
            here.ask([2], chain=chain)
    here.shipped()


def test_held_back_by_a_deadline_that_leaves_the_static_chain_out_a_request_is_decided(
    rewarded: TinyCascade,
) -> None:
    with world(rewarded, BatchSettings(max_rows=1, wait_ms=0)) as here:
        taught(here)
        began_s = time.perf_counter()
        (hurried,) = here.ask(HELD[:1], timeout_ms=HURRY_MS)
        assert time.perf_counter() - began_s < SLOW_S
        assert here.decided == 1
        remembered = here.remembered()
        (patient,) = here.ask(HELD[:1], timeout_ms=60_000)
        assert here.decided == 1
    assert (hurried["arm"], hurried["policy_version"], hurried["degraded"]) == ("holdback", VERSION, False)
    assert hurried["chain"]["id"].startswith("dot>")
    assert (remembered.arms.tolist(), remembered.policy_version) == ([HOLDBACK], VERSION), "it stays in its arm"
    assert (patient["arm"], patient["chain"]["id"], patient["policy_version"]) == ("holdback", STATIC, None)


def test_where_the_static_chain_lost_a_variant_the_nearest_runs_and_says_so(here: World) -> None:
    here.runners["prerank", "light"] = NoReplica(("prerank", "light"))
    answers = here.ask(USERS)
    held = [answer for user, answer in zip(USERS, answers, strict=True) if held_back(user)]
    assert {(answer["chain"]["id"], answer["degraded"], answer["arm"]) for answer in held} == {
        ("seq>skip>fine@4", True, "holdback")
    }
    assert here.degraded == {"variant_lost": len(HELD)}
    assert here.unpriced == {"seq>skip>fine@4": len(HELD)}, "what they ran, not what they were to run"
    remembered, space = here.remembered(), space_of(here.tiny)
    ran = [space.chains[at].id for at in remembered.chains.tolist()]
    assert dict(zip(remembered.request_ids, ran, strict=True)) == {
        answer["request_id"]: answer["chain"]["id"] for answer in answers
    }
    assert remembered.degraded.sum() == len(HELD)


def test_what_is_remembered_is_what_was_answered(here: World) -> None:
    space = space_of(here.tiny)
    answers = here.ask(USERS)
    found = here.remembered()
    assert found.request_ids == tuple(answer["request_id"] for answer in answers)
    assert [space.chains[at].id for at in found.chains.tolist()] == [answer["chain"]["id"] for answer in answers]
    assert found.arms.tolist() == [HOLDBACK if held_back(user) else POLICY for user in USERS]
    assert found.users.tolist() == [EXPERIMENT.of(user).mark for user in USERS]
    assert found.groups.tolist() == [EXPERIMENT.of(user).group for user in USERS]
    assert found.flops.tolist() == [answer["cost"]["flops"] for answer in answers]
    predicted = [np.nan if answer["predicted_reward"] is None else answer["predicted_reward"] for answer in answers]
    assert found.predicted.tolist() == pytest.approx(predicted, nan_ok=True)
    assert found.policy_version == VERSION
    assert not found.degraded.any()
    users = Cascade.open(here.tiny.folder).users.rows([UserQuery(user) for user in USERS])
    assert found.contexts.tolist() == context_of(users).tolist()


def test_an_id_that_the_client_gave_is_the_one_that_is_remembered(here: World) -> None:
    (answer,) = here.ask([2], request_id="mine")
    assert answer["request_id"] == "mine"
    assert here.remembered().request_ids == ("mine",)


def test_requests_that_fail_are_not_remembered(here: World) -> None:
    for variant in ("dot", "seq"):
        here.runners["recall", variant] = NoReplica(("recall", variant))
    with pytest.raises(Lost):
        here.ask([2])
    assert not here.shipped().decisions


def test_joules_are_told_and_remembered_as_they_were_and_as_they_would_be_were_all_static(
    rewarded: TinyCascade,
) -> None:
    rates = rates_of(rewarded)
    with world(rewarded, share=1.0) as static:
        static.allocation.follower.snapshot = replace(snapshot_of(space_of(rewarded), VERSION), rates=rates)
        (production_j,) = {answer["cost"]["energy_j"] for answer in static.ask(USERS)}
    with world(rewarded) as here:
        here.allocation.follower.snapshot = replace(snapshot_of(space_of(rewarded), VERSION), rates=rates)
        answers = here.ask(USERS)
        found = here.remembered()
    told_j = [answer["cost"]["energy_j"] for answer in answers]
    assert found.energy_j.tolist() == pytest.approx(told_j)
    assert found.static_j == pytest.approx(production_j)
    held_j = {one for user, one in zip(USERS, told_j, strict=True) if held_back(user)}
    assert min(held_j) > production_j, "its runs are shared by fewer than production's would be"
    assert (found.error_j, found.grams_per_j) == (0.125, 1e-4)
    assert [answer["cost"]["co2e_g"] for answer in answers] == pytest.approx([one * 1e-4 for one in told_j])


def test_without_an_account_of_joules_none_are_remembered(here: World) -> None:
    here.ask(USERS)
    found = here.remembered()
    assert np.isnan([*found.energy_j, found.static_j, found.error_j, found.grams_per_j]).all()


def test_requests_that_explore_are_remembered_with_their_propensities(here: World) -> None:
    snapshot, space = snapshot_of(space_of(here.tiny), VERSION), space_of(here.tiny)
    policy = replace(snapshot.policy, exploration=0.5)
    here.allocation.follower.snapshot = replace(snapshot, policy=policy)
    answers = here.ask(USERS)
    found = here.remembered()
    (best,) = set(found.chains[(found.propensities > 0.5) & (found.propensities < 1.0)].tolist())
    share = 0.5 / len(space)
    for user, chain, propensity in zip(USERS, found.chains.tolist(), found.propensities.tolist(), strict=True):
        expected = 1.0 if held_back(user) else share + (0.5 if chain == best else 0.0)
        assert propensity == pytest.approx(expected)
    assert {answer["chain"]["id"] for user, answer in zip(USERS, answers, strict=True) if held_back(user)} == {STATIC}
    assert len(set(found.chains.tolist())) > 3


def test_the_policy_that_decided_is_remembered_though_a_newer_one_came_before_the_answer(here: World) -> None:
    @dataclass
    class Swapping:
        inner: StageRunner

        async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
            here.allocation.follower.snapshot = snapshot_of(space_of(here.tiny), VERSION + 1)
            return await self.inner.run(users, candidates, keep)

    here.runners["recall", "seq"] = Swapping(here.runners["recall", "seq"])
    here.ask(DECIDED[:1])
    shipment = here.shipped()
    assert shipment.decisions[0].policy_version == VERSION
    assert VERSION in [one.policy_version for one in shipment.policies]
