"""What requests have earned, by budget: the limits that were in force when they were decided."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from allocator.arms import POLICY
from cluster.outcomes.budgets import Budgets
from cluster.outcomes.pending import Matured
from cluster.outcomes.records import PolicyRow

MOST_POLICIES = 20_000
MOST_BUDGETS = 100
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Earned:
    """Requests that the policy decided and whose reward is final, and the sums of their rewards."""

    requests: int = 0
    predicted: float = 0.0
    realised: float = 0.0

    def __add__(self, other: "Earned") -> "Earned":
        return Earned(self.requests + other.requests, self.predicted + other.predicted, self.realised + other.realised)


class ByBudget:
    """Sums since it began. Of more than MOST_BUDGETS budgets the newest count as `other`."""

    def __init__(self) -> None:
        self._policies: OrderedDict[int, PolicyRow] = OrderedDict()
        self._budgets = Budgets()
        self._earned: dict[str, Earned] = {}

    def knows(self, version: int) -> bool:
        """Whether the policy of that version is remembered."""
        return version in self._policies

    def know(self, policy: PolicyRow) -> None:
        """Remember a policy, the first time that it is told, and its limits; the oldest of too many is forgotten."""
        version, known = policy.policy_version, self.knows(policy.policy_version)
        self._budgets.know(version, policy.since_s if known else -inf, policy.budget)
        if known:
            return
        self._policies[version] = replace(policy, penalty=np.empty(0, np.float32))
        if len(self._policies) > MOST_POLICIES:
            self._policies.popitem(last=False)

    def prices(self, version: int) -> str:
        """JSON, by constraint; "{}" of a policy that nobody told of."""
        policy = self._policies.get(version)
        return "{}" if policy is None else policy.prices

    def reward_model(self, version: int) -> str:
        """By whose rewards the policy decided; "" of one that nobody told of."""
        policy = self._policies.get(version)
        return "" if policy is None else policy.reward_model

    def matured(self, done: Matured) -> None:
        """Rewards are final."""
        counts = (done.arms == POLICY) & done.whole & ~np.isnan(done.predicted)
        held = self._budgets.numbers(done.policy_versions[counts], done.times_s[counts])
        numbers, at = np.unique(held, return_inverse=True)
        requests = np.bincount(at, minlength=len(numbers))
        predicted, realised = (
            np.bincount(at, values[counts], len(numbers)) for values in (done.predicted, done.rewards)
        )
        for row, number in enumerate(numbers.tolist()):
            budget = self._budgets.budget(number)
            if budget is None or (budget not in self._earned and len(self._earned) >= MOST_BUDGETS):
                budget = OTHER
            earned = Earned(int(requests[row]), float(predicted[row]), float(realised[row]))
            self._earned[budget] = self._earned.get(budget, Earned()) + earned

    def earned(self) -> dict[str, Earned]:
        """By budget."""
        return dict(self._earned)
