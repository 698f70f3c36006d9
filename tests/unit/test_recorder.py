"""What an ingress replica remembers of answers and rewards: all that is shipped of them, within bounds."""

import pickle
from collections.abc import Sequence
from dataclasses import replace
from math import isnan, nan

import numpy as np
import pytest
from fake_time import FakeTime
from small_space import SPACE

from allocator.arms import HOLDBACK, NAMED, POLICY, Unit
from allocator.joules import Quality
from allocator.policy import Policy
from allocator.request_joules import Rates
from cluster.answers import Call, Given
from cluster.outcomes.recorder import MOST_POLICIES, SPAN_S, Joules, Recorder
from cluster.outcomes.records import Decisions
from cluster.snapshot import Snapshot, Standing
from models.batch import UserRows
from models.errors import Overloaded
from models.features import UserQuery

UNIX_S = 1_700_000_000.0
RATES = Rates({}, 1e-4, Quality.MODELLED, Quality.MODELLED, 0.25)
UNITS = (Unit(POLICY, 3, 2**64 - 1), Unit(HOLDBACK, 255, 7), Unit(NAMED, 0, 0))


def snapshot(version: int = 4, price: float = 0.5) -> Snapshot:
    costs, available = SPACE.flops[:, None], np.arange(len(SPACE)) != 1
    policy = Policy(version, UNIX_S + version, np.array([price]), costs, available, "reward.onnx", 0)
    standings = (
        Standing("cap", "power", "W", 150.0, 0.0, price, 150.0),
        Standing("flops", "flops", "FLOP/s", 2e9, 0.0, 0.0, 2e9),
        Standing("free", "energy", "kWh/day", np.inf, 0.0, 0.0),
    )
    return Snapshot(policy, standings, RATES)


def given(request_id: str, version: int | None = 4, unit: Unit | None = UNITS[0], chain: int = 0) -> Given:
    call = Call(UserQuery(1), 5, None, request_id, unit)
    if version is None:
        return Given(call, SPACE.chains[chain])
    return Given(call, SPACE.chains[chain], 0.75, version, False, 0.99)


class Remembers:
    """A recorder, and micro-batches that were answered."""

    def __init__(self, contexts: bool = False, most_rows: int = 100) -> None:
        self.time = FakeTime(UNIX_S)
        self.recorder = Recorder(SPACE, self.time, contexts, most_rows)

    def answered(
        self,
        batch: Sequence[Given],
        rates: Rates | None = RATES,
        held: Snapshot | None = None,
        each_j: float = 2.0,
        static_j: float = 3.0,
    ) -> "Remembers":
        chains = np.array([one.chain.index for one in batch])
        joules = None if rates is None else Joules(np.full(len(batch), each_j), static_j, rates)
        features = np.arange(2 * len(batch), dtype=np.int16).reshape(-1, 2)
        history = 100 + np.arange(3 * len(batch), dtype=np.int32).reshape(-1, 3)
        self.recorder.answered(UserRows(features, history), batch, chains, joules, held)
        return self

    def decisions(self) -> tuple[Decisions, ...]:
        return self.recorder.take().decisions


def test_micro_batches_of_one_kind_are_shipped_as_one() -> None:
    room = Remembers().answered([given("a"), given("b", unit=UNITS[1], chain=2)])
    room.time.now_s += 1.0
    room.answered([given("c", None, UNITS[2], chain=5), given("d", unit=None)], static_j=6.0)
    (one,) = room.decisions()
    assert one.request_ids == ("a", "b", "c", "d")
    assert (one.time_s, one.policy_version) == (UNIX_S, 4)
    assert one.users.tolist() == [2**64 - 1, 7, 0, 0]
    assert one.groups.tolist() == [3, 255, 0, 0]
    assert one.arms.tolist() == [POLICY, HOLDBACK, NAMED, NAMED], "who is no unit takes part in nothing"
    assert one.chains.tolist() == [0, 2, 5, 0]
    assert one.flops.tolist() == SPACE.flops[[0, 2, 5, 0]].tolist()
    assert one.propensities.tolist() == pytest.approx([0.99, 0.99, 1.0, 0.99])
    assert one.energy_j.tolist() == [2.0] * 4
    assert (one.static_j, one.error_j, one.grams_per_j) == (4.5, 0.25, 1e-4)
    assert not one.degraded.any()
    assert room.decisions() == (), "it is shipped once"


@pytest.mark.parametrize(
    ("version", "rates"),
    [(5, RATES), (4, None), (4, replace(RATES, grams_per_j=None)), (4, replace(RATES, saving_error_j=0.5))],
    ids=["policy", "joules", "grams", "error"],
)
def test_what_is_said_once_for_many_is_true_of_each(version: int, rates: Rates | None) -> None:
    room = Remembers().answered([given("a")]).answered([given("b", version)], rates).answered([given("c")])
    found = room.decisions()
    assert [one.request_ids for one in found] == [("a",), ("b",), ("c",)]
    assert [one.policy_version for one in found] == [4, version, 4]


def test_a_long_time_without_shipping_puts_no_wrong_times_on_requests() -> None:
    room = Remembers()
    for at in range(40):
        room.answered([given(str(at))])
        room.time.now_s += 1.0
    found = room.decisions()
    for one in found:
        off_s = [UNIX_S + int(request_id) - one.time_s for request_id in one.request_ids]
        assert 0.0 <= min(off_s) <= max(off_s) < SPAN_S
    assert len(found) <= 40 / SPAN_S + 1


def test_what_nobody_knows_is_no_number() -> None:
    (one,) = Remembers().answered([given("a", None)], rates=None).decisions()
    assert (one.policy_version, one.propensities.tolist()) == (0, [1.0])
    assert np.isnan([*one.predicted, *one.energy_j, one.static_j, one.error_j, one.grams_per_j]).all()
    (one,) = Remembers().answered([given("a")], replace(RATES, grams_per_j=None, saving_error_j=nan)).decisions()
    assert one.energy_j.tolist() == [2.0]
    assert isnan(one.error_j)
    assert isnan(one.grams_per_j)


def test_power_without_emissions_is_known_to_emit_nothing() -> None:
    (one,) = Remembers().answered([given("a")], replace(RATES, grams_per_j=0.0)).decisions()
    assert one.grams_per_j == 0.0


def test_whoever_was_answered_less_well_than_decided_is_marked() -> None:
    (one,) = Remembers().answered([given("a"), replace(given("b", None), degraded=True)]).decisions()
    assert one.degraded.tolist() == [False, True]
    assert one.predicted.tolist() == pytest.approx([0.75, nan], nan_ok=True)


def test_contexts_are_remembered_only_when_asked_for() -> None:
    (plain,) = Remembers().answered([given("a"), given("b")]).decisions()
    assert plain.contexts.shape == (2, 0)
    (one,) = Remembers(contexts=True).answered([given("a"), given("b")]).decisions()
    assert one.contexts.tolist() == [[0, 1, 100, 101, 102], [2, 3, 103, 104, 105]]


def test_each_policy_is_told_with_its_prices_and_limits() -> None:
    room = Remembers()
    for version in (4, 4, 5):
        room.answered([given("a", version)], held=snapshot(version))
    first, second = room.recorder.take().policies
    assert (first.policy_version, second.policy_version) == (4, 5)
    assert first.time_s == UNIX_S + 4
    assert first.prices == '{"cap": 0.5, "flops": 0.0, "free": 0.0}'
    assert first.budget == "cap 150 W, flops 2e+09 FLOP/s"
    assert first.penalty == pytest.approx(np.where(np.arange(len(SPACE)) == 1, np.inf, 0.5 * SPACE.flops))


def test_a_policy_is_told_again_when_its_limits_change() -> None:
    room, free = Remembers(), snapshot(price=0.0)
    cap, *others = free.standings
    tightened = replace(free, standings=(replace(cap, limit=100.0), *others))
    for one in (free, replace(free, deciding_s=1.0), tightened, replace(tightened, deciding_s=2.0)):
        room.time.now_s += 1.0
        room.recorder.know(one)
    found = room.recorder.take().policies
    assert [(one.policy_version, one.budget.split(",")[0], one.since_s - UNIX_S) for one in found] == [
        (4, "cap 150 W", 1.0),
        (4, "cap 100 W", 3.0),
    ]


def test_the_newest_policy_is_told_again_with_whatever_is_told_but_for_itself_only_once() -> None:
    """While prices are zero it stays the same for ever, and whoever keeps the account may have been started anew."""
    room = Remembers()
    for version in (4, 5):
        room.recorder.know(snapshot(version))
    assert [one.policy_version for one in room.recorder.take().policies] == [4, 5]
    assert not room.recorder.take()
    room.answered([given("b", 5)], held=snapshot(5))
    assert [one.policy_version for one in room.recorder.take().policies] == [5]


def test_the_policy_that_decided_is_told_though_another_is_the_newest_by_the_answer() -> None:
    room = Remembers()
    room.recorder.know(snapshot(4))
    room.answered([given("a", 4)], held=snapshot(5))
    shipment = room.recorder.take()
    assert [one.policy_version for one in shipment.policies] == [4, 5]
    assert shipment.decisions[0].policy_version == 4


def test_requests_beyond_the_bound_are_counted_and_forgotten() -> None:
    room = Remembers(most_rows=3).answered([given("a"), given("b")]).answered([given("c"), given("d")])
    room.answered([given("e")]).answered([given("f")])
    shipment = room.recorder.take()
    assert [one.request_ids for one in shipment.decisions] == [("a", "b", "e")]
    assert shipment.dropped == 3
    room.answered([given("g"), given("h"), given("i")])
    again = room.recorder.take()
    assert (again.dropped, again.decisions[0].request_ids) == (0, ("g", "h", "i")), "there is room again"


def test_policies_that_nobody_takes_are_bounded_too() -> None:
    room = Remembers(most_rows=3)
    for version in range(1, MOST_POLICIES + 10):
        room.recorder.know(snapshot(version))
    for version in range(MOST_POLICIES + 10, MOST_POLICIES + 20):
        room.answered([given("a")] * 2, held=snapshot(version))
    shipment = room.recorder.take()
    assert len(shipment.policies) == MOST_POLICIES
    assert shipment.policies[-1].policy_version == MOST_POLICIES + 10, "none of requests that are forgotten"


def test_an_empty_shipment_is_told_from_one_that_matters() -> None:
    assert not Remembers().recorder.take()
    assert Remembers(most_rows=0).answered([given("a")]).recorder.take(), "of those that were dropped, too"
    room = Remembers()
    room.recorder.rewarded([("a", 0.0)])
    assert room.recorder.take()
    room = Remembers()
    room.recorder.know(snapshot())
    assert room.recorder.take(), "of a policy that nobody was decided by yet, too"


def test_rewards_keep_their_order_and_when_they_came() -> None:
    room = Remembers()
    room.recorder.rewarded([("a", 1.0), ("b", -0.5)])
    room.time.now_s += 2.0
    room.recorder.rewarded([("a", 3.0)])
    rewards = room.recorder.take().rewards
    assert [(one.request_id, one.reward, one.time_s - UNIX_S) for one in rewards] == [
        ("a", 1.0, 0.0),
        ("b", -0.5, 0.0),
        ("a", 3.0, 2.0),
    ]
    assert room.recorder.take().rewards == ()


def test_of_too_many_rewards_none_is_taken() -> None:
    room = Remembers(most_rows=3)
    room.recorder.rewarded([("a", 1.0), ("b", 1.0)])
    with pytest.raises(Overloaded):
        room.recorder.rewarded([("c", 1.0), ("d", 1.0)])
    room.recorder.rewarded([("e", 1.0)])
    with pytest.raises(Overloaded):
        room.recorder.rewarded([("f", 1.0)])
    assert [one.request_id for one in room.recorder.take().rewards] == ["a", "b", "e"]
    room.recorder.rewarded([("c", 1.0), ("d", 1.0)])


@pytest.mark.parametrize("bad", [nan, np.inf, -np.inf])
def test_of_rewards_of_which_one_is_no_number_none_is_taken(bad: float) -> None:
    room = Remembers()
    with pytest.raises(ValueError, match=f"reward of b: {bad}"):
        room.recorder.rewarded([("a", 1.0), ("b", bad)])
    assert not room.recorder.take()


def test_a_shipment_travels() -> None:
    room = Remembers(contexts=True).answered([given("a"), given("b")], held=snapshot())
    room.recorder.rewarded([("a", 1.0)])
    sent = room.recorder.take()
    came = pickle.loads(pickle.dumps(sent))
    assert came.rewards == sent.rewards
    assert came.decisions[0].request_ids == ("a", "b")
    assert came.decisions[0].contexts.tolist() == sent.decisions[0].contexts.tolist()
    assert came.policies[0].prices == sent.policies[0].prices
