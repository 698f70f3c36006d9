"""An account of outcomes and its log, in memory, and what replicas ship to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np
from fake_time import FakeTime
from outcome_rows import BEGAN_S, CHAINS, HEAD

from allocator.savings.sums import QUANTITIES
from cluster.outcomes.account import Experiment, OutcomesAccount
from cluster.outcomes.drift import Drift
from cluster.outcomes.joiner import Joiner
from cluster.outcomes.log_base import LogCounts
from cluster.outcomes.recorder import Shipment
from cluster.outcomes.records import Decisions, PolicyRow, Reward
from cluster.outcomes.schemas import SavingsResponse
from cluster.outcomes.shipper import Parcel

HORIZON_S = 100.0
EXPERIMENT = Experiment(0.1, b"0123456789abcdef")
FLOPS, REWARD = QUANTITIES.index("flops"), QUANTITIES.index("reward")


@dataclass
class Notebook:
    """A log in memory."""

    counts: LogCounts = field(default_factory=LogCounts)
    decisions: list[tuple[Decisions, str]] = field(default_factory=list)
    outcomes: list[Reward] = field(default_factory=list)
    policies: list[int] = field(default_factory=list)
    reward_model: str = HEAD.reward_model
    models: dict[int, set[str]] = field(default_factory=dict)  # that rows stand under, by policy version

    def begin(self, reward_model: str) -> None:
        self.reward_model = reward_model

    def add_decisions(self, decisions: Decisions, prices: str = "{}") -> None:
        self.decisions.append((decisions, prices))
        self.models.setdefault(decisions.policy_version, set()).add(self.reward_model)

    def add_outcomes(self, rewards: Sequence[Reward]) -> None:
        self.outcomes += rewards

    def add_policy(self, policy: PolicyRow) -> None:
        self.policies.append(policy.policy_version)
        self.models.setdefault(policy.policy_version, set()).add(self.reward_model)

    def flush(self, now_s: float, everything: bool = False) -> None: ...

    @property
    def logged(self) -> list[str]:
        """Ids of all decisions."""
        return [one for batch, _ in self.decisions for one in batch.request_ids]


class Room:
    """An account, and its log. heard_s: when the first reward came, where one did before."""

    def __init__(self, experiment: Experiment = EXPERIMENT, most: int = 10_000, heard_s: float = inf) -> None:
        self.time, self.log = FakeTime(BEGAN_S), Notebook()
        drift = Drift(CHAINS)
        drift.follow("model-1", 0)
        joiner = Joiner(HORIZON_S, most, early_s=10.0)
        about = HEAD.chains, joiner, drift, self.log, self.time, HEAD.reward_model
        self.account = OutcomesAccount(experiment, *about, heard_s=heard_s)

    def take(self, *parcels: Parcel) -> "Room":
        for one in parcels:
            self.account.take(one)
        return self

    def matures(self) -> "Room":
        self.time.now_s += HORIZON_S + 1.0
        self.account.step()
        return self

    def told(self) -> Mapping[str, Any]:
        told = self.account.payload()
        SavingsResponse.model_validate(told, strict=True)
        return told


def policy(version: int, budget: str = "cap 150 W", price: float = 0.5) -> PolicyRow:
    return PolicyRow(version, BEGAN_S, np.zeros(CHAINS, np.float32), f'{{"cap":{price}}}', budget)


def rewards(*ids: str, value: float = 1.0) -> tuple[Reward, ...]:
    return tuple(Reward(one, value, BEGAN_S + 1.0) for one in ids)


def parcel(number: int, *batches: Decisions, replica: str = "a", **rest: Any) -> Parcel:
    return Parcel(replica, number, Shipment(tuple(batches), **rest))
