"""What every decider promises. Subclass it and give the fixture `bench`."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pytest

from allocator.policy import Policy
from allocator.reward import RewardModel, context_of
from cluster.deciding import Decided, Decider, Explained
from cluster.latency import TimeLeft
from cluster.snapshot import Snapshot
from cluster.tally import Tally
from models.batch import UserRows
from models.errors import TryAgain
from models.features import UserQuery
from models.loading import Cascade


@dataclass
class DeciderBench:
    """A decider, and what stands behind it.

    publish  makes a snapshot the newest one that the decider holds
    tally    where it counts
    """

    decider: Decider
    publish: Callable[[Snapshot], None]
    tally: Tally
    cascade: Cascade
    model: RewardModel
    snapshot: Callable[[int, float], Snapshot]

    def users(self, count: int) -> UserRows:
        return self.cascade.users.rows([UserQuery(n) for n in range(count)])

    def decide(self, users: UserRows, time: TimeLeft | None = None) -> Decided:
        return asyncio.run(self.decider.decide(users, time))

    def explain(self, users: UserRows) -> Explained:
        return asyncio.run(self.decider.explain(users))

    def by_hand(self, users: UserRows, policy: Policy) -> list[int]:
        rewards = self.model.predict(context_of(users)).astype(np.float64)
        return (rewards - policy.costs[:, 0] * policy.prices[0]).argmax(axis=1).tolist()


@contextmanager
def nothing_counted(tally: Tally) -> Iterator[None]:
    before = tally.totals(0.0).decided
    yield
    assert tally.totals(0.0).decided == before


class DeciderContract:
    @pytest.mark.parametrize("price", [0.0, 1e-4, 1.0])
    @pytest.mark.parametrize("rows", [1, 7])
    def test_requests_get_the_chain_of_the_best_reward_less_price_times_cost(
        self, bench: DeciderBench, price: float, rows: int
    ) -> None:
        snapshot = bench.snapshot(3, price)
        bench.publish(snapshot)
        users = bench.users(rows)
        decided = bench.decide(users)
        assert decided.chains.tolist() == bench.by_hand(users, snapshot.policy)
        predicted = bench.model.predict(context_of(users))
        assert decided.rewards == pytest.approx(predicted[np.arange(rows), decided.chains])
        assert decided.policy_version == 3

    def test_without_a_policy_nobody_decides(self, bench: DeciderBench) -> None:
        with nothing_counted(bench.tally), pytest.raises(TryAgain):
            bench.decide(bench.users(2))

    def test_a_newer_snapshot_takes_effect(self, bench: DeciderBench) -> None:
        bench.publish(bench.snapshot(1, 0.0))
        free = bench.decide(bench.users(4))
        bench.publish(bench.snapshot(2, 1.0))
        dear = bench.decide(bench.users(4))
        assert (free.policy_version, dear.policy_version) == (1, 2)
        costs = bench.snapshot(1, 0.0).policy.costs[:, 0]
        assert costs[dear.chains].sum() < costs[free.chains].sum()

    def test_what_is_decided_is_counted_and_sampled(self, bench: DeciderBench) -> None:
        bench.publish(bench.snapshot(1, 0.0))
        users = bench.users(3)
        bench.decide(users)
        assert bench.tally.totals(0.0).decided == 3
        assert bench.tally.totals(0.0).executed.sum() == 0, "deciding is not running"
        sample = {tuple(row) for row in bench.tally.take_sample().tolist()}
        assert sample == {tuple(row) for row in bench.model.predict(context_of(users)).tolist()}

    def test_each_request_gets_the_best_of_the_chains_that_its_deadline_leaves(self, bench: DeciderBench) -> None:
        snapshot = bench.snapshot(1, 0.0)
        bench.publish(snapshot)
        users = bench.users(3)
        chains_s = snapshot.policy.costs[:, 0] / snapshot.policy.costs.max()
        left_s = np.array([np.inf, np.median(chains_s), chains_s.min()])
        decided = bench.decide(users, TimeLeft(left_s, chains_s))
        rewards = bench.model.predict(context_of(users))
        for row, chain in enumerate(decided.chains):
            allowed = np.flatnonzero(chains_s <= left_s[row])
            assert chain == allowed[rewards[row, allowed].argmax()]
        assert decided.rewards == pytest.approx(rewards[np.arange(3), decided.chains])
        assert len(set(decided.chains.tolist())) == 3
        assert decided.in_time is not None
        assert decided.in_time.all()
        sample = bench.tally.take_sample()
        assert np.isfinite(sample).all(), "prices are made by what chains are worth, late or not"

    def test_where_every_chain_would_be_late_the_quickest_available_one_is_taken(self, bench: DeciderBench) -> None:
        snapshot = bench.snapshot(1, 0.0)
        quickest = 1
        available = np.ones(len(snapshot.policy.costs), bool)
        available[0] = False
        bench.publish(replace(snapshot, policy=snapshot.policy.next(0.0, available=available)))
        chains_s = np.arange(len(available)) + 1.0
        decided = bench.decide(bench.users(2), TimeLeft(np.array([0.5, np.inf]), chains_s))
        assert decided.chains[0] == quickest
        assert decided.in_time is not None
        assert decided.in_time.tolist() == [False, True]

    @pytest.mark.parametrize("price", [0.0, 1e-4])
    def test_a_decision_that_is_explained_is_the_one_that_is_made_and_counts_for_nothing(
        self, bench: DeciderBench, price: float
    ) -> None:
        snapshot = bench.snapshot(4, price)
        bench.publish(snapshot)
        users = bench.users(1)
        with nothing_counted(bench.tally):
            explained = bench.explain(users)
        assert len(bench.tally.take_sample()) == 0
        assert explained.chain == bench.decide(users).chains[0]
        assert explained.rewards == pytest.approx(bench.model.predict(context_of(users))[0])
        assert explained.priced == pytest.approx(snapshot.policy.costs[:, 0] * price)
        assert explained.policy.version == 4
        assert explained.standings == snapshot.standings

    def test_what_is_explained_explores_nothing(self, bench: DeciderBench) -> None:
        snapshot = bench.snapshot(1, 0.0)
        users = bench.users(1)
        bench.publish(snapshot)
        usual = bench.explain(users).chain
        bench.publish(replace(snapshot, policy=snapshot.policy.next(0.0, exploration=1.0)))
        assert {bench.explain(users).chain for _ in range(10)} == {usual}

    def test_without_a_policy_nothing_is_explained(self, bench: DeciderBench) -> None:
        with pytest.raises(TryAgain):
            bench.explain(bench.users(1))
