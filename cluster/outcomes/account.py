"""The account of outcomes: parcels of all ingress replicas go in; savings, drift and the log come out. No Ray here."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from allocator.savings.saved import dumped, restored

from allocator.savings import GroupSums, estimate
from cluster.outcomes.joiner import Joined, Joiner
from cluster.outcomes.log_base import Log
from cluster.outcomes.payload import Lost, savings_payload
from cluster.outcomes.records import Decisions, PolicyRow
from cluster.outcomes.shipper import Parcel

MOST_REPLICAS = 10_000
MOST_POLICIES = 1000


@dataclass(frozen=True, slots=True)
class Experiment:
    """What the sums are of: with another one, new sums begin.

    holdback  share of users that is held back
    key       tells experiments apart that cannot be added up: cascade, static chain, share and salt
    """

    holdback: float
    key: bytes


@dataclass
class OutcomesAccount:
    """Used from one event loop; nothing in it blocks but `log.flush`, which others call in a thread.

    wall  Unix time
    """

    experiment: Experiment
    joiner: Joiner
    log: Log
    wall: Callable[[], float]
    sums: GroupSums = field(default_factory=GroupSums)
    lost: Lost = field(default_factory=Lost)
    _taken: "OrderedDict[str, int]" = field(default_factory=OrderedDict)
    _prices: "OrderedDict[int, str]" = field(default_factory=OrderedDict)

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
        for policy in shipment.policies:
            self._know(policy)
        self._account(self.joiner.step(shipment.decisions, shipment.rewards, self.wall()))

    def step(self) -> None:
        """Let time pass: what has waited long enough matures."""
        self._account(self.joiner.step((), (), self.wall()))

    def _know(self, policy: PolicyRow) -> None:
        if policy.policy_version in self._prices:
            return
        self._prices[policy.policy_version] = policy.prices
        if len(self._prices) > MOST_POLICIES:
            self._prices.popitem(last=False)
        self.log.add_policy(policy)

    def _account(self, joined: Joined) -> None:
        for batch in joined.decisions:
            self.sums = _with(self.sums, batch)
            self.log.add_decisions(batch, self._prices.get(batch.policy_version, "{}"))
        self.log.add_outcomes((*joined.rewards, *joined.strays))
        if len(done := joined.matured):
            whole = done.whole
            self.sums = self.sums.matured(done.arms[whole], done.groups[whole], done.rewards[whole])

    def payload(self) -> dict[str, Any]:
        """As `cluster.outcomes.schemas.SavingsResponse`."""
        holdback = self.experiment.holdback
        return savings_payload(estimate(self.sums), holdback, self.joiner.counts, self.log.counts, self.lost)

    def dumped(self) -> bytes:
        """What a restart is not to lose."""
        return self.experiment.key + dumped(self.sums)

    def resume(self, kept: bytes) -> str:
        """Go on from what an account before has dumped, with what has come since; why not, "" where it does."""
        size = len(self.experiment.key)
        if kept[:size] != self.experiment.key:
            return "the experiment is another one now (its share, salt, static chain or cascade)"
        try:
            self.sums = self.sums.merged(restored(kept[size:]))
        except ValueError as error:
            return str(error)
        return ""


def _with(sums: GroupSums, batch: Decisions) -> GroupSums:
    return sums.decided(
        batch.arms, batch.groups, batch.flops, batch.energy_j, batch.static_j, batch.error_j, batch.grams_per_j
    )
