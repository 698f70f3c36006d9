"""The account of outcomes: each parcel counts once, whatever comes when, and a restart goes on from what was kept."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from outcome_room import EXPERIMENT, FLOPS, REWARD, Room, parcel, policy, rewards
from outcome_rows import BEGAN_S, CHAINS, decisions, numbered

from allocator.arms import HOLDBACK, NAMED, POLICY
from allocator.savings.saved import dumped
from allocator.savings.sums import QUANTITIES, GroupSums
from cluster.outcomes.account import Experiment
from cluster.outcomes.payload import HURRIED, NO_FEEDBACK, NOBODY_HELD
from cluster.outcomes.records import Decisions, PolicyRow
from cluster.outcomes.shipper import Parcel


def assert_alike(one: GroupSums, other: GroupSums) -> None:
    np.testing.assert_allclose(one.requests, other.requests)
    np.testing.assert_allclose(one.counts, other.counts)
    np.testing.assert_allclose(one.totals, other.totals)


def of_replica(replica: str) -> list[Parcel]:
    """Five parcels of three requests, with feedback on two of the requests of the parcel before."""
    found = []
    for number in range(1, 6):
        ids = numbered(3, f"{replica}{number}-")
        earned = numbered(2, f"{replica}{number - 1}-") if number > 1 else ()
        batch = decisions(ids, predicted=np.ones(3, np.float32))
        found.append(parcel(number, batch, replica=replica, rewards=rewards(*earned), policies=(policy(7),), dropped=1))
    return found


REPLICAS = {replica: of_replica(replica) for replica in "abc"}


@examples(max_examples=30)
@given(st.permutations("abc" * 5), st.lists(st.integers(1, 3), min_size=15, max_size=15), st.data())
def test_each_parcel_counts_once_whatever_comes_when_and_how_often(
    order: list[str], times: list[int], data: st.DataObject
) -> None:
    """Parcels of a replica come in their order; any may come again later, when others have come."""
    seen = dict.fromkeys("abc", 0)
    sent: list[Parcel] = []
    for replica, count in zip(order, times, strict=True):
        sent += [REPLICAS[replica][seen[replica]]] * count
        seen[replica] += 1
        if data.draw(st.booleans()):
            sent.append(data.draw(st.sampled_from(sent)))
    found = Room().take(*sent).matures()
    expected = Room().take(*(one for replica in "abc" for one in REPLICAS[replica])).matures()
    assert_alike(found.account.sums, expected.account.sums)
    assert sorted(found.log.logged) == sorted(expected.log.logged)
    assert len(set(found.log.logged)) == len(found.log.logged) == 45
    assert sorted(one.request_id for one in found.log.outcomes) == sorted(
        one.request_id for replica in "abc" for parcel in REPLICAS[replica] for one in parcel.shipment.rewards
    )
    assert found.account.lost.dropped == 15
    assert found.told()["feedback"]["joined"] == 24


def test_requests_and_rewards_are_summed_by_arm() -> None:
    arms = np.array([POLICY, HOLDBACK, POLICY, NAMED], np.int8)
    batch = decisions(numbered(4), arms=arms, flops=np.array([1.0, 2.0, 3.0, 4.0]))
    room = Room(heard_s=BEGAN_S).take(parcel(1, batch, rewards=rewards("r0", "r3")))
    assert room.account.sums.totals[FLOPS].sum(axis=1).tolist() == [4.0, 2.0]
    assert not room.account.sums.counts[REWARD].any(), "a reward is not final before its horizon"
    sums = room.matures().account.sums
    assert sums.totals[REWARD].sum(axis=1).tolist() == [1.0, 0.0]
    assert sums.counts[REWARD].sum(axis=1).tolist() == [2.0, 1.0]


def test_requests_of_before_anybody_told_of_rewards_count_as_neither_rewarded_nor_not() -> None:
    arms = np.array([POLICY, HOLDBACK, POLICY], np.int8)
    room = Room().take(parcel(1, decisions(numbered(3), arms=arms))).matures()
    assert not room.account.sums.counts[REWARD].any()
    first_s = BEGAN_S + 1.0  # when somebody begins to tell, while requests wait of which nobody did
    waiting, later = decisions(numbered(3, "s"), arms=arms), decisions(numbered(3, "t"), first_s, arms=arms)
    room.take(parcel(2, waiting, later, rewards=rewards("s0", "t0"))).matures()
    sums = room.account.sums
    assert sums.counts[REWARD].sum(axis=1).tolist() == [2.0, 1.0]
    assert sums.totals[REWARD].sum(axis=1).tolist() == [1.0, 0.0]
    assert room.told()["decisions"]["matured"] == 9


def test_requests_that_could_not_wait_for_their_rewards_count_as_neither_rewarded_nor_not() -> None:
    room = Room(most=2, heard_s=BEGAN_S).take(parcel(1, decisions(numbered(2)), rewards=rewards("r0")))
    room.take(parcel(2, decisions(numbered(2, "s"), arms=np.array([POLICY, POLICY], np.int8)))).matures()
    assert room.account.sums.counts[REWARD].sum() == 2
    assert room.told()["decisions"]["hurried"] == 2


def test_what_requests_earn_that_could_not_wait_for_it_is_logged_and_heard() -> None:
    room = Room(most=2).take(parcel(1, decisions(numbered(2))), parcel(2, decisions(numbered(2, "s"))))
    assert not room.account.hears
    room.take(parcel(3, rewards=rewards("r0", "r0", "r1")))
    assert [reward.request_id for reward in room.log.outcomes] == ["r0", "r1"]
    assert room.told()["feedback"]["late"] == 3
    assert room.account.hears


def test_the_log_gets_each_decision_and_each_reward_once_with_the_prices_of_its_policy() -> None:
    one, other = decisions(numbered(2, "x"), policy_version=3), decisions(numbered(2, "y"), policy_version=4)
    room = Room().take(
        parcel(1, one, other, policies=(policy(3, price=0.25), policy(4, price=0.75))),
        parcel(2, decisions(numbered(1, "z"), policy_version=3), policies=(policy(4, price=9.0),)),
        parcel(1, decisions(numbered(1, "w"), policy_version=5), replica="b"),
    )
    assert [prices for _, prices in room.log.decisions] == ['{"cap":0.25}', '{"cap":0.75}', '{"cap":0.25}', "{}"]
    assert room.log.policies == [3, 4], "of several replicas that tell of it, one is enough"
    room.take(parcel(3, rewards=rewards("x0", "x0", "y1", "nobody")))
    room.take(parcel(4, rewards=rewards("x0")))
    assert [reward.request_id for reward in room.log.outcomes] == ["x0", "y1"]
    room.matures()
    assert [reward.request_id for reward in room.log.outcomes] == ["x0", "y1", "nobody"], (
        "it may be of before a restart"
    )


def test_a_request_id_that_comes_twice_counts_once() -> None:
    room = Room().take(parcel(1, decisions(["same", "same", "else"], arms=np.zeros(3, np.int8))))
    room.take(parcel(1, decisions(["same"], arms=np.zeros(1, np.int8)), replica="b"))
    assert room.account.sums.requests.sum() == 2
    assert room.log.logged == ["same", "else"]
    assert room.told()["decisions"]["duplicates"] == 2


def test_of_requests_without_a_decision_nothing_is_known_of_prices_or_of_predictions() -> None:
    predicted = np.full(2, np.nan, np.float32)
    batch = decisions(numbered(2), policy_version=0, predicted=predicted, energy_j=predicted, static_j=np.nan)
    room = Room().take(parcel(1, batch)).matures()
    assert [prices for _, prices in room.log.decisions] == ["{}"]
    assert room.account.predicted == 0.0
    assert not room.account.sums.counts[QUANTITIES.index("energy_j")].any()


def test_a_restart_goes_on_with_what_was_kept_and_what_has_come_since() -> None:
    before = Room().take(*REPLICAS["a"]).matures()
    after = Room().take(*REPLICAS["b"])
    assert after.account.resume(before.account.dumped()) == ""
    after.take(*REPLICAS["c"]).matures()
    whole = Room().take(*REPLICAS["a"], *REPLICAS["b"], *REPLICAS["c"]).matures()
    assert_alike(after.account.sums, whole.account.sums)
    assert after.told()["requests"]["policy"] == whole.told()["requests"]["policy"]


def test_any_number_of_restarts_loses_nothing_that_was_kept() -> None:
    parcels = [one for replica in "abc" for one in REPLICAS[replica]]
    kept = Room().account.dumped()
    for number, one in enumerate(parcels):
        room = Room().take(Parcel(f"life-{number}", 1, one.shipment))
        assert room.account.resume(kept) == ""
        kept = room.account.dumped()
    final, whole = Room(), Room().take(*parcels)
    final.account.resume(kept)
    assert_alike(final.account.sums, whole.account.sums)


def test_after_a_restart_rewards_are_heard_though_none_has_come_yet() -> None:
    before = Room(heard_s=BEGAN_S).take(*REPLICAS["a"]).matures()
    after = Room()
    assert not after.account.hears
    after.account.resume(before.account.dumped())
    assert after.account.hears


def test_sums_of_another_experiment_are_refused_with_the_reason() -> None:
    kept = Room(Experiment(0.1, b"another-one-0123")).take(*REPLICAS["a"]).account.dumped()
    room = Room().take(*REPLICAS["b"])
    before = room.account.dumped()
    assert "experiment is another one" in room.account.resume(kept)
    assert room.account.dumped() == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda kept: b"",
        lambda kept: kept[:8],
        lambda kept: kept[:20],
        lambda kept: kept[:-1],
        lambda kept: kept + b"x",
        lambda kept: kept[:-9] + bytes([kept[-9] ^ 1]) + kept[-8:],
        lambda kept: EXPERIMENT.key + b"nonsense" * 20,
    ],
    ids=["nothing", "half a key", "half a head", "short", "long", "one bit", "nonsense"],
)
def test_sums_that_are_damaged_are_refused_with_the_reason_and_begin_anew(damage: Any) -> None:
    room = Room().take(*REPLICAS["b"])
    before = room.account.dumped()
    assert room.account.resume(damage(Room().take(*REPLICAS["a"]).account.dumped()))
    assert room.account.dumped() == before
    room.take(*REPLICAS["c"])


def test_what_is_kept_tells_experiments_apart_and_holds_the_sums() -> None:
    room = Room().take(*REPLICAS["a"])
    assert room.account.dumped() == EXPERIMENT.key + dumped(room.account.sums)


def test_parcels_of_another_chain_space_are_left_out_and_stop_nobody() -> None:
    room, foreign = Room(), np.full(2, CHAINS, np.int32)
    room.take(parcel(1, decisions(numbered(2), chains=foreign), dropped=3))
    wide = PolicyRow(9, BEGAN_S, np.zeros(CHAINS + 1, np.float32))
    room.take(parcel(2, decisions(numbered(2), policy_version=9), policies=(wide,)))
    assert (room.log.decisions, room.log.policies) == ([], [])
    assert not room.account.sums.requests.any()
    room.take(parcel(3, decisions(numbered(2))))
    assert room.log.logged == ["r0", "r1"]


def test_what_is_told_says_why_savings_are_not_known() -> None:
    told = Room().told()["quantities"]
    assert "0 of at least 200 requests held back" in told["energy_j"]["reason"]
    assert told["reward"]["reason"] == NO_FEEDBACK
    assert told["flops"]["static"] is None
    nobody = Room(Experiment(0.0, EXPERIMENT.key)).take(*REPLICAS["a"]).told()
    assert {one["reason"] for one in nobody["quantities"].values()} == {NOBODY_HELD}


def many(arm: int, flops: float, count: int = 400, earned: float = 0.0) -> Parcel:
    """Requests of an arm, spread over groups; each earns so much."""
    ids = numbered(count, f"arm{arm}-")
    batch = decisions(
        ids,
        arms=np.full(count, arm, np.int8),
        groups=(np.arange(count) % 100).astype(np.int16),
        flops=flops + (np.arange(count) % 7),
        energy_j=np.full(count, flops * 1e-3, np.float32),
        predicted=np.full(count, 1.0, np.float32),
        chains=np.full(count, arm, np.int32),
        static_j=0.02,
    )
    return parcel(1, batch, replica=f"of-{arm}", rewards=rewards(*ids, value=earned), policies=(policy(7),))


def test_what_is_told_says_so_where_rewards_are_not_known_since_requests_cannot_wait_for_them() -> None:
    both = many(POLICY, 10.0, earned=0.5), many(HOLDBACK, 20.0, earned=0.75)
    found = Room(most=100).take(*both).matures().told()["quantities"]
    assert found["reward"]["reason"] == HURRIED
    assert found["reward"]["per_request"] is None
    assert found["flops"]["reason"] == ""
    unheard = Room(most=10).take(parcel(1, decisions(numbered(30)))).told()["quantities"]
    assert unheard["reward"]["reason"] == NO_FEEDBACK


def test_savings_budgets_and_chains_are_told_once_they_are_known() -> None:
    room = Room(heard_s=BEGAN_S).take(many(POLICY, 10.0, earned=0.5), many(HOLDBACK, 20.0, earned=0.75))
    told = room.matures().told()
    flops = told["quantities"]["flops"]
    assert flops["per_request"]["value"] == pytest.approx(10.0)
    assert flops["relative"]["value"] == pytest.approx(10.0 / flops["static"])
    assert flops["total"]["value"] == pytest.approx(4000.0)
    assert flops["total"]["sequential"]["low"] < 4000.0 < flops["total"]["sequential"]["high"]
    assert told["quantities"]["energy_j"]["static"] == pytest.approx(0.02)
    assert told["quantities"]["reward"]["per_request"]["value"] == pytest.approx(0.25), "forgone"
    assert told["reward"]["budgets"] == [
        {"budget": "cap 150 W", "requests": 400, "predicted": 400.0, "realised": 200.0}
    ]
    assert told["reward"]["chains"] == [{"chain": "chain-0", "requests": 400, "predicted": 1.0, "realised": 0.5}]
    assert told["reward"]["drift"]["ratio"] == pytest.approx(0.5)
    assert told["requests"] == {"policy": 400, "holdback": 400, "lost": 0}


def budgets_of(room: Room) -> dict[str, int]:
    return {one["budget"]: one["requests"] for one in room.told()["reward"]["budgets"]}


def test_requests_count_under_the_limits_that_they_were_decided_under_however_many_policies_follow() -> None:
    room = Room(heard_s=BEGAN_S)
    room.take(parcel(1, of_policy(1, "a"), policies=(policy(1, "cap 150 W"),), rewards=rewards("a0")))
    room.take(parcel(2, policies=tuple(policy(version, "cap 100 W") for version in range(2, 20_010))))
    room.take(parcel(3, of_policy(20_009, "b"))).matures()
    assert budgets_of(room) == {"cap 150 W": 20, "cap 100 W": 20}


def test_a_limit_that_changes_under_a_policy_counts_for_what_is_decided_from_then_on() -> None:
    room, changed_s = Room(heard_s=BEGAN_S), BEGAN_S + 10.0
    before = replace(policy(7, "cap 150 W", price=0.0), since_s=BEGAN_S + 1.0)
    after = replace(before, budget="cap 100 W", since_s=changed_s)
    room.take(parcel(1, of_policy(7, "a"), policies=(before,), rewards=rewards("a0")))
    room.take(parcel(2, of_policy(7, "b"), replace(of_policy(7, "c"), time_s=changed_s), policies=(after,)))
    room.take(parcel(1, rewards=rewards("b1"), replica="b", policies=(replace(before, since_s=BEGAN_S + 2.0),)))
    room.matures()
    assert budgets_of(room) == {"cap 150 W": 40, "cap 100 W": 20}
    assert room.log.policies == [7], "it is the same policy"


def of_model(version: int, model: str) -> PolicyRow:
    return replace(policy(version), reward_model=model)


def of_policy(version: int, prefix: str) -> Decisions:
    ids = numbered(20, prefix)
    arms, ones = np.full(20, POLICY, np.int8), np.ones(20, np.float32)
    return decisions(ids, policy_version=version, arms=arms, predicted=ones)


def test_rewards_of_another_model_are_judged_from_its_first_policy_on_and_logged_by_themselves() -> None:
    room = Room(heard_s=BEGAN_S)
    first, second = of_model(7, "model-1"), of_model(8, "model-2")
    room.take(parcel(1, of_policy(7, "a"), policies=(first,)))
    both = of_policy(7, "b"), of_policy(8, "c")
    room.take(parcel(2, *both, policies=(second,), rewards=rewards(*numbered(3, "a"))))
    late = of_policy(7, "d"), of_policy(8, "e")
    room.take(parcel(1, *late, replica="late", policies=(second, first)))
    room.matures()
    view = room.account.drift.view(room.time())
    assert (view.reward_model, view.requests) == ("model-2", 40), "what the model before predicted says nothing of it"
    assert room.log.models == {7: {"model-1"}, 8: {"model-2"}}


def test_a_replica_that_tells_late_of_an_older_policy_does_not_bring_its_model_back() -> None:
    room = Room()
    room.take(parcel(1, of_policy(8, "a"), policies=(of_model(8, "model-2"),)))
    room.take(parcel(1, of_policy(7, "b"), replica="b", policies=(of_model(7, "model-1"),)))
    assert room.account.reward_model == "model-2"
    assert room.account.drift.view(room.time()).reward_model == "model-2"
    room.take(parcel(2, of_policy(9, "c"), policies=(of_model(9, "model-1"),)))
    assert room.account.drift.view(room.time()).reward_model == "model-1", "a later one does"
