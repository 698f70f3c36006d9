"""The account of outcomes: parcels of all ingress replicas go in; savings, drift and the log come out. No Ray here."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np

from allocator.savings import GroupSums, estimate
from allocator.savings.saved import dumped, restored
from allocator.savings.sums import QUANTITIES
from cluster.outcomes.drift import Drift
from cluster.outcomes.earned import ByBudget
from cluster.outcomes.joiner import Joined, Joiner
from cluster.outcomes.log_base import Log
from cluster.outcomes.payload import Lost, Told, savings_payload
from cluster.outcomes.recorder import Shipment
from cluster.outcomes.records import Decisions, PolicyRow
from cluster.outcomes.shipper import Parcel

MOST_REPLICAS = 10_000
KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Experiment:
    """What the sums are of: with another one, new sums begin.

    holdback  share of users that is held back
    key       KEY_BYTES that tell experiments apart that cannot be added up: cascade, static chain, share and salt
    """

    holdback: float
    key: bytes


@dataclass
class OutcomesAccount:
    """Used from one event loop; nothing in it blocks but `log.flush`, which others call in a thread.

    chains     ids of the chain space, in its order
    wall       Unix time
    reward_model  what predicts by the newest policy that is known; `since_version` is the first one of that model
    predicted  reward of the requests that a policy decided
    heard_s    when the first reward came; infinity before. That none came of a request says something only of those
               that were decided from then on: whoever tells of rewards may have begun just then
    """

    experiment: Experiment
    chains: tuple[str, ...]
    joiner: Joiner
    drift: Drift
    log: Log
    wall: Callable[[], float]
    reward_model: str = ""
    since_version: int = 0
    sums: GroupSums = field(default_factory=GroupSums)
    lost: Lost = field(default_factory=Lost)
    _taken: "OrderedDict[str, int]" = field(default_factory=OrderedDict)
    budgets: ByBudget = field(default_factory=ByBudget)
    predicted: float = 0.0
    heard_s: float = inf

    def take(self, parcel: Parcel) -> None:
        """Take a parcel in, unless it has come before."""
        if parcel.number <= self._taken.get(parcel.replica, 0):
            return
        self._taken[parcel.replica] = parcel.number
        self._taken.move_to_end(parcel.replica)
        while len(self._taken) > MOST_REPLICAS:
            self._taken.popitem(last=False)
        shipment = parcel.shipment
        self.lost = self.lost.with_dropped(shipment.dropped)
        if not self._is_ours(shipment):
            return
        for policy in sorted(shipment.policies, key=lambda one: one.policy_version):
            self._know(policy)
        self._account(self.joiner.step(shipment.decisions, shipment.rewards, self.wall()))

    def step(self) -> None:
        """Let time pass: what has waited long enough matures."""
        self._account(self.joiner.step((), (), self.wall()))

    def _is_ours(self, shipment: Shipment) -> bool:
        """Whether it is of this chain space, and not of an application that this one replaces."""
        chains = len(self.chains)
        policies = all(len(one.penalty) == chains for one in shipment.policies)
        return policies and all(int(one.chains.max(initial=0)) < chains for one in shipment.decisions)

    def _know(self, policy: PolicyRow) -> None:
        known = self.budgets.knows(policy.policy_version)
        self.budgets.know(policy)
        if known:
            return
        name, version = policy.reward_model, policy.policy_version
        if name not in ("", self.reward_model) and version > self.since_version:
            self.reward_model, self.since_version = name, version
            self.drift.follow(name, version)
        self._log_of(version)
        self.log.add_policy(policy)

    def _log_of(self, version: int) -> None:
        """What is logged next was decided by that policy: files are of one reward model each, and replicas that have
        not heard of a new one yet ship later what the one before predicted."""
        model = self.budgets.reward_model(version) or self.reward_model
        if model:
            self.log.begin(model)

    def _account(self, joined: Joined) -> None:
        for batch in joined.decisions:
            self.sums = _with(self.sums, batch)
            self.predicted += float(np.nansum(batch.predicted))
            self._log_of(batch.policy_version)
            self.log.add_decisions(batch, self.budgets.prices(batch.policy_version))
        self.log.add_outcomes((*joined.rewards, *joined.missed, *joined.strays))
        if not self.hears and (heard := (*joined.rewards, *joined.missed)):
            self.heard_s = min(one.time_s for one in heard)
        if len(done := joined.matured.since(self.heard_s)):
            whole = done.whole
            self.sums = self.sums.matured(done.arms[whole], done.groups[whole], done.rewards[whole])
            self.budgets.matured(done)
            self.drift.step(done, self.wall())

    @property
    def hears(self) -> bool:
        """Whether anybody tells of rewards: until then, that none came says nothing."""
        return self.heard_s < inf

    def payload(self) -> dict[str, Any]:
        """As `cluster.outcomes.schemas.SavingsResponse`."""
        told = Told(self.experiment.holdback, self.hears, self.lost, self.chains)
        found = estimate(self.sums), self.joiner.counts, self.log.counts
        return savings_payload(told, *found, self.drift.view(self.wall()), self.drift.by_chain(), self.budgets.earned())

    def dumped(self) -> bytes:
        """What a restart is not to lose."""
        return self.experiment.key + dumped(self.sums)

    def resume(self, kept: bytes) -> str:
        """Go on from what an account before has dumped, with what has come since; why not, "" where it does."""
        if kept[:KEY_BYTES] != self.experiment.key:
            return "the experiment is another one now (its share, salt, static chain or cascade)"
        try:
            before = restored(kept[KEY_BYTES:])
            self.sums = self.sums.merged(before)
        except ValueError as error:
            return str(error)
        if before.totals[QUANTITIES.index("reward")].any():
            self.heard_s = -inf
        return ""


def _with(sums: GroupSums, batch: Decisions) -> GroupSums:
    return sums.decided(
        batch.arms, batch.groups, batch.flops, batch.energy_j, batch.static_j, batch.error_j, batch.grams_per_j
    )
